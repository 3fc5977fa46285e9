"""What the commands share: options, the bench file, progress, and errors in plain words."""

import contextlib
import json
import ssl
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from hardware import bench_settings, boardfile, ports
from hardware.bench import Plan
from hardware.faults import BenchError, Exit, no_port, unforeseen
from hardware.install import Installed

BENCH_TEXTS = ("records", "sheets", "join_address", "print_command", "ca", "update_key")
BENCH_KEYS = {*BENCH_TEXTS, "settings"}
PUBLIC_KEY_BYTES = 32

port_option = click.option(
    "--port", "named", multiple=True, help="Serial port, such as /dev/ttyUSB0; may be repeated."
)
all_option = click.option("--all", "every", is_flag=True, help="Every port with a board.")
board_option = click.option("--board", "board_name", required=True, help="Type of board.")
rewire_option = click.option(
    "--rewire", is_flag=True, help="The board was wired anew: let it become one of this type."
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
bench_option = click.option(
    "--bench",
    "bench_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Bench file (TOML): records, sheets, print_command, [settings] and more.",
)


def chosen_ports(named: tuple[str, ...], every: bool = False) -> list[str]:
    """The ports to work on. One board needs no --port; several need a choice."""
    if named:
        return list(dict.fromkeys(named))
    found = ports.ports()
    if not found:
        raise no_port("with a board")
    if len(found) > 1 and not every:
        raise BenchError(
            Exit.USAGE,
            f"There are {len(found)} boards: {', '.join(found)}",
            "Name one with --port, or take all with --all",
        )
    return found


def one_port(named: tuple[str, ...]) -> str:
    """The single port to work on."""
    found = chosen_ports(named)
    if len(found) > 1:
        raise BenchError(Exit.USAGE, "This works on one board at a time", "Give one --port")
    return found[0]


def plan(board_name: str, bench_file: Path | None = None) -> Plan:
    """The board file, with what the bench file says."""
    made = Plan(board=board(board_name))
    if bench_file is None:
        return made
    given = _bench_file(bench_file)
    facts = bench_facts(bench_file)
    settings = bench_settings.plain(given.get("settings", {}))
    wrong = list(bench_settings.board_faults(settings, made.board))
    if wrong:
        raise BenchError(Exit.USAGE, f"{bench_file}: {'; '.join(wrong)}", "Mend its [settings]")
    return replace(
        made,
        settings=settings,
        records=facts.records,
        sheets=facts.sheets,
        join_address=facts.join_address,
        print_command=facts.print_command,
        files=_files(given, bench_file),
    )


def _files(given: Mapping[str, Any], bench_file: Path) -> dict[str, bytes]:
    """The CA as DER, and the public key of updates."""
    found: dict[str, bytes] = {}
    if "ca" in given:
        path = bench_file.parent / str(given["ca"])
        try:
            content = path.read_bytes()
            if content.lstrip().startswith(b"-----BEGIN"):
                content = ssl.PEM_cert_to_DER_cert(content.decode())
            ssl.create_default_context(cadata=content)
        except (OSError, ValueError) as fault:
            raise BenchError(
                Exit.USAGE, f"The CA {path} cannot be used: {fault}", "Name a certificate"
            ) from fault
        found["ca.der"] = content
    if "update_key" in given:
        try:
            found["update.pub"] = bytes.fromhex(str(given["update_key"]))
        except ValueError:
            found["update.pub"] = b""
        if len(found["update.pub"]) != PUBLIC_KEY_BYTES:
            raise BenchError(
                Exit.USAGE,
                f"{bench_file}: update_key is no public key",
                "It is the 64 hexadecimal digits that `osn-board bundle` prints",
            )
    return found


@dataclass(frozen=True, slots=True)
class BenchFacts:
    """What a bench file says whatever the board."""

    records: Path
    sheets: Path
    join_address: str
    print_command: str


def bench_facts(bench_file: Path) -> BenchFacts:
    """Folders are beside the bench file. Raises BenchError."""
    given = _bench_file(bench_file)
    return BenchFacts(
        bench_file.parent / given.get("records", "boards.jsonl"),
        bench_file.parent / given.get("sheets", "sheets"),
        given.get("join_address", ""),
        given.get("print_command", ""),
    )


LOADED = (
    "its MicroPython has no ROMFS, so the code is loaded into the heap, which takes about 50 KB "
    "of it; hardware/board_images tells how to make an image that runs code in place"
)


def told(installed: Installed) -> str:
    """What an installation did, in a technician's words."""
    text = f"{installed.carried_bytes} bytes of firmware installed"
    return f"{text}, runs in place" if installed.in_place else f"{text}\n  note: {LOADED}"


def board(name: str) -> boardfile.BoardFile:
    """The board of that name. Raises BenchError with those that there are."""
    try:
        return boardfile.load(name)
    except (OSError, ValueError) as fault:
        raise BenchError(
            Exit.USAGE, str(fault), "Look at `osn-board boards`, or mend the board file"
        ) from fault


def _bench_file(path: Path) -> Mapping[str, Any]:
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise BenchError(
            Exit.USAGE, f"{path}: {fault.strerror}", "Name your bench file with --bench"
        ) from fault
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise BenchError(Exit.USAGE, f"{path}: {fault}", "Mend the bench file") from fault
    unknown = sorted(set(given) - BENCH_KEYS)
    if unknown:
        raise BenchError(
            Exit.USAGE,
            f"{path} has unknown keys: {', '.join(unknown)}"
            + bench_settings.meant(unknown[0], dict.fromkeys(BENCH_KEYS)),
            f"It may have: {', '.join(sorted(BENCH_KEYS))}; settings of the board come below "
            "[settings]",
        )
    for name in BENCH_TEXTS:
        if not isinstance(given.get(name, ""), str):
            raise BenchError(Exit.USAGE, f"{path}: {name} is no text", "Put it in quotes")
    settings = given.get("settings", {})
    if not isinstance(settings, dict):
        raise BenchError(Exit.USAGE, f"{path}: settings is no table", "Write it as [settings]")
    wrong = list(bench_settings.faults(settings, "ca" in given))
    if wrong:
        raise BenchError(
            Exit.USAGE,
            f"{path}: {'; '.join(wrong)}",
            "Mend its [settings]; docs/settings.md lists them with their limits",
        )
    return given


@contextlib.contextmanager
def reported(as_json: bool = False) -> Iterator[None]:
    """Show a BenchError as two lines (or JSON) and leave with its exit code."""
    try:
        yield
    except click.exceptions.ClickException:
        raise
    except click.exceptions.Abort:
        raise
    except Exception as fault:
        advice = unforeseen(fault).advice
        if as_json:
            click.echo(
                json.dumps(
                    {"error": advice.happened, "to_do": advice.to_do, "code": int(advice.code)}
                )
            )
        else:
            click.secho(f"{advice.happened}.", fg="red", err=True)
            click.echo(f"{advice.to_do}.", err=True)
        sys.exit(int(advice.code))
    except KeyboardInterrupt:
        click.echo(
            "Interrupted. Run the same command again: it goes on where it stopped.", err=True
        )
        sys.exit(int(Exit.INTERRUPTED))


class Bars:
    """A progress bar for each port; on no terminal, or for JSON, nothing is drawn."""

    def __init__(self, shown: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[port]}"),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            console=Console(stderr=True),
            disable=not shown,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(self, *outcome: object) -> None:
        self._progress.stop()

    def show(self, port: str, step: str, part: float) -> None:
        """Bring one port's bar to where it is."""
        if port not in self._tasks:
            self._tasks[port] = self._progress.add_task(step, total=1.0, port=port)
        self._progress.update(self._tasks[port], description=step, completed=part)


def table(rows: list[Mapping[str, str]], title: str = "") -> None:
    """Print rows as a table."""
    shown = Table(title=title or None, box=SIMPLE_HEAD, title_justify="left")
    for head in rows[0] if rows else ["nothing"]:
        shown.add_column(head)
    for row in rows:
        shown.add_row(*row.values())
    Console().print(shown)
