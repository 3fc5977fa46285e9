"""A broker on 127.0.0.1: mosquitto when it is installed, else the embedded amqtt."""

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import sys
from pathlib import Path

HOST = "127.0.0.1"
STARTS_WITHIN_S = 15.0
STOPS_WITHIN_S = 5.0
SYSTEM_PATHS = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin"


class BrokerFailed(RuntimeError):
    """The broker did not come up; the message says what it printed."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def find_mosquitto() -> str | None:
    """mosquitto's program file, or None."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=SYSTEM_PATHS)


class Broker:
    """A broker process that can be stopped and started again on the same port.

    Open to everybody on this machine and to nobody else: for demonstrations and tests only.
    """

    def __init__(self, folder: Path, port: int | None = None, embedded: bool = False) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.program = None if embedded else find_mosquitto()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def kind(self) -> str:
        """Which broker this is."""
        return "mosquitto" if self.program else "amqtt (embedded)"

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it and wait until it listens. Raises BrokerFailed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "broker.log"
        with log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command(), stdout=output, stderr=output
            )
        async with asyncio.timeout(STARTS_WITHIN_S):
            while not await self._listens():
                if not self.running:
                    text = log.read_text(encoding="utf-8", errors="replace")[-1000:]
                    raise BrokerFailed(f"{self.kind} ended at once:\n{text}")
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """End it without goodbye."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOPS_WITHIN_S):
                await process.wait()

    def _command(self) -> list[str]:
        if self.program is None:
            return [sys.executable, "-m", "simulator.broker", str(self.port)]
        file = self.folder / "mosquitto.conf"
        stay = "user root\n" if os.geteuid() == 0 else ""
        file.write_text(
            f"{stay}listener {self.port} {HOST}\nallow_anonymous true\npersistence false\n",
            encoding="utf-8",
        )
        return [self.program, "-c", str(file)]

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(HOST, self.port)
        except OSError:
            return False
        writer.close()
        return True


async def serve_embedded(port: int) -> None:
    """Run amqtt in this process for ever."""
    from amqtt.broker import Broker as Embedded

    logging.basicConfig(level=logging.WARNING)
    broker = Embedded(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{HOST}:{port}"}},
            "plugins": {
                "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
            },
        }
    )
    await broker.start()
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(serve_embedded(int(sys.argv[1])))
