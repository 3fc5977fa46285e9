"""Boards by the hundred on one socket, and processes under watch."""

import atexit
import contextlib
import json
import os
import select
import socket
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from protocol import compose, wire
from protocol.mac import derive
from protocol.registry import by_name
from protocol.samples import Channel

QUANTITIES = (
    "pm10", "pm2_5", "pm1", "temperature", "humidity", "pressure", "co2", "laeq",
)  # fmt: skip
START_VALUES = (183, 112, 71, 1_850, 6_540, 101_325, 430, 583)
STEPS = (6, 4, 3, 3, 9, 4, 3, 25)
ROWS = 12
READINGS_PER_FRAME = ROWS * len(QUANTITIES)
PERIOD_MS = 10_000
BOOT = 1_764_000_000
WAIT_S = 120.0
BLOB_PACKETS = 50
ENOUGH = 98
STOP_S = 30.0


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def walks(randomness: Random, rows: int) -> list[list[int]]:
    """Rows of the eight quantities as they wander in a street."""
    values = list(START_VALUES)
    found = []
    for _ in range(rows):
        values = [
            max(1, value + randomness.randint(-step, step))
            for value, step in zip(values, STEPS, strict=True)
        ]
        found.append(values)
    return found


class Fleet:
    """Nodes with keys, and their frames of 12 rows of 8 channels, made ahead."""

    def __init__(self, nodes: int, seed: int = 1) -> None:
        self.nodes = list(range(0x1000_0000, 0x1000_0000 + nodes))
        self.keys = {node: node.to_bytes(4, "little") * 8 for node in self.nodes}
        self._up = {node: derive(key, b"up") for node, key in self.keys.items()}
        channels = [Channel(by_name(name).id) for name in QUANTITIES]
        randomness = Random(seed)
        self._samples = [
            compose.samples_section(channels, walks(randomness, ROWS), 0, PERIOD_MS)[6:]
            for _ in range(200)
        ]

    def frame(self, node: int, seq: int) -> bytes:
        """DATA number seq; its samples follow those of the number before."""
        t0 = ((seq - 1) * ROWS * PERIOD_MS).to_bytes(6, "little")
        section = (wire.S_SAMPLES, t0 + self._samples[(node + seq) % len(self._samples)])
        return compose.compose(wire.T_DATA, node, BOOT, seq, [section], self._up[node])

    def live(self, node: int, counter: int, uptime_ms: int, highest: int) -> bytes:
        """LIVE number counter."""
        return compose.compose_live(
            self._up[node], node, BOOT, counter, uptime_ms, [(BOOT, 1, highest)]
        )

    def packets(self, first_seq: int, last_seq: int) -> list[bytes]:
        """PUBLISH packets of all nodes' frames, node by node in turn."""
        return [
            publish(f"osn/1/{node:08x}/u", self.frame(node, seq))
            for seq in range(first_seq, last_seq + 1)
            for node in self.nodes
        ]


def publish(topic: str, payload: bytes) -> bytes:
    """An MQTT 3.1.1 PUBLISH at QoS 0."""
    return _packet(0x30, _text(topic) + payload)


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">H", len(raw)) + raw


def _packet(head: int, body: bytes) -> bytes:
    length = len(body)
    out = bytearray([head])
    while True:
        out.append(length & 127 | (128 if length > 127 else 0))
        length >>= 7
        if not length:
            return bytes(out) + body


class Socket:
    """A raw MQTT connection: a generator must cost less than what it measures."""

    def __init__(self, port: int, name: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        flags = b"\x04\x02" + struct.pack(">H", 600)
        self._socket.sendall(_packet(0x10, _text("MQTT") + flags + _text(name)))
        while len(self._buffer) < 4:
            self._buffer += self._socket.recv(4)
        if self._buffer[3]:
            raise RuntimeError(f"the broker refused the connection: {self._buffer[3]}")
        self._buffer.clear()

    def subscribe(self, topic: str) -> None:
        """At QoS 0; the answer is skipped by `messages`."""
        self._socket.sendall(_packet(0x82, b"\0\1" + _text(topic) + b"\0"))

    def send(self, packets: Sequence[bytes]) -> None:
        """Sends packets as one write."""
        self._socket.sendall(b"".join(packets))

    def messages(self, wait_s: float) -> Iterator[bytes]:
        """Payloads that have come within the time."""
        ready, _, _ = select.select([self._socket], [], [], wait_s)
        while ready:
            part = self._socket.recv(65_536)
            if not part:
                raise RuntimeError("the broker closed the connection")
            self._buffer += part
            yield from self._parsed()
            ready, _, _ = select.select([self._socket], [], [], 0)

    def _parsed(self) -> Iterator[bytes]:
        buffer = self._buffer
        position = 0
        while True:
            start = position + 1
            length = shift = 0
            while True:
                if start >= len(buffer):
                    del buffer[:position]
                    return
                byte = buffer[start]
                start += 1
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            if start + length > len(buffer):
                del buffer[:position]
                return
            if buffer[position] >> 4 == 3:
                topic = buffer[start] << 8 | buffer[start + 1]
                yield bytes(buffer[start + 2 + topic : start + length])
            position = start + length

    def close(self) -> None:
        """Ends the connection."""
        with contextlib.suppress(OSError):
            self._socket.sendall(b"\xe0\0")
        self._socket.close()


class Acks:
    """Listens for ACKs; `settled` is the highest number below which all is acknowledged."""

    def __init__(self, port: int) -> None:
        self.settled: dict[int, int] = {}
        self._socket = Socket(port, f"acks-{time.monotonic_ns()}")
        self._socket.subscribe("osn/1/+/d")

    def hear(self, wait_s: float) -> list[tuple[int, int, float]]:
        """(node, upto, when) of ACKs that came."""
        found = []
        for raw in self._socket.messages(wait_s):
            if raw[1] & wire.TYPE_MASK != wire.T_ACK:
                continue
            now_s = time.monotonic()
            node = int.from_bytes(raw[4:8], "little")
            _, upto, _ = struct.unpack_from("<III", raw, wire.HEADER + 3 + 4)
            if upto > self.settled.get(node, 0):
                self.settled[node] = upto
                found.append((node, upto, now_s))
        return found

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()


@dataclass(slots=True)
class Watched:
    """A process under watch."""

    process: "subprocess.Popen[bytes]"
    log: Path
    children: bool = False

    @property
    def pids(self) -> list[int]:
        """The process and, where asked for, its descendants."""
        found = [self.process.pid]
        if self.children:
            for pid in found:
                for task in Path(f"/proc/{pid}/task").glob("*/children"):
                    found += [int(child) for child in task.read_text().split()]
        return found

    def written_bytes(self) -> int:
        """What it has caused to be written to disk."""
        return sum(_field(f"/proc/{pid}/io", "write_bytes") for pid in self.pids)

    def rss_mb(self) -> float:
        """Resident memory."""
        return sum(_field(f"/proc/{pid}/status", "VmRSS") for pid in self.pids) / 1024

    def cpu_s(self) -> float:
        """Processor time so far."""
        ticks = 0
        for pid in self.pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self) -> int:
        """Ends it gracefully; returns all bytes that it wrote to disk, its last ones too."""
        self.process.terminate()
        end_s = time.monotonic() + STOP_S
        while True:
            try:
                pid, _, usage = os.wait4(self.process.pid, os.WNOHANG)
            except ChildProcessError:
                return 0
            if pid:
                self.process.returncode = 0
                return usage.ru_oublock * 512
            if time.monotonic() > end_s:
                self.process.kill()
                raise RuntimeError(f"a process did not end within {STOP_S:.0f} s; see {self.log}")
            time.sleep(0.02)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.returncode is None:
        process.kill()


def _field(path: str, name: str) -> int:
    for line in Path(path).read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    return 0


def start(command: Sequence[str], log: Path, cwd: Path, children: bool = False) -> Watched:
    """Starts a process that writes to a log."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=cwd, stdout=output, stderr=subprocess.STDOUT)
    atexit.register(_end, process)
    return Watched(process, log, children)


def until(condition: Callable[[], bool], what: str, wait_s: float = WAIT_S) -> None:
    """Waits; RuntimeError when it does not come true."""
    end_s = time.monotonic() + wait_s
    while not condition():
        if time.monotonic() > end_s:
            raise RuntimeError(f"{what}: not within {wait_s:.0f} s")
        time.sleep(0.02)


def mosquitto(folder: Path, max_queued: int = 0) -> tuple[Watched, int]:
    """Debian's broker on a free port; it keeps so many messages for one who reads too slowly."""
    port = free_port()
    config = folder / f"mosquitto-{port}.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages {max_queued}\n"
        "set_tcp_nodelay true\nlog_type error\n"
    )
    broker = start(["mosquitto", "-c", str(config)], folder / f"mosquitto-{port}.log", folder)
    until(lambda: _answers(port), "mosquitto", 10)
    return broker, port


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@dataclass(slots=True)
class Collector:
    """A running `osn-collector` and its archive."""

    watched: Watched
    archive: Path

    def frames(self) -> int:
        """Frames that are committed, as seen from outside."""
        return newest(self.archive, "SELECT max(id) FROM frame")


def newest(path: Path, query: str) -> int:
    """A number from a database that another process writes; 0 while there is none."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0.2)
        ) as connection:
            row = connection.execute(query).fetchone()
    except sqlite3.Error:
        return 0
    return int(row[0] or 0) if row else 0


def collector(
    folder: Path, port: int, fleet: Fleet, commit_frames: int = 500, complete: bool = False
) -> Collector:
    """Starts the daemon on a fresh archive and waits until it listens.

    A complete one has what an ordinary installation has too: the page of metrics and a sink.
    """
    data = folder / f"data-{time.monotonic_ns()}"
    data.mkdir()
    keys = {"version": 1, "nodes": {f"{n:08x}": {"key": k.hex()} for n, k in fleet.keys.items()}}
    (data / "keys.json").write_text(json.dumps(keys))
    (data / "keys.json").chmod(0o600)
    config = data / "collector.toml"
    config.write_text(
        f'[collector]\ndata = "{data}"\nclock = "always"\ncommit_frames = {commit_frames}\n'
        f"[[mqtt]]\nport = {port}\n"
        + (
            f'[web]\nport = {free_port()}\n[[sink]]\ntype = "jsonl"\nfile = "{data}/out.jsonl"\n'
            if complete
            else "[web]\nenabled = false\n"
        )
    )
    command = [sys.executable, "-m", "collector", "run", "--config", str(config)]
    watched = start(command, data / "log", Path.cwd())
    until(lambda: b"connected to" in watched.log.read_bytes(), "the collector", 30)
    time.sleep(0.3)
    return Collector(watched, data / "archive.db")


def drive(
    port: int, packets: Sequence[bytes], durable: Callable[[], int], window: int, wait_s: float
) -> tuple[int, float]:
    """Sends packets, at most `window` ahead of what is durable.

    Returns (durable, seconds) when 98 of 100 are: the last group of a run waits out its second.
    """
    sender = Socket(port, f"load-{time.monotonic_ns()}")
    before = durable()
    enough = len(packets) * ENOUGH // 100
    begin_s = last_s = time.monotonic()
    sent = done = 0
    try:
        while done < enough and time.monotonic() - begin_s < wait_s:
            now = durable() - before
            if now > done:
                done, last_s = now, time.monotonic()
            elif sent == len(packets) and time.monotonic() - last_s > 10:
                break
            while sent < len(packets) and sent - done < window:
                sender.send(packets[sent : sent + BLOB_PACKETS])
                sent = min(sent + BLOB_PACKETS, len(packets))
            time.sleep(0.01)
    finally:
        sender.close()
    return done, last_s - begin_s
