"""The first configuration: asked for or from a file, safe, and good for the real thing."""

import json
from pathlib import Path

import pytest

from collector.config import load
from tests.collector.house import RECORDS, House


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A machine with mosquitto and systemd, whose folders are the test's."""
    for folder, module in (("conf.d", "init.MOSQUITTO"), ("systemd", "init.SYSTEMD")):
        (tmp_path / folder).mkdir()
        monkeypatch.setattr(f"collector.commands.{module}", tmp_path / folder)
    return House(tmp_path)


def test_a_few_questions_make_a_configuration_that_is_good(empty: House) -> None:
    data = empty.folder / "data"
    shown = empty.call("init", stdin=f"pi\n{data}\nhere\n/dev/osn-*\nEurope/Madrid\n")
    assert "systemctl enable --now osn-collector.service" in shown
    config = load(empty.config)
    assert config.collector.name == "pi"
    assert config.collector.zone == "Europe/Madrid"
    assert config.mqtt[0].host == "127.0.0.1"
    assert config.mqtt[0].password is not None
    assert len(config.mqtt[0].password.reveal()) >= 32
    assert config.serial[0].repl
    assert config.sinks == ()
    assert data.stat().st_mode & 0o777 == 0o750
    empty.call("check-config", str(empty.config))
    files = {path.name for path in (empty.folder / "broker").iterdir()}
    assert {"mosquitto.conf", "access", "passwords", "ca.crt", "server.key"} <= files
    assert (empty.folder / "broker" / "passwords").read_text().startswith("osn-collector:$7$")
    assert "exists" in empty.call("init", code=1)


def test_a_file_answers_and_the_first_nodes_come_along(empty: House) -> None:
    (empty.folder / "answers.toml").write_text(
        f'name = "pi"\ndata = "{empty.folder}/data"\nbroker = "here"\n'
    )
    records = empty.folder / "records.jsonl"
    records.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    answers = str(empty.folder / "answers.toml")
    empty.call("init", "--answers", answers, "--nodes", str(records))
    assert "Plaza" in empty.call("nodes", "list")
    assert "a1b2c3d4:$7$" in (empty.folder / "broker" / "passwords").read_text()


def test_a_broker_elsewhere_is_reached_by_tls(empty: House) -> None:
    (empty.folder / "a.toml").write_text(f'data = "{empty.folder}/d"\nbroker = "mq.example"\n')
    empty.call("init", "--answers", str(empty.folder / "a.toml"))
    broker = load(empty.config).mqtt[0]
    assert (broker.host, broker.port_used, broker.uses_tls) == ("mq.example", 8883, True)


def test_the_machines_broker_is_set_for_the_services_configuration_alone(
    empty: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty.folder / "a.toml").write_text(f'data = "{empty.folder}/d"\n')
    answers = ("init", "--answers", str(empty.folder / "a.toml"))
    assert "include it in its configuration" in empty.call(*answers)
    assert not list((empty.folder / "conf.d").iterdir())
    empty.config.unlink()
    monkeypatch.setattr("collector.commands.init.DEFAULT_CONFIG", empty.config)
    monkeypatch.setattr("collector.commands.init.SYSTEMD", empty.folder / "none")
    assert "keeps it up to date; restart mosquitto" in empty.call(*answers)
    copy, original = empty.folder / "conf.d" / "osn.conf", empty.folder / "broker/mosquitto.conf"
    assert copy.read_text() == original.read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nane = 'x'", "unknown answer 'nane'"),
        ("name = 3", "name must be a text"),
        ("zone = 'Madrid'", "is not a time zone"),
        ("=", "a.toml"),
        ("broker = '127.0.0.1:1883'", "holds a port"),
        ("broker = 'mqtt://pi.local'", "give the host's name alone"),
        ("broker = '[::1]:8883'", "is not a host name"),
        ("broker = 'my broker'", "is not a host name"),
        ("broker = '192.168.1.256'", "is not an address"),
        ("broker = ''", "broker must not be empty"),
        ("data = ' '", "data must not be empty"),
        ("serial = 'ttyUSB0'", "must be a whole path"),
    ],
)
def test_wrong_answers_are_named(empty: House, text: str, words: str) -> None:
    (empty.folder / "a.toml").write_text(text)
    assert words in empty.call("init", "--answers", str(empty.folder / "a.toml"), code=1)
    assert not empty.config.exists()
