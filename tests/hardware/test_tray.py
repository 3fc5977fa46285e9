"""The tray: its rows as boards come and go, and the whole job on simulated boards."""

import fcntl
import io
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from hardware import bench, boardfile, records
from hardware.bench import Plan
from hardware.faults import BenchError, Exit, connection_lost
from hardware.images import read_image
from hardware.provision import provisioned_as
from hardware.records import Identity
from hardware.session import session
from hardware.tray import Row, Tray
from tests.hardware.conftest import MakeBoard
from tests.hardware.test_loader import write_image

WAIT_S = 240.0


class Ports:
    """Ports that a test plugs in and pulls out, and the work that waits until it is let go."""

    def __init__(self) -> None:
        self.present: list[str] = []
        self.worked: list[str] = []
        self.outcome: dict[str, Exception] = {}
        self.go_on = threading.Event()
        self.tray = Tray(self.work, lambda: self.present)

    def work(self, row: Row) -> None:
        self.worked.append(row.port)
        row.step, row.part = "image", 0.5
        assert self.go_on.wait(WAIT_S)
        if row.port in self.outcome:
            raise self.outcome[row.port]
        row.node = "0000abcd"

    def finish(self) -> None:
        self.go_on.set()
        until(lambda: not self.tray.busy())
        self.go_on.clear()

    def states(self) -> dict[str, str]:
        return {port: row.state for port, row in self.tray.rows.items()}


def until(true: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.002)


@pytest.fixture
def ports() -> Ports:
    return Ports()


def text_of(tray: Tray) -> str:
    console = Console(width=160, file=io.StringIO(), record=True)
    console.print(tray.table())
    return console.export_text()


def test_a_port_is_worked_on_once_it_was_seen_twice(ports: Ports) -> None:
    ports.present = ["one"]
    ports.tray.turn()
    assert not ports.tray.rows, "its permissions may not be set yet"
    ports.tray.turn()
    ports.tray.turn()
    assert ports.states() == {"one": "working"}
    ports.finish()
    ports.tray.turn()
    assert ports.worked == ["one"]
    assert ports.states() == {"one": "ready"}
    assert "0000abcd" in text_of(ports.tray)
    assert "take it off" in text_of(ports.tray)


def test_the_next_board_on_the_same_port_is_worked_on_anew(ports: Ports) -> None:
    ports.present = ["one"]
    ports.tray.turn()
    ports.tray.turn()
    ports.finish()
    ports.present = []
    ports.tray.turn()
    assert ports.states() == {"one": "gone"}
    assert "next, please" in text_of(ports.tray)
    ports.present = ["one"]
    ports.tray.turn()
    ports.tray.turn()
    ports.finish()
    assert ports.worked == ["one", "one"]
    assert (ports.tray.ready, ports.tray.failed) == (2, 0)


def test_a_failing_board_amid_good_ones_keeps_its_advice_until_it_is_taken_off(
    ports: Ports,
) -> None:
    ports.outcome["two"] = connection_lost("two")
    ports.present = ["one", "two", "three"]
    ports.tray.turn()
    ports.tray.turn()
    ports.finish()
    assert ports.states() == {"one": "ready", "two": "failed", "three": "ready"}
    assert (ports.tray.ready, ports.tray.failed) == (2, 1)
    ports.present = ["one", "three"]
    ports.tray.turn()
    shown = text_of(ports.tray)
    assert ports.states()["two"] == "gone"
    assert "Plug it in again" in shown
    assert "2 ready, 1 failed" in shown


def test_a_board_pulled_out_in_the_middle_is_gone_only_when_its_work_has_ended(
    ports: Ports,
) -> None:
    ports.present = ["one"]
    ports.tray.turn()
    ports.tray.turn()
    ports.present = []
    ports.tray.turn()
    assert ports.states() == {"one": "working"}
    ports.outcome["one"] = connection_lost("one")
    ports.finish()
    ports.tray.turn()
    assert ports.states() == {"one": "gone"}
    assert "pulled out in the middle" in ports.tray.rows["one"].detail
    assert (ports.tray.ready, ports.tray.failed) == (0, 0)
    ports.present = ["one"]
    ports.tray.turn()
    ports.tray.turn()
    assert ports.worked == ["one", "one"]
    del ports.outcome["one"]
    ports.finish()
    assert ports.states() == {"one": "ready"}


def test_after_q_no_new_board_is_begun(ports: Ports) -> None:
    ports.present = ["one"]
    ports.tray.turn()
    ports.tray.turn()
    ports.tray.closing = True
    ports.present = ["one", "two"]
    ports.tray.turn()
    ports.tray.turn()
    assert ports.worked == ["one"]
    assert "Ending after the boards in work" in text_of(ports.tray)
    ports.finish()
    assert not ports.tray.busy()


def test_what_nobody_foresaw_is_a_failed_row_and_not_the_end_of_the_tray(ports: Ports) -> None:
    ports.outcome["one"] = OSError(28, "No space left on device", "sheets/x.html")
    ports.outcome["two"] = KeyError("surprise")
    ports.present = ["one", "two"]
    ports.tray.turn()
    ports.tray.turn()
    ports.finish()
    assert "This computer's disk is full" in ports.tray.rows["one"].detail
    assert "KeyError: 'surprise'" in ports.tray.rows["two"].detail


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(
        board=boardfile.load("classic"),
        records=tmp_path / "boards.jsonl",
        sheets=tmp_path / "sheets",
        join_address="https://example.org/join",
        print_command=f"cp {{file}} {tmp_path}/printer",
    )


def do(port: str, plan: Plan) -> tuple[bench.Papers, list[str]]:
    steps: list[str] = []
    made = bench.whole_job(
        port, plan, "tray-{port}", lambda step, part: steps.append(step), lambda node, name: None
    )
    return made, list(dict.fromkeys(steps))


def test_the_whole_job_turns_a_bare_board_into_a_node_with_papers(
    plug_in: MakeBoard, plan: Plan, tmp_path: Path
) -> None:
    plan = replace(plan, image=read_image(write_image(tmp_path, "esp32")))
    with plug_in(board=plan.board.board_json(), flashed=False) as board:
        made, steps = do(board.path, plan)
        again, steps_again = do(board.path, plan)
    assert steps == ["look", "image", "start", "compile", "firmware", "identity", "test", "print"]
    assert "image" not in steps_again, "a node keeps its image and its flash"
    assert again.sheet == made.sheet
    assert len(list(records.known(plan.records))) == 1
    assert json.loads(made.record.read_text())["passed"]
    assert (tmp_path / "printer").read_bytes() == made.label.read_bytes()


@pytest.mark.parametrize("after_bytes", [3_000, 60_000, 150_000, 190_000])
def test_plugged_in_again_the_tray_goes_on_where_it_stopped(
    plug_in: MakeBoard, plan: Plan, after_bytes: int
) -> None:
    wired = plan.board.board_json()
    with plug_in(board=wired) as board:
        board.unplug_after(after_bytes)
        with pytest.raises(BenchError) as failure:
            do(board.path, plan)
    assert failure.value.advice.code in (Exit.INTERRUPTED, Exit.BOARD_SILENT, Exit.NO_PORT)
    with plug_in(board=wired) as board:
        made, _ = do(board.path, plan)
        with session(board.path) as opened:
            node = provisioned_as(opened)
    assert made.sheet.stem == node
    assert node in [entry["node"] for entry in records.known(plan.records)]


def test_a_node_of_other_records_is_left_as_it_is(
    plug_in: MakeBoard, plan: Plan, tmp_path: Path
) -> None:
    with plug_in(board=plan.board.board_json()) as board:
        bench.put_firmware(board.path, plan)
        identity: Identity = bench.give_identity(board.path, plan, "in the street since May")
        board_json = (board.folder / "flash/board.json").stat().st_mtime_ns
        with pytest.raises(BenchError) as failure:
            do(board.path, replace(plan, records=tmp_path / "others.jsonl"))
        assert failure.value.advice.code is Exit.ALREADY_PROVISIONED
        assert (board.folder / "flash/board.json").stat().st_mtime_ns == board_json
        with session(board.path) as opened:
            assert provisioned_as(opened) == identity.address


def test_a_label_that_cannot_be_printed_says_that_the_board_is_done(
    plug_in: MakeBoard, plan: Plan
) -> None:
    wrong = replace(plan, print_command="false")
    with (
        plug_in(board=plan.board.board_json()) as board,
        pytest.raises(BenchError, match="The board itself is done"),
    ):
        do(board.path, wrong)


class Terminal:
    """A program in a terminal of its own, 140 by 40."""

    def __init__(self, *arguments: str) -> None:
        self.shown = b""
        self.process, self._near = pty.fork()
        if not self.process:
            os.environ["TERM"] = "xterm-256color"
            os.execv(sys.executable, [sys.executable, "-m", "hardware.cli", *arguments])
        fcntl.ioctl(self._near, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))

    def wait_for(self, words: bytes, timeout_s: float = 600) -> None:
        end_s = time.monotonic() + timeout_s
        while words not in self.shown:
            assert time.monotonic() < end_s, self.shown[-2000:]
            self._read()

    def press(self, key: bytes) -> None:
        os.write(self._near, key)

    def exit_code(self) -> int:
        while self._read():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])

    def _read(self) -> bool:
        if not select.select([self._near], [], [], 0.2)[0]:
            return True
        try:
            got = os.read(self._near, 65_536)
        except OSError:
            return False
        self.shown += got
        return bool(got)


@pytest.fixture
def bench_file(tmp_path: Path) -> str:
    path = tmp_path / "bench.toml"
    path.write_text('join_address = "https://example.org/join"\n')
    return str(path)


LEAVES_FULL_SCREEN = b"\x1b[?1049l"


def test_full_screen_boards_turn_green_and_q_ends_it(
    plug_in: MakeBoard, plan: Plan, bench_file: str
) -> None:
    wired = plan.board.board_json()
    lacking = {**wired, "sensors": wired["sensors"][:1]}
    with plug_in("good", wired) as good, plug_in("bad", lacking) as bad:
        terminal = Terminal(
            "tray", "--board", "classic", "--bench", bench_file,
            "--port", good.path, "--port", bad.path,
        )  # fmt: skip
        terminal.wait_for(b"1 ready, 1 failed")
        terminal.press(b"q")
        assert terminal.exit_code() == Exit.TEST_FAILED
    assert b"bme280" in terminal.shown
    assert LEAVES_FULL_SCREEN in terminal.shown


def test_ctrl_c_ends_it_at_once_and_gives_the_terminal_back(
    plug_in: MakeBoard, plan: Plan, bench_file: str
) -> None:
    with plug_in(board=plan.board.board_json()) as board:
        terminal = Terminal(
            "tray", "--board", "classic", "--bench", bench_file, "--port", board.path
        )
        terminal.wait_for(b"working")
        terminal.press(b"\x03")
        assert terminal.exit_code() == Exit.INTERRUPTED
    assert b"Run the same command again" in terminal.shown
    assert LEAVES_FULL_SCREEN in terminal.shown


def test_for_scripts_it_prints_one_object_for_each_board(
    plug_in: MakeBoard, plan: Plan, bench_file: str
) -> None:
    with plug_in(board=plan.board.board_json()) as board:
        done = subprocess.run(
            [sys.executable, "-m", "hardware.cli", "tray", "--board", "classic", "--once",
             "--json", "--bench", bench_file, "--port", board.path, "--name", "Carrer Gran 7"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    told = json.loads(line)
    assert (told["state"], told["name"]) == ("ready", "Carrer Gran 7")
    assert Path(told["label"]).exists()
