"""The collector's core as a process that a test kills: frames come by a pipe, downlinks go back."""

import asyncio
import threading
from multiprocessing.connection import Connection
from pathlib import Path

from collector.clock import SystemClock
from collector.intake.intake import Intake, IntakeLimits
from collector.keys import KeyRing
from collector.storage.storage import open_storage
from collector.transports.base import Source

GROUP_INTERVAL_S = 0.01
SNAPSHOT_INTERVAL_S = 0.03


def serve(folder: Path, secrets: dict[int, bytes], pipe: Connection) -> None:
    """Runs until it is killed."""
    asyncio.run(_serve(folder, secrets, pipe))


async def _serve(folder: Path, secrets: dict[int, bytes], pipe: Connection) -> None:
    clock = SystemClock("always")
    storage = open_storage(folder / "archive.db", folder / "quarantine.db", clock)
    intake = Intake(
        KeyRing(secrets=secrets),
        storage,
        clock,
        send=lambda downlink: pipe.send_bytes(downlink.raw),
        limits=IntakeLimits(group_interval_s=GROUP_INTERVAL_S),
    )
    loop = asyncio.get_running_loop()
    source = Source("pipe")

    def listen() -> None:
        while True:
            loop.call_soon_threadsafe(intake.receive, pipe.recv_bytes(), source)

    threading.Thread(target=listen, daemon=True).start()
    pipe.send_bytes(b"ready")
    running = asyncio.create_task(intake.run())
    while not running.done():
        await asyncio.sleep(SNAPSHOT_INTERVAL_S)
        await storage.snapshot()
