"""Ed25519 signature check (RFC 8032) in plain integers; loaded only while an update is checked."""

from struct import pack, unpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = 37095705934669439343138083508754565189542113879843219016388785533085940283555
_ROOT = 19681161376707505956807079304988542015446066515923890162744021073123829784752
_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
_Y = 46316835694926478169428394003475163141307993866256225615783033603165251855960
_MASK = 2**64 - 1
_NEUTRAL = (0, 1, 1, 0)

_START = (
    0x6A09E667F3BCC908,
    0xBB67AE8584CAA73B,
    0x3C6EF372FE94F82B,
    0xA54FF53A5F1D36F1,
    0x510E527FADE682D1,
    0x9B05688C2B3E6C1F,
    0x1F83D9ABFB41BD6B,
    0x5BE0CD19137E2179,
)


def _cube_roots() -> "Iterator[int]":
    """SHA-512's constants: the fractions of the cube roots of the primes, 64 bits each."""
    number = 2
    while True:
        if all(number % divisor for divisor in range(2, number)):
            low, high = 0, 1 << 67
            target = number << 192
            while high - low > 1:
                middle = (low + high) >> 1
                if middle * middle * middle <= target:
                    low = middle
                else:
                    high = middle
            yield low & _MASK
        number += 1


def _rotated(x: int, count: int) -> int:
    return (x >> count | x << (64 - count)) & _MASK


def sha512(message: bytes) -> bytes:
    """SHA-512 of a short message (MicroPython's hashlib ends at SHA-256)."""
    length = len(message)
    message += b"\x80" + bytes(-(length + 17) % 128) + pack(">QQ", 0, length * 8)
    state = list(_START)
    for at in range(0, len(message), 128):
        words = list(unpack(">16Q", message[at : at + 128]))
        constants = _cube_roots()
        a, b, c, d, e, f, g, h = state
        for index in range(80):
            word = words[index & 15]
            w15, w2 = words[index + 1 & 15], words[index + 14 & 15]
            s0 = _rotated(w15, 1) ^ _rotated(w15, 8) ^ w15 >> 7
            s1 = _rotated(w2, 19) ^ _rotated(w2, 61) ^ w2 >> 6
            words[index & 15] = (word + s0 + words[index + 9 & 15] + s1) & _MASK
            s1 = _rotated(e, 14) ^ _rotated(e, 18) ^ _rotated(e, 41)
            first = h + s1 + (e & f ^ ~e & g) + next(constants) + word
            s0 = _rotated(a, 28) ^ _rotated(a, 34) ^ _rotated(a, 39)
            second = s0 + (a & b ^ a & c ^ b & c)
            h, g, f, e, d, c, b = g, f, e, (d + first) & _MASK, c, b, a
            a = (first + second) & _MASK
        for index, word in enumerate((a, b, c, d, e, f, g, h)):
            state[index] = (state[index] + word) & _MASK
    return pack(">8Q", *state)


# A point is (X, Y, Z, T) with x = X/Z, y = Y/Z, x*y = T/Z.


def _add(p: "tuple[int, ...]", q: "tuple[int, ...]") -> "tuple[int, int, int, int]":
    a = (p[1] - p[0]) * (q[1] - q[0]) % _P
    b = (p[1] + p[0]) * (q[1] + q[0]) % _P
    c = p[3] * q[3] % _P * (2 * _D) % _P
    d = 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _double(p: "tuple[int, ...]") -> "tuple[int, int, int, int]":
    a = p[0] * p[0] % _P
    b = p[1] * p[1] % _P
    c = 2 * p[2] * p[2] % _P
    h = a + b
    e = h - (p[0] + p[1]) * (p[0] + p[1]) % _P
    g = a - b
    f = c + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _decompress(data: bytes) -> "tuple[int, int, int, int] | None":
    """The point of 32 bytes; None when there is none."""
    y = _number(data)
    sign = y >> 255
    y &= (1 << 255) - 1
    if y >= _P:
        return None
    u = (y * y - 1) % _P
    v = (_D * y % _P * y + 1) % _P
    v3 = v * v % _P * v % _P
    x = u * v3 % _P * pow(u * v3 % _P * v3 % _P * v % _P, (_P - 5) // 8, _P) % _P
    if (v * x % _P * x - u) % _P:
        x = x * _ROOT % _P
        if (v * x % _P * x - u) % _P:
            return None
    if not x and sign:
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _compress(p: "tuple[int, ...]") -> bytes:
    inverse = pow(p[2], _P - 2, _P)
    x, y = p[0] * inverse % _P, p[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether signature (64 B) of message is by the owner of public (32 B)."""
    if len(public) != 32 or len(signature) != 64:
        return False
    owner = _decompress(public)
    s = _number(signature[32:])
    if owner is None or s >= _ORDER:
        return False
    h = _number(sha512(signature[:32] + public + message)) % _ORDER
    base = (_X, _Y, 1, _X * _Y % _P)
    minus = (_P - owner[0], owner[1], 1, _P - owner[3])
    table = (_NEUTRAL, base, minus, _add(base, minus))
    found: "tuple[int, ...]" = _NEUTRAL
    for bit in range(252, -1, -1):
        found = _double(found)
        choice = s >> bit & 1 | (h >> bit & 1) << 1
        if choice:
            found = _add(found, table[choice])
    return _compress(found) == signature[:32]
