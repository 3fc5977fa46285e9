"""Measures the collector: `make bench-collector`. The last line is JSON.

Everything but the reading of days runs the real daemon behind the real mosquitto, and is timed
from outside: the moment of publishing against what a second process finds in the archive's file, or
against the ACK that a subscriber gets.
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from statistics import quantiles

from benchmarks import collector_flood, collector_peers, collector_reading
from benchmarks.collector_load import (
    READINGS_PER_FRAME,
    Acks,
    Collector,
    Fleet,
    Socket,
    collector,
    drive,
    mosquitto,
    publish,
)

BURST_FRAMES = 40_000
WINDOW = 5_000
ACK_RATE = 200
ACK_S = 20
GROUPS = {1: 400, 10: 500, 100: 80}
IDLE_S = 30


def burst(port: int, folder: Path) -> dict[str, float]:
    """Frames and readings a second from broker to committed; bytes of archive per reading."""
    fleet = Fleet(100)
    packets = fleet.packets(1, BURST_FRAMES // 100)
    running = collector(folder, port, fleet)
    done, seconds = drive(port, packets, running.frames, WINDOW, 60)
    _until_frames(running, len(packets))
    running.watched.stop()
    frames = len(packets)
    size = sum(path.stat().st_size for path in running.archive.parent.glob("archive.db*"))
    return {
        "frames_per_s": done / seconds,
        "readings_per_s": done * READINGS_PER_FRAME / seconds,
        "archive_bytes_per_reading": size / frames / READINGS_PER_FRAME,
    }


def latency(port: int, folder: Path) -> dict[str, float]:
    """From publishing to ACK at 200 frames a second."""
    fleet = Fleet(100)
    packets = fleet.packets(1, ACK_RATE * ACK_S // 100)
    running = collector(folder, port, fleet)
    acks, sender = Acks(port), Socket(port, "latency")
    sent: dict[tuple[int, int], float] = {}
    waits: list[float] = []
    begin_s = time.monotonic()
    for number, packet in enumerate(packets):
        due_s = begin_s + number / ACK_RATE
        while (left_s := due_s - time.monotonic()) > 0:
            _note(acks, left_s, sent, waits)
        sent[fleet.nodes[number % 100], number // 100 + 1] = time.monotonic()
        sender.send([packet])
    end_s = time.monotonic() + 10
    while sent and time.monotonic() < end_s:
        _note(acks, 0.1, sent, waits)
    if sent:
        raise RuntimeError(f"{len(sent)} frames were not acknowledged")
    sender.close()
    acks.close()
    running.watched.stop()
    cuts = quantiles(waits, n=100)
    return {"ack_p50_ms": cuts[49] * 1000, "ack_p99_ms": cuts[98] * 1000}


def _note(
    acks: Acks, wait_s: float, sent: dict[tuple[int, int], float], waits: list[float]
) -> None:
    before = dict(acks.settled)
    for node, upto, now_s in acks.hear(wait_s):
        for seq in range(before.get(node, 0) + 1, upto + 1):
            published_s = sent.pop((node, seq), None)
            if published_s is not None:
                waits.append(now_s - published_s)
        before[node] = upto


def wear(port: int, folder: Path) -> dict[str, float]:
    """Bytes written to disk per reading, by frames in a commit."""
    found = {}
    for size, groups in GROUPS.items():
        fleet = Fleet(100)
        frames = size * groups
        packets = fleet.packets(1, -(-frames // 100))[:frames]
        running = collector(folder, port, fleet, commit_frames=size)
        begin = running.watched.written_bytes()
        acks, sender = Acks(port), Socket(port, "wear")
        for first in range(0, frames, size):
            sender.send(packets[first : first + size])
            _until_acked(acks, first + size)
        sender.close()
        acks.close()
        written = running.watched.written_bytes() - begin
        running.watched.stop()  # moves the rest of the log once, whatever the commits were
        found[f"written_per_reading_{size}"] = written / frames / READINGS_PER_FRAME
    return found


def _until_acked(acks: Acks, frames: int) -> None:
    end_s = time.monotonic() + 10
    while sum(acks.settled.values()) < frames:
        if time.monotonic() > end_s:
            raise RuntimeError(f"frame {frames} was not acknowledged")
        acks.hear(0.1)


def _until_frames(running: Collector, frames: int) -> None:
    end_s = time.monotonic() + 10
    while running.frames() < frames:
        if time.monotonic() > end_s:
            raise RuntimeError(f"frame {frames} was not committed")
        time.sleep(0.02)


def idle(port: int, folder: Path, nodes: int) -> tuple[float, float]:
    """(memory in MB, processor in percent) with nodes that send a frame every 10 s.

    Metrics are served and a sink is fed meanwhile, as in an ordinary installation.
    """
    fleet = Fleet(nodes)
    running = collector(folder, port, fleet, complete=True)
    sender = Socket(port, "idle")
    packets = [publish(f"osn/1/{n:08x}/u", fleet.live(n, 1, 1_000, 0)) for n in fleet.nodes]
    for first in range(0, len(packets), 50):
        sender.send(packets[first : first + 50])
        time.sleep(0.05)
    packets = fleet.packets(1, IDLE_S // 10)
    time.sleep(2)
    begin_s, cpu_s = time.monotonic(), running.watched.cpu_s()
    for number, packet in enumerate(packets):
        due_s = begin_s + number * 10 / nodes
        time.sleep(max(0.0, due_s - time.monotonic()))
        sender.send([packet])
    time.sleep(2)
    percent = 100 * (running.watched.cpu_s() - cpu_s) / (time.monotonic() - begin_s)
    memory_mb = running.watched.rss_mb()
    _until_frames(running, len(packets))
    sender.close()
    running.watched.stop()
    return memory_mb, percent


def floods(folder: Path) -> dict[str, float | None]:
    """An honest node beside publishers as fast as they can: authentic ones, and forgers."""
    return {
        f"flood_{name}_{figure}": value
        for name, authentic in (("authentic", True), ("forged", False))
        for figure, value in collector_flood.measure(folder, authentic=authentic).items()
    }


def ratios(ours: dict[str, float], folder: Path) -> dict[str, float | None]:
    """The same readings through others, in the same run."""
    found: dict[str, float | None] = {}
    for name, run in collector_peers.ALL.items():
        rate = collector_peers.attempt(name, run, folder)
        found[f"ratio_{name}"] = rate.readings and ours["readings_per_s"] / rate.readings
        found[f"ratio_{name}_messages"] = rate.messages and ours["frames_per_s"] / rate.messages
    return found


PARTS = ("burst", "latency", "flood", "wear", "idle", "reading", "peers")


def main() -> None:
    """Runs the parts, prints a line for each figure, and all of them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)}; all by default")
    parts = parser.parse_args().parts or PARTS
    folder = Path(tempfile.mkdtemp(prefix="osn-bench-", dir=_scratch()))
    figures: dict[str, float | None] = {}
    broker, port = mosquitto(folder)
    try:
        ours = burst(port, folder) if {"burst", "peers"} & set(parts) else {}
        figures |= ours
        if "latency" in parts:
            figures |= latency(port, folder)
        if "flood" in parts:
            figures |= floods(folder)
        if "wear" in parts:
            figures |= wear(port, folder)
        if "idle" in parts:
            figures["rss_mb_100"], figures["cpu_percent_100"] = idle(port, folder, 100)
            figures["rss_mb_1000"], _ = idle(port, folder, 1_000)
        if "reading" in parts:
            figures |= collector_reading.measure(folder)
        if "peers" in parts:
            figures |= ratios(ours, folder)
    finally:
        broker.stop()
        shutil.rmtree(folder, ignore_errors=True)
    for name, value in figures.items():
        print(f"{name:28} {'null' if value is None else f'{value:,.2f}'}")
    print(json.dumps({k: None if v is None else round(v, 3) for k, v in figures.items()}))


def _scratch() -> Path:
    """A folder on the disk of the checkout: memory file systems write nothing."""
    scratch = Path("build")
    scratch.mkdir(exist_ok=True)
    return scratch.absolute()


if __name__ == "__main__":
    main()
