"""A signed firmware bundle as `osn-board bundle` writes it: the bundle, then its signature.

The collector never has the signing key. It reads what it must tell boards, and leaves the judgement
to them.
"""

import hashlib
from dataclasses import dataclass

from protocol.bundle import MAGIC, SIGNATURE_BYTES, SIGNED, SIZE_MAX

TRAILER_BYTES = len(SIGNED) + SIGNATURE_BYTES


class BundleError(ValueError):
    """A file that is no signed bundle; the message says why."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What boards are offered: the bundle, its version, hash and signature."""

    content: bytes
    architecture: str
    version: str
    sha256: bytes
    signature: bytes


def read_bundle(raw: bytes) -> Bundle:
    """A bundle from a file's bytes; BundleError when it is none, or not signed."""
    if not raw.startswith(MAGIC):
        raise BundleError("not a firmware bundle; make one with `osn-board bundle`")
    if raw[-TRAILER_BYTES : -TRAILER_BYTES + len(SIGNED)] != SIGNED:
        raise BundleError("not signed; make it with `osn-board bundle --sign KEY`")
    content = raw[:-TRAILER_BYTES]
    if len(content) > SIZE_MAX:
        raise BundleError(f"{len(content)} bytes; boards take {SIZE_MAX} at most")
    architecture, at = _text(content, len(MAGIC))
    version, _ = _text(content, at)
    return Bundle(
        content,
        architecture,
        version,
        hashlib.sha256(content).digest(),
        raw[-SIGNATURE_BYTES:],
    )


def signed_file(content: bytes, signature: bytes) -> bytes:
    """The bytes of a signed bundle's file."""
    if len(signature) != SIGNATURE_BYTES:
        raise BundleError(f"a signature has {SIGNATURE_BYTES} bytes")
    return content + SIGNED + signature


def _text(content: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + content[at] if at < len(content) else len(content) + 1
    if end > len(content):
        raise BundleError("cut short")
    try:
        return content[at + 1 : end].decode(), end
    except UnicodeDecodeError:
        raise BundleError("its version is not text") from None
