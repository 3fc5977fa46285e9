"""The monitor: what a board says on its line, put into words."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hardware import bench, boardfile
from hardware.bench import Plan
from hardware.faults import BenchError, Exit
from hardware.monitor import Monitor, watch
from protocol import cobs, wire
from protocol.frame import FrameBuilder
from protocol.mac import Mac, derive
from tests.hardware.conftest import MakeBoard

KEY = bytes(range(32))
NODE = 0xA1B2C3D4


def framed(text: bytes, key: bytes = KEY) -> bytes:
    builder = FrameBuilder(256, Mac(derive(key, b"up")))
    builder.begin(wire.T_LOG, NODE, 7, 9)
    builder.open(wire.S_TEXT)
    builder.raw(text)
    builder.close()
    size = builder.finish()
    out = bytearray(400)
    return bytes(out[: cobs.encode_into(builder.buf, size, out)])


def test_frames_amid_console_are_told_apart_and_checked() -> None:
    data = b"hello from boot\r\n" + framed(b"a log line") + b"more\r\n"
    events = list(Monitor({NODE: KEY}).feed(data))
    assert [event.facts.get("console") for event in events] == ["hello from boot", None, "more"]
    frame = events[1]
    assert frame.facts["node"] == "a1b2c3d4"
    assert (frame.facts["frame"], frame.facts["seq"]) == ("LOG", 9)
    assert frame.facts["checked"] == "authentic"
    assert "a log line" in frame.text


@pytest.mark.parametrize(
    ("keys", "word"), [({}, "not checked"), ({NODE: bytes(32)}, "NOT AUTHENTIC")]
)
def test_what_cannot_be_checked_or_is_forged_says_so(keys: dict[int, bytes], word: str) -> None:
    (event,) = Monitor(keys).feed(framed(b"x"))
    assert word in event.text


def test_a_frame_may_come_byte_by_byte() -> None:
    watched = Monitor({NODE: KEY})
    data = framed(b"slow line")
    events = [event for byte in data for event in watched.feed(bytes([byte]))]
    assert [event.facts["checked"] for event in events] == ["authentic"]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    settings: dict[str, int | str] = {
        "transport": "serial", "serial_port": "repl", "sample_interval_s": 1,
        "report_interval_s": 2, "batch_rows": 2, "live_interval_s": 10,
    }  # fmt: skip
    return Plan(
        board=boardfile.load("classic"), records=tmp_path / "boards.jsonl", settings=settings
    )


def test_a_live_board_is_decoded_without_being_disturbed(plug_in: MakeBoard, plan: Plan) -> None:
    with plug_in(board=plan.board.board_json()) as board:
        bench.put_firmware(board.path, plan)
        identity = bench.give_identity(board.path, plan, "Carrer Gran 7")
        bench.facts(board.path)
        authentic: set[str] = set()
        values: dict[str, str] = {}
        for event in watch(board.path, Monitor({identity.node: identity.key}), 115_200, 250):
            if event.facts.get("checked") == "authentic":
                authentic.add(event.facts["frame"])
            values |= event.facts.get("values", {})
            if authentic >= {"HELLO", "LIVE"} and values:
                break
    assert authentic >= {"HELLO", "LIVE"}
    # A line opened after the first LIVE has missed the health figures; DATA comes a minute later.
    assert values.get("free_heap", "").endswith(" B") or values["pm2_5"].startswith("5 ug/m3")


def test_a_pulled_cable_ends_it_in_plain_words(plug_in: MakeBoard, plan: Plan) -> None:
    with plug_in(board=plan.board.board_json()) as board:
        events = watch(board.path, Monitor({}), 115_200, 600)
        board.unplug()
        with pytest.raises(BenchError) as failure:
            list(events)
    assert failure.value.advice.code in (Exit.INTERRUPTED, Exit.NO_PORT)


def test_ctrl_c_is_its_usual_end(plug_in: MakeBoard, plan: Plan, tmp_path: Path) -> None:
    bench_file = tmp_path / "bench.toml"
    bench_file.write_text("")
    with plug_in(board=plan.board.board_json()) as board:
        bench.put_firmware(board.path, plan)
        bench.give_identity(board.path, replace(plan), "Carrer Gran 7")
        bench.facts(board.path)
        process = subprocess.Popen(
            [sys.executable, "-m", "hardware.cli", "monitor", "--port", board.path, "--json",
             "--bench", str(bench_file)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=240)
    assert first
    assert (process.returncode, errors) == (0, "")
