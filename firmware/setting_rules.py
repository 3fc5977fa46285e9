"""The table of settings with defaults and limits, and what reads, checks and writes by it.

Kept and sent alike: (key u16, length u8, value)*, integers as zigzag uvarint, text as UTF-8. A
board loads this at its start and for a CONFIG, and unloads it then.
"""

from struct import pack, unpack_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator

    from firmware.settings import Settings
    from firmware.types import Files

OPEN = "o"  # CONFIG may change it
NETWORK = "n"  # CONFIG may change it; tried once, reverted when no ACK comes
LOCAL = "l"  # only over USB: secrets and private places

PROVISION_FILE = "provision.json"
RESTART = ("sample_interval_s", "batch_rows", "spool_bytes", "window", "watchdog_s", "sleep")

# One text, not a table of tuples: on a board it takes a fifth of the memory.
# name key kind (lowest highest default | longest "default)
TABLE = """
revision 1 o 0 2147483647 0
sample_interval_s 2 o 1 86400 60
report_interval_s 3 o 1 86400 300
batch_rows 4 o 1 255 12
live_interval_s 5 o 10 3600 60
hello_interval_s 6 o 600 604800 21600
spool_bytes 7 o 65536 64000000 1500000
spool_sync_s 8 o 0 3600 60
window 9 o 1 32 8
watchdog_s 10 o 60 600 120
silent_reboot_h 11 o 0 720 24
trial_s 12 o 60 3600 300
position_decimals 13 o 2 5 5
sleep 14 o 0 1 0
sleep_rows 15 o 1 64 6
transport 32 n 8 "mqtt
broker_host 33 n 64 "
broker_port 34 n 1 65535 1883
broker_tls 35 n 0 1 0
wifi_ssid 36 n 32 "
keepalive_s 37 n 10 600 60
serial_port 38 n 8 "repl
serial_baud 39 n 9600 2000000 115200
wifi_password 64 l 64 "
broker_user 65 l 64 "
broker_password 66 l 128 "
home_zone_1 67 l 40 "
home_zone_2 68 l 40 "
home_zone_3 69 l 40 "
noise_calibration_cdb 70 l -2000 2000 0
"""


class SettingError(ValueError):
    """A setting that cannot be taken; key names which, its text says why."""

    def __init__(self, key: int, why: str) -> None:
        super().__init__("setting %d: %s" % (key, why))
        self.key = key


class Row:
    """One line of the table."""

    def __init__(self, line: str) -> None:
        words = line.split(" ")
        self.name = words[0]
        self.key = int(words[1])
        self.kind = words[2]
        self.is_text = words[-1].startswith('"')
        self.lowest = 0 if self.is_text else int(words[3])
        self.highest = int(words[3 if self.is_text else 4])  # of a text its length in bytes
        self.default: "int | str" = words[4][1:] if self.is_text else int(words[5])

    def check(self, value: "int | str") -> None:
        """Raise SettingError when value is of the wrong kind or outside the limits."""
        if self.is_text:
            if not isinstance(value, str) or len(value.encode()) > self.highest:
                raise SettingError(self.key, "a text of at most %d bytes" % self.highest)
        elif not isinstance(value, int) or not self.lowest <= value <= self.highest:
            raise SettingError(self.key, "a number from %d to %d" % (self.lowest, self.highest))

    def decode(self, data: "bytes | memoryview") -> "int | str":
        """A value from its bytes, checked. Raises SettingError."""
        from protocol.downlink import integer

        try:
            value = str(bytes(data), "utf-8") if self.is_text else integer(memoryview(data))
        except ValueError:
            raise SettingError(self.key, "not UTF-8" if self.is_text else "not a number")
        self.check(value)
        return value


def rows() -> "Iterator[Row]":
    """All rows of the table."""
    for line in TABLE.strip().split("\n"):
        yield Row(line)


def row_named(name: str) -> Row:
    """The row of a name. Raises SettingError."""
    start = TABLE.find("\n" + name + " ")
    if start < 0:
        raise SettingError(0, "there is none named " + name)
    return Row(TABLE[start + 1 : TABLE.find("\n", start + 1)])


def row_of(key: int) -> Row:
    """The row of a key. Raises SettingError."""
    for row in rows():
        if row.key == key:
            return row
    raise SettingError(key, "unknown")


def encode(value: "int | str") -> bytes:
    """A value's bytes."""
    if isinstance(value, str):
        return value.encode()
    code = value << 1 if value >= 0 else (-value << 1) - 1
    out = bytearray()
    while code > 127:
        out.append(code & 127 | 128)
        code >>= 7
    out.append(code)
    return bytes(out)


def defaults() -> "dict[str, int | str]":
    """The default of each setting by name."""
    return {row.name: row.default for row in rows()}


def unpack_into(settings: "Settings", data: bytes) -> None:
    """Take up what pack_all() gave; entries that this build does not know are carried along."""
    at = 0
    while at + 3 <= len(data):
        key, length = unpack_from("<HB", data, at)
        end = at + 3 + length
        try:
            row = row_of(key)
            settings.values[row.name] = row.decode(data[at + 3 : end])
        except SettingError:
            settings.foreign += data[at:end]
        at = end


def pack_all(settings: "Settings") -> bytes:
    """All that was ever set."""
    data = settings.foreign
    for name in settings.values:
        raw = encode(settings.values[name])
        data += pack("<HB", row_named(name).key, len(raw)) + raw
    return data


def take_provisioned(settings: "Settings", files: "Files") -> bool:
    """Take up a provision.json of {name: value}; whether there was one."""
    try:
        handle = files.open(PROVISION_FILE, "r")
    except OSError:
        return False
    import json

    try:
        given = json.load(handle)
    finally:
        handle.close()
    for name in given:
        settings.set(name, given[name])
    return True


def changes(
    settings: "Settings", entries: "Iterable[tuple[int, bytes | memoryview]]"
) -> "tuple[dict[str, int | str], bool]":
    """(values by name, whether the network's are among them) of a CONFIG; raises SettingError."""
    changed: "dict[str, int | str]" = {}
    network = False
    for key, raw in entries:
        row = row_of(key)
        if row.kind == LOCAL:
            raise SettingError(key, "may only be set over USB")
        value = row.decode(raw)
        if row.kind == NETWORK and settings[row.name] != value:
            network = True
        changed[row.name] = value
    return changed, network
