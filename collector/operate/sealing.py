"""Secrets in a file that leaves the machine: scrypt from a passphrase, then AES-256-GCM."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

MAGIC = b"OSNSEAL1"
SALT_BYTES, NONCE_BYTES, KEY_BYTES = 16, 12, 32
WORK, BLOCK, PARALLEL = 1 << 15, 8, 1
"""32 MB and half a second on a Raspberry Pi for each guess."""
PASSPHRASE_CHARACTERS_MIN = 8


class SealError(ValueError):
    """A sealed file that cannot be opened; the message says why."""


def seal(content: bytes, passphrase: str) -> bytes:
    """Encrypts and authenticates; the same content gives other bytes each time."""
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
    head = MAGIC + salt + nonce
    return head + AESGCM(_key(passphrase, salt)).encrypt(nonce, content, head)


def unseal(raw: bytes, passphrase: str) -> bytes:
    """The content; SealError for another passphrase or a damaged file."""
    head_bytes = len(MAGIC) + SALT_BYTES + NONCE_BYTES
    if not raw.startswith(MAGIC) or len(raw) < head_bytes:
        raise SealError("not sealed by this program, or by a newer version of it")
    head = raw[:head_bytes]
    salt, nonce = head[len(MAGIC) : len(MAGIC) + SALT_BYTES], head[-NONCE_BYTES:]
    try:
        return AESGCM(_key(passphrase, salt)).decrypt(nonce, raw[head_bytes:], head)
    except InvalidTag:
        raise SealError("the passphrase is wrong, or the file is damaged") from None


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=KEY_BYTES, n=WORK, r=BLOCK, p=PARALLEL).derive(
        passphrase.encode()
    )
