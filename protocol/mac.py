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
        self._block = key + bytes(_BLOCK - len(key))

    def tag(self, view: "bytes | bytearray | memoryview") -> bytes:
        """HMAC-SHA256 of view, 32 B; a frame's trailer is its first 8."""
        digest = b""
        for pad in (0x36, 0x5C):
            total = sha256(bytes([byte ^ pad for byte in self._block]))
            total.update(digest or view)  # the outer hash is over the inner one
            digest = total.digest()
        return digest


def derive(key: bytes, label: bytes) -> bytes:
    """The key (32 B) for one use of a node's key: label UP, DOWN or CLAIM."""
    return Mac(key).tag(label)
