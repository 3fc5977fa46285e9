"""Find and run the MicroPython VM."""

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHIMS = ROOT / "simulator" / "shims"
LIBRARY = Path(sysconfig.get_path("data")) / "micropython-lib"


def find() -> Path | None:
    """The VM: $MICROPYTHON, else `micropython` on PATH, else the wheel's; None without one."""
    named = os.environ.get("MICROPYTHON")
    if named:
        return Path(named)
    on_path = shutil.which("micropython")
    if on_path:
        return Path(on_path)
    from_wheel = Path(sysconfig.get_path("scripts")) / "micropython"
    return from_wheel if from_wheel.exists() else None


def command(executable: Path, script: str | Path, *arguments: str, heap: str) -> list[str]:
    """The command line that runs a script file with a heap such as "128K"."""
    return [str(executable), "-X", f"heapsize={heap}", str(script), *arguments]


def environment(
    path: Sequence[Path] = (), extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Process environment in which the VM imports path, then the shims, the rooms and umqtt."""
    folders = [*path, SHIMS, ROOT]
    variables = dict(os.environ)
    variables["MICROPYPATH"] = ":".join([*map(str, folders), ".frozen", str(LIBRARY)])
    variables.update(extra or {})
    return variables


def run(
    script: str | Path,
    *arguments: str,
    heap: str = "256K",
    path: Sequence[Path] = (),
    cwd: Path | None = None,
    timeout_s: float = 60,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a script file on the VM to its end; its output is captured.

    Raises FileNotFoundError without a VM, subprocess.TimeoutExpired after timeout_s.
    """
    executable = find()
    if executable is None:
        raise FileNotFoundError(
            "no MicroPython VM: set MICROPYTHON, or install the package micropython"
        )
    return subprocess.run(
        command(executable, script, *arguments, heap=heap),
        env=environment(path, env),
        cwd=cwd,
        timeout=timeout_s,
        capture_output=True,
        text=True,
        check=False,
    )
