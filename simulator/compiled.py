"""Run a module with the innermost loops compiled to machine code, for long simulations.

The files are those that boards and collectors run; mypyc compiles them as they are. What comes out
is kept in the environment, under a digest of all that went in, so it is never older than the files.
"""

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("protocol", "collector")
MODULES = (
    "protocol/builder.py",
    "protocol/rows.py",
    "protocol/samples.py",
    "collector/timeline/timeline_fit.py",
)
"""Where a simulation spends most of its time, and where there is little but numbers."""

KEPT = Path(sys.prefix) / "osn-compiled"
_UNFINISHED = "unfinished-"


class NotCompiled(RuntimeError):
    """There is no compiler, or it refused."""


def folder() -> Path:
    """Both packages with their compiled modules; builds them when files have changed.

    Takes some ten seconds then. Raises NotCompiled.
    """
    made = KEPT / _digest()
    if not made.is_dir():
        try:
            KEPT.mkdir(exist_ok=True)
            work = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=KEPT))
            try:
                _compile(work)
                _forget_older()
                work.rename(made)
            finally:
                shutil.rmtree(work, ignore_errors=True)
        except OSError as error:
            if not made.is_dir():  # else another process was quicker
                raise NotCompiled(str(error)) from None
    return made


def _forget_older() -> None:
    for older in KEPT.iterdir():
        if not older.name.startswith(_UNFINISHED):
            shutil.rmtree(older, ignore_errors=True)


def environment(made: Path) -> dict[str, str]:
    """The variables of a process, and of all that it starts, to import from there first."""
    paths = [str(made), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _digest() -> str:
    digest = hashlib.sha256(f"{sys.version} {importlib.metadata.version('mypy')}".encode())
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(ROOT)} {file.stat().st_size}\n".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _compile(work: Path) -> None:
    without = shutil.ignore_patterns("__pycache__")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, work / package, ignore=without)
    done = subprocess.run(
        [sys.executable, "-m", "mypyc", *MODULES],
        cwd=work,
        env={**os.environ, "MYPYPATH": str(work)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NotCompiled(said[-1] if said else f"mypyc ended with {done.returncode}")
    shutil.rmtree(work / "build")


def main() -> int:
    """python -m simulator.compiled MODULE [ARGUMENT ...]"""
    if len(sys.argv) < 2:
        print(main.__doc__, file=sys.stderr)
        return 2
    program, variables = [sys.executable], dict(os.environ)
    try:
        variables = environment(folder())
        program.append("-P")  # else the present folder comes first
        print(f"compiled: {', '.join(MODULES)}", file=sys.stderr)
    except (NotCompiled, importlib.metadata.PackageNotFoundError) as error:
        print(f"runs interpreted, for nothing could be compiled: {error}", file=sys.stderr)
    sys.stderr.flush()
    os.execve(sys.executable, [*program, "-m", *sys.argv[1:]], variables)


if __name__ == "__main__":
    sys.exit(main())
