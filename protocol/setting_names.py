"""The settings that CONFIG may change: their numbers and kinds, by the names that people use.

A board has the table with defaults and limits, and checks; docs/settings.md shows it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Setting(NamedTuple):
    """A setting's number on the wire, and whether its value is a text."""

    key: int
    is_text: bool = False


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        "revision": Setting(1),
        "sample_interval_s": Setting(2),
        "report_interval_s": Setting(3),
        "batch_rows": Setting(4),
        "live_interval_s": Setting(5),
        "hello_interval_s": Setting(6),
        "spool_bytes": Setting(7),
        "spool_sync_s": Setting(8),
        "window": Setting(9),
        "watchdog_s": Setting(10),
        "silent_reboot_h": Setting(11),
        "trial_s": Setting(12),
        "position_decimals": Setting(13),
        "sleep": Setting(14),
        "sleep_rows": Setting(15),
        "transport": Setting(32, is_text=True),
        "broker_host": Setting(33, is_text=True),
        "broker_port": Setting(34),
        "broker_tls": Setting(35),
        "wifi_ssid": Setting(36, is_text=True),
        "keepalive_s": Setting(37),
        "serial_port": Setting(38, is_text=True),
        "serial_baud": Setting(39),
    }
)
