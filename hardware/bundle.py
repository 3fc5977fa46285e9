"""Firmware bundles: put together here for updates over the link, taken apart on the board."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from struct import pack

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hardware import romfs
from protocol.bundle import LABEL, MAGIC, SIZE_MAX

ENTRY = "firmware/application"
TEXT_BYTES_MAX = 255


@dataclass(frozen=True, slots=True)
class Bundle:
    """What the collector offers to boards."""

    content: bytes
    version: str
    sha256: bytes
    signature: bytes


def compose(architecture: str, version: str, files: Mapping[str, bytes]) -> bytes:
    """A bundle of a slot's files by their path below it; architecture as mpy-cross names it.

    Raises ValueError without an entry, or for a bundle that boards refuse.
    """
    content = MAGIC + _text(architecture) + _text(version) + romfs.image(files, ENTRY)
    if len(content) > SIZE_MAX:
        raise ValueError(f"{len(content)} bytes; boards take {SIZE_MAX} at most")
    return content


def sign(content: bytes, version: str, key: Ed25519PrivateKey) -> Bundle:
    """The bundle with its hash and the signature that boards check."""
    sha256 = hashlib.sha256(content).digest()
    message = LABEL + pack("<I", len(content)) + sha256 + version.encode()
    return Bundle(content, version, sha256, key.sign(message))


def _text(text: str) -> bytes:
    raw = text.encode()
    if len(raw) > TEXT_BYTES_MAX:
        raise ValueError(f"{text} is longer than {TEXT_BYTES_MAX} bytes")
    return bytes([len(raw)]) + raw
