"""How fast readings leave: `make bench-sinks`; the last line is one JSON object.

The fake SensorThings server runs in a process of its own, PostgreSQL is Debian's. The backlog of a
million readings is drained by a process of its own, whose largest memory is what counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collector.archive import archive
from collector.archive.thread_writer import ThreadWriter
from collector.forward.forwarder import Forwarder
from collector.forward.selection import policy_of
from collector.sinks import build_sink, config_class
from collector.sinks.base import MemoryIds, Sink
from simulator.upstream._servers import NotInstalled, postgres
from simulator.upstream.street import START_MS, Street, frozen_times, renderer_for, street_nodes

NODES = street_nodes(20)
READINGS_A_FRAME = 96
FRAMES = 6_000
BACKLOG_FRAMES = 10_417
LIVE_EVERY_S = 0.5


class Present:
    """A clock that stands at the end of the street's readings."""

    def __init__(self, frames: int) -> None:
        self._end_ms = START_MS + frames // len(NODES) * 720_000
        self._started_s = time.monotonic()

    def unix_ms(self) -> int:
        return self._end_ms + round((time.monotonic() - self._started_s) * 1000)

    def monotonic_ms(self) -> int:
        return round(time.monotonic() * 1000)

    def synchronised(self) -> bool:
        return True


def fill(path: Path, frames: int) -> Street:
    """An archive with the street's frames."""
    connection = archive.open_archive(path, durable=False)
    street = Street(NODES)
    street.fill(connection, frames)
    connection.close()
    return street


def open_writer(path: Path) -> ThreadWriter:
    return ThreadWriter(lambda: archive.open_archive(path), lambda: archive.open_reader(path))


def forwarder_for(sink: Sink, writer: ThreadWriter, clock: Present) -> Forwarder:
    policy = policy_of(config_class("jsonl")(file=Path("unused")).delivery, sink.capabilities)
    return Forwarder(
        sink, writer, renderer_for(sink, NODES, policy), frozen_times(), clock, policy, nodes=NODES
    )


async def drain(sink: Sink, path: Path, frames: int) -> float:
    """Readings a second from the archive until the ledger has them all."""
    writer = open_writer(path)
    forwarder = forwarder_for(sink, writer, Present(frames))
    started_s = time.monotonic()
    running = asyncio.create_task(forwarder.run())
    await forwarder.idle()
    took_s = time.monotonic() - started_s
    assert forwarder.status().open_frames == 0, forwarder.status()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await writer.close()
    return frames * READINGS_A_FRAME / took_s


@contextmanager
def fake_sensorthings() -> Iterator[str]:
    """The fake server in a process of its own; gives its address."""
    command = [sys.executable, "-m", "benchmarks.sinks", "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


async def serve() -> None:
    """Child: the fake server."""
    from simulator.upstream import serve as serve_network

    await serve_network("sensorthings", ready=lambda url, _: print(url, flush=True))


def sensorthings(url: str) -> Sink:
    config = config_class("sensorthings")(url=f"{url}/v1.1", batch=2000)
    return build_sink("sensorthings", "sensorthings", config, MemoryIds())


async def backlog(url: str, path: Path) -> dict[str, float]:
    """Child: drains the million readings while live frames come in."""
    sink = sensorthings(url)
    street = Street(NODES, seq=BACKLOG_FRAMES)
    writer = open_writer(path)
    forwarder = forwarder_for(sink, writer, Present(BACKLOG_FRAMES))
    arrivals: dict[int, float] = {}
    send = sink.send

    async def noted(batch: Any) -> Any:
        outcomes = await send(batch)
        for observation in (batch[0], batch[-1]):
            arrivals.setdefault(observation.frame.id, time.monotonic())
        return outcomes

    sink.send = noted  # type: ignore[method-assign]
    running = asyncio.create_task(forwarder.run())
    committed: dict[int, float] = {}
    await asyncio.sleep(1)
    while forwarder.status().open_frames > 200 or len(committed) < 4:
        (frame,) = street.frames(1)
        stored_s = time.monotonic()
        id = await writer.write(lambda c, frame=frame: archive.append(c, frame), frames=1)
        committed[id] = stored_s
        forwarder.wake()
        await asyncio.sleep(LIVE_EVERY_S)
    await forwarder.idle()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await writer.close()
    late_s = [arrivals[id] - stored_s for id, stored_s in committed.items() if id in arrivals]
    assert len(late_s) == len(committed), "a live frame did not arrive"
    return {"backlog_rss_mb": peak_rss_mb(), "live_delay_s": max(late_s)}


def peak_rss_mb() -> float:
    """The largest memory this process ever had."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def run_backlog(url: str, path: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.sinks", "--backlog", url, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_postgres(folder: Path) -> float | None:
    try:
        with postgres() as port:
            config = config_class("postgres")(port=port, database="osn", user="osn")
            fill(folder / "postgres.db", FRAMES)
            sink = build_sink("postgres", "postgres", config, MemoryIds())
            return asyncio.run(drain(sink, folder / "postgres.db", FRAMES))
    except NotInstalled as reason:
        print(f"PostgreSQL: {reason}")
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--backlog", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    if chosen.serve:
        asyncio.run(serve())
        return
    if chosen.backlog:
        url, path = chosen.backlog
        print(json.dumps(asyncio.run(backlog(url, Path(path)))))
        return
    with tempfile.TemporaryDirectory(prefix="osn-bench-") as name:
        folder = Path(name)
        figures: dict[str, float | None] = {"postgres_per_s": measure_postgres(folder)}
        print(f"PostgreSQL: {figures['postgres_per_s'] or 0:,.0f} readings a second")
        fill(folder / "sensorthings.db", FRAMES)
        with fake_sensorthings() as url:
            rate = asyncio.run(drain(sensorthings(url), folder / "sensorthings.db", FRAMES))
        figures["sensorthings_per_s"] = rate
        print(f"SensorThings (fake server): {rate:,.0f} readings a second")
        fill(folder / "backlog.db", BACKLOG_FRAMES)
        with fake_sensorthings() as url:
            figures |= run_backlog(url, folder / "backlog.db")
        print(f"backlog of a million: {figures['backlog_rss_mb']:.1f} MB at most")
        print(f"live readings meanwhile: {figures['live_delay_s']:.2f} s late at most")
    print(json.dumps({key: value and round(value, 2) for key, value in figures.items()}))


if __name__ == "__main__":
    main()
