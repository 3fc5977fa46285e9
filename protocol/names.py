"""Words for the numbers of the wire format, for people: `decode`, documents, logs."""

from collections.abc import Mapping
from types import MappingProxyType

from protocol import wire


def _by_prefix(prefix: str) -> Mapping[int, str]:
    names = {
        value: name[len(prefix) :]
        for name, value in vars(wire).items()
        if name.startswith(prefix) and isinstance(value, int)
    }
    return MappingProxyType(names)


TYPES = _by_prefix("T_")
SECTIONS = _by_prefix("S_")
QUALITIES = MappingProxyType(
    {
        wire.Q_OK: "ok",
        wire.Q_WARMING: "warming up",
        wire.Q_FAULT: "sensor fault",
        wire.Q_BELOW: "below range",
        wire.Q_ABOVE: "above range",
        wire.Q_STALE: "stale",
        wire.Q_MISSING: "missing",
        wire.Q_MAINTENANCE: "maintenance",
        wire.Q_SUSPECT: "suspect",
    }
)
INFO_KEYS = MappingProxyType(
    {
        wire.INFO_FIRMWARE: "firmware",
        wire.INFO_BOARD: "board",
        wire.INFO_RESET_CAUSE: "reset cause",
        wire.INFO_REGISTRY: "registry revision",
        wire.INFO_IDENTITY: "identity",
        wire.INFO_KEY_SWITCH: "key switch",
    }
)
DROPS = MappingProxyType(
    {
        wire.DROP_SPOOL_FULL: "spool full",
        wire.DROP_UNWRITABLE: "spool cannot be written",
        wire.DROP_CORRUPT: "damaged in the spool",
        wire.DROP_COMMAND: "dropped by command",
    }
)
CLOCKS = MappingProxyType(
    {
        wire.CLOCK_TIME: "TIME",
        wire.CLOCK_RTC: "RTC",
        wire.CLOCK_GPS: "GPS",
        wire.CLOCK_NTP: "NTP",
    }
)
COMMANDS = MappingProxyType(
    {
        wire.C_REBOOT: "reboot",
        wire.C_IDENTIFY: "identify",
        wire.C_SELF_TEST: "self-test",
        wire.C_OTHER_SLOT: "other slot",
        wire.C_SAFE_MODE: "safe mode",
        wire.C_DROP_SPOOL: "drop spool",
        wire.C_RESEND: "resend",
        wire.C_HELLO: "hello",
    }
)
STATUSES = MappingProxyType(
    {
        wire.R_DONE: "done",
        wire.R_FAILED: "failed",
        wire.R_UNKNOWN: "unknown",
        wire.R_INVALID: "invalid",
        wire.R_STALE: "stale",
        wire.R_WANTED: "wanted",
        wire.R_PENDING: "pending",
    }
)
STATE_FLAGS = MappingProxyType(
    {
        wire.STATE_NO_SPOOL: "spool cannot be written",
        wire.STATE_SAFE_MODE: "safe mode",
        wire.STATE_CLOCK_HELD: "clock held over",
    }
)


def name(names: Mapping[int, str], number: int) -> str:
    """The word for number, or the number itself."""
    return names.get(number, f"unknown ({number})")


def flags(names: Mapping[int, str], bits: int) -> str:
    """The words for all bits that are set, or "none"."""
    words = [word for bit, word in names.items() if bits & bit]
    rest = bits & ~sum(names)
    return ", ".join([*words, *([f"{rest:#04x}"] if rest else [])]) or "none"
