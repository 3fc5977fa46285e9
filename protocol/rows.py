"""Rows of samples, kept until they are packed. Runs on the board.

Everything is preallocated: adding readings below 2**28 allocates nothing.
"""

from array import array

from protocol import const

_BELOW = const(3)
_ABOVE = const(4)
_MISSING = const(6)
_INT32_MAX = const(0x7FFFFFFF)
_SPAN_MAX_MS = const(0x1FFFFFFF)
# The registry's exponent, in the place of a column's own.
_REGISTRY = const(0x7F)
# Fields of a column: quantity, instance, exponent, bands, first band.
_FIELDS = const(5)


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
        power = 10 if exponent is None and quantity >= 0xC0 else exponent or 0
        if not (0 < quantity < 0xFF and -10 < power < 10 and bands + first_band <= 256 > bands):
            raise ValueError("quantity, exponent or bands")
        self.quantity = quantity
        self.instance = instance
        self.exponent = exponent
        self.bands = bands
        self.first_band = first_band


class Rows:
    """Up to rows_max rows of the channels' values, their times and qualities.

    start() sets the period, add_row() opens a row, put() fills it, drop_rows() removes rows.
    Raises ValueError for more than 255 rows, 63 channels or 16,384 values.
    """

    def __init__(self, channels: "list[Channel] | tuple[Channel, ...]", rows_max: int) -> None:
        # Column 0 is time; channel i is column i + 1.
        self._fields = bytearray(b"\0\0\x7f\0\0")
        self._starts = array("i", [0])
        total = rows_max
        seen = {0}
        for channel in channels:
            seen.add(channel.quantity << 8 | channel.instance)
            exponent = _REGISTRY if channel.exponent is None else channel.exponent & 255
            for field in (channel.quantity, channel.instance, exponent, channel.bands):
                self._fields.append(field)
            self._fields.append(channel.first_band)
            self._starts.append(total)
            total += rows_max * (channel.bands or 1)
        columns = len(self._starts)
        if not 0 < rows_max < 256 or not 1 < columns <= 64 or total > 16384:
            raise ValueError("1-255 rows, 1-63 channels, 16384 values at most")
        if len(seen) < columns:
            raise ValueError("two channels of one quantity and instance")
        self.rows = 0
        self._rows_max = rows_max
        self._values = array("i", bytes(4 * total))
        self._times = array("i", bytes(4 * rows_max))
        self._quality = bytearray(rows_max * columns)
        # Then values and qualities of a cell have the same index.
        self._scalar = total == rows_max * columns
        # Rows before this one are dropped.
        self._first = 0
        self._period_ms = 0
        # The start in two parts that are small integers everywhere.
        self._low = 0
        self._high = 0
        # Where a row too large for a frame goes on: column and band.
        self._column = 1
        self._band = 0

    @property
    def full(self) -> bool:
        """No further row fits."""
        return self._first + self.rows >= self._rows_max

    def start(self, t0_ms: int, period_ms: int) -> None:
        """Empty the batch: rows are expected at t0_ms + i * period_ms of uptime."""
        self.rows = self._first = self._band = 0
        self._column = 1
        self._period_ms = period_ms
        self._low = t0_ms & 0xFFFFFF
        self._high = t0_ms >> 24

    def add_row(self, t_ms: int) -> int:
        """Open the row of uptime t_ms; its index, or -1 when the batch must be sent first.

        Until they are put, its values repeat the last row's and are of quality missing. A time
        before the last row's is taken as the last row's.
        """
        if not self.rows:
            self.start(t_ms, self._period_ms)
        row = self._first + self.rows
        offset = t_ms - (self._high << 24 | self._low)
        if row >= self._rows_max or offset > _SPAN_MAX_MS:
            return -1
        if row and offset < self._times[row - 1]:
            offset = self._times[row - 1]
        self._times[row] = offset
        values = self._values
        quality = self._quality
        rows_max = self._rows_max
        at = row + rows_max
        if self._scalar:
            end = len(quality)
            while at < end:
                values[at] = values[at - 1] if row else 0
                quality[at] = _MISSING
                at += rows_max
        else:
            for column in range(1, len(self._starts)):
                width = self._fields[_FIELDS * column + 3] or 1
                start = self._starts[column] + row * width
                for index in range(start, start + width):
                    values[index] = values[index - width] if row else 0
                quality[at] = _MISSING
                at += rows_max
        self.rows += 1
        return self.rows - 1

    def put(self, column: int, value: "int | None", quality: int = 0, band: int = 0) -> None:
        """Set channel column of the last row; None repeats the last value as missing.

        Outside int32 the nearest is kept, of quality below or above.
        """
        row = self._first + self.rows - 1
        at = (column + 1) * self._rows_max + row
        if value is None:
            self._quality[at] = quality or _MISSING
            return
        if value > _INT32_MAX:
            value = _INT32_MAX
            self._quality[at] = quality or _ABOVE
        elif value < -_INT32_MAX - 1:
            value = -_INT32_MAX - 1
            self._quality[at] = quality or _BELOW
        elif not band:
            self._quality[at] = quality
        if self._scalar:
            self._values[at] = value
            return
        column += 1
        width = self._fields[_FIELDS * column + 3] or 1
        self._values[self._starts[column] + row * width + band] = value

    def put_vector(self, column: int, values: "array[int] | list[int]", quality: int = 0) -> None:
        """Set all bands of channel column of the last row."""
        for band in range(self._fields[_FIELDS * column + _FIELDS + 3]):
            self.put(column, values[band], quality, band)

    def drop_rows(self, count: int) -> None:
        """Remove the first count rows; their room is free again when all are gone."""
        self.rows -= count
        self._first = self._first + count if self.rows > 0 else 0
