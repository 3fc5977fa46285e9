"""How long the technician waits, beyond the time that the bytes need on the wire.

    make bench-board

Simulated boards on ports paced at 115200 baud. provision_selftest_s: one board, installed before;
eight_parallel_s: eight boards at once. Both are seconds beyond the bytes' own time on the wire.
"""

import json
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from hardware import bench, boardfile
from hardware.bench import Plan
from hardware.faults import BenchError
from simulator.devices.base import Steady
from simulator.pty_board import PtyBoard
from simulator.wiring import Wiring

BAUD = 115_200
BITS_PER_BYTE = 10
BOARDS = 8
AIR: dict[str, float | None] = {
    "pm10": 8.0,
    "pm2_5": 5.0,
    "temperature": 20.0,
    "humidity": 50.0,
    "pressure": 101_325.0,
}


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds by the clock, and seconds that the bytes needed on the wire."""

    elapsed_s: float
    wire_s: float

    @property
    def beyond_s(self) -> float:
        """What the tool itself, and the board's work, took."""
        return self.elapsed_s - self.wire_s


def board_on_port(folder: Path, plan: Plan, baud: int | None) -> PtyBoard:
    """A simulated board with MicroPython on it."""
    wired = plan.board.board_json()
    return PtyBoard(
        folder,
        plan.board.chip,
        wired,
        lambda clock: Wiring(wired, Steady(**AIR), 1, clock),
        baud=baud,
        flashed=True,
    )


def provision_and_test(board: PtyBoard, plan: Plan) -> Timing:
    """One board's provisioning and self-test."""
    before = board.wire_bytes
    start_s = time.monotonic()
    bench.give_identity(board.path, plan, "bench")
    results = bench.run_selftest(board.path, plan)
    elapsed_s = time.monotonic() - start_s
    failed = [result for result in results if result.state == "failed"]
    if failed:
        raise SystemExit(f"self-test failed: {failed}")
    return Timing(elapsed_s, (board.wire_bytes - before) * BITS_PER_BYTE / BAUD)


def install(folder: Path, plan: Plan) -> None:
    """Put the firmware into the board's flash, unpaced, before anything is timed."""
    with board_on_port(folder, plan, None) as board:
        bench.put_firmware(board.path, plan)


def one(folder: Path, plan: Plan) -> Timing:
    """A single board on the bench."""
    install(folder, plan)
    with board_on_port(folder, plan, BAUD) as board:
        return provision_and_test(board, plan)


def eight(folder: Path, plan: Plan) -> Timing:
    """Eight boards at once; the slowest line's bytes count as the wire's time."""
    folders = [folder / str(number) for number in range(BOARDS)]
    for each in folders:
        install(each, plan)
    boards = [board_on_port(each, plan, BAUD) for each in folders]
    by_port = {board.path: board for board in boards}
    timings: dict[str, Timing] = {}
    lock = threading.Lock()

    def work(port: str) -> None:
        timing = provision_and_test(by_port[port], plan)
        with lock:
            timings[port] = timing

    for board in boards:
        board.__enter__()
    try:
        start_s = time.monotonic()
        outcomes = bench.in_parallel(list(by_port), work, lambda port, end: None)
        elapsed_s = time.monotonic() - start_s
    finally:
        for board in boards:
            board.unplug()
    for outcome in outcomes.values():
        if isinstance(outcome, BenchError):
            raise SystemExit(str(outcome))
    return Timing(elapsed_s, max(timing.wire_s for timing in timings.values()))


def main() -> None:
    """Print both timings, and as last line a JSON object."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = Plan(board=boardfile.load("classic"), records=folder / "boards.jsonl")
        single = one(folder / "one", plan)
        many = eight(folder / "eight", plan)
    for title, timing in (("one board", single), (f"{BOARDS} boards", many)):
        print(
            f"{title}: {timing.elapsed_s:.1f} s, of which {timing.wire_s:.1f} s on the wire "
            f"at {BAUD} baud"
        )
    print(
        json.dumps(
            {
                "provision_selftest_s": round(single.beyond_s, 2),
                "eight_parallel_s": round(many.beyond_s, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
