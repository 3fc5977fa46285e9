"""Frames kept in flash until they are acknowledged: segment files of length + frame.

A segment is named by the boot and seq of its first frame, and is written by one boot after the
other. A record is a u16 length and the frame; the frame's own trailer says whether it is whole.
Only the last segment is scanned at start; a torn tail is cut by going on in a new segment.
"""

from struct import pack, pack_into, unpack_from

from protocol import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from firmware.drops import Drops
    from firmware.types import File, Files

KEPT = 0  # holds frames that are not acknowledged
DONE = 1  # all acknowledged: deleted when room is needed
GONE = 2

_SUFFIX = (".s1", ".a1")
_ENTRY = 9  # boot u32, seq u32, state u8
_FRAME_MIN = 20
SHARE = 20  # LOG and HELLO may take one part in 20 of a segment


class Spool:
    """An append-only log of frames over segment files.

    A position is [segment number, offset]; numbers rise for ever within one run. whole(view)
    tells whether a frame's trailer holds, settled(boot, seq) whether it is acknowledged.
    limit_bytes counts kept and done segments together, each as a full one.
    """

    def __init__(
        self,
        files: "Files",
        folder: str,
        drops: "Drops",
        whole: "Callable[[memoryview], bool]",
        settled: "Callable[[int, int], bool]",
        limit_bytes: int = 1_500_000,
        segment_bytes: int = 16_384,
        free_blocks: int = 64,
    ) -> None:
        self._files = files
        self._folder = folder
        self._drops = drops
        self._whole = whole
        self._settled = settled
        self._segments_max = max(2, limit_bytes // segment_bytes)
        self._segment_bytes = segment_bytes
        self._free_blocks = free_blocks
        self._table = bytearray()  # an entry per segment
        self._base = 0  # number of the first entry
        self._head = bytearray(_FRAME_MIN)
        self._reader: "File | None" = None
        self._reading = -1
        self._writer: "File | None" = None
        self.written = 0  # length of the last segment, with what is not durable yet
        self.durable = 0  # length of the last segment that may be read
        self._open = False  # the last segment may be appended to
        self._small = 0  # bytes of LOG and HELLO in the last segment
        self.failed = False  # the last write did not succeed
        self.boots: "list[list[int]]" = []  # [boot, lowest kept, highest issued], oldest first
        self.unlisted = 0
        self.appends = 0  # durable writes since start
        self._unsynced: "list[tuple[int, int]]" = []

    # --- start ---

    def start(self) -> None:
        """Find what is there. Raises OSError when the folder can neither be read nor made."""
        try:
            names = self._files.listdir(self._folder)
        except OSError:
            self._files.mkdir(self._folder)
            names = []
        self._finish_removal(names)
        for name in sorted(names):
            parsed = _parse(name)
            if parsed is not None:
                self._add(*parsed)
        if self._table:
            self._scan_last()
        self._list_boots()

    def _finish_removal(self, names: "list[str]") -> None:
        marked = self._drops.removing
        if marked:
            for name in names:
                if name.startswith(marked):
                    self._files.remove(self._folder + "/" + name)
                    names.remove(name)
                    break
            self._drops.removed()

    def _scan_last(self) -> None:
        """Walk the last segment's frames, all trailers checked, and cut what is torn."""
        number = self.last
        offset = 0
        buffer = memoryview(bytearray(wire.FRAME_MAX))
        while True:
            length = self._load(number, offset, buffer)
            if length <= 0 or not self._whole(buffer[:length]):
                break
            if buffer[1] & wire.TYPE_MASK in (wire.T_HELLO, wire.T_LOG):
                self._small += 2 + length
            offset += 2 + length
        self.durable = self.written = offset
        size = self._files.stat(self._path(number))[6]
        self._open = offset == size and self._state(number) == KEPT

    def _list_boots(self) -> None:
        """Fill boots from the names; only segments in which a boot ends are walked."""
        self.boots = []
        self.unlisted = 0
        for number in range(self._base, self._base + self._count()):
            if self._state(number) != KEPT:
                continue
            boot, seq = self._first(number)
            if number < self.last and self._first(number + 1)[0] == boot:
                self._note(boot, seq)
                self._note(boot, self._first(number + 1)[1] - 1)
            else:
                self._walk(number)

    def _walk(self, number: int) -> None:
        offset = 0
        while number < self.last or offset < self.durable:
            length = self._peek(number, offset)
            if length <= 0:
                break
            boot, seq = unpack_from("<II", self._head, 10)
            self._note(boot, seq)
            offset += 2 + length

    def _note(self, boot: int, seq: int) -> None:
        boots = self.boots
        if boots and boots[-1][0] == boot:
            boots[-1][2] = max(seq, boots[-1][2])
        elif len(boots) < wire.BOOTS_MAX:
            boots.append([boot, seq, seq])
        else:
            self.unlisted += 1

    # --- append ---

    def append(self, frame: "memoryview | bytes", small: bool = False) -> bool:
        """Write a frame after the last one; sync() makes it durable and readable.

        False when flash cannot be written now (failed is set), or when a small one (LOG, HELLO)
        would take more than its share.
        """
        size = 2 + len(frame)
        boot, seq = unpack_from("<II", frame, 8)
        if small and not self.room_for(size):
            return False
        try:
            if not self._open or self.written + size > self._segment_bytes:
                self._roll(boot, seq)
            if self._writer is None:
                self._writer = self._files.open(self._path(self.last), "ab")
            pack_into("<H", self._head, 0, len(frame))
            self._writer.write(memoryview(self._head)[:2])
            self._writer.write(frame)
        except OSError:
            self._fail()
            return False
        self.written += size
        if small:
            self._small += size
        self._unsynced.append((boot, seq))
        return True

    def room_for(self, small_bytes: int) -> bool:
        """Whether a LOG or HELLO record keeps to its share of a segment."""
        if not self._open or self.written + small_bytes > self._segment_bytes:
            return True
        return self._small + small_bytes <= self._segment_bytes // SHARE

    def sync(self) -> bool:
        """Make what was appended durable; False when flash could not be written."""
        writer = self._writer
        if writer is None:
            return not self.failed
        self._writer = None
        try:
            writer.close()
        except OSError:
            self._fail()
            return False
        self.durable = self.written
        self.appends += 1
        self.failed = False
        for boot, seq in self._unsynced:
            self._note(boot, seq)
        self._unsynced.clear()
        if self._reading == self.last:
            self._forget_reader()
        return True

    @property
    def unsynced(self) -> bool:
        """Whether appended frames wait for sync()."""
        return bool(self._unsynced)

    def _fail(self) -> None:
        self.failed = True
        self._open = False
        self.written = self.durable
        self._unsynced.clear()
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except OSError:
                pass

    def _roll(self, boot: int, seq: int) -> None:
        """Begin a new segment, after making room for it."""
        if self._writer is not None and not self.sync():
            raise OSError(5, "sync failed")
        self._make_room()
        self._add(boot, seq, KEPT)
        self.written = self.durable = self._small = 0
        self._open = True

    def _make_room(self) -> None:
        while self._present() >= self._segments_max or self._starved():
            number = self._oldest(DONE)
            kept = number < 0
            if kept:
                number = self._oldest(KEPT)
            if number < 0:
                return
            self._remove(number)
            if kept:  # the drop counters and the lowest kept seq are told together
                self._list_boots()

    def _present(self) -> int:
        present = 0
        for number in range(self._base, self.last + 1):
            if self._state(number) != GONE:
                present += 1
        return present

    def _starved(self) -> bool:
        status = self._files.statvfs(self._folder)
        needed = self._free_blocks + self._segment_bytes // status[1] + 1
        return status[4] < needed

    # --- read ---

    def read(self, position: "list[int]", buffer: memoryview) -> int:
        """Copy the frame at position into buffer; its length, or 0 at the durable end.

        position is moved over the ends of segments; advance() moves it over the frame. Damaged
        records end their segment: what they held is counted as dropped.
        """
        while True:
            number, offset = position
            if number < self._base:
                position[0], position[1] = self._base, 0
                continue
            if number > self.last:
                return 0
            if number == self.last and offset >= self.durable:
                return 0
            length = -1
            if self._state(number) == KEPT:
                length = self._load(number, offset, buffer)
                if length > 0:
                    if self._whole(buffer[:length]):
                        return length
                    self._lose(number, buffer)
                    position[1] = offset + 2 + length
                    continue
            if number == self.last:
                position[1] = self.durable
                return 0
            position[0], position[1] = number + 1, 0

    def peek(self, position: "list[int]") -> "tuple[int, int, int] | None":
        """(length, boot, seq) of the record at position without reading its frame; None at its
        segment's or the durable end."""
        number, offset = position
        if number < self._base or number > self.last or self._state(number) != KEPT:
            return None
        if number == self.last and offset >= self.durable:
            return None
        length = self._peek(number, offset)
        if length <= 0:
            return None
        boot, seq = unpack_from("<II", self._head, 10)
        return length, boot, seq

    def _lose(self, number: int, frame: memoryview) -> None:
        boot, seq = unpack_from("<II", frame, 8)
        self._drops.count(wire.DROP_CORRUPT, 1, boot, seq)

    def _load(self, number: int, offset: int, buffer: memoryview) -> int:
        """Length of the record at offset, its frame in buffer; 0 at the end, -1 when damaged."""
        length = self._peek(number, offset)
        if length <= 0:
            return length
        reader = self._reader
        if reader is None:
            return -1
        reader.seek(offset + 2)
        if reader.readinto(buffer[:length]) != length:
            return -1
        return length

    def _peek(self, number: int, offset: int) -> int:
        """Length of the record at offset, its head in _head; 0 at the end, -1 when damaged."""
        try:
            reader = self._file(number)
            reader.seek(offset)
            got = reader.readinto(self._head)
        except OSError:
            self._forget_reader()
            return -1
        if not got:
            return 0
        length, magic, flags, body = unpack_from("<HBBH", self._head, 0)
        trailer = wire.TAG_BYTES if flags & wire.AUTH else wire.CRC_BYTES
        if got < _FRAME_MIN or magic != wire.MAGIC or length != 16 + body + trailer:
            return -1
        return length if length <= wire.FRAME_MAX else -1

    def _file(self, number: int) -> "File":
        if self._reading != number or self._reader is None:
            self._forget_reader()
            self._reader = self._files.open(self._path(number), "rb")
            self._reading = number
        return self._reader

    def _forget_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = None
        self._reading = -1

    # --- acknowledge, remove, resend ---

    def settle(self, frontier: "list[int]", boot: int, seq: int) -> None:
        """Everything before frontier is acknowledged; the frame there is (boot, seq).

        Segments that lie wholly before it are renamed. Boot 0 says that nothing is kept.
        """
        for number in range(self._base, min(frontier[0], self.last)):
            if self._state(number) == KEPT:
                self._rename(number, DONE)
        boots = self.boots
        if not boot:
            boots.clear()
            self._small = 0
            return
        while boots and boots[0][0] != boot and any(entry[0] == boot for entry in boots):
            boots.pop(0)
        if boots and boots[0][0] == boot:
            boots[0][1] = max(boots[0][1], seq)
        if self.unlisted and len(boots) < wire.BOOTS_MAX // 2:
            self._list_boots()

    def resend(self, boot: int, first: int, last: int) -> "list[int] | None":
        """Take done segments that may hold first..last of boot as kept again; where to read on."""
        start = None
        for number in range(self._base, self.last + 1):
            if self._state(number) not in (KEPT, DONE) or not self._may_hold(
                number, boot, first, last
            ):
                continue
            if self._state(number) == DONE:
                self._rename(number, KEPT)
            if start is None:
                start = [number, 0]
        if start is not None:
            self._list_boots()
        return start

    def clear(self, reason: int) -> int:
        """Drop all that is kept, counted under reason; the number of frames."""
        self.sync()
        frames = 0
        for number in range(self._base, self.last + 1):
            if self._state(number) == KEPT:
                frames += self._remove(number, reason)
        self._list_boots()
        return frames

    def _may_hold(self, number: int, boot: int, first: int, last: int) -> bool:
        start = self._first(number)
        if start > (boot, last):
            return False
        return number == self.last or self._first(number + 1) > (boot, first)

    def _oldest(self, state: int) -> int:
        for number in range(self._base, self.last + 1):
            if self._state(number) == state:
                return number
        return -1

    def _remove(self, number: int, reason: int = wire.DROP_SPOOL_FULL) -> int:
        """Delete a segment; frames that were not acknowledged are counted in flash first."""
        frames = 0
        name = self._path(number)
        if self._state(number) == KEPT:
            counts = self._unsettled(number)
            for boot, highest, count in counts:
                self._drops.note(reason, count, boot, highest)
                frames += count
            self._drops.begin_removal(_stem(*self._first(number)))
        if self._reading == number:
            self._forget_reader()
        self._files.remove(name)
        self._drops.removed()
        self._set_state(number, GONE)
        if number == self.last:
            self._open = False
            self.written = self.durable = 0
        self._trim()
        return frames

    def _unsettled(self, number: int) -> "list[tuple[int, int, int]]":
        """(boot, highest seq, frames not acknowledged) for each boot of a segment."""
        counts: "list[tuple[int, int, int]]" = []
        offset = 0
        while True:
            length = self._peek(number, offset)
            if length <= 0 or (number == self.last and offset >= self.durable):
                return counts
            boot, seq = unpack_from("<II", self._head, 10)
            missing = 0 if self._settled(boot, seq) else 1
            if counts and counts[-1][0] == boot:
                counts[-1] = (boot, seq, counts[-1][2] + missing)
            else:
                counts.append((boot, seq, missing))
            offset += 2 + length

    def _trim(self) -> None:
        while self._count() > 1 and self._state(self._base) == GONE:
            self._table = self._table[_ENTRY:]
            self._base += 1

    # --- the table of segments ---

    @property
    def last(self) -> int:
        """Number of the newest segment; one less than the first when there is none."""
        return self._base + len(self._table) // _ENTRY - 1

    def end(self) -> "list[int]":
        """The position after the last durable frame."""
        return [self.last, self.durable]

    def _count(self) -> int:
        return len(self._table) // _ENTRY

    def _add(self, boot: int, seq: int, state: int) -> None:
        self._table += pack("<IIB", boot, seq, state)

    def _first(self, number: int) -> "tuple[int, int]":
        boot, seq = unpack_from("<II", self._table, (number - self._base) * _ENTRY)
        return boot, seq

    def _state(self, number: int) -> int:
        return self._table[(number - self._base) * _ENTRY + 8]

    def _set_state(self, number: int, state: int) -> None:
        self._table[(number - self._base) * _ENTRY + 8] = state

    def _path(self, number: int) -> str:
        suffix = _SUFFIX[1 if self._state(number) == DONE else 0]
        return self._folder + "/" + _stem(*self._first(number)) + suffix

    def _rename(self, number: int, state: int) -> None:
        if self._reading == number:
            self._forget_reader()
        old = self._path(number)
        before = self._state(number)
        self._set_state(number, state)
        try:
            self._files.rename(old, self._path(number))
        except OSError:
            self._set_state(number, before)


def _stem(boot: int, seq: int) -> str:
    return "%08x%08x" % (boot, seq)


def _parse(name: str) -> "tuple[int, int, int] | None":
    """(boot, seq, state) of a segment's file name; None for any other file."""
    stem, suffix = name[:16], name[16:]
    if suffix not in _SUFFIX or len(stem) != 16:
        return None
    try:
        return int(stem[:8], 16), int(stem[8:], 16), DONE if suffix == _SUFFIX[1] else KEPT
    except ValueError:
        return None
