"""What the package ships: the example configuration, the udev rule, the dashboard."""

import json
import re
from pathlib import Path

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


def test_every_udev_rule_names_boards_the_way_the_example_does() -> None:
    rules = (PACKAGING / "udev" / "60-osn-boards.rules").read_text().splitlines()
    for rule in rules:
        assert rule.startswith("#") or 'SYMLINK+="osn-%k"' in rule
