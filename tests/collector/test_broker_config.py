"""broker-config again and again: what boards rely on stays."""

import subprocess
from pathlib import Path

import pytest

from collector.operate.certificates import names_held
from tests.collector.house import House


def call(house: House, *arguments: str, code: int = 0) -> str:
    return house.call("broker-config", str(house.folder / "broker"), *arguments, code=code)


def ports(house: House) -> list[str]:
    text = (house.folder / "broker" / "mosquitto.conf").read_text()
    return [line.split()[1] for line in text.splitlines() if line.startswith("listener ")]


def test_names_given_once_stay_in_the_certificate(bare_house: House) -> None:
    call(bare_house, "--host", "osn.example", "--host", "192.0.2.7")
    assert names_held(bare_house.folder / "broker") == ("osn.example", "192.0.2.7")
    assert "for osn.example, 192.0.2.7" in call(bare_house)
    shown = call(bare_house, "--host", "new.example", "--host", "osn.example")
    assert "the certificate is for osn.example, 192.0.2.7, new.example" in shown
    certificate = bare_house.folder / "broker" / "server.crt"
    before = certificate.read_bytes()
    assert "0 files changed" in call(bare_house)
    assert certificate.read_bytes() == before
    certificate.unlink()
    call(bare_house, "--host", "only.example")
    assert names_held(bare_house.folder / "broker") == ("only.example",)


def test_the_first_certificate_is_for_this_machine(bare_house: House) -> None:
    call(bare_house)
    first = names_held(bare_house.folder / "broker")
    assert "127.0.0.1" in first
    call(bare_house, "--host", "osn.example")
    assert names_held(bare_house.folder / "broker") == (*first, "osn.example")


def test_the_certificate_of_new_names_holds_for_each_of_them(bare_house: House) -> None:
    call(bare_house, "--host", "a.example")
    call(bare_house, "--host", "b.example")
    folder = bare_house.folder / "broker"
    for name in ("a.example", "b.example"):
        done = subprocess.run(
            ["openssl", "verify", "-CAfile", "ca.crt", "-verify_hostname", name, "server.crt"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_ports_given_once_stay(bare_house: House) -> None:
    call(bare_house)
    assert ports(bare_house) == ["8883", "1883"]
    call(bare_house, "--tls-port", "9883")
    call(bare_house, "--local-port", "2883")
    call(bare_house, "--host", "osn.example")
    assert ports(bare_house) == ["9883", "2883"]


@pytest.mark.parametrize("host", ["https://osn.example", "osn.example:8883", "a b", "-x", ""])
def test_a_host_that_can_be_none_is_refused(bare_house: House, host: str) -> None:
    assert "Error" in call(bare_house, "--host", host, code=1)
    assert not (bare_house.folder / "broker" / "server.crt").exists()


def test_the_copy_that_mosquitto_reads_follows(
    bare_house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.commands.broker.MOSQUITTO", tmp_path / "conf.d")
    (tmp_path / "conf.d").mkdir()
    copy = tmp_path / "conf.d" / "osn.conf"
    call(bare_house)
    assert not copy.exists(), "whoever wants none has none"
    original = bare_house.folder / "broker" / "mosquitto.conf"
    copy.write_text(original.read_text())
    shown = call(bare_house, "--tls-port", "9883")
    assert f"{copy} brought up to date" in shown
    assert "restart mosquitto" in shown
    assert copy.read_text() == original.read_text()
    assert "up to date" not in call(bare_house)
    copy.write_text("listener 1883\npassword_file /elsewhere/passwords\n")
    call(bare_house, "--tls-port", "8883")
    assert "/elsewhere/" in copy.read_text(), "another collector's file is not ours to change"


@pytest.mark.parametrize("name", ["server.crt", "ca.crt", "ca.key"])
def test_a_damaged_file_is_named_with_what_to_do(bare_house: House, name: str) -> None:
    call(bare_house)
    folder = bare_house.folder / "broker"
    (folder / name).write_text("damaged\n")
    words = call(bare_house, "--host", "other.example", code=1)
    assert f"{folder / name}: damaged; " in words
    assert (folder / name).read_text() == "damaged\n"


def test_a_name_of_other_letters_is_spelt_as_the_dns_does(bare_house: House) -> None:
    call(bare_house, "--host", "m\u00fcnchen.example")
    assert names_held(bare_house.folder / "broker") == ("xn--mnchen-3ya.example",)
    assert "0 files changed" in call(bare_house, "--host", "m\u00fcnchen.example")


def test_a_folder_that_is_none_is_named(bare_house: House) -> None:
    (bare_house.folder / "file").write_text("")
    words = bare_house.call("broker-config", str(bare_house.folder / "file" / "x"), code=1)
    assert "file" in words
    assert "Errno" not in words
