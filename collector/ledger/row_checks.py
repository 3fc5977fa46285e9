"""What a row of the ledger's tables can say; a damaged one is not believed, and stops nothing."""

import json
from collections.abc import Sequence
from typing import Any

from collector.ledger.ledger_boot import BootLedger
from collector.ranges import Ranges

U32_MAX = 0xFFFFFFFF
U48_MAX = 0xFFFFFFFFFFFF
_SIGNED_MAX = 1 << 62
_TAG_BYTES = 8

_NUMBERS = {
    "issued": (2, 0, U32_MAX),
    "before": (3, 0, U32_MAX),
    "live": (4, 0, U32_MAX),
    "live_ms": (5, -1, U48_MAX),
    "last_ms": (6, -1, U48_MAX),
    "down": (7, 0, U32_MAX),
    "anchor_ms": (8, -_SIGNED_MAX, _SIGNED_MAX),
    "seen_ms": (9, -_SIGNED_MAX, _SIGNED_MAX),
}
_SETS = {"received": 10, "dropped": 11, "lost": 12, "erased": 13}


def is_key(value: object) -> bool:
    """Whether it can be a node's address or a boot's number."""
    return type(value) is int and 0 <= value <= U32_MAX


def is_number(value: object, lowest: int, highest: int) -> bool:
    """Whether it is a whole number within these bounds."""
    return type(value) is int and lowest <= value <= highest


def read_boot(row: Sequence[Any]) -> tuple[BootLedger, list[str]]:
    """What a row of `ledger` says of a boot, and its faults; a faulty field is as in a new boot.

    The key, its first two values, has to be whole.
    """
    boot = BootLedger(row[0], row[1])
    faults = []
    for name, (place, lowest, highest) in _NUMBERS.items():
        value = row[place]
        if is_number(value, lowest, highest) or (name == "anchor_ms" and value is None):
            setattr(boot, name, value)
        else:
            faults.append(f"{name} is {_shown(value)}")
    for name, place in _SETS.items():
        try:
            numbers = Ranges.decode(row[place])
            if (numbers.last or 0) > U32_MAX:
                raise ValueError("numbers beyond 32 bits")
        except (ValueError, TypeError) as error:
            faults.append(f"{name}: {error}")
        else:
            setattr(boot, name, numbers)
    try:
        boot.conflicts = _conflicts(row[14])
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        faults.append(f"conflicts: {error}")
    if boot.before > boot.issued:
        if any(fault.startswith("issued") for fault in faults):
            boot.issued = boot.before
        else:  # nothing may be acknowledged on the word of such a row
            faults.append(f"before is {boot.before}, above issued, {boot.issued}")
            boot.before = 0
    boot.down_written = boot.down
    boot.settled.add(0, boot.before)
    for part in (boot.received, boot.dropped, boot.lost, boot.erased):
        boot.settled.update(part)
    return boot, faults


def _conflicts(text: str) -> dict[int, list[bytes]]:
    if not text:
        return {}
    found = {
        int(seq): [bytes.fromhex(tag) for tag in tags] for seq, tags in json.loads(text).items()
    }
    for seq, tags in found.items():
        if not 0 < seq <= U32_MAX or any(len(tag) != _TAG_BYTES for tag in tags):
            raise ValueError("no frame number or no trailer")
    return found


def read_counters(text: object) -> dict[int, int]:
    """Drop counters of a row of `node`; ValueError when they are damaged."""
    try:
        if not isinstance(text, str):
            raise TypeError("no text")
        found = {int(reason): int(frames) for reason, frames in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(str(error)) from error
    if not all(0 <= reason <= 255 and 0 <= frames <= U32_MAX for reason, frames in found.items()):
        raise ValueError("a counter beyond 32 bits")
    return found


def _shown(value: object) -> str:
    return repr(value)[:40]
