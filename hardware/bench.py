"""What is done to one board on the bench: flash, install, provision, test, label.

Nothing here prints; progress goes to a callback, trouble is a BenchError.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hardware import selftest, sheet
from hardware.boardfile import BoardFile
from hardware.faults import BenchError, Exit, wrong_chip
from hardware.images import ARCHITECTURES, Image
from hardware.install import install
from hardware.loader import Loader, has_modem_lines
from hardware.payload import payload
from hardware.provision import provision
from hardware.records import Identity, Site
from hardware.selftest import Result
from hardware.session import Session, check_version, session

PARALLEL_MAX = 8
Progress = Callable[[str, float], None]
T = TypeVar("T")


def silent(step: str, part: float) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What every board of a tray gets; settings are the firmware's, by name.

    files are put beside main.py: "ca.der" for TLS, "update.pub" to check updates with.
    """

    board: BoardFile
    image: Image | None = None
    settings: Mapping[str, int | str] = field(default_factory=dict)
    records: Path = Path("boards.jsonl")
    sheets: Path = Path("sheets")
    join_address: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    slot: str = "a"


def flash(port: str, plan: Plan, progress: Progress = silent) -> None:
    """Write the MicroPython image, after the chip was compared with the board file."""
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
    found = loader.identify()
    if found.chip != plan.board.chip:
        raise wrong_chip(port, found.chip, plan.board.chip, plan.board.name)
    loader.write(plan.image, lambda part: progress("image", part))
    progress("start", 0)
    loader.start_application()
    selftest.wait_for_prompt(port)


def put_firmware(port: str, plan: Plan, progress: Progress = silent) -> int:
    """Install the firmware and the board's description; returns the bytes carried."""
    with session(port) as opened:
        architecture = native_architecture(opened, plan.board)
        files = payload(architecture, plan.board.drivers())
        board = plan.board.board_json()
        carried = install(opened, files, board, lambda part: progress("firmware", part))
        opened.soft_reset()
    return carried


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
    port: str, plan: Plan, progress: Progress = silent, report: selftest.Report = lambda r: None
) -> list[Result]:
    """Run every check; a failing one does not end the others."""
    results: list[Result] = []

    def note(result: Result) -> None:
        results.append(result)
        report(result)
        progress("test", len(results) / (len(plan.board.sensors) + 3))

    board = plan.board.board_json()
    with session(port) as opened:
        for result in selftest.sensors(opened, board):
            note(result)
        for result in selftest.microphone(opened, board):
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
    selftest.wait_for_prompt(port)


def facts(port: str) -> dict[str, Any]:
    """What the acceptance record says of the board itself."""
    with session(port) as opened:
        found = dict(check_version(opened, None))
        found["mac"] = opened.run(
            "import machine, binascii\nprint(binascii.hexlify(machine.unique_id()).decode())"
        ).strip()
    return found


def paper(
    plan: Plan, identity: Identity, name: str, results: Sequence[Result], facts: Mapping[str, Any]
) -> Path:
    """Write the acceptance record (JSON) and the sheet (HTML); returns the sheet's path."""
    plan.sheets.mkdir(parents=True, exist_ok=True)
    record = selftest.acceptance(
        identity.address, identity.uuid, plan.board.name, list(results), facts, identity.key
    )
    _write(plan.sheets / f"{identity.address}.json", json.dumps(record, indent=1))
    label = sheet.Label(plan.join_address, identity.uuid, sheet.claim_code(identity.key))
    page = sheet.sheet(
        plan.board.name,
        name,
        label,
        plan.board.pin_rows(),
        [{"check": r.check, "result": r.state, "seen": r.detail} for r in results],
        plan.board.wiring_picture(),
    )
    target = plan.sheets / f"{identity.address}.html"
    _write(target, page)
    return target


def in_parallel(
    ports: Sequence[str], work: Callable[[str], T], finished: Callable[[str, T | BenchError], None]
) -> dict[str, T | BenchError]:
    """Do the work on up to eight boards at once; one that fails does not disturb the others."""
    outcomes: dict[str, T | BenchError] = {}
    with ThreadPoolExecutor(PARALLEL_MAX) as pool:
        futures = {pool.submit(work, port): port for port in ports}
        for future in as_completed(futures):
            port = futures[future]
            try:
                outcomes[port] = future.result()
            except BenchError as fault:
                outcomes[port] = fault
            finished(port, outcomes[port])
    return outcomes


def needs_button(port: str) -> bool:
    """Whether somebody has to hold BOOT and press EN, for the port has no reset lines."""
    return not has_modem_lines(port)


def _write(path: Path, text: str) -> None:
    partial = path.with_suffix(path.suffix + ".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
