"""What may become of a received frame."""

from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """What became of a received frame."""

    ACCEPTED = "accepted"
    CONFLICT = "conflict"
    PENDING = "pending"
    DUPLICATE = "duplicate"
    UNSURE = "unsure"
    ERASED = "erased"
    LIVE = "live"
    IGNORED = "ignored"
    REFUSED = "refused"


class Decision(NamedTuple):
    """The decision, and its reason when the frame was refused or ignored."""

    kind: Kind
    reason: str = ""


ACCEPTED = Decision(Kind.ACCEPTED)
CONFLICT = Decision(Kind.CONFLICT)
PENDING = Decision(Kind.PENDING)
DUPLICATE = Decision(Kind.DUPLICATE)
UNSURE = Decision(Kind.UNSURE)
ERASED = Decision(Kind.ERASED)
LIVE = Decision(Kind.LIVE)
