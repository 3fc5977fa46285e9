"""Rice codes from a string of bits, at the speed of C: one regular expression per k.

A code is at most 14 ones, a zero and k bits; or 15 ones and 32 bits.
"""

import re
from itertools import islice

from protocol.wire import FrameError

K_MAX = 13
_ESCAPE = "1" * 15
_REMEMBERED = 2048


class _Steps(dict[str, int]):
    """The signed step that a code of Rice(k) means; remembers the first 2048 that it meets."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self._k = k

    def __missing__(self, code: str) -> int:
        step = unzigzag(number(code, self._k))
        if len(self) < _REMEMBERED:
            self[code] = step
        return step


_CODES = [re.compile(f"1{{0,14}}+0.{{{k}}}|1{{15}}.{{32}}") for k in range(K_MAX + 1)]
_STEPS = [_Steps(k) for k in range(K_MAX + 1)]
_LOOK_UP = [steps.__getitem__ for steps in _STEPS]


def unzigzag(code: int) -> int:
    """0, 1, 2, 3 become 0, -1, 1, -2."""
    return (code >> 1) ^ -(code & 1)


def number(code: str, k: int) -> int:
    """The unsigned number of one Rice(k) code."""
    if code.startswith(_ESCAPE):
        return int(code[15:], 2)
    ones = code.index("0")
    return ones << k | int("0" + code[ones + 1 :], 2)


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
    codes = _CODES[k].findall(bits, at, at + count * (k + 3) + 16)[:count]
    taken = "".join(codes)
    if len(codes) < count or not bits.startswith(taken, at):
        # Longer codes than usual: look for no more than count of them, in all that is left.
        codes = [match[0] for match in islice(_CODES[k].finditer(bits, at), count)]
        taken = "".join(codes)
        if len(codes) < count or not bits.startswith(taken, at):
            raise FrameError("bits", "a column's codes run past the section's end")
    return codes, at + len(taken)


def take_steps(bits: str, at: int, count: int, k: int) -> "tuple[map[int], int]":
    """The next count signed steps, and the position after them."""
    codes, at = take_codes(bits, at, count, k)
    return map(_LOOK_UP[k], codes), at
