"""HMAC-SHA256 (MicroPython has no hmac module)."""

from hashlib import sha256

from protocol import const

UP = b"up"
DOWN = b"dn"
CLAIM = b"claim"
_BLOCK = const(64)
_INNER = const(0x36)


class Mac:
    """Tags frames with one direction's key."""

    def __init__(self, key: bytes) -> None:
        if len(key) > _BLOCK:
            key = sha256(key).digest()
        key += bytes(_BLOCK - len(key))
        self._inner = bytes([byte ^ _INNER for byte in key])

    def tag(self, view: "bytes | bytearray | memoryview") -> bytes:
        """HMAC-SHA256 of view, 32 B; a frame's trailer is its first 8."""
        inner = sha256(self._inner)
        inner.update(view)
        # The outer pad (0x36 ^ 0x5C = 0x6A) is kept nowhere: a board has less room than time.
        flipped = int.from_bytes(self._inner, "big") ^ int.from_bytes(b"\x6a" * _BLOCK, "big")
        outer = sha256(flipped.to_bytes(_BLOCK, "big"))
        outer.update(inner.digest())
        digest: bytes = outer.digest()
        return digest


def derive(key: bytes, label: bytes) -> bytes:
    """The key (32 B) for one use of a node's key: label UP, DOWN or CLAIM."""
    return Mac(key).tag(label)
