"""A collector's folder as an operator finds it: two nodes, an hour of readings, a network."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner, Result

from collector.app import Collector
from collector.cli import main
from collector.config import load
from collector.keys import KeyRing
from collector.nodes import NodeRegistry
from collector.sinks.base import Sink
from collector.storage.storage import open_storage
from collector.transports.base import Deliver, LinkState, Source
from protocol.compose import compose_data, compose_live
from protocol.mac import derive
from protocol.registry import by_name
from protocol.samples import Channel
from simulator.virtual_loop import VirtualClock, VirtualLoop, run

STREET, MOBILE, STRANGER = 0xA1B2C3D4, 0x0000B0B1, 0x000000FF
KEYS = {STREET: bytes(range(32)), MOBILE: bytes(range(1, 33)), STRANGER: bytes(range(2, 34))}
BOOT = 1_764_000_000
START_MS = 1_772_366_400_000
"""2026-03-01T12:00:00Z, when both boards were switched on."""
FRAMES, ROWS, PERIOD_MS = 6, 10, 60_000
STREET_CHANNELS = ("pm2_5", "humidity", "battery_voltage")
MOBILE_CHANNELS = ("latitude", "longitude", "pm10")
CONFIG = """
[collector]
data = "data"
clock = "always"
[[mqtt]]
[web]
enabled = false
[[sink]]
type = "jsonl"
name = "file"
file = "delivered.jsonl"
[[correction]]
formula = "kappa-koehler-1"
quantity = "pm2_5"
"""


def record(node: int, name: str, **more: object) -> dict[str, object]:
    return {
        "node": f"{node:08x}",
        "uuid": f"6f9619ff-8b86-4d01-b42d-0000{node:08x}",
        "key": KEYS[node].hex(),
        "name": name,
        "board": "street",
        "boot": BOOT,
        **more,
    }


RECORDS = [
    record(STREET, "Plaza", site={"latitude": 41.385064, "longitude": 2.173404}),
    record(MOBILE, "Bike", mobile=True),
]


def street_frame(seq: int, node: int = STREET) -> bytes:
    """PM2.5 10.0 + row, humidity 50 %, battery 4000 mV - row; the first PM2.5 is missing."""
    rows: list[list[int | None]] = [
        [100 + 10 * row if seq > 1 or row else None, 5_000, 4_000 - row] for row in range(ROWS)
    ]
    return _frame(node, seq, STREET_CHANNELS, rows)


def mobile_frame(seq: int) -> bytes:
    rows: list[list[int | None]] = [
        [4_138_506 + row, 217_340 + row, 200 + row] for row in range(ROWS)
    ]
    return _frame(MOBILE, seq, MOBILE_CHANNELS, rows)


def _frame(node: int, seq: int, names: tuple[str, ...], rows: list[list[int | None]]) -> bytes:
    channels = [Channel(by_name(name).id) for name in names]
    t0_ms = (seq - 1) * ROWS * PERIOD_MS
    return compose_data(
        derive(KEYS[node], b"up"), node, BOOT, seq, channels, rows, t0_ms, PERIOD_MS
    )


class Script:
    """A transport that plays what a test wrote, and keeps the downlinks."""

    def __init__(self, name: str, play: Callable[["Script"], object]) -> None:
        self.name = name
        self.state = LinkState(connected=True)
        self.sent: list[tuple[int, bytes]] = []
        self.deliver: Deliver = lambda raw, source: None
        self._play = play

    async def run(self, deliver: Deliver) -> None:
        self.deliver = deliver
        await self._play(self)  # type: ignore[misc]

    def send(self, node: int, raw: bytes) -> bool:
        self.sent.append((node, raw))
        return True

    def receive(self, node: int, raw: bytes) -> None:
        self.deliver(raw, Source(self.name, node))


@dataclass
class House:
    """The folder and its commands."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "collector.toml"

    def call(self, *arguments: str, code: int = 0, stdin: str | None = None) -> str:
        """Runs a command in this process; returns what it printed."""
        done = self.run(*arguments, stdin=stdin)
        assert done.exit_code == code, done.output + repr(done.exception)
        return done.stdout if code == 0 else done.output

    def run(self, *arguments: str, stdin: str | None = None) -> Result:
        environment = {"OSN_COLLECTOR_CONFIG": str(self.config), "COLUMNS": "200"}
        return CliRunner().invoke(main, list(arguments), input=stdin, env=environment)

    def live(
        self,
        play: Callable[[Script, Collector], object],
        at_ms: int = START_MS,
        sinks: Mapping[str, Sink] | None = None,
        synchronised: bool = True,
    ) -> None:
        """Runs the collector in virtual time for as long as `play` takes."""

        async def whole(loop: VirtualLoop) -> None:
            config = load(self.config)
            settings = config.collector
            clock = VirtualClock(loop, at_ms)
            clock.is_synchronised = synchronised
            settings.data.mkdir(exist_ok=True)
            storage = open_storage(
                settings.archive, settings.quarantine, clock, threaded=False, durable=False
            )

            faults: list[BaseException] = []

            async def script(transport: Script) -> None:
                try:
                    await play(transport, collector)  # type: ignore[misc]
                except BaseException as fault:
                    faults.append(fault)
                collector.stop()
                await loop.create_future()

            transport = Script("mqtt", script)
            collector = Collector(
                config, clock, storage, [transport],
                NodeRegistry(settings.nodes), KeyRing(settings.keys), sinks=sinks,
            )  # fmt: skip
            await collector.run()
            await collector.close()
            if faults:
                raise faults[0]

        run(whole)


async def an_hour(transport: Script, collector: Collector) -> None:
    """Six frames of each node, delivered; three of a stranger, refused."""
    for node in (STREET, MOBILE):
        live = compose_live(derive(KEYS[node], b"up"), node, BOOT, 1, 0, [(BOOT, 1, FRAMES)])
        transport.receive(node, live)
    for seq in range(1, FRAMES + 1):
        await asyncio.sleep(ROWS * PERIOD_MS / 1000)
        transport.receive(STREET, street_frame(seq))
        transport.receive(MOBILE, mobile_frame(seq))
        if seq <= 3:
            transport.receive(STRANGER, street_frame(seq, STRANGER))
    await asyncio.sleep(30)
    for forwarder in collector.forwarders:
        await forwarder.idle()


def make_house(folder: Path) -> House:
    """A configuration and two nodes; nothing received yet."""
    house = House(folder)
    house.config.write_text(CONFIG)
    (folder / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in RECORDS))
    house.call("nodes", "import", str(folder / "records.jsonl"))
    return house
