"""Decode a SAMPLES section into columns of integers."""

from collections.abc import Sequence
from itertools import accumulate
from operator import add
from typing import NamedTuple

from protocol import rice, wire
from protocol.registry import ESCAPE, EXPERIMENTAL, REGISTRY
from protocol.varint import read_uvarint
from protocol.wire import FrameError

_SPARSE = 14
_CONSTANT = 15
_GAP_K = 2
_INSTANCE = 0x10
_VECTOR = 0x20
_QUALITY = 0x40
_EXPONENT = 0x80
_OPTIONS = _INSTANCE | _VECTOR | _QUALITY | _EXPONENT
_SAFE = 1 << 30
# A step of 2**32, which is none: the escaped 2**32 - 1.
_LARGEST = "1" * 47
_EXPONENTS = {row.id: row.exponent for row in REGISTRY.values()}


class Column(NamedTuple):
    """One channel's integers: a row after the other, each of bands values for a vector.

    exponent is the column's own or the registry's, None for a quantity that neither names.
    bands is 0 for a scalar. qualities has a code per row, or is None when all are ok.
    """

    quantity: int
    instance: int
    exponent: int | None
    first_band: int
    bands: int
    values: list[int]
    qualities: list[int] | None


class Samples(NamedTuple):
    """Rows of samples: their times (ms of uptime) and a column per channel."""

    t0_ms: int
    period_ms: int
    times_ms: tuple[int, ...]
    columns: tuple[Column, ...]


# Of a column: quantity, coding, instance, own exponent, first band, bands, quality runs, sparse
# steps, sparse k, first value.
_Head = tuple[int, int, int, int | None, int, int, bytes, int, int, int]
_new_tuple = tuple.__new__


def parse_samples(data: bytes, values_left: int) -> tuple[Samples, int]:
    """A SAMPLES section's content, and how many values it declares.

    values_left bounds them before anything is allocated. Raises FrameError.
    """
    if len(data) < 9:
        raise FrameError("samples", "shorter than its fixed fields")
    period, at = read_uvarint(data, 6)
    if len(data) < at + 2:
        raise FrameError("samples", "shorter than its fixed fields")
    rows = data[at]
    count = data[at + 1]
    if not rows:
        raise FrameError("rows", "n is 0")
    if count > wire.COLUMNS_MAX:
        raise FrameError("columns", f"{count} columns, 64 at most")
    try:
        heads, at, declared = _heads(data, at + 2, rows, count, values_left)
    except IndexError:
        raise FrameError("column", "a column's head runs past the section's end") from None
    bits = rice.bit_string(data[at:])
    wide = rice.has_escape(bits)
    columns, end = _columns(heads, rows, bits, wide)
    if len(bits) - end > 7 or "1" in bits[end:]:
        raise FrameError("padding", "bits after the last code are not a byte's zeros")
    t0 = int.from_bytes(data[:6], "little")
    if columns and columns[0].quantity == 0:
        residuals = columns.pop(0).values
        times = tuple([t0 + row * period + residual for row, residual in enumerate(residuals)])
        if times[0] < 0 or any(map(int.__gt__, times, times[1:])):
            raise FrameError("times", "times decrease")
    else:
        times = tuple(range(t0, t0 + rows * period, period)) if period else (t0,) * rows
    return Samples(t0, period, times, tuple(columns)), declared


def _heads(
    data: bytes, at: int, rows: int, count: int, values_left: int
) -> tuple[list[_Head], int, int]:
    """All column heads, the position after them, and the number of values they declare."""
    heads = []
    seen = set()
    declared = 0
    for index in range(count):
        quantity = data[at]
        control = data[at + 1]
        at += 2
        coding = control & 15
        instance = first_band = bands = steps = sparse_k = 0
        exponent = None
        runs = b""
        if control & _OPTIONS:
            if control & _INSTANCE:
                instance = data[at]
                at += 1
            if control & _EXPONENT:
                exponent = data[at] - 256 if data[at] > 127 else data[at]
                at += 1
            if control & _VECTOR:
                first_band = data[at]
                bands = data[at + 1]
                at += 2
            if control & _QUALITY:
                end = at + 1 + 2 * data[at]
                runs = data[at + 1 : end]
                at = end
                _check_runs(runs, rows)
        if coding == _SPARSE:
            steps = data[at]
            sparse_k = data[at + 1]
            at += 2
            if not 1 <= steps < rows or sparse_k > rice.K_MAX or control & _VECTOR:
                raise FrameError("sparse", "steps, k or a vector that sparse coding has not")
        declared += rows * (bands or 1)
        if declared > values_left:
            raise FrameError("values", "more than 16384 values in a frame")
        code = data[at]
        if code < 128:
            at += 1
        else:
            code, at = read_uvarint(data, at)
        if control & (_VECTOR | _EXPONENT) or rows == 1 or quantity >= EXPERIMENTAL or not quantity:
            _check_head(quantity, control, exponent, first_band, bands)
            if rows * (bands or 1) == 1 and coding != _CONSTANT:
                raise FrameError("coding", "a single value is always constant")
            if quantity == 0 and (index or control & _OPTIONS):
                raise FrameError("times", "time residuals come first, once, without options")
        first = (code >> 1) ^ -(code & 1)
        heads.append(
            (
                quantity,
                coding,
                instance,
                exponent,
                first_band,
                bands,
                runs,
                steps,
                sparse_k,
                first,
            )
        )
        seen.add(quantity << 8 | instance)
    if len(seen) < count:
        raise FrameError("duplicate", "two columns of one quantity and instance")
    return heads, at, declared


def _check_runs(runs: bytes, rows: int) -> None:
    if 0 in runs[::2] or sum(runs[::2]) > rows:
        raise FrameError("quality", "a run of no rows, or runs of more rows than there are")


def _check_head(
    quantity: int, control: int, exponent: int | None, first_band: int, bands: int
) -> None:
    if exponent is not None and not -9 <= exponent <= 9:
        raise FrameError("exponent", f"{exponent}, -9 to 9 are allowed")
    if quantity >= EXPERIMENTAL:
        if quantity == ESCAPE:
            raise FrameError("quantity", "255 is reserved")
        if exponent is None:
            raise FrameError("exponent", "missing, though the quantity is experimental")
    if control & _VECTOR and not 1 <= bands <= 256 - first_band:
        raise FrameError("bands", f"{bands} bands from {first_band} up")


def _columns(heads: list[_Head], rows: int, bits: str, wide: bool) -> tuple[list[Column], int]:
    """The columns of all heads, and the position after the last code."""
    columns = []
    at = 0
    find, step = rice.FIND, rice.STEP
    for quantity, coding, instance, own, first_band, bands, runs, steps, sparse_k, first in heads:
        if coding < _SPARSE:
            count = rows * bands - 1 if bands else rows - 1
            # take_codes() unrolled for its usual case: this is where decoding spends its time.
            codes = find[coding](bits, at, at + count * (coding + 3) + 16)[:count]
            taken = "".join(codes)
            if len(codes) == count and bits.startswith(taken, at):
                at += len(taken)
            else:
                codes, at = rice.take_codes(bits, at, count, coding)
            moves = map(step[coding], codes)
            if bands > 1:
                values = _planes(first, list(moves), bands)
            else:
                values = list(accumulate(moves, initial=first))
            if wide or not -_SAFE < first < _SAFE:
                values = _wrapped(values)
        elif coding == _CONSTANT:
            values = [first] * (rows * bands if bands else rows)
        else:
            values, at = _sparse(first, rows, steps, sparse_k, bits, at)
            if wide or not -_SAFE < first < _SAFE:
                values = _wrapped(values)
        exponent = _EXPONENTS.get(quantity) if own is None else own
        qualities = _qualities(runs, rows) if runs else None
        fields = (quantity, instance, exponent, first_band, bands, values, qualities)
        columns.append(_new_tuple(Column, fields))
    return columns, at


def _planes(first: int, moves: list[int], bands: int) -> list[int]:
    """A vector's values: row 0 from the left neighbour, others from left + up - upleft."""
    row = list(accumulate(moves[: bands - 1], initial=first))
    values = row.copy()
    for at in range(bands - 1, len(moves), bands):
        row = list(map(add, row, accumulate(moves[at : at + bands])))
        values += row
    return values


def _sparse(first: int, rows: int, steps: int, k: int, bits: str, at: int) -> tuple[list[int], int]:
    """A scalar column of which only the steps are coded."""
    pairs, at = rice.take_pairs(bits, at, steps, k)
    gap_of, number_of = rice.NUMBER[_GAP_K], rice.NUMBER[k]
    values = [first]
    value = first
    for gap_code, step_code in pairs:
        gap = gap_of(gap_code)
        if gap:
            if gap + len(values) >= rows:
                raise FrameError("sparse", "a step after the last row")
            values += [value] * gap
        code = number_of(step_code) + 1
        value += (code >> 1) ^ -(code & 1)
        values.append(value)
    if len(values) > rows or any(code.startswith(_LARGEST) for _, code in pairs):
        raise FrameError("sparse", "a step after the last row, or above 32 bits")
    values.extend([value] * (rows - len(values)))
    return values, at


def _wrapped(values: Sequence[int]) -> list[int]:
    """Values modulo 2**32, as signed."""
    return [((value + 0x80000000) & 0xFFFFFFFF) - 0x80000000 for value in values]


def _qualities(runs: bytes, rows: int) -> list[int]:
    qualities: list[int] = []
    for run, code in zip(runs[::2], runs[1::2], strict=True):
        qualities.extend([code] * run)
    qualities.extend([0] * (rows - len(qualities)))
    return qualities
