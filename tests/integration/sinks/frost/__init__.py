"""FROST-Server for tests: its modules from Maven Central behind the JDK's HTTP server."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from simulator.upstream import _servers

HERE = Path(__file__).parent
BUILT = HERE.parents[3] / "build" / "frost"
FETCHED_WITHIN_S = 300


def built() -> Path:
    """Folder of FROST-Server's jars and our class, built when missing. Raises NotInstalled."""
    programs = {"java": "default-jdk-headless", "javac": "default-jdk-headless", "mvn": "maven"}
    for program, package in programs.items():
        if shutil.which(program) is None:
            raise _servers.NotInstalled(f"{program} is not installed: apt-get install {package}")
    sources = [HERE / name for name in ("pom.xml", "FrostServer.java", "logback.xml")]
    made = BUILT / "FrostServer.class"
    if made.exists() and made.stat().st_mtime > max(file.stat().st_mtime for file in sources):
        return BUILT
    shutil.rmtree(BUILT, ignore_errors=True)
    BUILT.mkdir(parents=True)
    shutil.copy(HERE / "logback.xml", BUILT)
    fetch = [
        "mvn", "--batch-mode", "--quiet", "--file", str(HERE / "pom.xml"),
        "dependency:copy-dependencies", f"-DoutputDirectory={BUILT / 'lib'}",
    ]  # fmt: skip
    _run(fetch)
    _run(["javac", "-cp", f"{BUILT}/lib/*", "-d", str(BUILT), str(HERE / "FrostServer.java")])
    return BUILT


@contextmanager
def frost(folder: Path) -> Iterator[str]:
    """A FROST-Server with an empty database; gives its service root. Raises NotInstalled."""
    classes = built()
    if not list(Path("/usr/share/postgresql").glob("*/extension/postgis.control")):
        raise _servers.NotInstalled("PostGIS is not installed: apt-get install postgis")
    with _servers.postgres() as database:
        with psycopg.connect(
            host="127.0.0.1", port=database, user="osn", dbname="osn"
        ) as connection:
            connection.execute("CREATE EXTENSION postgis")
        port = _servers.free_port()
        command = [
            "java", "-Xmx512m", "-cp", f"{classes}:{classes}/lib/*", "FrostServer",
            str(port), f"jdbc:postgresql://127.0.0.1:{database}/osn", "osn",
        ]  # fmt: skip
        with _servers.process(command, port, folder / "frost.log"):
            yield f"http://127.0.0.1:{port}/v1.1"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=FETCHED_WITHIN_S)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-2000:]}")
