"""Sound from a machine.I2S, in whole 10 ms blocks, counted against the clock.

On a board readinto() is non-blocking (irq): two buffers take turns, one is being filled while the
other one is used. A hosted port without irq gives at once what has come due. Either way sound is
held for less than 150 ms (the DMA's buffer and these two), and is overwritten.
"""

from firmware.noise.state import BLOCK, BLOCK_MS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BLOCKS_A_BUFFER = 2
BUFFER_BYTES = BLOCKS_A_BUFFER * BLOCK * 4
BUFFER_MS = BLOCKS_A_BUFFER * BLOCK_MS
DMA_BYTES = 32768  # of stereo frames: 85 ms
DMA_MS = 85
_EMPTY, _FILLING, _FULL = 0, 1, 2
_NEVER_MS = 1 << 20
_OVERRUN_SECONDS = 3  # a pause shows in its own second and the next


class Stream:
    """Two buffers of sound: next() gives one as a list of block views, done() frees it.

    lost_ms: sound that never came, by the clock; slip_ms: the same, of the last second alone,
    negative when too much came; overrun: not 0 where a pause of the caller's explains it.
    """

    def __init__(self, i2s: "Any", now_ms: int) -> None:
        self._i2s = i2s
        self._buffers = [bytearray(BUFFER_BYTES), bytearray(BUFFER_BYTES)]
        self._blocks = [self._cut(buffer) for buffer in self._buffers]
        self._states = bytearray(2)
        self._filling = 0
        self._using = 0
        self._filled = 0
        self._stepped = not hasattr(i2s, "irq")
        self._received_ms = 0
        self._anchor_ms = now_ms
        self._lowest_ms = _NEVER_MS
        self._second_ms = now_ms + 1000
        self._polled_ms = now_ms
        self._before_gap = 0
        self._settled = False
        self.lost_ms = 0
        self.slip_ms = 0
        self.seconds = 0
        self.overrun = 0
        self.gap = False  # sound is missing before what next() gives; the user clears it
        if not self._stepped:
            i2s.irq(self._on_full)
            self._fill(0)

    @staticmethod
    def _cut(buffer: bytearray) -> "list[memoryview]":
        view = memoryview(buffer)
        if hasattr(view, "cast"):
            view = view.cast("i")
            return [view[BLOCK * k : BLOCK * (k + 1)] for k in range(BLOCKS_A_BUFFER)]
        return [view[4 * BLOCK * k : 4 * BLOCK * (k + 1)] for k in range(BLOCKS_A_BUFFER)]

    def _fill(self, which: int) -> None:
        self._filling = which
        self._states[which] = _FILLING
        self._i2s.readinto(self._buffers[which])

    def _on_full(self, _: "Any") -> None:
        which = self._filling
        self._states[which] = _FULL
        if self._states[1 - which] == _EMPTY:
            self._fill(1 - which)

    def next(self, now_ms: int) -> "list[memoryview] | None":
        """The oldest full buffer, as views of one block each; None while there is none."""
        if now_ms - self._polled_ms > DMA_MS:
            self.overrun = _OVERRUN_SECONDS
            self._before_gap = self._held()
            self.gap = not self._before_gap
        self._polled_ms = now_ms
        if self._stepped:
            self._step()
        if self._states[self._using] != _FULL:
            self._watch(now_ms)
            return None
        return self._blocks[self._using]

    def done(self) -> None:
        """The buffer that next() gave is used up: let it be overwritten."""
        which = self._using
        self._using = 1 - which
        self._states[which] = _EMPTY
        self._received_ms += BUFFER_MS
        if self._before_gap:
            self._before_gap -= 1
            self.gap = not self._before_gap
        if not self._stepped and self._states[1 - which] != _FILLING:
            self._fill(which)

    def _held(self) -> int:
        """Buffers that were filled, or begun, before the DMA ran over."""
        if self._stepped:
            return 1 if self._states[self._using] == _FULL else 0
        return (self._states[0] != _EMPTY) + (self._states[1] != _EMPTY)

    def _step(self) -> None:
        which = self._using
        if self._states[which] == _FULL:
            return
        buffer = self._buffers[which]
        got = self._i2s.readinto(memoryview(buffer)[self._filled :]) or 0
        self._filled += got
        if self._filled == BUFFER_BYTES:
            self._filled = 0
            self._states[which] = _FULL

    def heard_ms(self) -> int:
        """The time up to which next() has given all sound."""
        return self._anchor_ms + self._received_ms

    def _watch(self, now_ms: int) -> None:
        """Everything that came has been used: how much is that, by the clock?

        The smallest lag of a second is what the stream owes; its changes are slips.
        """
        lag_ms = now_ms - self.heard_ms()
        if lag_ms < self._lowest_ms:
            self._lowest_ms = lag_ms
        if now_ms < self._second_ms:
            return
        self._second_ms = now_ms + 1000
        self.slip_ms = self._lowest_ms if self._settled else 0
        self._settled = True
        self._anchor_ms += self._lowest_ms
        if self.slip_ms > 0:
            self.lost_ms += self.slip_ms
        self._lowest_ms = _NEVER_MS
        self.seconds += 1
