"""What was dropped and why, kept in flash before anything is deleted."""

from struct import pack, unpack_from

from firmware.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.types import Files

REASONS = 8  # codes 1..8
LEFT_MAX = 8  # boots that left with drops and are still told to the collector


class Drops:
    """Counters by reason since provisioning, and the boots whose last frames were dropped.

    Record: count u8, (frames u32)* by reason; boots u8, (boot u32, highest u32)*; stem of the
    segment whose removal was begun, 16 B or nothing.
    """

    def __init__(self, files: "Files", path: str) -> None:
        self._store = Store(files, path)
        self.counts = [0] * REASONS
        self.left: "list[tuple[int, int]]" = []
        self.removing = ""
        self.fresh = False  # counted since the last LIVE
        self._load()

    def note(self, reason: int, frames: int, boot: int, highest: int) -> None:
        """Count frames of a boot whose highest dropped seq is highest; save() makes it durable."""
        if frames:
            self.counts[reason - 1] += frames
            self.fresh = True
        self.left = [entry for entry in self.left if entry[0] != boot]
        self.left.append((boot, highest))
        self.left = self.left[-LEFT_MAX:]

    def count(self, reason: int, frames: int, boot: int, highest: int) -> None:
        """note() and save(); while flash cannot be written the count stays in RAM."""
        self.note(reason, frames, boot, highest)
        try:
            self.save()
        except OSError:
            pass

    def begin_removal(self, stem: str) -> None:
        """Make the counts durable, with the segment that they are about. Raises OSError."""
        self.removing = stem
        self.save()

    def removed(self) -> None:
        """The segment is gone; the next save says so."""
        self.removing = ""

    def settled(self, boot: int, upto: int) -> None:
        """The collector knows this boot up to there: it need not be told again."""
        self.left = [entry for entry in self.left if entry[0] != boot or entry[1] > upto]

    def save(self) -> None:
        """Write the record. Raises OSError."""
        data = bytes([REASONS])
        for frames in self.counts:
            data += pack("<I", frames & 0xFFFFFFFF)
        data += bytes([len(self.left)])
        for boot, highest in self.left:
            data += pack("<II", boot, highest)
        self._store.save(data + self.removing.encode())

    def _load(self) -> None:
        data = self._store.load()
        if not data:
            return
        count = data[0]
        for index in range(min(count, REASONS)):
            self.counts[index] = unpack_from("<I", data, 1 + 4 * index)[0]
        at = 1 + 4 * count
        boots = data[at]
        at += 1
        for _ in range(boots):
            boot, highest = unpack_from("<II", data, at)
            self.left.append((boot, highest))
            at += 8
        self.removing = data[at:].decode()
