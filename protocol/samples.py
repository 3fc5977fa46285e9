"""Rows of samples packed by column into a SAMPLES section. Runs on the board.

Encoding readings below 2**28 allocates nothing.
"""

from protocol import const
from protocol.builder import FrameBuilder, Overflow
from protocol.rows import Channel, Rows

__all__ = ("Batch", "Channel")

_HEADER = const(16)
_SAMPLES = const(0x81)
_SPARSE = const(14)
_CONSTANT = const(15)
_K_MAX = const(13)
_UNARY_MAX = const(15)
_GAP_K = const(2)
# Together with 7 pending bits such a code is a small integer of a 32-bit board.
_AT_ONCE_MAX = const(21)
_MISSING = const(6)
_INSTANCE = const(0x10)
_VECTOR = const(0x20)
_QUALITY = const(0x40)
_EXPONENT = const(0x80)
_REGISTRY = const(0x7F)
_FIELDS = const(5)
# Larger codes are escaped whatever k is; the cap keeps their sum a small integer.
_CODE_CAP = const(0x7FFF)


class Batch(Rows):
    """Rows that can write themselves into frames: encode(), then drop_rows() what it wrote."""

    def __init__(self, channels: "list[Channel] | tuple[Channel, ...]", rows_max: int) -> None:
        super().__init__(channels, rows_max)
        self._coding = bytearray(len(self._starts))
        self._rice = bytearray(len(self._starts))
        # Bands of the first column that this part of a too large row takes.
        self._part = 0
        # Of the column walked over last: width, codes above 0, sum of codes.
        self._width = 0
        self._steps = 0
        self._total = 0
        self._bits = 0
        self._pending = 0

    def encode(self, builder: FrameBuilder) -> int:
        """Write as many of the first rows as fit into a SAMPLES section; how many were written.

        0 with rows left: finish this frame and encode into the next. So goes a single row that
        is too large for a frame, by columns and bands; its last part answers 1. Raises Overflow
        when a frame with nothing else in it has no room at all.
        """
        rows = self.rows
        if not rows:
            return 0
        first = self._column
        last = len(self._starts)
        self._part = bands = self._fields[_FIELDS * first + 3] - self._band
        if first > 1 or self._band:
            rows = 1
        else:
            self._fill_leading()
        start = builder.pos
        room = builder.room()
        while True:
            self._write(builder, rows, first, last)
            size = builder.pos - start
            if size <= room:
                break
            builder.pos = start
            if rows > 1:
                rows = max(1, min(rows - 1, rows * room // size))
            elif start > _HEADER:
                return 0
            elif last > first + 1:
                last -= 1
            elif self._part > 1:
                self._part >>= 1
            else:
                raise Overflow
        if self._part < bands:
            self._band += self._part
            return 0
        self._band = 0
        self._column = last if last < len(self._starts) else 1
        return rows if self._column == 1 else 0

    def _fill_leading(self) -> None:
        """Rows missing from the start repeat the first value that is there."""
        for column in range(1, len(self._starts)):
            first = at = column * self._rows_max + self._first
            while at < first + self.rows and self._quality[at] == _MISSING:
                at += 1
            if at < first + self.rows:
                width = self._fields[_FIELDS * column + 3] or 1
                start = self._starts[column] + self._first * width
                for index in range(start + (at - first) * width - 1, start - 1, -1):
                    self._values[index] = self._values[index + width]

    def _write(self, builder: FrameBuilder, rows: int, first: int, last: int) -> None:
        """Write rows of columns first..last, behind time residuals if they are irregular."""
        times = self._times
        row = self._first
        period = self._period_ms
        strays = 0
        before = times[row]
        for index in range(row + 1, row + rows):
            now = times[index]
            if now - before != period:
                strays += 1
            before = now
        if strays:
            if strays * 2 >= rows:
                # Most intervals differ from the nominal one: their mean leaves the least residuals.
                period = (times[row + rows - 1] - times[row]) // (rows - 1)
            for index in range(rows):
                residual = times[row + index] - times[row] - index * period
                self._values[row + index] = residual
                if residual:
                    first = 0
        builder.open(_SAMPLES)
        low = self._low + times[row]
        builder.number(low, 3)
        builder.number(self._high + (low >> 24), 3)
        builder.uvarint(period)
        builder.u8(rows)
        builder.u8(last - first)
        for column in range(first, last):
            self._write_head(builder, column, rows)
        self._bits = self._pending = 0
        for column in range(first, last):
            self._walk(builder, column, rows)
        if self._pending:
            builder.u8(self._bits << (8 - self._pending))
        builder.close()

    def _write_head(self, builder: FrameBuilder, column: int, rows: int) -> None:
        fields = self._fields
        at = _FIELDS * column
        first = self._choose(column, rows)
        coding = control = self._coding[column]
        runs = self._runs(None, column, rows)
        if fields[at + 1]:
            control |= _INSTANCE
        if fields[at + 3]:
            control |= _VECTOR
        if runs:
            control |= _QUALITY
        if fields[at + 2] != _REGISTRY:
            control |= _EXPONENT
        builder.u8(fields[at])
        builder.u8(control)
        if control & _INSTANCE:
            builder.u8(fields[at + 1])
        if control & _EXPONENT:
            builder.u8(fields[at + 2])
        if control & _VECTOR:
            builder.u8(fields[at + 4] + (self._band if column == self._column else 0))
            builder.u8(self._width)
        if runs:
            builder.u8(runs)
            self._runs(builder, column, rows)
        if coding == _SPARSE:
            builder.u8(self._steps)
            builder.u8(self._rice[column])
        builder.zigzag(self._values[first])

    def _choose(self, column: int, rows: int) -> int:
        """Choose a column's coding, and k from the mean of its codes; its first value's index."""
        first = self._walk(None, column, rows)
        total = self._total
        count = rows * self._width - 1
        coding = k = 0
        if not self._steps:
            coding = _CONSTANT
        elif self._steps * 4 <= count and not self._fields[_FIELDS * column + 3]:
            coding = _SPARSE
            count = self._steps
            total -= count
        while self._steps and k < _K_MAX and count << (k + 1) <= total:
            k += 1
        self._coding[column] = coding or k
        self._rice[column] = k
        return first

    def _runs(self, builder: "FrameBuilder | None", column: int, rows: int) -> int:
        """How many quality runs there are up to the last that is not ok; write them."""
        quality = self._quality
        index = column * self._rows_max + self._first
        runs = 0
        for end in range(index + rows, index, -1):
            if quality[end - 1]:
                break
        else:
            return 0
        while index < end:
            start = index
            while index < end and quality[index] == quality[start]:
                index += 1
            runs += 1
            if builder:
                builder.u8(index - start)
                builder.u8(quality[start])
        return runs

    def _walk(self, builder: "FrameBuilder | None", column: int, rows: int) -> int:
        """Write a column's codes; without a builder sum them up. The index of its first value."""
        coding = self._coding[column]
        k = self._rice[column]
        width = stride = self._fields[_FIELDS * column + 3]
        first = self._starts[column] + self._first * (width or 1)
        if builder and coding == _CONSTANT:
            return first
        if not width:
            if builder and coding != _SPARSE:
                self._write_scalar(builder, first, rows, k)
            else:
                self._walk_scalar(builder, first, rows, k)
            return first
        values = self._values
        if column == self._column and self._part:
            first += self._band
            width = self._part
        index = first
        total = steps = 0
        for row in range(rows):
            left = 0
            for _ in range(width):
                rise = values[index] - values[index - stride] if row else values[index]
                code = rise - left
                left = rise
                code = code << 1 if code >= 0 else ~(code << 1)
                if code >= _CODE_CAP:
                    code = self._wrapped(code)
                if index == first:
                    pass
                elif builder:
                    self._put(builder, code, k)
                elif code:
                    steps += 1
                    total += code if code < _CODE_CAP else _CODE_CAP
                index += 1
        self._width = width
        self._steps = steps
        self._total = total
        return first

    def _walk_scalar(self, builder: "FrameBuilder | None", first: int, rows: int, k: int) -> None:
        """Write the steps of a column without bands, and the gaps between; or sum up its codes.

        Its values lie from first on.
        """
        values = self._values
        total = steps = gap = 0
        left = values[first]
        for index in range(first + 1, first + rows):
            rise = values[index]
            if rise == left:
                gap += 1
                continue
            code = rise - left
            left = rise
            code = code << 1 if code > 0 else ~(code << 1)
            if code >= _CODE_CAP:
                code = self._wrapped(code)
            if builder:
                self._put(builder, gap, _GAP_K)
                self._put(builder, code - 1, k)
                gap = 0
            else:
                steps += 1
                total += code if code < _CODE_CAP else _CODE_CAP
        self._width = 1
        self._steps = steps
        self._total = total

    def _write_scalar(self, builder: FrameBuilder, first: int, rows: int, k: int) -> None:
        """Write the codes of a column without bands: _put() unrolled for its usual case."""
        values = self._values
        buf = builder.buf
        limit = builder.limit
        at = builder.pos
        bits = self._bits
        pending = self._pending
        low = (1 << k) - 1
        base = 2 << k
        usual = min(_UNARY_MAX, _AT_ONCE_MAX - k) << k
        left = values[first]
        for index in range(first + 1, first + rows):
            rise = values[index]
            code = rise - left
            left = rise
            code = code << 1 if code >= 0 else ~(code << 1)
            if code < usual:
                count = (code >> k) + k + 1
                pending += count
                # So many ones, a zero, the low bits: 2**count - 2**(k + 1) + low.
                bits = (bits + 1 << count) - base + (code & low)
                if pending >= 8:
                    while pending >= 8:
                        pending -= 8
                        if at < limit:
                            buf[at] = bits >> pending & 255
                        at += 1
                    bits &= (1 << pending) - 1
            else:
                builder.pos = at
                self._bits = bits
                self._pending = pending
                self._put(builder, self._wrapped(code), k)
                at = builder.pos
                bits = self._bits
                pending = self._pending
        builder.pos = at
        self._bits = bits
        self._pending = pending

    @staticmethod
    def _wrapped(code: int) -> int:
        """A code whose difference is taken modulo 2**32, as signed."""
        if code >= 0x100000000:
            step = code >> 1 ^ -(code & 1)
            step = (step + 0x80000000) % 0x100000000 - 0x80000000
            code = step << 1 if step >= 0 else ~(step << 1)
        return code

    def _put(self, builder: FrameBuilder, code: int, k: int) -> None:
        """Write one Rice code; up to 7 bits stay pending."""
        ones = code >> k
        if ones < _UNARY_MAX:
            low = code & (1 << k) - 1
            if ones + k >= _AT_ONCE_MAX:
                self._push(builder, (2 << ones) - 2, ones + 1)
                self._push(builder, low, k)
            else:
                self._push(builder, (2 << ones) - 2 << k | low, ones + 1 + k)
        else:
            self._push(builder, 0x7FFF, _UNARY_MAX)
            for shift in range(24, -1, -8):
                self._push(builder, code >> shift & 255, 8)

    def _push(self, builder: FrameBuilder, bits: int, count: int) -> None:
        bits |= self._bits << count
        count += self._pending
        at = builder.pos
        while count >= 8:
            count -= 8
            if at < builder.limit:
                builder.buf[at] = bits >> count & 255
            at += 1
        builder.pos = at
        self._bits = bits & (1 << count) - 1
        self._pending = count
