"""Answers that come compressed although nobody asked: taken apart piece by piece.

Sinks ask for `identity`. Some servers and proxies compress all the same, by gzip or deflate
(RFC 9110, 8.4.1); another coding is not read.
"""

import zlib
from collections.abc import Iterator

PIECE_BYTES = 1 << 18
MEMBERS_MAX = 16
GZIP = 16 + zlib.MAX_WBITS
DEFLATE = zlib.MAX_WBITS
RAW_DEFLATE = -zlib.MAX_WBITS
CODINGS = {"gzip": GZIP, "x-gzip": GZIP, "deflate": DEFLATE}


class CannotDecompress(Exception):
    """A body compressed by a coding that is not read here, or not as its header says."""


class Decompressor:
    """One body by its Content-Encoding. All methods raise CannotDecompress."""

    def __init__(self, coding: str) -> None:
        kind = CODINGS.get(coding.strip().lower())
        if kind is None:
            raise CannotDecompress(f"a body compressed by {coding[:40]!r}, which was not asked for")
        self._kind = kind
        self._stream = zlib.decompressobj(kind)
        self._members = 0
        self._begun = b""

    def pieces(self, part: bytes) -> Iterator[bytes]:
        """What a received part becomes, at most PIECE_BYTES at a time."""
        if self._members == 0:
            part = self._begun = self._begun + part
            if len(part) < 2:
                return
            self._member()
        while part:
            if self._stream.eof:
                self._member()
            try:
                piece = self._stream.decompress(part, PIECE_BYTES)
            except zlib.error:
                raise CannotDecompress("a body that is not compressed as its head says") from None
            part = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            if piece:
                yield piece

    def finish(self) -> None:
        """Says that the body ended; nothing at all is a body without content."""
        if self._begun and not (self._members and self._stream.eof):
            raise CannotDecompress("a compressed body that ends too early")

    def _member(self) -> None:
        """Begins a member; gzip may have several, and deflate comes without its head, too."""
        self._members += 1
        if self._members > MEMBERS_MAX or (self._members > 1 and self._kind != GZIP):
            raise CannotDecompress("more than one compressed body in an answer")
        kind = self._kind
        if kind == DEFLATE and int.from_bytes(self._begun[:2], "big") % 31:
            kind = RAW_DEFLATE
        self._stream = zlib.decompressobj(kind)
