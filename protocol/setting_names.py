"""The settings that CONFIG may change: numbers, kinds and limits, by the names that people use.

A board has the same table with defaults, and checks again; docs/settings.md shows it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Setting(NamedTuple):
    """A setting's number on the wire, whether it is a text, and its limits (a text's in bytes)."""

    key: int
    is_text: bool
    lowest: int
    highest: int

    def fault(self, value: int | str) -> str:
        """What is wrong with a value, "" when a board takes it."""
        if self.is_text:
            good = isinstance(value, str) and len(value.encode()) <= self.highest
            return "" if good else f"takes a text of at most {self.highest} bytes"
        good = isinstance(value, int) and self.lowest <= value <= self.highest
        return "" if good else f"takes a whole number from {self.lowest} to {self.highest}"


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        "revision": Setting(1, False, 0, 2_147_483_647),
        "sample_interval_s": Setting(2, False, 1, 86_400),
        "report_interval_s": Setting(3, False, 1, 86_400),
        "batch_rows": Setting(4, False, 1, 255),
        "live_interval_s": Setting(5, False, 10, 3_600),
        "hello_interval_s": Setting(6, False, 600, 604_800),
        "spool_bytes": Setting(7, False, 65_536, 64_000_000),
        "spool_sync_s": Setting(8, False, 0, 3_600),
        "window": Setting(9, False, 1, 32),
        "watchdog_s": Setting(10, False, 60, 600),
        "silent_reboot_h": Setting(11, False, 0, 720),
        "trial_s": Setting(12, False, 60, 3_600),
        "position_decimals": Setting(13, False, 2, 5),
        "sleep": Setting(14, False, 0, 1),
        "sleep_rows": Setting(15, False, 1, 64),
        "transport": Setting(32, True, 0, 8),
        "broker_host": Setting(33, True, 0, 64),
        "broker_port": Setting(34, False, 1, 65_535),
        "broker_tls": Setting(35, False, 0, 1),
        "wifi_ssid": Setting(36, True, 0, 32),
        "keepalive_s": Setting(37, False, 10, 600),
        "serial_port": Setting(38, True, 0, 8),
        "serial_baud": Setting(39, False, 9_600, 2_000_000),
    }
)
LOCAL: Mapping[str, Setting] = MappingProxyType(
    {
        "wifi_password": Setting(64, True, 0, 64),
        "broker_user": Setting(65, True, 0, 64),
        "broker_password": Setting(66, True, 0, 128),
        "home_zone_1": Setting(67, True, 0, 40),
        "home_zone_2": Setting(68, True, 0, 40),
        "home_zone_3": Setting(69, True, 0, 40),
        "noise_calibration_cdb": Setting(70, False, -2_000, 2_000),
    }
)
"""Secrets and private places, which only the technician's tool sets."""
USB_ONLY = frozenset(setting.key for setting in LOCAL.values())
"""Their numbers, which no CONFIG may carry."""
BY_KEY: Mapping[int, str] = MappingProxyType({row.key: name for name, row in SETTINGS.items()})


def fault_of(key: int, value: int | str) -> str:
    """What is wrong with a setting by its number; "" when none, or when a newer build's."""
    if key in USB_ONLY:
        return "may only be set over USB"
    return SETTINGS[BY_KEY[key]].fault(value) if key in BY_KEY else ""
