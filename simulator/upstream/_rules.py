"""Rules that several fake networks share."""

from __future__ import annotations

import hashlib
import re

ISO_Z = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z")


def lot(key: str) -> float:
    """A number from 0 to 1 that is the same for the same key."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest()) / 2**32
