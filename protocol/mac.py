"""HMAC-SHA256 (MicroPython has no hmac module)."""

from hashlib import sha256

UP = b"up"
DOWN = b"dn"
CLAIM = b"claim"
_BLOCK = 64


class Mac:
    """Tags frames with one direction's key."""

    def __init__(self, key: bytes) -> None:
        if len(key) > _BLOCK:
            key = sha256(key).digest()
        key += bytes(_BLOCK - len(key))
        self._inner = bytes([byte ^ 0x36 for byte in key])
        self._outer = bytes([byte ^ 0x5C for byte in key])

    def tag(self, view: "bytes | bytearray | memoryview") -> bytes:
        """HMAC-SHA256 of view, 32 B; a frame's trailer is its first 8."""
        inner = sha256(self._inner)
        inner.update(view)
        outer = sha256(self._outer)
        outer.update(inner.digest())
        digest: bytes = outer.digest()
        return digest


def derive(key: bytes, label: bytes) -> bytes:
    """The key (32 B) for one use of a node's key: label UP, DOWN or CLAIM."""
    return Mac(key).tag(label)
