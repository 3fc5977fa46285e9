"""What was dropped and why, kept in flash before anything is deleted."""

from struct import pack, unpack_from

from firmware.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.types import Files, Nvs

REASONS = 8  # codes 1..8
READS_MAX = 100  # then what cannot be read is taken for not there
LEFT_MAX = 8  # boots that left with drops and are still told to the collector
KEY = "drops"  # in NVS
_RECORD_MAX = 2 + 4 * REASONS + 8 * LEFT_MAX + 16


class Drops:
    """Counters by reason since provisioning, and the boots whose last frames were dropped.

    While the file system refuses they are kept in NVS; of two records the one that counts more is
    the later. While it cannot be read they count from 0, and are added to it later.

    Record: count u8, (frames u32)* by reason; boots u8, (boot u32, highest u32)*; stem of the
    segment whose removal was begun, 16 B or nothing.
    """

    def __init__(self, files: "Files", path: str, nvs: "Nvs | None" = None) -> None:
        self._store = Store(files, path)
        self._nvs = nvs
        self.counts = [0] * REASONS
        self.left: "list[tuple[int, int]]" = []
        self.removing = ""
        self.fresh = False  # counted since the last LIVE
        self.unsaved = 0  # frames counted that the file does not know of yet
        self.known = False  # load() has succeeded
        self._reads = 0
        try:
            self.load()
        except OSError:
            pass

    def note(self, reason: int, frames: int, boot: int, highest: int) -> None:
        """Count frames of a boot whose highest dropped seq is highest; save() makes it durable."""
        if frames:
            self.counts[reason - 1] += frames
            self.unsaved += frames
            self.fresh = True
        self.left = [entry for entry in self.left if entry[0] != boot]
        self.left.append((boot, highest))
        self.left = self.left[-LEFT_MAX:]

    def count(self, reason: int, frames: int, boot: int, highest: int) -> None:
        """note() and save(), in NVS while the file system refuses."""
        self.note(reason, frames, boot, highest)
        if not self.try_save() and self._nvs is not None:
            try:
                self._nvs.set_blob(KEY, self._record())
                self._nvs.commit()
            except OSError:
                pass

    def try_save(self) -> bool:
        """save(); False when the file system refuses."""
        try:
            self.save()
        except OSError:
            return False
        return True

    def begin_removal(self, stem: str, reason: int, dropped: "list[tuple[int, int, int]]") -> None:
        """Count (boot, highest seq, frames) of a segment that is to go, in flash, with its stem.

        Raises OSError; nothing is counted then.
        """
        counts, left, fresh, unsaved = list(self.counts), self.left, self.fresh, self.unsaved
        for boot, highest, frames in dropped:
            self.note(reason, frames, boot, highest)
        self.removing = stem
        try:
            self.save()
        except OSError:
            self.counts, self.left, self.fresh, self.unsaved = counts, left, fresh, unsaved
            self.removing = ""
            raise

    def removed(self) -> None:
        """The segment is gone; the next save says so."""
        self.removing = ""

    def settled(self, boot: int, upto: int) -> None:
        """The collector knows this boot up to there: it need not be told again."""
        self.left = [entry for entry in self.left if entry[0] != boot or entry[1] > upto]

    def save(self) -> None:
        """Write the record. Raises OSError."""
        if not self.known:
            self.load()
        self._store.save(self._record())
        self.unsaved = 0

    def _record(self) -> bytes:
        data = bytes([REASONS])
        for frames in self.counts:
            data += pack("<I", frames & 0xFFFFFFFF)
        data += bytes([len(self.left)])
        for boot, highest in self.left:
            data += pack("<II", boot, highest)
        return data + self.removing.encode()

    def load(self) -> None:
        """Take up what is kept. Raises OSError while flash refuses to be read."""
        self._reads += 1
        data = self._store.load(self._reads < READS_MAX)
        saved = _total(data)
        if self._nvs is not None:
            record = bytearray(_RECORD_MAX)
            try:
                length = self._nvs.get_blob(KEY, record)
            except OSError:
                length = 0
            if _total(record) > saved:
                data = bytes(record[:length])
        self.known = True
        if data:
            self._take(data)
            self.unsaved += _total(data) - saved

    def _take(self, data: bytes) -> None:
        count = data[0]
        for index in range(min(count, REASONS)):
            self.counts[index] += unpack_from("<I", data, 1 + 4 * index)[0]
        at = 1 + 4 * count
        boots = data[at]
        at += 1
        noted, self.left = self.left, []
        for _ in range(boots):
            boot, highest = unpack_from("<II", data, at)
            self.left.append((boot, highest))
            at += 8
        for entry in noted:
            self.left = [other for other in self.left if other[0] != entry[0]]
            self.left.append(entry)
        self.removing = data[at:].decode()


def _total(record: "bytes | bytearray | None") -> int:
    """All frames that a record counts."""
    total = 0
    for index in range(min(record[0], REASONS) if record else 0):
        frames: int = unpack_from("<I", record, 1 + 4 * index)[0]
        total += frames
    return total
