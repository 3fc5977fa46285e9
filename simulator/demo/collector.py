"""The collector of the demonstration: the real program, as a process."""

import asyncio
import contextlib
import resource
import sqlite3
import sys
from pathlib import Path

SINK = "network"
STOPS_WITHIN_S = 15.0
FULL_BYTES = 4096


class CollectorFailed(RuntimeError):
    """The collector did not start; the message says what it printed."""


class CollectorProcess:
    """`osn-collector run` over a folder of its own."""

    def __init__(self, folder: Path, broker_port: int, network_url: str) -> None:
        self.folder = folder
        self.config = folder / "collector.toml"
        self.full = False
        self._process: asyncio.subprocess.Process | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(
            f"""[collector]
name = "demonstration"
data = "data"
commit_interval_s = 0.5
clock = "always"

[web]
enabled = false

[retention]
disk_free_mb_min = 10

[[mqtt]]
host = "127.0.0.1"
port = {broker_port}

[[sink]]
type = "sensorthings"
name = "{SINK}"
url = "{network_url}"

[[sink]]
type = "jsonl"
name = "file"
file = "delivered.jsonl"
""",
            encoding="utf-8",
        )

    @property
    def archive(self) -> Path:
        """The archive's file."""
        return self.folder / "data" / "archive.db"

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.returncode is None

    async def adopt(self, records: str) -> None:
        """Hand over the provisioned boards, as a technician does. Raises CollectorFailed."""
        file = self.folder / "boards.jsonl"
        file.write_text(records, encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            *self._command("nodes", "import", str(file)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise CollectorFailed(output.decode(errors="replace"))

    async def start(self) -> None:
        """Start it. Raises CollectorFailed when it ends at once."""
        with (self.folder / "collector.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command("run"), stdout=log, stderr=log
            )
        await asyncio.sleep(0.3)
        if not self.running:
            raise CollectorFailed(self.log()[-2000:])

    async def stop(self) -> None:
        """End it as a service manager does; what it holds is committed first."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOPS_WITHIN_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    def fill_card(self, full: bool) -> None:
        """Let no file of the collector grow beyond a page, as on a card without room."""
        if self._process is not None and self._process.returncode is None:
            most = FULL_BYTES if full else resource.RLIM_INFINITY
            resource.prlimit(
                self._process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY)
            )
            self.full = full

    def log(self) -> str:
        """What it has printed."""
        return (self.folder / "collector.log").read_text(encoding="utf-8", errors="replace")

    def frames_stored(self) -> int:
        """Frames in the archive now; 0 while it cannot be read."""
        with contextlib.suppress(sqlite3.Error):
            connection = sqlite3.connect(f"file:{self.archive}?mode=ro", uri=True, timeout=0.2)
            try:
                return int(connection.execute("SELECT count(*) FROM frame").fetchone()[0])
            finally:
                connection.close()
        return 0

    def _command(self, *words: str) -> list[str]:
        return [
            sys.executable,
            "-c",
            "from collector.cli import main; main()",
            *words,
            "--config",
            str(self.config),
        ]
