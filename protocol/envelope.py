"""A frame's envelope at full rate: who it claims to be from, whether it is, and where what lies.

The collector's half; a board opens frames with protocol/frame.py, in place and by smaller code.
"""

import hashlib
import hmac
from struct import Struct
from typing import NamedTuple

from protocol import wire
from protocol.identity import BootId, FrameId
from protocol.wire import FrameError

KEYS_CACHED_MAX = 20_000
_HEAD = Struct("<BBHIII")
_SHORTEST = wire.HEADER + wire.CRC_BYTES
_SECTION_HEAD = 3
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

    @property
    def boot_id(self) -> BootId:
        """The boot that the frame says it is from."""
        return BootId(self.node, self.boot)

    @property
    def frame_id(self) -> FrameId:
        """What names the frame, if it is sequenced."""
        return FrameId(self.node, self.boot, self.seq)


def head_of(raw: bytes) -> Head:
    """Reads the header; FrameError short, long, magic, version, incompatible or length."""
    length = len(raw)
    if length < _SHORTEST:
        raise FrameError("short", f"{length} bytes, {_SHORTEST} at least")
    if length > wire.FRAME_MAX_COLLECTOR:
        raise FrameError("long", f"{length} bytes, {wire.FRAME_MAX_COLLECTOR} at most")
    magic, flags, body, node, boot, seq = _HEAD.unpack_from(raw)
    if magic != wire.MAGIC:
        raise FrameError("version" if magic >> 4 == wire.MAGIC >> 4 else "magic")
    if flags & wire.RESERVED_FLAGS:
        raise FrameError("incompatible")
    authenticated = flags & wire.AUTH
    trailer = wire.TAG_BYTES if authenticated else wire.CRC_BYTES
    if wire.HEADER + body + trailer != length:
        told = wire.HEADER + body + trailer
        raise FrameError("length", f"{length} bytes, {told} by its header")
    return Head(flags & wire.TYPE_MASK, bool(authenticated), node, boot, seq, wire.HEADER + body)


def sections(body: bytes | memoryview) -> list[tuple[int, int, int]]:
    """(tag, start, end) of each section's content within a body; FrameError section, sections."""
    found = []
    at = 0
    end = len(body)
    while at < end:
        start = at + _SECTION_HEAD
        if start > end:
            raise FrameError("section", "the body ends within a section's head")
        tag = body[at]
        at = start + (body[at + 1] | body[at + 2] << 8)
        found.append((tag, start, at))
    if at > end:
        raise FrameError("section", "a section runs past the body's end")
    if len(found) > wire.SECTIONS_MAX:
        raise FrameError("sections", f"more than {wire.SECTIONS_MAX} sections")
    return found


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
