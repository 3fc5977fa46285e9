"""The daemon stopped and killed again and again while a slow network is being fed.

    python -m tests.integration.stops 300 [SEED]

A board sends through a real broker; a network answers each request after a while. Whenever the
daemon has ended, what its books say is held against what the network saw.
"""

import asyncio
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from collector.archive import archive
from collector.sinks import influxdb
from tests.integration.conftest import Mosquitto
from tests.integration.street import NODE, ROWS, Board, Daemon, until

FRAME_READINGS = ROWS * 3
FRAMES_PER_STOP = 60
BLIND = {"idempotent": False, "reads_back": False}
READS_BACK = {"idempotent": False, "reads_back": True}
PROMPT_S = 0.2
EARLY = 0.1
"""How many of the stops come while the daemon still starts."""

SINK = """
[[sink]]
type = "influxdb"
name = "slow"
url = "{url}"
version = 1
database = "osn"
[sink.delivery]
order = "oldest_first"
[sink.http]
timeout_s = 60.0
"""

Claim = tuple[int, int, int, int]


@dataclass(slots=True)
class Request:
    """What one request brought, and whether its answer found anybody."""

    lines: list[str]
    answered: bool = False


@dataclass
class SlowNetwork:
    """Stores what it gets at once, and answers at last after `slowest_s`."""

    chance: random.Random
    slowest_s: float
    held: Counter[str] = field(default_factory=Counter)
    requests: list[Request] = field(default_factory=list)
    hurried: bool = False

    async def write(self, request: web.Request) -> web.Response:
        lines = (await request.text()).split("\n")
        found = Request([line for line in lines if not line.startswith(influxdb.NODES)])
        self.requests.append(found)
        self.held.update(found.lines)
        if not self.hurried:
            await asyncio.sleep(self._delay_s())
        found.answered = request.transport is not None and not request.transport.is_closing()
        return web.Response(status=204)

    async def ask(self, request: web.Request) -> web.Response:
        lines = (await request.text()).split("\n")
        return web.json_response([line in self.held for line in lines])

    def _delay_s(self) -> float:
        share = self.chance.random()
        if share < 0.5:
            return self.chance.uniform(0, PROMPT_S)
        return self.chance.uniform(PROMPT_S, self.slowest_s / 10 if share < 0.8 else self.slowest_s)


class StoppedDaemon(Daemon):
    """A daemon that feeds the slow network."""

    def __init__(self, folder: Path, port: int, url: str, traits: dict[str, Any]) -> None:
        super().__init__(folder, port)
        text = self.config.read_text()
        self.config.write_text(text[: text.index("[[sink]]")] + SINK.format(url=url))
        self.archive = folder / "data" / "archive.db"
        self._traits = json.dumps(traits)

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.stopped_daemon", "run", "--config",
                 str(self.config)],
                stdout=log, stderr=log, env={**os.environ, "TEST_TRAITS": self._traits},
            )  # fmt: skip

    @property
    def ready(self) -> bool:
        return (self.folder / "data" / "control.sock").exists()

    async def end(self, how: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(how)
        code = await asyncio.to_thread(self._process.wait, 60)
        with suppress(FileNotFoundError):
            (self.folder / "data" / "control.sock").unlink()
        return code

    def books(self) -> Counter[str]:
        """Readings by outcome."""
        return Counter(
            dict(self._ask("SELECT outcome, sum(readings) FROM delivery_count GROUP BY outcome"))
        )

    def claims(self) -> set[Claim]:
        """What was being sent when the daemon ended, as far as it is written."""
        return set(self._ask("SELECT batch, first_id, last_id, sent_ms FROM inflight"))

    def _ask(self, question: str) -> list[Any]:
        if not self.archive.exists():
            return []
        try:
            with closing(archive.open_reader(self.archive)) as connection:
                return connection.execute(question).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            return []  # killed before it had made its tables


@dataclass
class Result:
    """Readings, by what was counted after the last stop."""

    produced: int
    stops: Counter[str]
    twice: int
    possible: int
    """What the daemon counted as possibly there twice."""
    unanswered: int
    """What it had to count: nobody knows what became of these."""


async def stopped_again_and_again(
    folder: Path, stops: int, seed: int, traits: dict[str, bool], slowest_s: float, stop_s: float
) -> Result:
    """Ends the daemon `stops` times; AssertionError when a book is not true."""
    chance = random.Random(seed)
    network = SlowNetwork(random.Random(seed + 1), slowest_s)
    broker = Mosquitto(mosquitto_program(), folder)
    app = web.Application(client_max_size=1 << 26)
    app.add_routes([web.post("/write", network.write), web.post("/held", network.ask)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    broker.start()
    daemon = StoppedDaemon(folder, broker.port, url, {**traits, "stop_s": stop_s})
    daemon.import_node()
    board = Board(broker.port, stops * FRAMES_PER_STOP)
    sending = asyncio.create_task(board.run())
    try:
        return await _stops(daemon, network, board, stops, chance, blind=traits == BLIND)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        with suppress(AssertionError):
            daemon.kill()
        broker.kill()
        await runner.cleanup()


async def _stops(
    daemon: StoppedDaemon,
    network: SlowNetwork,
    board: Board,
    stops: int,
    chance: random.Random,
    *,
    blind: bool,
) -> Result:
    produced = stops * FRAMES_PER_STOP * FRAME_READINGS
    ended: Counter[str] = Counter()
    unknown = 0
    claims: set[Claim] = set()
    for _ in range(stops):
        seen = len(network.requests)
        daemon.start()
        early = chance.random() < EARLY
        if not early:
            await until(lambda: daemon.ready)
        await asyncio.sleep(chance.uniform(0, 1 if early else 3))
        how = chance.choice((signal.SIGTERM, signal.SIGKILL))
        clean = how == signal.SIGTERM and daemon.ready
        code = await daemon.end(how)
        acknowledged = len(board.acknowledged)
        ended[f"{how.name}{' early' if early else ''}"] += 1
        left, before = daemon.claims(), claims
        claims = left
        if clean:
            assert code == 0, daemon.log[-3_000:]
            check_one_file(daemon, acknowledged)
            if blind:
                assert not left, "what got no answer is counted at a stop"
                unknown += sum(
                    len(request.lines)
                    for request in network.requests[seen:]
                    if not request.answered
                )
        elif blind:
            fresh = left - before
            assert len({batch for batch, *_ in fresh}) <= 1, "one window is under way at a time"
            unknown += FRAME_READINGS * sum(last - first + 1 for _, first, last, _ in fresh)
    network.hurried = True
    daemon.start()
    await until(lambda: daemon.ready and daemon.books()["delivered"] >= produced)
    assert await daemon.end(signal.SIGTERM) == 0, daemon.log[-3_000:]
    books = daemon.books()
    twice = network.held.total() - len(network.held)
    assert len(network.held) == produced, "nothing is lost, and a reading keeps its time"
    assert books["delivered"] == produced
    assert not daemon.claims()
    (account,) = map(json.loads, daemon.command("ledger", "--json").splitlines())
    assert account["sinks"]["slow"]["unaccounted"] == account["sinks"]["slow"]["surplus"] == 0
    assert not account["alarming"]
    check_one_file(daemon, len(board.acknowledged))
    return Result(produced, ended, twice, books["possible_duplicate"], unknown)


def check_one_file(daemon: StoppedDaemon, acknowledged: int) -> None:
    """`cp archive.db` after a clean stop takes all that was acknowledged."""
    data = daemon.folder / "data"
    assert not [*data.glob("*-wal"), *data.glob("*-shm")], "one file each"
    copy = daemon.folder / "copy.db"
    shutil.copy(daemon.archive, copy)
    with closing(archive.open_reader(copy)) as connection:
        (frames,) = connection.execute(
            "SELECT count(*) FROM frame WHERE node = ? AND type = 1", (NODE,)
        ).fetchone()
    assert frames >= acknowledged
    copy.unlink()


def mosquitto_program() -> str:
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert program is not None, "mosquitto is not installed: apt install mosquitto"
    return program


def main() -> None:
    stops, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for name, traits in (("blind", BLIND), ("reads back", READS_BACK)):
        with tempfile.TemporaryDirectory(prefix="osn-stops-") as folder:
            result = asyncio.run(
                stopped_again_and_again(
                    Path(folder), stops, seed, traits, slowest_s=20.0, stop_s=5.0
                )
            )
        print(name, json.dumps(vars(result)), flush=True)


if __name__ == "__main__":
    main()
