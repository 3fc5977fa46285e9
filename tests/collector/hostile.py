"""Authentic frames that no honest board sends: every type and section, fields at their extremes.

Seeded, without end. The tags hold, so nothing but what reads a frame can refuse it.
"""

import random
from collections.abc import Iterator
from struct import pack

from protocol import compose, wire
from protocol.varint import U32, uvarint
from tests.collector.core import BOOT, CHANNELS, Board

U48 = compose.U48
SECTIONS = (
    wire.S_SAMPLES, wire.S_INFO, wire.S_DESCRIPTORS, wire.S_STATE, wire.S_TEXT, wire.S_CLOCK,
    wire.S_OUTCOME, wire.S_ACK, wire.S_TIME, wire.S_CONFIG, wire.S_COMMAND, wire.S_UPDATE,
    0x3A, 0xBF,
)  # fmt: skip
KEPT = (wire.T_DATA, wire.T_HELLO, wire.T_LOG, wire.T_RESULT)


class Hostile:
    """Makes frames of one board, whose numbers go on where they can."""

    def __init__(self, seed: int, board: Board) -> None:
        self.random = random.Random(seed)
        self.board = board
        self.lives = 0
        self.issued: dict[int, int] = {}

    def frames(self) -> Iterator[bytes]:
        """Frames for ever."""
        while True:
            yield self.live() if self.random.random() < 0.4 else self.sequenced()

    def live(self) -> bytes:
        """A LIVE that is newer than the last one, so that what it says is taken in."""
        self.lives += 1
        counter = self.lives if self.random.random() < 0.98 else self.number(U32)
        sections = [(wire.S_STATE, self.section(wire.S_STATE))]
        if self.random.random() < 0.1:
            sections += self.sections()
        return self.sealed(wire.T_LIVE, self.boot(), counter, sections)

    def sequenced(self) -> bytes:
        """A frame of any type but LIVE."""
        boot = self.boot()
        type = self.random.choice(KEPT) if self.random.random() < 0.9 else self.random.randrange(32)
        seq = self.issued.get(boot, 0) + 1
        if self.random.random() < 0.2:
            seq = self.number(U32)
        else:
            self.issued[boot] = seq
        return self.sealed(type, boot, seq, self.sections())

    def sealed(self, type: int, boot: int, seq: int, sections: list[tuple[int, bytes]]) -> bytes:
        """Whole and with a tag that holds."""
        board = self.board
        while True:
            try:
                return compose.compose(type, board.node, boot, seq, sections, board.up)
            except ValueError:
                sections = sections[:-1]

    def boot(self) -> int:
        """Mostly the present one, or one before it, or any."""
        if self.random.random() < 0.8:
            return BOOT
        return self.random.choice([BOOT - 1, BOOT - 2, 0, 1, U32, self.number(U32)])

    def number(self, largest: int) -> int:
        """Mostly at an edge."""
        near = self.random.choice([0, 0, 1, 2, 3, 20, 127, 128, 65_535, 65_536, 65_537, 3_600_000])
        drawn = self.random.choice([near, near, largest - near, self.random.randint(0, largest)])
        return min(max(drawn, 0), largest)

    def sections(self) -> list[tuple[int, bytes]]:
        """Up to four; sometimes as many of one as fit."""
        random = self.random
        if random.random() < 0.05:
            tag = random.choice(SECTIONS)
            return [(tag, self.section(tag)) for _ in range(70)]
        tags = [
            wire.S_SAMPLES if random.random() < 0.4 else random.choice(SECTIONS)
            for _ in range(random.randrange(5))
        ]
        return [(tag, self.section(tag)) for tag in tags]

    def section(self, tag: int) -> bytes:
        """Well formed as a rule, then its fields are extreme; sometimes damaged."""
        makers = {
            wire.S_SAMPLES: self._samples,
            wire.S_STATE: self._state,
            wire.S_CLOCK: self._clock,
            wire.S_OUTCOME: self._outcome,
            wire.S_INFO: self._info,
        }
        maker = makers.get(tag)
        data = bytearray(maker() if maker else self.random.randbytes(self.random.randrange(60)))
        if data and self.random.random() < 0.1:
            data[self.random.randrange(len(data))] = self.random.randrange(256)
        if self.random.random() < 0.05:
            del data[self.random.randrange(len(data) + 1) :]
        return bytes(data)

    def _samples(self) -> bytes:
        random = self.random
        rows = [
            [random.choice([0, -(1 << 31), (1 << 31) - 1, random.randrange(500), None])] * 2
            for _ in range(random.choice([1, 2, 12, 255]))
        ]
        t0_ms = self.number(U48)
        section = compose.samples_section(CHANNELS, [[1, 2]] * len(rows), 0, 60_000)
        if random.random() < 0.5:
            section = compose.samples_section(CHANNELS, rows[:12], 0, 60_000)
        # the period follows t0 as a uvarint, whose length changes with it
        start = 6 + len(uvarint(60_000))
        return compose.u48(t0_ms) + uvarint(self.number(U32)) + section[start:]

    def _state(self) -> bytes:
        random = self.random
        uptime_ms = self.lives * 60_000 if random.random() < 0.9 else self.number(U48)
        boots = {
            self.boot(): (self.number(U32), self.number(U32)) for _ in range(random.randrange(4))
        }
        if random.random() < 0.05:
            boots |= {random.randint(0, U32): (1, 1) for _ in range(28)}
        listed = sorted(boots.items())
        if random.random() < 0.05:
            listed = listed[::-1] + listed
        data = compose.u48(uptime_ms)
        data += pack("<III", self.number(U32), self.number(U32), self.number(U32))
        data += pack("<BHB", random.randrange(256), self.number(0xFFFF), len(listed))
        data += b"".join(pack("<III", boot, *range_) for boot, range_ in listed)
        reasons = random.choice([0, 1, 5])
        data += bytes([reasons])
        for _ in range(reasons):
            data += bytes([random.randrange(256)]) + uvarint(self.number(U32))
        return data

    def _clock(self) -> bytes:
        data = compose.u48(self.number(U48)) + compose.u48(self.number(U48))
        return data + pack("<IB", self.number(U32), self.random.randrange(7))

    def _outcome(self) -> bytes:
        random = self.random
        head = pack("<BHHB", random.randrange(32), random.randrange(4), self.number(0xFFFF), 3)
        return head + random.randbytes(random.randrange(9))

    def _info(self) -> bytes:
        entries = b""
        for key in self.random.sample([2, 3, 4, 5, 6, 7, 99], self.random.randrange(4)):
            length = {4: 1, 5: 2, 6: 16, 7: 8}.get(key, self.random.randrange(12))
            entries += bytes([key, length]) + self.random.randbytes(length)
        return entries
