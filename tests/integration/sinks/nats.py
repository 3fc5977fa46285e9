"""NATS for tests: a second MQTT 3.1.1 broker, built by Go from its module."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simulator.upstream import _servers

MODULE = "github.com/nats-io/nats-server/v2@v2.11.1"
BUILT = Path(__file__).parents[3] / "build" / "nats"
BUILT_WITHIN_S = 600
CONFIGURATION = """
server_name: osn
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{folder}" }}
mqtt {{ listen: "127.0.0.1:{mqtt}" }}
"""


def built() -> Path:
    """The broker's program, built when missing. Raises NotInstalled without Go."""
    program = BUILT / "nats-server"
    if program.exists():
        return program
    go = shutil.which("go")
    if go is None:
        raise _servers.NotInstalled("Go is not installed: apt-get install golang")
    BUILT.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [go, "install", MODULE],
        env={**os.environ, "GOBIN": str(BUILT)},
        cwd=BUILT,
        capture_output=True,
        text=True,
        timeout=BUILT_WITHIN_S,
    )
    if done.returncode:
        raise RuntimeError(f"NATS cannot be built:\n{done.stderr[-2000:]}")
    return program


@contextmanager
def nats(folder: Path) -> Iterator[int]:
    """A NATS that speaks MQTT; gives its port. Raises NotInstalled."""
    program = built()
    port, mqtt = _servers.free_port(), _servers.free_port()
    file = folder / "nats.conf"
    file.write_text(CONFIGURATION.format(port=port, mqtt=mqtt, folder=folder / "jetstream"))
    with _servers.process([str(program), "-c", str(file)], mqtt, folder / "nats.log"):
        yield mqtt
