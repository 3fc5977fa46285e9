"""Rice codes from a string of bits, at the speed of C: one regular expression per k.

A code is at most 14 ones, a zero and k bits; or 15 ones and 32 bits.
"""

import re
from itertools import islice

from protocol.varint import unzigzag
from protocol.wire import FrameError

K_MAX = 13
_ESCAPE = "1" * 15
_REMEMBERED = 1024


class _Numbers(dict[str, int]):
    """The number that a code of Rice(k) means; remembers the first 1024 that it meets."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self._k = k

    def __missing__(self, code: str) -> int:
        if code.startswith(_ESCAPE):
            return int(code[15:], 2)
        ones = code.index("0")
        number = ones << self._k | int("0" + code[ones + 1 :], 2)
        if len(self) < _REMEMBERED:
            self[code] = number
        return number


class _Steps(dict[str, int]):
    """The signed step that a code of Rice(k) means; remembers the first 1024 that it meets."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self._k = k

    def __missing__(self, code: str) -> int:
        step = unzigzag(NUMBER[self._k](code))
        if len(self) < _REMEMBERED:
            self[code] = step
        return step


def _code(k: int) -> str:
    return f"1{{0,14}}+0.{{{k}}}|1{{15}}.{{32}}"


_CODES = [re.compile(_code(k)) for k in range(K_MAX + 1)]
_PAIRS = [re.compile(f"({_code(2)})({_code(k)})") for k in range(K_MAX + 1)]
NUMBER = [_Numbers(k).__getitem__ for k in range(K_MAX + 1)]
"""For each k, the number that a code means."""
FIND = [pattern.findall for pattern in _CODES]
"""For each k, findall(bits, from, to): the codes from a position on."""
STEP = [_Steps(k).__getitem__ for k in range(K_MAX + 1)]
"""For each k, the signed step that a code means."""


def bit_string(data: bytes) -> str:
    """The bits of data, most significant first."""
    return format(int.from_bytes(data), f"0{len(data) * 8}b") if data else ""


def has_escape(bits: str) -> bool:
    """Whether a code with 32 raw bits can be among them."""
    return _ESCAPE in bits


def take_codes(bits: str, at: int, count: int, k: int) -> tuple[list[str], int]:
    """The next count codes of Rice(k) from position at, and the position after them.

    Raises FrameError bits when there are fewer.
    """
    codes = FIND[k](bits, at, at + count * (k + 3) + 16)[:count]
    taken = "".join(codes)
    if len(codes) == count and bits.startswith(taken, at):
        return codes, at + len(taken)
    # Longer codes than usual: look for no more than count of them, in all that is left.
    codes = [match[0] for match in islice(_CODES[k].finditer(bits, at), count)]
    taken = "".join(codes)
    if len(codes) < count or not bits.startswith(taken, at):
        raise FrameError("bits", "a column's codes run past the section's end")
    return codes, at + len(taken)


def take_pairs(bits: str, at: int, count: int, k: int) -> tuple[list[tuple[str, str]], int]:
    """The next count pairs of a code of Rice(2) and one of Rice(k); as take_codes()."""
    end = at + count * (k + 8) + 32
    pairs = _PAIRS[k].findall(bits, at, end)[:count]
    taken = "".join(map("".join, pairs))
    if len(pairs) < count or not bits.startswith(taken, at):
        found = islice(_PAIRS[k].finditer(bits, at), count)
        pairs = [(match[1], match[2]) for match in found]
        taken = "".join(map("".join, pairs))
        if len(pairs) < count or not bits.startswith(taken, at):
            raise FrameError("bits", "a column's codes run past the section's end")
    return pairs, at + len(taken)
