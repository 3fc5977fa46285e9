"""Settings: one table with defaults and limits, kept A/B with a checksum, tried before kept.

Kept and sent alike: (key u16, length u8, value)*, integers as zigzag uvarint, text as UTF-8.
"""

from struct import pack, unpack_from

from firmware.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator

    from firmware.types import Files

OPEN = 0  # CONFIG may change it
NETWORK = 1  # CONFIG may change it; tried once, reverted when no ACK comes
LOCAL = 2  # only over USB: secrets and private places

PROVISION_FILE = "provision.json"

# key, name, default, lowest or longest text, highest, kind
TABLE = (
    (1, "revision", 0, 0, 0x7FFFFFFF, OPEN),
    (2, "sample_interval_s", 60, 1, 86_400, OPEN),
    (3, "report_interval_s", 300, 1, 86_400, OPEN),
    (4, "batch_rows", 60, 1, 255, OPEN),
    (5, "live_interval_s", 60, 10, 3_600, OPEN),
    (6, "hello_interval_s", 21_600, 600, 604_800, OPEN),
    (7, "spool_bytes", 1_500_000, 65_536, 64_000_000, OPEN),
    (8, "spool_sync_s", 60, 0, 3_600, OPEN),
    (9, "window", 8, 1, 32, OPEN),
    (10, "health_interval_s", 3_600, 0, 86_400, OPEN),
    (11, "watchdog_s", 120, 60, 600, OPEN),
    (12, "silent_reboot_h", 24, 0, 720, OPEN),
    (32, "transport", "mqtt", 8, 0, NETWORK),
    (33, "broker_host", "", 64, 0, NETWORK),
    (34, "broker_port", 1883, 1, 65_535, NETWORK),
    (35, "broker_tls", 0, 0, 1, NETWORK),
    (36, "wifi_ssid", "", 32, 0, NETWORK),
    (37, "keepalive_s", 60, 10, 600, NETWORK),
    (38, "serial_port", "repl", 8, 0, NETWORK),
    (39, "serial_baud", 115_200, 9_600, 2_000_000, NETWORK),
    (40, "trial_s", 300, 60, 3_600, OPEN),
    (64, "wifi_password", "", 63, 0, LOCAL),
    (65, "broker_user", "", 64, 0, LOCAL),
    (66, "broker_password", "", 128, 0, LOCAL),
    (80, "position_decimals", 5, 2, 5, OPEN),
    (81, "home_zone_1", "", 40, 0, LOCAL),
    (82, "home_zone_2", "", 40, 0, LOCAL),
    (83, "home_zone_3", "", 40, 0, LOCAL),
    (96, "sleep", 0, 0, 1, OPEN),
    (97, "sleep_rows", 6, 1, 64, OPEN),
)
_KEY, _NAME, _DEFAULT, _LOW, _HIGH, _KIND = 0, 1, 2, 3, 4, 5


class SettingError(ValueError):
    """A setting that cannot be taken; key names which, its text says why."""

    def __init__(self, key: int, why: str) -> None:
        super().__init__("setting %d: %s" % (key, why))
        self.key = key


def row_of(key: "int | str") -> "tuple[Any, ...]":
    """The table's row for a key or name. Raises SettingError."""
    column = _NAME if isinstance(key, str) else _KEY
    for row in TABLE:
        if row[column] == key:
            return row
    raise SettingError(key if isinstance(key, int) else 0, "unknown %s" % key)


def check(row: "tuple[Any, ...]", value: "int | str") -> None:
    """Raise SettingError when value is of the wrong kind or outside the row's limits."""
    if isinstance(row[_DEFAULT], str):
        if not isinstance(value, str) or len(value.encode()) > row[_LOW]:
            raise SettingError(row[_KEY], "text of at most %d bytes" % row[_LOW])
    elif not isinstance(value, int) or not row[_LOW] <= value <= row[_HIGH]:
        raise SettingError(row[_KEY], "from %d to %d" % (row[_LOW], row[_HIGH]))


def decode(row: "tuple[Any, ...]", data: "bytes | memoryview") -> "int | str":
    """A value from its bytes. Raises SettingError."""
    if isinstance(row[_DEFAULT], str):
        try:
            return str(bytes(data), "utf-8")
        except UnicodeError:
            raise SettingError(row[_KEY], "not UTF-8")
    value = shift = 0
    for index, byte in enumerate(data):
        value |= (byte & 127) << shift
        shift += 7
        if not byte & 128:
            if index + 1 != len(data) or index > 9:
                break
            return -(value + 1 >> 1) if value & 1 else value >> 1
    raise SettingError(row[_KEY], "not a number")


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


def entries(data: "bytes | memoryview") -> "Iterator[tuple[int, bytes | memoryview]]":
    """(key, bytes) of each entry. Raises SettingError on a cut entry."""
    at = 0
    while at < len(data):
        if at + 3 > len(data) or at + 3 + data[at + 2] > len(data):
            raise SettingError(0, "cut short")
        key = unpack_from("<H", data, at)[0]
        end = at + 3 + data[at + 2]
        yield key, data[at + 3 : end]
        at = end


class Settings:
    """Values by name; what was never set has its default.

    A trial lives in RAM alone, so that any reset reverts it; keep() writes it to flash.
    """

    def __init__(self, files: "Files | None" = None, path: str = "settings") -> None:
        self._store = Store(files, path) if files is not None else None
        self._files = files
        self._values: "dict[str, int | str]" = {}
        self._foreign = b""  # entries of another build
        self._before: "dict[str, int | str] | None" = None

    def __getitem__(self, name: str) -> "Any":
        if name in self._values:
            return self._values[name]
        return row_of(name)[_DEFAULT]

    def load(self) -> None:
        """Read what is kept; entries that this build does not know or allow are carried along.

        A provision.json of {name: value}, put there over USB, is taken up and removed.
        """
        data = self._store.load() if self._store else None
        for key, raw in entries(data or b""):
            try:
                row = row_of(key)
                value = decode(row, raw)
                check(row, value)
            except SettingError:
                self._foreign += pack("<HB", key, len(raw)) + bytes(raw)
                continue
            self._values[row[_NAME]] = value
        self._take_provisioned()

    def _take_provisioned(self) -> None:
        if self._files is None:
            return
        try:
            handle = self._files.open(PROVISION_FILE, "r")
        except OSError:
            return
        import json

        try:
            given = json.load(handle)
        finally:
            handle.close()
        for name in given:
            self.set(name, given[name])
        self.save()
        self._files.remove(PROVISION_FILE)

    def set(self, name: str, value: "int | str") -> None:
        """Set one value in RAM. Raises SettingError."""
        row = row_of(name)
        check(row, value)
        self._values[name] = value

    def save(self) -> None:
        """Write all that differs from the defaults. Raises OSError."""
        data = self._foreign
        for row in TABLE:
            name = str(row[_NAME])
            if name in self._values:
                raw = encode(self._values[name])
                data += pack("<HB", row[_KEY], len(raw)) + raw
        if self._store:
            self._store.save(data)

    def apply(self, data: "bytes | memoryview") -> bool:
        """Take a CONFIG's entries as a trial, all or none; True when one is a network setting.

        Raises SettingError; nothing is changed then. keep() or revert() must follow.
        """
        changed = {}
        network = False
        for key, raw in entries(data):
            row = row_of(key)
            if row[_KIND] == LOCAL:
                raise SettingError(key, "may only be set over USB")
            value = decode(row, raw)
            check(row, value)
            if row[_KIND] == NETWORK and self[row[_NAME]] != value:
                network = True
            changed[row[_NAME]] = value
        self._before = dict(self._values)
        self._values.update(changed)
        return network

    @property
    def on_trial(self) -> bool:
        """Whether applied values wait for keep() or revert()."""
        return self._before is not None

    def keep(self) -> None:
        """End a trial well: write it to flash. Raises OSError."""
        self._before = None
        self.save()

    def revert(self) -> None:
        """End a trial: back to the values before it."""
        if self._before is not None:
            self._values = self._before
        self._before = None
