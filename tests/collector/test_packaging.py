"""What the package ships: the example configuration, the udev rule, the dashboard."""

import json
import re
import shutil
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from collector.config import load
from collector.operate.metrics import _HELP

PACKAGING = Path(__file__).resolve().parent.parent.parent / "packaging"


def test_the_example_is_good_as_it_is(tmp_path: Path) -> None:
    target = tmp_path / "collector.toml"
    target.write_text((PACKAGING / "collector.toml.example").read_text())
    assert load(target).mqtt[0].name == "local"


def test_the_example_is_good_with_everything_switched_on(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker" / "collector.password").write_text("x\n")
    lines = (PACKAGING / "collector.toml.example").read_text().splitlines()
    switched_on = [re.sub(r"^# (?=\[|[a-z_]+ = )", "", line) for line in lines]
    target = tmp_path / "collector.toml"
    target.write_text("\n".join(switched_on))
    config = load(target)
    assert config.serial[0].port == "/dev/osn-*"
    assert config.retention.keep_days == 730
    assert [correction.formula for correction in config.corrections] == [
        "kappa-koehler-1",
        "linear-1",
    ]
    assert config.sinks[0].privacy.grid_m == 4000


def test_the_dashboard_asks_for_metrics_that_exist() -> None:
    dashboard = json.loads((PACKAGING / "grafana" / "osn-collector.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
        for name in re.findall(r"osn_[a-z_]+", target["expr"])
    }
    assert asked
    assert asked <= set(_HELP)
    identities = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identities)) == len(identities)


RULES = PACKAGING / "udev" / "60-osn-boards.rules"
MATCH = re.compile(r'([A-Z]+(?:\{\w+\})?)=="([^"]*)"')


def is_taken(vendor: str, product: str) -> bool:
    """Whether a rule matches a serial port of a USB device with these ids."""
    device = {"SUBSYSTEM": "tty", "ATTRS{idVendor}": vendor, "ATTRS{idProduct}": product}
    rules = [line for line in RULES.read_text().splitlines() if line and line[0] != "#"]
    return any(
        all(
            any(fnmatchcase(device.get(key, ""), one) for one in wanted.split("|"))
            for key, wanted in MATCH.findall(rule)
        )
        for rule in rules
    )


def test_every_udev_rule_names_boards_the_way_the_example_does() -> None:
    for rule in RULES.read_text().splitlines():
        assert rule.startswith("#") or 'SYMLINK+="osn-%k"' in rule
        assert rule.startswith("#") or len(MATCH.findall(rule)) == 3, "it matches by both ids"


@pytest.mark.parametrize(("product"), ["1001", "4001"])
def test_a_chip_that_is_a_usb_device_itself_is_ours(product: str) -> None:
    assert is_taken("303a", product)


@pytest.mark.parametrize(
    ("vendor", "product"),
    [
        ("10c4", "ea60"),  # CP210x: boards, and Zigbee sticks of Sonoff, SMLIGHT and Nabu Casa
        ("1a86", "7523"),  # CH340
        ("1a86", "55d4"),  # CH9102: boards, and Sonoff's Zigbee stick of the second kind
        ("1a86", "55d3"),  # CH343
        ("0403", "6001"),  # FTDI FT232: boards, meters' reading heads, Enocean sticks
        ("0403", "6015"),  # FTDI FT231X: ConBee I among others
        ("1cf1", "0030"),  # ConBee II
        ("0658", "0200"),  # Aeotec's Z-Wave stick
        ("2341", "0043"),  # Arduino Uno
        ("303a", "831a"),  # another maker's product with an Espressif vendor id
    ],
)
def test_what_may_be_somebody_elses_is_left_alone(vendor: str, product: str) -> None:
    assert not is_taken(vendor, product)


def test_udev_takes_the_rules() -> None:
    program = shutil.which("udevadm", path="/usr/bin:/bin:/usr/sbin:/sbin")
    if program is None:
        pytest.skip("udevadm is not installed")
    done = subprocess.run([program, "verify", str(RULES)], capture_output=True, text=True)
    if "Unknown command" in done.stderr or "unknown command" in done.stderr:
        pytest.skip("this udevadm has no verify")
    assert done.returncode == 0, done.stdout + done.stderr
