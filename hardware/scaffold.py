"""Begin a new sensor or sink: python -m hardware.scaffold KIND NAME.

Writes the files that it needs with what is to fill in, and enters it where it has to be known. Its
tests fail until that is done.
"""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware import pages

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = Path(__file__).resolve().parent / "templates"
NAME = re.compile(r"[a-z][a-z0-9_]{1,30}")


class ScaffoldError(Exception):
    """A name that cannot be used, or a tree that is not as expected; says what to do."""


@dataclass(frozen=True)
class Entry:
    """A line for a file that lists what there is, before the line that closes the list."""

    path: str
    opens: str
    closes: str
    line: str


@dataclass(frozen=True)
class Kind:
    """What a new thing of this kind consists of: template by target path, and entries."""

    files: dict[str, str]
    entries: tuple[Entry, ...]
    appended: dict[str, str]
    next_steps: str


KINDS = {
    "sensor": Kind(
        files={
            "firmware/sensors/@name@.py": "driver.txt",
            "simulator/devices/@name@.py": "model.txt",
            "tests/firmware/sensors/test_@name@.py": "test.txt",
            "docs/sensors/@name@.md": "page.txt",
        },
        entries=(
            Entry(
                "firmware/sensors/__init__.py",
                "_DRIVERS = (",
                ")",
                '    ("@name@", "sensors.@name@", 0),',
            ),
            Entry(
                "simulator/devices/__init__.py",
                "_MODELS = {",
                "}",
                '    "@name@": ("@name@", "@Class@"),',
            ),
        ),
        appended={"hardware/parts.toml": "part.txt"},
        next_steps=(
            "Look for 'Fill in' in these files. A number for it in HELLO comes from SENSOR_MODELS "
            "in protocol/registry.py (append one, and put it into _DRIVERS). Then: "
            "pytest tests/firmware/sensors tests/hardware, make docs."
        ),
    ),
    "sink": Kind(
        files={
            "collector/sinks/@name@.py": "sink.txt",
            "simulator/upstream/@name@.py": "server.txt",
            "tests/collector/sinks/test_@name@.py": "test.txt",
            "docs/sinks/@name@.md": "page.txt",
        },
        entries=(
            Entry(
                "docs/sinks/README.md",
                "| --- | --- | --- | --- | --- |",
                "",
                "| [@name@](@name@.md) | Fill in | Fill in | Fill in | Fill in |",
            ),
            Entry(
                "tests/collector/sinks/contract.py",
                "NETWORKS = {",
                "}",
                '    "@name@": Network(lambda m, url, folder: m.Config(url=url, http=QUICK)),',
            ),
        ),
        appended={},
        next_steps=(
            "Look for 'Fill in' in these files. Then: pytest tests/collector/sinks; "
            "OSN_WRITE_PAGES=1 pytest tests/collector/sinks/test_pages.py writes the page's table."
        ),
    ),
}


def class_name(name: str) -> str:
    """sht4x -> Sht4x, gas_clock -> GasClock."""
    return "".join(word.capitalize() for word in name.split("_"))


def scaffold(kind: str, name: str, root: Path = ROOT) -> list[Path]:
    """Write and enter everything; the paths touched. Raises ScaffoldError and changes nothing."""
    plan = _plan(kind, name, root)
    for path, text in plan.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(plan)


def _plan(kind: str, name: str, root: Path) -> dict[Path, str]:
    if kind not in KINDS:
        raise ScaffoldError(f"no kind {kind!r}; there are: {', '.join(KINDS)}")
    if not NAME.fullmatch(name):
        raise ScaffoldError(
            f"{name!r} is no name for a module: use small letters, digits and _, such as sht85"
        )
    made = KINDS[kind]
    fill = _filler(name)
    plan = {}
    for target, template in made.files.items():
        path = root / fill(target)
        if path.exists():
            raise ScaffoldError(f"{fill(target)} is there already: take another name")
        plan[path] = fill((TEMPLATES / kind / template).read_text(encoding="utf-8"))
    for entry in made.entries:
        path = root / entry.path
        plan[path] = _entered(path.read_text(encoding="utf-8"), entry, fill(entry.line))
    for target, template in made.appended.items():
        path = root / target
        more = fill((TEMPLATES / kind / template).read_text(encoding="utf-8"))
        plan[path] = path.read_text(encoding="utf-8").rstrip() + "\n" + more
    return plan


def _filler(name: str) -> Callable[[str], str]:
    def fill(text: str) -> str:
        filled = text.replace("@name@", name).replace("@NAME@", name.upper())
        return filled.replace("@Class@", class_name(name))

    return fill


def _entered(text: str, entry: Entry, line: str) -> str:
    lines = text.splitlines()
    if entry.opens not in lines:
        raise ScaffoldError(f"{entry.path} has no line {entry.opens!r}: enter {line.strip()} there")
    closing = lines.index(entry.closes, lines.index(entry.opens))
    return "\n".join([*lines[:closing], line, *lines[closing:]]) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Scaffold what the arguments name and say what comes next."""
    if len(arguments) != 2:
        sys.exit("usage: make new-sensor NAME=... or make new-sink NAME=...")
    try:
        touched = scaffold(arguments[0], arguments[1])
    except ScaffoldError as fault:
        sys.exit(str(fault))
    pages.write(pictures=False)
    for path in touched:
        print(path.relative_to(ROOT))
    print(KINDS[arguments[0]].next_steps)


if __name__ == "__main__":
    main(sys.argv[1:])
