"""What to send and when: a window over the spool, resends by ACK, back-off with jitter.

No I/O: times come in, frames come out. A frame goes out once when it enters the window; it is sent
again when an ACK shows it missing, or after 10 s doubling to 5 minutes. A copy of an answer that
people wait for may go ahead of its turn; its turn stays.
"""

from firmware.spool import UNREADABLE
from protocol.downlink import settles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from firmware.spool import Spool

RESEND_FIRST_MS = 10_000
RESEND_LAST_MS = 300_000
HOLD_MS = 5_000  # wait for the ACK of the first LIVE before any DATA
SILENCE_MS = 30_000
UNREADABLE_MS = 10_000  # then flash is asked again
MASK_REACH = 33  # an ACK's mask reaches upto + 33
BOOTS_MAX = 20
RAM_FRAMES_MAX = 4
AHEAD_MAX = 4
AHEAD_TRIES = 3
_SKIPS = 32  # records looked at in one call
_BOOT, _SEQ, _NUMBER, _OFFSET, _DUE, _TRIES, _SENT = 0, 1, 2, 3, 4, 5, 6


class Settled:
    """What ACKs said: upto and mask of the boots heard last."""

    def __init__(self) -> None:
        self._boots: "list[tuple[int, int, int]]" = []

    def update(self, boot: int, upto: int, mask: int) -> None:
        """Take one entry of an ACK."""
        self.forget(boot)
        self._boots.append((boot, upto, mask))
        if len(self._boots) > BOOTS_MAX:
            self._boots.pop(0)

    def forget(self, boot: int) -> None:
        """Know nothing of a boot any more (its frames are to be sent again)."""
        for index in range(len(self._boots)):
            if self._boots[index][0] == boot:
                self._boots.pop(index)
                return

    def covers(self, boot: int, seq: int) -> bool:
        """Whether (boot, seq) is acknowledged."""
        for known, upto, mask in self._boots:
            if known == boot:
                return settles(seq, upto, mask)
        return False

    def any(self, boot: int) -> bool:
        """Whether a frame of boot is acknowledged."""
        return any(known == boot and (upto or mask) for known, upto, mask in self._boots)

    def upto(self, boot: int) -> int:
        """Highest seq with all before it settled; 0 when nothing is known."""
        for known, upto, _ in self._boots:
            if known == boot:
                return upto
        return 0


class Uplink:
    """Chooses the next frame to send and frees what is acknowledged.

    random_bits(n) gives jitter. Frames that flash could not take are sent from RAM. Others are read
    into buffer, which holds FRAME_MAX bytes: what next() gives is valid until somebody uses it.
    """

    def __init__(
        self,
        spool: "Spool",
        settled: Settled,
        random_bits: "Callable[[int], int]",
        buffer: memoryview,
        window: int = 8,
    ) -> None:
        self._spool = spool
        self._settled = settled
        self._random_bits = random_bits
        self._window = window
        self._buffer = buffer
        self._cursor = [0, 0]
        self._flight: "list[list[int]]" = []
        self._ram: "list[tuple[int, int, bytes]]" = []
        self._ahead: "list[list[int]]" = []
        self._forced: "list[tuple[int, int, int]]" = []
        self._chosen: "list[int]" = []
        self._hold_until = -1
        self._out_of_reach = False  # of an ACK's mask is what comes next
        self._read_at = 0  # flash cannot be read before; 0: it can
        self._heard_ms = -SILENCE_MS
        self.sent = 0
        self.resent = 0

    def connected(self, now_ms: int) -> None:
        """A new link stands and LIVE is out: hold DATA until its ACK, 5 s at most."""
        self._hold_until = now_ms + HOLD_MS
        for entry in self._flight + self._ahead:
            entry[_DUE] = min(entry[_DUE], self._hold_until)

    def hold(self, frame: bytes, boot: int, seq: int) -> "tuple[int, int] | None":
        """Keep a frame in RAM that flash did not take; the (boot, seq) that had to go for it."""
        self._ram.append((boot, seq, frame))
        if len(self._ram) <= RAM_FRAMES_MAX:
            return None
        boot, seq, _ = self._ram.pop(0)
        self._flight = [e for e in self._flight if e[_NUMBER] >= 0 or e[_SEQ] != seq]
        return boot, seq

    def ahead(self, boot: int, seq: int, number: int, offset: int) -> None:
        """Send copies of a frame before its turn until it is acknowledged, four times at most."""
        self._ahead.append([boot, seq, number, offset, 0, 0, -1])
        self._ahead = self._ahead[-AHEAD_MAX:]

    def acknowledge(self, boot: int, upto: int, mask: int, now_ms: int) -> None:
        """Take one entry of an ACK: free what it covers, bring forward what it shows missing."""
        self._settled.update(boot, upto, mask)
        self._hold_until = -1
        self._out_of_reach = False
        awake = now_ms - self._heard_ms >= SILENCE_MS
        self._heard_ms = now_ms
        kept = []
        for entry in self._flight:
            if self._settled.covers(entry[_BOOT], entry[_SEQ]):
                continue
            kept.append(entry)
            overdue = now_ms - entry[_SENT] >= RESEND_FIRST_MS
            if overdue and entry[_BOOT] == boot and (awake or entry[_TRIES] == 0):
                entry[_DUE] = now_ms
                entry[_TRIES] = 0
        self._flight = kept
        self._ram = [held for held in self._ram if not self._settled.covers(held[0], held[1])]
        self._ahead = [e for e in self._ahead if not self._settled.covers(e[_BOOT], e[_SEQ])]

    def resend(self, boot: int, first: int, last: int) -> bool:
        """Send a range again that was acknowledged before; False when nothing of it is left."""
        start = self._spool.resend(boot, first, last)
        if start is None:
            return False
        self._forced.append((boot, first, last))
        self._forced = self._forced[-4:]
        self._flight = [entry for entry in self._flight if entry[_NUMBER] < 0]
        self._cursor = min(start, self._cursor)
        return True

    def forget_held(self) -> int:
        """Let go of what only RAM holds; how many frames."""
        held = len(self._ram)
        self._ram = []
        self._flight = [entry for entry in self._flight if entry[_NUMBER] >= 0]
        return held

    def forget_all(self) -> int:
        """Nothing is kept any more; how many frames were in RAM only."""
        held = self.forget_held()
        self._flight = []
        self._ahead = []
        self._cursor = self._spool.end()
        return held

    def next(self, now_ms: int) -> "memoryview | None":
        """The frame to send now, or None; mark_sent() must follow when it went out."""
        self._out_of_reach = False
        if self._hold_until >= 0:
            if now_ms < self._hold_until:
                return None
            self._hold_until = -1
        for entry in self._flight:
            if entry[_DUE] <= now_ms:
                frame = self._fetch(entry, now_ms)
                if frame is not None:
                    self._chosen = entry
                    return frame
        self._flight = [entry for entry in self._flight if entry[_NUMBER] > -2]
        if self._ahead:
            frame = self._next_ahead(now_ms)
            if frame is not None:
                return frame
        if len(self._flight) >= self._window:
            return None
        return self._fresh(now_ms)

    def mark_sent(self, now_ms: int) -> None:
        """The frame that next() gave went out."""
        entry = self._chosen
        if entry[_SENT] >= 0:
            entry[_TRIES] += 1
            self.resent += 1
        delay = min(RESEND_LAST_MS, RESEND_FIRST_MS << min(entry[_TRIES], 6))
        entry[_SENT] = now_ms
        entry[_DUE] = now_ms + delay + (self._random_bits(10) * delay >> 12)
        self.sent += 1

    def wait_ms(self, now_ms: int) -> int:
        """How long until next() may have something, 60 s at most."""
        wait = 60_000
        for entry in self._flight:
            wait = min(wait, entry[_DUE] - now_ms)
        for entry in self._ahead:
            if self._there(entry):
                wait = min(wait, entry[_DUE] - now_ms)
        if self._hold_until >= 0:
            return max(0, min(60_000, self._hold_until - now_ms))
        if (
            len(self._flight) < self._window
            and self._cursor < self._spool.end()
            and not self._out_of_reach
        ):
            wait = min(wait, self._read_at - now_ms)
        return max(0, wait)

    def settle(self) -> None:
        """Tell the spool what lies wholly before the oldest frame that is not acknowledged."""
        oldest = self._oldest()
        if oldest is None:
            if self._cursor >= self._spool.end():
                self._spool.settle(self._spool.end(), 0, 0)
            else:
                self._spool.step_over_ends(self._cursor)
                found = self._spool.peek(self._cursor)
                if found is not None:
                    self._spool.settle(self._cursor, found[1], found[2])
        else:
            position = [oldest[_NUMBER], oldest[_OFFSET]]
            self._spool.settle(position, oldest[_BOOT], oldest[_SEQ])

    def kept_from(self, boot: int) -> int:
        """Lowest seq of boot held in RAM only; 0 when there is none."""
        seqs = [held[1] for held in self._ram if held[0] == boot]
        return min(seqs) if seqs else 0

    def _oldest(self) -> "list[int] | None":
        oldest = None
        for entry in self._flight:
            if entry[_NUMBER] >= 0 and (
                oldest is None or entry[_NUMBER:_DUE] < oldest[_NUMBER:_DUE]
            ):
                oldest = entry
        return oldest

    def _there(self, entry: "list[int]") -> bool:
        """Whether a frame that goes ahead is durable, or in RAM."""
        spool = self._spool
        return entry[_NUMBER] != spool.last or entry[_OFFSET] < spool.durable

    def forget_ahead(self) -> None:
        """Let go of the copies that went ahead: what flash did not keep has no place there."""
        self._ahead = [entry for entry in self._ahead if entry[_NUMBER] < 0]

    def _next_ahead(self, now_ms: int) -> "memoryview | None":
        """A copy that is due; what has its turn now, is sent already or is gone is let go."""
        for entry in list(self._ahead):
            if entry[_DUE] > now_ms or not self._there(entry):
                continue
            frame = None
            if entry[_TRIES] < AHEAD_TRIES and not self._has_turn(entry):
                frame = self._fetch(entry, now_ms)
            if frame is not None:
                self._chosen = entry
                return frame
            self._ahead.remove(entry)
        return None

    def _has_turn(self, entry: "list[int]") -> bool:
        """Whether a frame was reached in the order of the spool, or is the next there."""
        if entry[_NUMBER] < 0:
            return any(e[_BOOT] == entry[_BOOT] and e[_SEQ] == entry[_SEQ] for e in self._flight)
        at, cursor = entry[_NUMBER:_DUE], self._cursor
        return at < cursor or (at == cursor and len(self._flight) < self._window)

    def _fetch(self, entry: "list[int]", now_ms: int) -> "memoryview | None":
        """The bytes of a frame in flight; None (and a mark to forget it) when it is gone.

        None, and due later, when flash cannot be read now.
        """
        if entry[_NUMBER] < 0:
            for boot, seq, frame in self._ram:
                if seq == entry[_SEQ] and boot == entry[_BOOT]:
                    return memoryview(frame)
        else:
            position = [entry[_NUMBER], entry[_OFFSET]]
            length = self._spool.read(position, self._buffer)
            if length == UNREADABLE:
                entry[_DUE] = now_ms + UNREADABLE_MS
                return None
            if length and position == [entry[_NUMBER], entry[_OFFSET]]:
                return self._buffer[:length]
        entry[_NUMBER] = -2
        return None

    def _fresh(self, now_ms: int) -> "memoryview | None":
        """The next frame that was not sent yet: from the spool in order, then from RAM."""
        if now_ms < self._read_at:
            return self._fresh_from_ram(now_ms)
        self._read_at = 0
        for _ in range(_SKIPS):
            found = self._spool.peek(self._cursor)
            if found is not None and self._skip(found[1], found[2]):
                self._cursor[1] += 2 + found[0]
                continue
            length = self._spool.read(self._cursor, self._buffer)
            if length <= 0:
                if length == UNREADABLE:
                    self._read_at = now_ms + UNREADABLE_MS
                return self._fresh_from_ram(now_ms)
            found = self._spool.peek(self._cursor)
            if found is None or self._skip(found[1], found[2]):
                continue
            _, boot, seq = found
            if seq > self._settled.upto(boot) + MASK_REACH and self._in_flight(boot):
                self._out_of_reach = True
                return self._fresh_from_ram(now_ms)  # it may be that these are what is missing
            self._enter(boot, seq, self._cursor[0], self._cursor[1], now_ms)
            self._cursor[1] += 2 + length
            return self._buffer[:length]
        return None

    def _skip(self, boot: int, seq: int) -> bool:
        for index in range(len(self._forced)):
            forced, first, last = self._forced[index]
            if forced == boot and first <= seq <= last:
                return False
        return self._settled.covers(boot, seq)

    def _in_flight(self, boot: int) -> bool:
        return any(entry[_BOOT] == boot for entry in self._flight)

    def _fresh_from_ram(self, now_ms: int) -> "memoryview | None":
        for boot, seq, frame in self._ram:
            if not any(entry[_SEQ] == seq and entry[_BOOT] == boot for entry in self._flight):
                self._enter(boot, seq, -1, 0, now_ms)
                return memoryview(frame)
        return None

    def _enter(self, boot: int, seq: int, number: int, offset: int, now_ms: int) -> None:
        self._chosen = [boot, seq, number, offset, now_ms, 0, -1]
        self._flight.append(self._chosen)
