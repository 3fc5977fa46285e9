"""Real servers for integration tests and benchmarks, each on a free port, with its own folder."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

STARTED_WITHIN_S = 60.0


class NotInstalled(RuntimeError):
    """A server that this machine lacks; says how to get it."""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def process(
    command: Sequence[str],
    port: int,
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    within_s: float = STARTED_WITHIN_S,
    ready: Callable[[], bool] | None = None,
    user: str | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a server until the block ends; it listens, and is `ready`, when the block begins."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            user=user,
            cwd=log.parent,
        )
    try:
        _wait(started, port, log, within_s, ready)
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def _wait(
    started: subprocess.Popen[bytes],
    port: int,
    log: Path,
    within_s: float,
    ready: Callable[[], bool] | None,
) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if started.poll() is not None:
            break
        with socket.socket() as probe:
            listening = probe.connect_ex(("127.0.0.1", port)) == 0
        if listening and (ready is None or ready()):
            return
        time.sleep(0.05)
    tail = log.read_text(errors="replace")[-2000:]
    raise RuntimeError(f"{started.args!r} does not serve on port {port}:\n{tail}")


def postgres_programs() -> Path:
    """Folder of initdb and postgres. Raises NotInstalled."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    if initdb is None:
        raise NotInstalled("PostgreSQL is not installed: apt-get install postgresql")
    return Path(initdb).resolve().parent


@contextmanager
def postgres() -> Iterator[int]:
    """A PostgreSQL with user and database `osn`; gives its port. Raises NotInstalled."""
    programs = postgres_programs()
    with tempfile.TemporaryDirectory(prefix="osn-postgres-") as folder:
        yield from _postgres(programs, Path(folder))


def _postgres(programs: Path, folder: Path) -> Iterator[int]:
    """PostgreSQL refuses to be root, and its user sees no folder that is root's alone."""
    user = None
    if os.geteuid() == 0:
        user = "postgres"
        shutil.chown(folder, user, pwd.getpwnam(user).pw_gid)
    data, port = folder / "data", free_port()
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "osn", "-A", "trust", "-E", "UTF8", "--no-sync"],
        check=True,
        capture_output=True,
        user=user,
        cwd=folder,
    )
    log = folder / "postgres.log"
    log.touch()
    command = [
        str(programs / "postgres"), "-D", str(data), "-p", str(port), "-h", "127.0.0.1",
        "-k", str(folder),
    ]  # fmt: skip
    with process(command, port, log, user=user):
        for _ in range(100):
            made = subprocess.run(
                [programs / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "osn", "osn"],
                capture_output=True,
            )
            if made.returncode == 0:
                break
            time.sleep(0.1)
        else:
            raise RuntimeError(made.stderr.decode(errors="replace"))
        yield port
