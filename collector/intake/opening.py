"""Checking an envelope at full rate: who a frame claims to be from, and whether it is."""

import hashlib
import hmac
from struct import Struct
from typing import NamedTuple

from protocol import wire
from protocol.wire import FrameError

KEYS_CACHED_MAX = 20_000
_HEAD = Struct("<BBHIII")
_SHORTEST = wire.HEADER + wire.CRC_BYTES
_BLOCK = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


class Head(NamedTuple):
    """The header of a frame whose length is right; `end` is where its trailer begins."""

    type: int
    authenticated: bool
    node: int
    boot: int
    seq: int
    end: int


def head_of(raw: bytes) -> Head:
    """Reads the header; FrameError short, long, magic, version, incompatible or length."""
    length = len(raw)
    if length < _SHORTEST:
        raise FrameError("short")
    if length > wire.FRAME_MAX_COLLECTOR:
        raise FrameError("long")
    magic, flags, body, node, boot, seq = _HEAD.unpack_from(raw)
    if magic != wire.MAGIC:
        raise FrameError("version" if magic >> 4 == wire.MAGIC >> 4 else "magic")
    if flags & wire.RESERVED_FLAGS:
        raise FrameError("incompatible")
    authenticated = flags & wire.AUTH
    trailer = wire.TAG_BYTES if authenticated else wire.CRC_BYTES
    if wire.HEADER + body + trailer != length:
        raise FrameError("length")
    return Head(flags & wire.TYPE_MASK, bool(authenticated), node, boot, seq, wire.HEADER + body)


class TagChecker:
    """HMAC-SHA256 with each key's two pads hashed once: less than half the time of `hmac`."""

    def __init__(self) -> None:
        self._pads: dict[bytes, tuple[hashlib._Hash, hashlib._Hash]] = {}

    def holds(self, raw: bytes, end: int, key: bytes) -> bool:
        """True when the trailer at `end` was made with this key."""
        pads = self._pads.get(key)
        if pads is None:
            pads = self._prepare(key)
        inner = pads[0].copy()
        inner.update(raw[:end])
        outer = pads[1].copy()
        outer.update(inner.digest())
        return hmac.compare_digest(outer.digest()[: wire.TAG_BYTES], raw[end:])

    def _prepare(self, key: bytes) -> tuple["hashlib._Hash", "hashlib._Hash"]:
        if len(self._pads) >= KEYS_CACHED_MAX:
            self._pads.clear()
        block = key.ljust(_BLOCK, b"\0")
        pads = (
            hashlib.sha256(block.translate(_INNER)),
            hashlib.sha256(block.translate(_OUTER)),
        )
        self._pads[key] = pads
        return pads
