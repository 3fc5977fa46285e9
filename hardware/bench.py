"""What is done to one board on the bench: flash, install, provision, test, label.

Nothing here prints; progress goes to a callback, trouble is a BenchError.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hardware import faults, papers, records, selftest
from hardware.boardfile import BoardFile
from hardware.faults import BenchError, Exit, wrong_chip
from hardware.images import ARCHITECTURES, Image
from hardware.install import Installed, install
from hardware.loader import Loader
from hardware.papers import Papers
from hardware.payload import payload
from hardware.provision import provision, provisioned_as
from hardware.records import Identity, Site
from hardware.selftest import Result
from hardware.session import Session, check_version, session
from hardware.tone import Tone, listen

PARALLEL_MAX = 8
LOOK_S = 4.0
BOOT_S = 0.3
Progress = Callable[[str, float], None]
Met = Callable[[str, str], None]
T = TypeVar("T")


def silent(step: str, part: float) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What every board of a tray gets; settings are the firmware's, by name.

    files are put beside main.py: "ca.der" for TLS, "update.pub" to check updates with.
    print_command prints a label; without one it is only written.
    """

    board: BoardFile
    image: Image | None = None
    settings: Mapping[str, int | str] = field(default_factory=dict)
    records: Path = Path("boards.jsonl")
    sheets: Path = Path("sheets")
    join_address: str = ""
    print_command: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    slot: str = "a"
    rewire: bool = False
    """The board may become one of another type: its sensors hang on other pins now."""


TYPE = """
import json
try:
 with open('board.json') as f:
  print(json.load(f).get('board', ''))
except (OSError, ValueError, AttributeError):
 pass
"""


def check_type(opened: Session, plan: Plan) -> None:
    """Refuse a board whose own board.json is of another type than the plan's. Raises BenchError."""
    found = opened.run(TYPE).strip()
    if found and found != plan.board.name and not plan.rewire:
        raise faults.other_type(opened.port, found, plan.board.name)


def check_type_at(port: str, plan: Plan) -> None:
    """check_type(), for a board on which perhaps no MicroPython answers: then it has no type."""
    try:
        with session(port, timeout_s=LOOK_S) as opened:
            check_type(opened, plan)
    except BenchError as fault:
        if fault.advice.code in (Exit.NO_PORT, Exit.INTERRUPTED, Exit.OTHER_TYPE):
            raise


def flash(port: str, plan: Plan, progress: Progress = silent) -> None:
    """Write the MicroPython image, after chip and type were compared with the board file."""
    assert plan.image is not None
    if plan.image.chip != plan.board.chip:
        raise BenchError(
            Exit.WRONG_IMAGE,
            f"{plan.image.path.name} is for an {plan.image.chip}, "
            f"board {plan.board.name} has an {plan.board.chip}",
            "Take the image for this chip",
        )
    loader = Loader(port)
    progress("look", 0)
    check_type_at(port, plan)
    found = loader.identify()
    if found.chip != plan.board.chip:
        raise wrong_chip(port, found.chip, plan.board.chip, plan.board.name)
    loader.write(plan.image, lambda part: progress("image", part))
    progress("start", 0)
    loader.start_application()
    selftest.wait_for_prompt(port)


def put_firmware(port: str, plan: Plan, progress: Progress = silent) -> Installed:
    """Install the firmware and the board's description."""
    with session(port) as opened:
        architecture = native_architecture(opened, plan.board)
        check_type(opened, plan)
        progress("compile", 0)
        files = payload(architecture, plan.board.drivers())
        board = plan.board.board_json()
        installed = install(opened, files, board, lambda part: progress("firmware", part))
        opened.soft_reset()
    return installed


def native_architecture(opened: Session, board: BoardFile) -> str:
    """The architecture to compile for: the chip's; the simulator's VM tells its own."""
    expected = ARCHITECTURES[board.chip]
    simulated = opened.run("import sys\nprint(sys.platform)").strip() == "linux"
    return check_version(opened, None if simulated else expected)["architecture"]


def give_identity(
    port: str, plan: Plan, name: str, site: Site | None = None, progress: Progress = silent
) -> Identity:
    """Provision one board and prove it by its HELLO; the plan's files go to its root."""
    progress("identity", 0)
    with session(port) as opened:
        check_type(opened, plan)
        for path, content in plan.files.items():
            opened.put(path, content)
        identity = provision(
            opened,
            records_path=plan.records,
            name=name,
            board=plan.board.name,
            settings=plan.settings,
            site=site,
            mobile=plan.board.mobile,
        )
    progress("identity", 1)
    return identity


def run_selftest(
    port: str,
    plan: Plan,
    progress: Progress = silent,
    report: selftest.Report = lambda result: None,
    tone: Tone | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Result]:
    """Run every check; a failing one does not end the others.

    With a tone, tell is given what the technician has to do for a microphone, when it is due.
    """
    results: list[Result] = []

    def note(result: Result) -> None:
        results.append(result)
        report(result)
        progress("test", min(1.0, len(results) / (len(plan.board.sensors) + 3)))

    board = plan.board.board_json()
    with session(port) as opened:
        check_type(opened, plan)
        for result in selftest.sensors(opened, board):
            note(result)
        for entry in board["sensors"]:
            if entry["bus"].startswith("i2s:"):
                for result in listen(opened, entry, tone, tell):
                    note(result)
        note(selftest.wifi(opened, str(plan.settings.get("wifi_ssid", ""))))
        if plan.settings.get("broker_host") or plan.settings.get("transport") == "serial":
            note(selftest.acknowledged(opened))
        else:
            note(Result("broker", "skipped", "no broker in the settings"))
    note(selftest.flash(port, lambda: restart(port)))
    return results


def restart(port: str) -> None:
    """A hard reset, as if the power had gone and come back."""
    with session(port) as opened:
        opened.reset()
    time.sleep(BOOT_S)
    selftest.wait_for_prompt(port)


def facts(port: str) -> dict[str, Any]:
    """What the acceptance record says of the board itself; afterwards its firmware runs."""
    with session(port, run_main=True) as opened:
        found = dict(check_version(opened, None))
        found["mac"] = opened.run(
            "import machine, binascii\nprint(binascii.hexlify(machine.unique_id()).decode())"
        ).strip()
    return found


def paper(
    plan: Plan, identity: Identity, name: str, results: Sequence[Result], facts: Mapping[str, Any]
) -> Papers:
    """Write acceptance record, sheet and label. Raises OSError."""
    return papers.write(plan.sheets, plan.board, identity, name, plan.join_address, results, facts)


@dataclass(frozen=True, slots=True)
class Held:
    """What a board has already: its MicroPython's version, and the node that it is, or ""."""

    version: str
    node: str


def look(port: str) -> Held | None:
    """What is on a board; None when no MicroPython answers."""
    try:
        with session(port, timeout_s=LOOK_S) as opened:
            version = check_version(opened, None)["version"]
            return Held(version, provisioned_as(opened) or "")
    except BenchError as fault:
        if fault.advice.code in (Exit.NO_PORT, Exit.INTERRUPTED):
            raise
        return None


def whole_job(port: str, plan: Plan, pattern: str, progress: Progress, met: Met) -> Papers:
    """All that a bare board needs until its label is printed; met is told who it has become.

    A board that an earlier call has left half done is finished: what is right already stays. One
    that lives as a node of other records is refused before anything on it is changed.
    """
    progress("look", 0)
    held = look(port)
    entry = _entry_of(held.node, plan) if held is not None and held.node else None
    if held is not None and held.node and entry is None:
        raise faults.already_provisioned(port, held.node)
    if held is None and plan.image is None:
        raise faults.image_missing(port)
    if plan.image is not None and _needs_image(held, plan.image):
        flash(port, plan, progress)
    put_firmware(port, plan, progress)
    name = entry["name"] if entry else _name(pattern, port)
    identity = give_identity(port, plan, name, progress=progress)
    met(identity.address, name)
    results = run_selftest(port, plan, progress)
    made = paper(plan, identity, name, results, facts(port))
    failed = [result for result in results if result.state == "failed"]
    if failed:
        raise BenchError(
            Exit.TEST_FAILED,
            f"{failed[0].check}: {failed[0].detail}",
            "Mend it, then plug it in again: only what is missing is done",
        )
    if plan.print_command:
        progress("print", 0)
        papers.print_label(plan.print_command, made.label)
    return made


def _needs_image(held: Held | None, image: Image) -> bool:
    """A board that is a node keeps its image, for its flash may hold readings."""
    if held is None:
        return True
    return not held.node and image.version is not None and image.version != held.version


def _entry_of(node: str, plan: Plan) -> dict[str, Any] | None:
    return records.newest(plan.records, node)


def _name(pattern: str, port: str) -> str:
    return pattern.format(port=Path(port).name, time=time.strftime("%Y%m%d-%H%M%S"))


def in_parallel(
    ports: Sequence[str], work: Callable[[str], T], finished: Callable[[str, T | BenchError], None]
) -> dict[str, T | BenchError]:
    """Do the work on up to eight boards at once; one that fails does not disturb the others.

    An interruption ends it at once: nothing waits for the boards that are in work.
    """
    places = threading.Semaphore(PARALLEL_MAX)
    done: queue.SimpleQueue[tuple[str, T | BenchError]] = queue.SimpleQueue()

    def run(port: str) -> None:
        with places:
            try:
                done.put((port, work(port)))
            except Exception as fault:
                done.put((port, faults.unforeseen(fault)))

    for port in ports:
        threading.Thread(target=run, args=(port,), daemon=True).start()
    outcomes: dict[str, T | BenchError] = {}
    while len(outcomes) < len(ports):
        port, outcome = done.get()
        outcomes[port] = outcome
        finished(port, outcome)
    return outcomes
