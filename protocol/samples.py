"""Rows of samples packed by column into a SAMPLES section. Runs on the board.

Everything is preallocated: adding and encoding readings below 2**28 allocates nothing.
"""

from array import array

from protocol import wire
from protocol.frame import FrameBuilder, Overflow

_SPARSE = 14
_CONSTANT = 15
_K_MAX = 13
_UNARY_MAX = 15
_ESCAPED_BITS = 47
_GAP_K = 2
_INSTANCE = 0x10
_VECTOR = 0x20
_QUALITY = 0x40
_EXPONENT = 0x80
# From here on a difference may wrap, and a small integer of a 32-bit board may overflow.
_SMALL = 0x1FFFFFFF
# Larger residuals are escaped whatever k is; the cap keeps their sum a small integer.
_SUM_CAP = 0x7FFF
_OFFSET_MAX = 0x3FFFFFFF


class Channel:
    """A column: quantity, instance, exponent (None: the registry's); bands > 0 is a vector."""

    def __init__(
        self,
        quantity: int,
        instance: int = 0,
        exponent: "int | None" = None,
        bands: int = 0,
        first_band: int = 0,
    ) -> None:
        if not 0 <= quantity < 0xFF or not 0 <= instance <= 0xFF:
            raise ValueError("quantity must be 0 to 254, instance 0 to 255")
        if quantity >= 0xC0 and exponent is None:
            raise ValueError("quantities from 0xC0 up need an exponent")
        if exponent is not None and not -9 <= exponent <= 9:
            raise ValueError("exponent must be -9 to 9")
        if bands < 0 or first_band < 0 or first_band + bands > 256:
            raise ValueError("bands must lie within 0 to 255")
        self.quantity = quantity
        self.instance = instance
        self.exponent = exponent
        self.bands = bands
        self.first_band = first_band


def _zigzag(step: int) -> int:
    """zigzag of a step taken modulo 2**32 as signed."""
    if step > _SMALL or step < -_SMALL:
        step = (step + 0x80000000) % 0x100000000 - 0x80000000
    return step << 1 if step >= 0 else (-step << 1) - 1


def _rice_bits(code: int, k: int) -> int:
    ones = code >> k
    return ones + 1 + k if ones < _UNARY_MAX else _ESCAPED_BITS


def _uvarint_bytes(value: int) -> int:
    length = 1
    while value > 127:
        value >>= 7
        length += 1
    return length


class Batch:
    """Up to rows_max (1..255) rows of the channels' values.

    start() sets the period, add_row() opens a row, put() fills it, encode() writes rows into a
    frame, drop_rows() removes them afterwards. Column 0 is time; channel i is column i + 1.
    """

    def __init__(self, channels: "list[Channel] | tuple[Channel, ...]", rows_max: int) -> None:
        columns = len(channels) + 1
        if not 1 <= rows_max <= wire.ROWS_MAX or not 1 < columns <= wire.COLUMNS_MAX:
            raise ValueError("a batch has 1 to 255 rows of 1 to 63 channels")
        self._channels = [Channel(0)]
        self._starts = array("i", bytes(4 * columns))
        total = rows_max
        for channel in channels:
            for other in self._channels:
                if channel.quantity == other.quantity and channel.instance == other.instance:
                    raise ValueError("quantity 0, or two channels of one quantity and instance")
            self._starts[len(self._channels)] = total
            self._channels.append(channel)
            total += rows_max * (channel.bands or 1)
        if total > wire.VALUES_MAX:
            raise ValueError("more than 16384 values: fewer rows or channels are needed")
        self.rows = 0
        self._rows_max = rows_max
        self._values = array("i", bytes(4 * total))
        self._times = array("i", bytes(4 * rows_max))
        self._quality = bytearray(rows_max * columns)
        self._coding = bytearray(columns)
        self._rice = bytearray(columns)
        self._steps = bytearray(columns)
        self._start_ms = 0
        self._start_bytes = bytearray(6)
        self._nominal_ms = 0
        self._period_ms = 0
        self._irregular = False
        # Where a row that is too large for one frame goes on: column, band, bands of this part.
        self._column = 1
        self._band = 0
        self._part = 0
        self._at = 0
        self._width = 0
        self._sum = 0
        self._nonzero = 0
        self._bits = 0
        self._accumulator = 0
        self._pending = 0

    @property
    def full(self) -> bool:
        """No further row fits."""
        return self.rows >= self._rows_max

    def start(self, t0_ms: int, period_ms: int) -> None:
        """Empty the batch: rows are expected at t0_ms + i * period_ms of uptime."""
        self.rows = 0
        self._column = 1
        self._band = 0
        self._nominal_ms = period_ms
        self._set_start(t0_ms)

    def _set_start(self, t0_ms: int) -> None:
        self._start_ms = t0_ms
        for index in range(6):
            self._start_bytes[index] = (t0_ms >> (8 * index)) & 255

    def add_row(self, t_ms: int) -> int:
        """Open the row of uptime t_ms; its index, or -1 when the batch must be sent first.

        Until they are put, its values repeat the last row's and are of quality missing. A time
        before the last row's is taken as the last row's.
        """
        row = self.rows
        if row >= self._rows_max:
            return -1
        if row == 0:
            self._set_start(t_ms)
        offset = t_ms - self._start_ms
        if offset > _OFFSET_MAX:
            return -1
        if row and offset < self._times[row - 1]:
            offset = self._times[row - 1]
        self._times[row] = offset
        for column in range(1, len(self._channels)):
            width = self._channels[column].bands or 1
            start = self._starts[column] + row * width
            for index in range(start, start + width):
                self._values[index] = self._values[index - width] if row else 0
            self._quality[column * self._rows_max + row] = wire.Q_MISSING
        self.rows = row + 1
        return row

    def put(self, column: int, value: "int | None", quality: int = 0) -> None:
        """Set channel column of the last row; None repeats the last value as missing.

        Outside int32 the nearest is kept, of quality below or above.
        """
        width = self._channels[column + 1].bands or 1
        at = (column + 1) * self._rows_max + self.rows - 1
        if value is None:
            self._quality[at] = quality or wire.Q_MISSING
            return
        self._quality[at] = quality
        self._keep(self._starts[column + 1] + (self.rows - 1) * width, value, at)

    def put_vector(self, column: int, values: "array[int] | list[int]", quality: int = 0) -> None:
        """Set all bands of channel column of the last row."""
        width = self._channels[column + 1].bands or 1
        at = (column + 1) * self._rows_max + self.rows - 1
        start = self._starts[column + 1] + (self.rows - 1) * width
        self._quality[at] = quality
        for band in range(width):
            self._keep(start + band, values[band], at)

    def _keep(self, index: int, value: int, at: int) -> None:
        if value > _SMALL or value < -_SMALL:
            if value > wire.INT32_MAX:
                value = wire.INT32_MAX
                self._quality[at] = self._quality[at] or wire.Q_ABOVE
            elif value < wire.INT32_MIN:
                value = wire.INT32_MIN
                self._quality[at] = self._quality[at] or wire.Q_BELOW
        self._values[index] = value

    def drop_rows(self, count: int) -> None:
        """Remove the first count rows; the others keep their times."""
        left = self.rows - count
        if count <= 0 or left <= 0:
            self.rows = 0 if left <= 0 else self.rows
            return
        shift = self._times[count]
        for row in range(left):
            self._times[row] = self._times[row + count] - shift
        for column in range(1, len(self._channels)):
            width = self._channels[column].bands or 1
            start = self._starts[column]
            for index in range(start, start + left * width):
                self._values[index] = self._values[index + count * width]
            start = column * self._rows_max
            for index in range(start, start + left):
                self._quality[index] = self._quality[index + count]
        self.rows = left
        self._set_start(self._start_ms + shift)

    def encode(self, builder: FrameBuilder) -> int:
        """Write as many of the first rows as fit into a SAMPLES section; how many were written.

        0 with rows left: finish this frame and encode into the next. So goes a single row that
        is too large for a frame, by columns and bands; its last part answers 1. Raises Overflow
        when a frame with nothing else in it has no room at all.
        """
        rows = self.rows
        if not rows:
            return 0
        room = builder.room()
        if self._column == 1 and not self._band:
            self._fill_leading()
            self._part = 0
            while rows:
                size = self._plan(rows)
                if size <= room:
                    first = 0 if self._irregular else 1
                    self._write(builder, rows, first, len(self._channels))
                    return rows
                rows = min(rows - 1, rows * room // size)
            if builder.pos > wire.HEADER:
                return 0
        return self._encode_part(builder, room)

    def _encode_part(self, builder: FrameBuilder, room: int) -> int:
        """Write the columns of the first row that fit, from where the last frame ended."""
        self._plan_times(1)
        first = self._column
        bands = self._channels[first].bands or 1
        self._part = bands - self._band
        prefix = 11 + _uvarint_bytes(self._period_ms)
        heads = prefix + self._plan_column(first, 1)
        while heads + ((self._bits + 7) >> 3) > room:
            self._part >>= 1
            if not self._part:
                raise Overflow
            heads = prefix + self._plan_column(first, 1)
        bits = self._bits
        last = first + 1
        if self._band + self._part == bands:
            while last < len(self._channels):
                heads += self._plan_column(last, 1)
                bits += self._bits
                if heads + ((bits + 7) >> 3) > room:
                    break
                last += 1
            self._write(builder, 1, first, last)
            self._band = 0
            self._column = last if last < len(self._channels) else 1
            return 1 if self._column == 1 else 0
        self._write(builder, 1, first, last)
        self._band += self._part
        return 0

    def _fill_leading(self) -> None:
        """Rows missing from the start repeat the first value that is there."""
        for column in range(1, len(self._channels)):
            quality = column * self._rows_max
            row = 0
            while row < self.rows and self._quality[quality + row] == wire.Q_MISSING:
                row += 1
            if 0 < row < self.rows:
                width = self._channels[column].bands or 1
                start = self._starts[column]
                for index in range(start + row * width - 1, start - 1, -1):
                    self._values[index] = self._values[index + width]

    def _plan(self, rows: int) -> int:
        """Choose the coding of every column for the first rows; bytes of the section."""
        self._plan_times(rows)
        size = 11 + _uvarint_bytes(self._period_ms)
        bits = 0
        for column in range(0 if self._irregular else 1, len(self._channels)):
            size += self._plan_column(column, rows)
            bits += self._bits
        return size + ((bits + 7) >> 3)

    def _plan_times(self, rows: int) -> None:
        """Choose period and time residuals; the nominal period stays if most rows keep it."""
        period = self._nominal_ms
        kept = 0
        for row in range(1, rows):
            if self._times[row] - self._times[row - 1] == period:
                kept += 1
        if kept * 2 < rows - 1:
            period = self._times[rows - 1] // (rows - 1)
        self._period_ms = period
        self._irregular = False
        for row in range(rows):
            residual = self._times[row] - row * period
            self._values[row] = residual
            if residual:
                self._irregular = True

    def _plan_column(self, column: int, rows: int) -> int:
        """Choose a column's coding, its bits into _bits; bytes of its head."""
        self._select(column)
        count = rows * self._width - 1
        best = self._cost(rows, 0)
        coding = 0
        steps = self._nonzero
        k = 0
        if not steps:
            coding = _CONSTANT
            best = 0
        else:
            k = self._mean_k(self._sum, count)
            if k:
                best = self._cost(rows, k)
                while k:
                    cost = self._cost(rows, k - 1)
                    if cost >= best:
                        break
                    best = cost
                    k -= 1
            coding = k
            if self._width == 1 and steps * 2 <= count:
                sparse_k = self._mean_k(self._sum - steps, steps)
                cost = self._sparse_cost(rows, sparse_k)
                while sparse_k:
                    less = self._sparse_cost(rows, sparse_k - 1)
                    if less >= cost:
                        break
                    cost = less
                    sparse_k -= 1
                if cost + 16 < best:
                    coding = _SPARSE
                    k = sparse_k
                    best = cost
        self._coding[column] = coding
        self._rice[column] = k
        self._steps[column] = steps & 255
        self._bits = best
        return self._head_bytes(column, rows, coding)

    def _head_bytes(self, column: int, rows: int, coding: int) -> int:
        channel = self._channels[column]
        size = 2 + _uvarint_bytes(_zigzag(self._values[self._at]))
        if channel.instance:
            size += 1
        if channel.exponent is not None:
            size += 1
        if channel.bands:
            size += 2
        runs = self._runs(column, rows)
        if runs:
            size += 1 + 2 * runs
        if coding == _SPARSE:
            size += 2
        return size

    def _select(self, column: int) -> None:
        """Make a column, or the part of it that is being sent, the one that is walked over."""
        self._at = self._starts[column]
        self._width = self._channels[column].bands or 1
        if self._part and column == self._column:
            self._at += self._band
            self._width = self._part

    def _mean_k(self, total: int, count: int) -> int:
        k = 0
        while k < _K_MAX and count << (k + 1) <= total:
            k += 1
        return k

    def _cost(self, rows: int, k: int) -> int:
        """Bits of the selected column in Rice(k); its _sum and _nonzero on the way."""
        values = self._values
        width = self._width
        index = self._at
        bits = total = nonzero = 0
        for row in range(rows):
            left = 0
            for band in range(width):
                rise = values[index] - values[index - width] if row else values[index]
                step = rise - left
                left = rise
                index += 1
                if not step and (row or band):
                    bits += k + 1
                elif row or band:
                    code = _zigzag(step)
                    ones = code >> k
                    bits += ones + 1 + k if ones < _UNARY_MAX else _ESCAPED_BITS
                    total += code if code < _SUM_CAP else _SUM_CAP
                    nonzero += 1
        self._sum = total
        self._nonzero = nonzero
        return bits

    def _sparse_cost(self, rows: int, k: int) -> int:
        values = self._values
        bits = 0
        gap = 0
        for index in range(self._at + 1, self._at + rows):
            step = values[index] - values[index - 1]
            if step:
                bits += _rice_bits(gap, _GAP_K) + _rice_bits(_zigzag(step) - 1, k)
                gap = 0
            else:
                gap += 1
        return bits

    def _runs(self, column: int, rows: int) -> int:
        """Quality runs of a column, the last one not counted when it is ok."""
        if not column:
            return 0
        start = column * self._rows_max
        runs = 0
        counted = 0
        last = -1
        for index in range(start, start + rows):
            code = self._quality[index]
            if code != last:
                runs += 1
                last = code
                if code:
                    counted = runs
        return counted

    def _write(self, builder: FrameBuilder, rows: int, first: int, last: int) -> None:
        builder.open(wire.S_SAMPLES)
        for index in range(6):
            builder.u8(self._start_bytes[index])
        builder.uvarint(self._period_ms)
        builder.u8(rows)
        builder.u8(last - first)
        for column in range(first, last):
            self._write_head(builder, column, rows)
        self._accumulator = 0
        self._pending = 0
        for column in range(first, last):
            self._select(column)
            coding = self._coding[column]
            if coding == _SPARSE:
                self._write_sparse(builder, rows, self._rice[column])
            elif coding != _CONSTANT:
                self._write_rice(builder, rows, coding)
        if self._pending:
            builder.u8(self._accumulator << (8 - self._pending))
        builder.close()

    def _write_head(self, builder: FrameBuilder, column: int, rows: int) -> None:
        self._select(column)
        channel = self._channels[column]
        coding = self._coding[column]
        runs = self._runs(column, rows)
        control = coding
        if channel.instance:
            control |= _INSTANCE
        if channel.bands:
            control |= _VECTOR
        if runs:
            control |= _QUALITY
        if channel.exponent is not None:
            control |= _EXPONENT
        builder.u8(channel.quantity)
        builder.u8(control)
        if channel.instance:
            builder.u8(channel.instance)
        if channel.exponent is not None:
            builder.u8(channel.exponent)
        if channel.bands:
            builder.u8(channel.first_band + self._at - self._starts[column])
            builder.u8(self._width)
        if runs:
            self._write_runs(builder, column, rows, runs)
        if coding == _SPARSE:
            builder.u8(self._steps[column])
            builder.u8(self._rice[column])
        builder.uvarint(_zigzag(self._values[self._at]))

    def _write_runs(self, builder: FrameBuilder, column: int, rows: int, runs: int) -> None:
        builder.u8(runs)
        index = column * self._rows_max
        end = index + rows
        while runs:
            start = index
            code = self._quality[start]
            while index < end and self._quality[index] == code:
                index += 1
            builder.u8(index - start)
            builder.u8(code)
            runs -= 1

    def _write_rice(self, builder: FrameBuilder, rows: int, k: int) -> None:
        values = self._values
        width = self._width
        index = self._at
        for row in range(rows):
            left = 0
            for band in range(width):
                rise = values[index] - values[index - width] if row else values[index]
                step = rise - left
                left = rise
                index += 1
                if row or band:
                    self._put_bits(builder, _zigzag(step), k)

    def _write_sparse(self, builder: FrameBuilder, rows: int, k: int) -> None:
        values = self._values
        gap = 0
        for index in range(self._at + 1, self._at + rows):
            step = values[index] - values[index - 1]
            if step:
                self._put_bits(builder, gap, _GAP_K)
                self._put_bits(builder, _zigzag(step) - 1, k)
                gap = 0
            else:
                gap += 1

    def _put_bits(self, builder: FrameBuilder, code: int, k: int) -> None:
        """Write one Rice code; fewer than 8 bits wait in the accumulator between calls."""
        ones = code >> k
        if ones < _UNARY_MAX:
            self._push(builder, (2 << ones) - 2, ones + 1)
            self._push(builder, code & ((1 << k) - 1), k)
        else:
            self._push(builder, 0x7FFF, 15)
            for shift in range(24, -1, -8):
                self._push(builder, (code >> shift) & 255, 8)

    def _push(self, builder: FrameBuilder, bits: int, count: int) -> None:
        accumulator = self._accumulator << count | bits
        pending = self._pending + count
        while pending >= 8:
            pending -= 8
            builder.u8(accumulator >> pending)
        self._accumulator = accumulator & ((1 << pending) - 1)
        self._pending = pending
