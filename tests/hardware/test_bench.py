"""The whole bench on simulated boards: install, provision, test, print."""

import json
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from firmware.settings import Settings
from hardware import bench, boardfile, ports, selftest
from hardware.bench import Plan
from hardware.cli import main
from hardware.commands import common
from hardware.faults import BenchError, Exit
from hardware.install import Installed
from hardware.label import claim_code
from hardware.papers import authentic
from hardware.selftest import judge
from hardware.session import session
from tests.hardware.conftest import MakeBoard

BEGUN_WITHIN_S = 300


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(
        board=boardfile.load("classic"),
        records=tmp_path / "boards.jsonl",
        sheets=tmp_path / "sheets",
        join_address="https://example.org/join",
    )


def test_a_good_board_passes_and_gets_its_papers(plug_in: MakeBoard, plan: Plan) -> None:
    with plug_in(board=plan.board.board_json()) as board:
        bench.put_firmware(board.path, plan)
        identity = bench.give_identity(board.path, plan, "Carrer Gran 7")
        results = bench.run_selftest(board.path, plan)
        facts = bench.facts(board.path)
        papers = bench.paper(plan, identity, "Carrer Gran 7", results, facts)
    states = {result.check: result.state for result in results}
    assert states == {
        "sds011 on uart:dust": "passed",
        "bme280 on i2c:main": "passed",
        "Wi-Fi": "skipped",
        "broker": "skipped",
        "flash": "passed",
    }, results
    text = papers.sheet.read_text(encoding="utf-8")
    assert claim_code(identity.key) in text
    assert identity.key.hex() not in text
    record = json.loads(papers.record.read_text(encoding="utf-8"))
    assert record["passed"]
    assert authentic(record, identity.key)
    record["results"][0]["state"] = "failed"
    assert not authentic(record, identity.key)


def test_a_missing_sensor_fails_and_the_others_are_still_tested(
    plug_in: MakeBoard, plan: Plan
) -> None:
    wired = plan.board.board_json()
    wired["sensors"] = [entry for entry in wired["sensors"] if entry["driver"] != "bme280"]
    with plug_in(board=wired) as board:
        bench.put_firmware(board.path, plan)
        with session(board.path) as opened:
            results = list(selftest.sensors(opened, plan.board.board_json()))
    assert [(result.check[:6], result.state) for result in results] == [
        ("sds011", "passed"),
        ("bme280", "failed"),
    ]
    assert "check its plug" in results[1].detail


def test_an_implausible_value_fails() -> None:
    assert judge("bme280", [[16, None, 2150, 0]], 0, 0).state == "passed"
    assert judge("bme280", [[16, None, 2150, 8]], 0, 0).state == "failed"
    assert judge("neo6m", [[128, None, 0, 6]], 0, 0).detail == "answers, no fix yet"
    assert judge("neo6m", [[128, None, 0, 6]], 1, 0).state == "failed"


def test_one_failing_board_does_not_disturb_the_others(plug_in: MakeBoard, plan: Plan) -> None:
    wired = plan.board.board_json()
    boards = [plug_in(f"board{n}", wired) for n in range(3)]
    paths = [board.path for board in boards]
    with boards[0], boards[1], boards[2]:
        boards[1].unplug_after(30_000)
        ends: list[str] = []
        outcomes = bench.in_parallel(
            paths, lambda port: bench.put_firmware(port, plan), lambda port, end: ends.append(port)
        )
    assert isinstance(outcomes[paths[1]], BenchError)
    assert isinstance(outcomes[paths[0]], Installed)
    assert isinstance(outcomes[paths[2]], Installed)
    assert sorted(ends) == sorted(paths)


def test_update_works_on_all_boards_at_once_and_a_pulled_one_disturbs_none(
    plug_in: MakeBoard, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No board is let go on until all have been begun: one after the other would never end."""
    wired = plan.board.board_json()
    boards = [plug_in(f"board{n}", wired) for n in range(3)]
    paths = [board.path for board in boards]
    together = threading.Barrier(len(boards), timeout=BEGUN_WITHIN_S)
    alone = bench.put_firmware

    def put_firmware(port: str, *rest: Any) -> Any:
        together.wait()
        return alone(port, *rest)

    monkeypatch.setattr(bench, "put_firmware", put_firmware)
    monkeypatch.setattr(ports, "ports", lambda: paths)
    with boards[0], boards[1], boards[2]:
        boards[1].unplug_after(30_000)
        done = CliRunner().invoke(main, ["update", "--board", "classic", "--all", "--json"])
    told = {entry["port"]: entry for entry in map(json.loads, done.output.splitlines())}
    assert set(told) == set(paths), done.output
    assert told[paths[0]]["installed_bytes"] > 0
    assert told[paths[2]]["installed_bytes"] > 0
    assert told[paths[1]]["to_do"]
    assert done.exit_code == told[paths[1]]["code"] != 0


def test_an_image_for_another_chip_is_refused_before_anything_is_erased(
    plan: Plan, tmp_path: Path
) -> None:
    from hardware.images import Image

    wrong = replace(plan, image=Image(tmp_path / "s3.bin", "esp32s3", None, "", 1))
    with pytest.raises(BenchError, match="board classic has an esp32"):
        bench.flash("/dev/null", wrong)


def test_the_bench_file_brings_the_ca_and_the_update_key(
    plug_in: MakeBoard, tmp_path: Path
) -> None:
    bench_file = tmp_path / "bench.toml"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-subj", "/CN=x", "-keyout", "ca.key", "-outform", "DER", "-out", "ca.der"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    bench_file.write_text(f'ca = "ca.der"\nupdate_key = "{"ab" * 32}"\n[settings]\nwindow = 4\n')
    plan = common.plan("classic", bench_file)
    with plug_in(board=plan.board.board_json()) as board:
        bench.put_firmware(board.path, plan)
        bench.give_identity(board.path, plan, "Carrer Gran 7")
    flash = board.folder / "flash"
    assert (flash / "ca.der").read_bytes() == (tmp_path / "ca.der").read_bytes()
    assert (flash / "update.pub").read_bytes() == bytes.fromhex("ab" * 32)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('update_key = "abcd"', "no public key"),
        ('ca = "none.pem"', "cannot be used"),
        ("colour = 1", "unknown keys: colour"),
        ("[settings]\nwindow = [1]", "neither number nor text"),
    ],
)
def test_a_bad_bench_file_is_named(line: str, words: str, tmp_path: Path) -> None:
    bench_file = tmp_path / "bench.toml"
    bench_file.write_text(line)
    with pytest.raises(BenchError, match=words):
        common.plan("classic", bench_file)


PSK = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('wifi_pasword = "secret phrase"', "did you mean wifi_password?"),
        ("broker_port = 99999", "broker_port takes a whole number from 1 to 65535"),
        ('broker_port = "1883"', "broker_port takes a whole number"),
        ('sleep = "false"', "sleep takes a whole number from 0 to 1"),
        ("window = true", "not true or false"),
        ("window = 1.5", "window is neither number nor text"),
        ("wifi_ssid = 5", "wifi_ssid takes a text"),
        (f'wifi_ssid = "{"x" * 33}"', "at most 32 bytes"),
        (f'wifi_ssid = "{"é" * 17}"', "at most 32 bytes"),
        ('wifi_password = "short"', "8 to 63 characters"),
        (f'wifi_password = "{"g" * 64}"', "hexadecimal digits only"),
        (f'wifi_password = "{"a" * 65}"', "at most 64 bytes"),
        ('transport = "lora"', "transport is one of mqtt, serial"),
        ('serial_port = "gps"', "serial_port 'gps': board classic has repl, dust"),
        ('broker_host = ""', "broker_host is empty"),
        ('broker_host = "10.0.0.2:1883"', "the port is broker_port"),
        ("broker_tls = 1", "broker_tls wants a CA"),
        ('home_zone_1 = "41.4, 2.1"', "latitude, longitude, radius"),
        ('broker_user = "me"', "follows from the board's key"),
        ("[settings.more]\nwindow = 4", "there is no setting 'more'"),
    ],
)
@pytest.mark.parametrize("command", ["provision", "selftest", "tray"])
def test_a_wrong_setting_is_told_before_a_board_is_touched(
    tmp_path: Path, settings: str, words: str, command: str
) -> None:
    file = tmp_path / "bench.toml"
    file.write_text(f"[settings]\n{settings}\n")
    arguments = [command, "--board", "classic", "--bench", str(file), "--port", "/nowhere"]
    if command == "provision":
        arguments += ["--name", "x"]
    outcome = CliRunner().invoke(main, arguments)
    assert outcome.exit_code == 2, outcome.output
    assert words in outcome.output
    assert "/nowhere" not in outcome.output


@pytest.mark.parametrize(
    "settings",
    [f'wifi_password = "{PSK}"', 'wifi_password = ""', "sleep = true", 'serial_port = "dust"'],
)
def test_what_a_board_takes_is_taken(tmp_path: Path, settings: str) -> None:
    file = tmp_path / "bench.toml"
    file.write_text(f"[settings]\n{settings}\n")
    taken = common.plan("classic", file).settings
    board = Settings()
    for name, value in taken.items():
        board.set(name, value)


def test_a_key_of_a_wrong_place_in_the_bench_file_is_explained(tmp_path: Path) -> None:
    file = tmp_path / "bench.toml"
    file.write_text('record = "boards.jsonl"\n')
    with pytest.raises(BenchError, match="did you mean records"):
        common.plan("classic", file)


def test_a_board_of_another_type_keeps_its_wiring(plug_in: MakeBoard, plan: Plan) -> None:
    other = replace(plan, board=boardfile.load("street"))
    with plug_in(board=plan.board.board_json()) as board:
        bench.put_firmware(board.path, plan)
        (told,) = Path(board.folder).rglob("board.json")
        before = told.read_bytes()
        refused: list[Any] = [
            lambda: bench.put_firmware(board.path, other),
            lambda: bench.give_identity(board.path, other, "Carrer Gran 7"),
            lambda: bench.run_selftest(board.path, other),
            lambda: bench.check_type_at(board.path, other),
            lambda: bench.whole_job(
                board.path, other, "{port}", bench.silent, lambda node, name: None
            ),
        ]
        for step in refused:
            with pytest.raises(BenchError, match=r"--board classic.*--rewire") as failure:
                step()
            assert failure.value.advice.code == Exit.OTHER_TYPE
            assert told.read_bytes() == before
        assert not plan.records.exists()
        bench.put_firmware(board.path, plan)
        bench.put_firmware(board.path, replace(other, rewire=True))
        assert json.loads(told.read_text(encoding="utf-8"))["board"] == "street"
