"""Frames kept in flash until they are acknowledged: segment files of length + frame.

A segment is named by the boot and seq of its first frame, and is written by one boot after the
other. A record is a u16 length and the frame; the frame's own trailer says whether it is whole.
Only the last segment is scanned at start; a torn tail is cut by going on in a new segment.
"""

from errno import ENOENT
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
READ_TRIES = 6  # then what flash does not give is counted as damaged
UNREADABLE = -1  # what read() gives for a frame that cannot be read now
_DAMAGED, _REFUSED = -1, -2  # what is at an offset, if it is no record


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
        self.unlisted = 0  # boots that are kept and not in boots; all of them before start()
        self.appends = 0  # durable writes since start
        self._unsynced: "list[tuple[int, int]]" = []
        self._ready = False  # start() has found what is there
        self._empty = False  # the last segment's file holds nothing, and is to be made anew
        # Where a segment ends whose writing failed: offset, and seq of its last frame.
        self._ends: "dict[int, tuple[int, int]]" = {}
        self._refusals: "dict[int, int]" = {}  # to read a segment, in a row

    # --- start ---

    def start(self) -> None:
        """Find what is there. Raises OSError when the folder can neither be read nor made.

        Until it has succeeded nothing can be appended.
        """
        try:
            names = self._files.listdir(self._folder)
        except OSError:
            self._files.mkdir(self._folder)
            names = []
        for name in sorted(names):
            parsed = _parse(name)
            if parsed is not None and not (
                self._drops.removing and name[:16] == self._drops.removing
            ):
                self._add(*parsed)
        self._ready = True
        try:
            self._finish_removal()
        except OSError:
            self.failed = True
        if self._table:
            self._scan_last()
        self._list_boots()

    def _finish_removal(self) -> None:
        """Delete the segment whose frames are counted as dropped already. Raises OSError."""
        marked = self._drops.removing
        if marked:
            for suffix in _SUFFIX:
                self._delete(self._folder + "/" + marked + suffix)
            self._drops.removed()

    def _delete(self, path: str) -> None:
        """Delete a file, which need not be there. Raises OSError when it stays."""
        try:
            self._files.remove(path)
        except OSError:
            if self._is_there(path):
                raise

    def _is_there(self, path: str) -> bool:
        try:
            self._files.stat(path)
        except OSError as fault:
            return bool(fault.args[0] != ENOENT)
        return True

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
        try:
            size = self._files.stat(self._path(number))[6]
        except OSError:
            size = self._segment_bytes
        if length == _REFUSED:  # later, perhaps
            offset = size
        self.durable = self.written = offset
        self._open = 0 < offset == size and length == 0 and self._state(number) == KEPT
        self._empty = size == 0

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
        while offset < self._end(number):
            length = self._peek(number, offset)
            if length == _REFUSED and not offset:  # at least its first is known
                self._note(*self._first(number))
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
        if not self._ready or (small and not self.room_for(size)):
            return False
        try:
            if not self._open or self.written + size > self._segment_bytes:
                self._roll(boot, seq)
            if self._writer is None:
                self._writer = self._files.open(self._path(self.last), "ab")
            self._unsynced.append((boot, seq))
            pack_into("<H", self._head, 0, len(frame))
            self._writer.write(memoryview(self._head)[:2])
            self._writer.write(frame)
            self.written += size
        except OSError:
            if not self._fail(seq):
                return False
        if small:
            self._small += size
        return True

    def room_for(self, small_bytes: int) -> bool:
        """Whether a LOG or HELLO record keeps to its share of a segment."""
        if not self._open or self.written + small_bytes > self._segment_bytes:
            return True
        return self._small + small_bytes <= self._segment_bytes // SHARE

    def sync(self) -> bool:
        """Make what was appended durable; False when flash could not be written.

        Frames that did not get there are counted as dropped.
        """
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

    def _fail(self, pending: int = 0) -> bool:
        """Go on in a new segment; what was appended and is not in flash is counted as dropped.

        pending is the seq that is being appended: True when it is in flash all the same. It is not
        counted, for its frame is still at hand.
        """
        self.failed = True
        begun, self._open = self._open, False
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except OSError:
                pass
        unsynced, self._unsynced = self._unsynced, []
        missing = self._look_for(unsynced)
        if missing and missing[-1][1] == pending:
            missing.pop()
            pending = 0
        if missing:
            self._drops.count(wire.DROP_UNWRITABLE, len(missing), *missing[-1])
        self.written = self.durable
        if begun:
            self._ends[self.last] = (self.durable, self.boots[-1][2] if self.boots else 0)
            self._empty = self.durable == 0
        return bool(unsynced and pending)

    def _look_for(self, unsynced: "list[tuple[int, int]]") -> "list[tuple[int, int]]":
        """Keep those of the frames appended last that flash holds all the same; the others."""
        if not unsynced:
            return unsynced
        self._forget_reader()
        buffer = memoryview(bytearray(wire.FRAME_MAX))
        for index in range(len(unsynced)):
            length = self._load(self.last, self.durable, buffer)
            found = length > 0 and unpack_from("<II", buffer, 8) == unsynced[index]
            if not found or not self._whole(buffer[:length]):
                return unsynced[index:]
            self.durable += 2 + length
            self._note(*unsynced[index])
        return []

    def _roll(self, boot: int, seq: int) -> None:
        """Begin a new segment, after making room for it."""
        if self._writer is not None and not self.sync():
            raise OSError(5, "sync failed")
        if self._empty:
            self._delete(self._path(self.last))
            self._ends.pop(self.last, None)
            self._table = self._table[:-_ENTRY]
            self._open = self._empty = False
        self._make_room()
        self._add(boot, seq, KEPT)
        self.written = self.durable = self._small = 0
        self._open = True

    def _make_room(self) -> None:
        self._finish_removal()
        while self._present() >= self._segments_max or self._starved():
            number = self._oldest(DONE)
            if number < 0:
                number = self._oldest(KEPT)
            if number < 0:
                return
            self._remove(number)

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
        records end their segment: what they held is counted as dropped. UNREADABLE when flash
        refuses; the sixth time in a row the segment is dropped, and counted as damaged.
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
            length = _DAMAGED
            if self._state(number) == KEPT and offset < self._end(number):
                length = self._load(number, offset, buffer)
                if length == _REFUSED:
                    if not self._give_up(number):
                        return UNREADABLE
                    continue
                if self._refusals:
                    self._refusals.pop(number, None)
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

    def _give_up(self, number: int) -> bool:
        """Drop a segment that could not be read again and again, if it was so often enough."""
        refusals = self._refusals.get(number, 0) + 1
        self._refusals[number] = refusals
        if refusals < READ_TRIES:
            return False
        try:
            self._remove(number, wire.DROP_CORRUPT)
        except OSError:
            return number < self._base or self._state(number) != KEPT
        return True

    def step_over_ends(self, position: "list[int]") -> None:
        """Move position over the ends of segments, as far as nothing is kept there."""
        while position[0] < self.last:
            number, offset = position
            if number >= self._base and self._state(number) == KEPT and offset < self._end(number):
                if self._peek(number, offset):
                    return
            position[0], position[1] = number + 1, 0

    def peek(self, position: "list[int]") -> "tuple[int, int, int] | None":
        """(length, boot, seq) of the record at position without reading its frame; None at its
        segment's or the durable end."""
        number, offset = position
        if number < self._base or number > self.last or self._state(number) != KEPT:
            return None
        if offset >= self._end(number):
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
        """As _peek(), and the frame in buffer."""
        length = self._peek(number, offset)
        if length <= 0:
            return length
        try:
            reader = self._file(number)
            reader.seek(offset + 2)
            got = reader.readinto(buffer[:length])
        except OSError:
            self._forget_reader()
            return _REFUSED
        return length if got == length else _DAMAGED

    def _peek(self, number: int, offset: int) -> int:
        """Length of the record at offset, its head in _head; 0 at the end, or why there is none."""
        try:
            reader = self._file(number)
            reader.seek(offset)
            got = reader.readinto(self._head)
        except OSError:
            self._forget_reader()
            return _REFUSED
        if not got:
            return 0
        length, magic, flags, body = unpack_from("<HBBH", self._head, 0)
        trailer = wire.TAG_BYTES if flags & wire.AUTH else wire.CRC_BYTES
        if got < _FRAME_MIN or magic != wire.MAGIC or length != 16 + body + trailer:
            return _DAMAGED
        return length if length <= wire.FRAME_MAX else _DAMAGED

    def _file(self, number: int) -> "File":
        if self._reading != number or self._reader is None:
            self._forget_reader()
            self._reader = self._files.open(self._path(number), "rb")
            self._reading = number
        return self._reader

    def _forget_reader(self) -> None:
        reader, self._reader = self._reader, None
        self._reading = -1
        if reader is not None:
            try:
                reader.close()
            except OSError:
                pass

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
            if start is None and self._state(number) == KEPT:
                start = [number, 0]
        if start is not None:
            self._list_boots()
        return start

    def clear(self, reason: int) -> int:
        """Drop all that is kept, counted under reason; the number of frames."""
        self.sync()
        frames = 0
        for number in range(self._base, self.last + 1):
            if number >= self._base and self._state(number) == KEPT:
                frames += self._remove(number, reason)
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
        """Delete a segment; frames that were not acknowledged are counted in flash first.

        From that moment on they are no more: the drop counters and the lowest kept seq are told
        together. Raises OSError when flash refuses; what is counted then is not counted again.
        """
        frames = 0
        if self._reading == number:
            self._forget_reader()
        if self._state(number) == KEPT:
            self._finish_removal()
            dropped = self._unsettled(number)
            for _, _, count in dropped:
                frames += count
            self._drops.begin_removal(_stem(*self._first(number)), reason, dropped)
            self._set_gone(number)
            self._list_boots()
            self._finish_removal()
        else:
            self._delete(self._path(number))
            self._set_gone(number)
        return frames

    def _set_gone(self, number: int) -> None:
        self._set_state(number, GONE)
        self._ends.pop(number, None)
        self._refusals.pop(number, None)
        if number == self.last:
            self._open = False
            self.written = self.durable = 0
        self._trim()

    def _unsettled(self, number: int) -> "list[tuple[int, int, int]]":
        """(boot, highest seq, frames not acknowledged) for each boot of a segment."""
        counts: "list[tuple[int, int, int]]" = []
        offset = 0
        length = 0
        while offset < self._end(number):
            length = self._peek(number, offset)
            if length <= 0:
                break
            boot, seq = unpack_from("<II", self._head, 10)
            self._add_unsettled(counts, boot, seq)
            offset += 2 + length
        return self._unread(number) if length == _REFUSED else counts

    def _unread(self, number: int) -> "list[tuple[int, int, int]]":
        """The same from names and boots, for a segment that cannot be read."""
        counts: "list[tuple[int, int, int]]" = []
        first, after = self._first(number), (0xFFFFFFFF, 0)
        if number < self.last:
            after = self._first(number + 1)
            if number in self._ends:
                after = (after[0], self._ends[number][1] + 1)
        for boot, lowest, highest in self.boots:
            if first[0] <= boot <= after[0]:
                begin = max(lowest, first[1]) if boot == first[0] else lowest
                end = min(highest, after[1] - 1) if boot == after[0] else highest
                for seq in range(begin, end + 1):
                    self._add_unsettled(counts, boot, seq)
        return counts

    def _add_unsettled(self, counts: "list[tuple[int, int, int]]", boot: int, seq: int) -> None:
        missing = 0 if self._settled(boot, seq) else 1
        if counts and counts[-1][0] == boot:
            counts[-1] = (boot, seq, counts[-1][2] + missing)
        else:
            counts.append((boot, seq, missing))

    def _trim(self) -> None:
        while self._count() > 1 and self._state(self._base) == GONE:
            self._table = self._table[_ENTRY:]
            self._base += 1

    # --- the table of segments ---

    @property
    def last(self) -> int:
        """Number of the newest segment; one less than the first when there is none."""
        return self._base + len(self._table) // _ENTRY - 1

    def _end(self, number: int) -> int:
        """Where a segment's durable frames end at the latest."""
        if number == self.last:
            return self.durable
        ends = self._ends
        return ends[number][0] if number in ends else 0x7FFFFFFF

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
        """Give a segment another state, unless flash refuses."""
        if self._reading == number:
            self._forget_reader()
        old = self._path(number)
        before = self._state(number)
        self._set_state(number, state)
        try:
            self._files.rename(old, self._path(number))
        except OSError:
            if not self._is_there(self._path(number)):
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
