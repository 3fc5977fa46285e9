"""The demonstration: starts everything, watches it, ends it, and counts."""

import asyncio
import contextlib
import random
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiomqtt
from rich.console import Console, RenderableType
from rich.live import Live

from collector.transports.mqtt_client import BrokerClient
from simulator import vm
from simulator.broker import Broker
from simulator.demo.boards import DemoBoard, make_boards, records
from simulator.demo.collector import SINK, CollectorProcess
from simulator.demo.keys import keys
from simulator.demo.ledger import Account, flash_frames, take_account
from simulator.demo.view import Status, ledger_table, screen
from simulator.demo.watch import Watch
from simulator.upstream.sensorthings import SensorThings

REFRESH_S = 0.5
DRAIN_S = 45.0
OFF_S = 3.0
PLAIN_LINE_EVERY_S = 5.0


@dataclass(frozen=True)
class DemoOptions:
    """seconds: how long it measures; keep: where everything is left; hosted: no VM."""

    seconds: float = 60.0
    seed: int = 1
    keep: Path | None = None
    hosted: bool = False
    embedded_broker: bool = False


async def demonstrate(options: DemoOptions, console: Console) -> Account:
    """Run the demonstration to its end and print the ledger."""
    with contextlib.ExitStack() as stack:
        if options.keep is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="osn-demo-")))
        else:
            folder = options.keep
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        return await _Demonstration(options, console, folder).run()


class _Demonstration:
    def __init__(self, options: DemoOptions, console: Console, folder: Path) -> None:
        self.options = options
        self.console = console
        self.folder = folder
        self.hosted = options.hosted or vm.find() is None
        self.status = Status()
        self.network = SensorThings()
        self.broker = Broker(folder / "broker", embedded=options.embedded_broker)
        self.watch = Watch(self.broker.port)
        self.boards: list[DemoBoard] = []
        self.random = random.Random(options.seed)
        self.wifi = True
        self.ended = False
        self._jobs: set[asyncio.Task[None]] = set()

    async def run(self) -> Account:
        if self.hosted and not self.options.hosted:
            self.console.print(
                "No MicroPython VM on this platform: the same firmware runs under CPython."
            )
        async with self.network.serving() as url:
            self.collector = CollectorProcess(
                self.folder / "collector", self.broker.port, f"{url}/v1.1"
            )
            try:
                return await self._run()
            finally:
                for job in list(self._jobs):
                    job.cancel()
                for board in self.boards:
                    board.power_off()
                await self.collector.stop()
                await self.broker.stop()

    async def _run(self) -> Account:
        await self.broker.start()
        await self.collector.adopt(records(self.options.seed))
        await self.collector.start()
        self._start(self.watch.run())
        self.boards = make_boards(
            self.folder / "boards", self.options.seed, self.broker.port, self.hosted
        )
        for board in self.boards:
            board.power_on()
        await self._show()
        await self._drain()
        account = self._account()
        self.console.print(ledger_table(account))
        self._print_problems(account)
        return account

    def _start(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    # --- while it runs ---

    async def _show(self) -> None:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + self.options.seconds
        with keys(self._pressed) as have_keys:
            self.status.keys = have_keys
            if not self.console.is_terminal:
                await self._show_plainly(end_s)
                return
            with Live(console=self.console, auto_refresh=False, transient=False) as live:
                while loop.time() < end_s and not self.ended:
                    self._refresh(end_s - loop.time())
                    live.update(self._screen(), refresh=True)
                    await asyncio.sleep(REFRESH_S)
                self._refresh(0)
                live.update(self._screen(), refresh=True)

    async def _show_plainly(self, end_s: float) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < end_s and not self.ended:
            await asyncio.sleep(min(PLAIN_LINE_EVERY_S, max(0.1, end_s - loop.time())))
            self._refresh(end_s - loop.time())
            seen = sum(len(traffic.seen) for traffic in self.watch.boards.values())
            acknowledged = sum(traffic.acknowledged for traffic in self.watch.boards.values())
            self.console.print(
                f"frames {seen}, acknowledged {acknowledged}, stored {self.status.stored}, "
                f"readings delivered {self.status.delivered}"
            )

    def _screen(self) -> RenderableType:
        names = {board.address: board.spec.name for board in self.boards}
        powered = {board.address: board.powered for board in self.boards}
        return screen(names, powered, self.watch, self.status)

    def _refresh(self, left_s: float) -> None:
        status = self.status
        status.left_s = max(0.0, left_s)
        status.stored = self.collector.frames_stored()
        status.delivered = sum(self.network.stored.values())
        status.broker = self.broker.kind if self.broker.running else "off"
        status.collector = "running" if self.collector.running else "off"
        if self.collector.full:
            status.collector = "SD card full"
        status.network = f"{len(self.network.entities['Datastreams'])} datastreams"
        status.boards = "CPython" if self.hosted else "MicroPython"
        if not self.wifi:
            status.boards += ", no Wi-Fi"
        for board in self.boards:
            traffic = self.watch.boards.get(board.address)
            if traffic is not None:
                traffic.note_made(flash_frames(board.folder / "flash"))

    # --- keys ---

    def _pressed(self, key: str) -> None:
        tell = self.watch.events.append
        if key == "w":
            self.wifi = not self.wifi
            for board in self.boards:
                board.set_wifi(self.wifi)
            tell("Wi-Fi is back" if self.wifi else "Wi-Fi is off: boards keep their frames")
        elif key == "b":
            running = self.broker.running
            tell("the broker is off" if running else "the broker is back")
            self._start(self.broker.stop() if running else self.broker.start())
        elif key == "s":
            self.collector.fill_card(not self.collector.full)
            tell("the SD card is full" if self.collector.full else "the SD card has room again")
        elif key == "f":
            self._start(self._forge())
        elif key == "p":
            self._start(self._cut_power())
        elif key == "q":
            self.ended = True

    async def _forge(self) -> None:
        known = [(node, t.last) for node, t in self.watch.boards.items() if t.last]
        if not known:
            return
        node, raw = self.random.choice(known)
        forged = bytearray(raw)
        forged[12:16] = (99_999).to_bytes(4, "little")
        forged[20] ^= 0x55
        with contextlib.suppress(aiomqtt.MqttError):
            async with BrokerClient("127.0.0.1", self.broker.port) as client:
                await client.publish(f"osn/1/{node:08x}/u", bytes(forged))
        self.watch.boards[node].seen.discard((int.from_bytes(raw[8:12], "little"), 99_999))
        self.watch.events.append(f"a forged frame was sent in the name of {node:08x}: quarantined")

    async def _cut_power(self) -> None:
        board = self.random.choice(self.boards)
        self.watch.events.append(f"{board.spec.name}: power cut; what its flash holds stays")
        board.power_off()
        await asyncio.sleep(OFF_S)
        if not board.powered:
            board.power_on()

    # --- the end ---

    async def _drain(self) -> None:
        """Let the boards measure no more, mend what was broken, and wait until all has arrived."""
        if not self.broker.running:
            await self.broker.start()
        if self.collector.full:
            self.collector.fill_card(False)
        for board in self.boards:
            if not board.powered:
                board.power_on()
            board.set_wifi(True)
            board.quiet()
        loop = asyncio.get_running_loop()
        end_s = loop.time() + DRAIN_S
        quiet_since = None
        last: tuple[int, ...] = ()
        while loop.time() < end_s:
            await asyncio.sleep(REFRESH_S)
            account = self._account()
            now = tuple(len(b.produced) + b.readings_stored for b in account.boards.values())
            if not account.adds_up or now != last:
                quiet_since = None
            elif quiet_since is None:
                quiet_since = loop.time()
            elif loop.time() - quiet_since > 6:
                return
            last = now

    def _account(self) -> Account:
        flashes = {b.address: (b.spec.name, b.folder / "flash") for b in self.boards}
        issued = {
            node: {
                (boot, seq)
                for boot, highest in traffic.highest.items()
                for seq in range(1, highest + 1)
            }
            for node, traffic in self.watch.boards.items()
        }
        account = take_account(self.collector.archive, SINK, flashes, issued)
        for node, traffic in self.watch.boards.items():
            if node in account.boards:
                account.boards[node].dropped = traffic.dropped
        account.held = sum(self.network.stored.values())
        account.doubled = sum(count - 1 for count in self.network.stored.values())
        return account

    def _print_problems(self, account: Account) -> None:
        for board in self.boards:
            for problem in sorted(set(board.problems)):
                self.console.print(problem)
        if not account.adds_up:
            self.console.print(self.collector.log()[-3000:])
            for board in self.boards:
                console = board.folder / "console.log"
                if console.exists():
                    text = console.read_text(encoding="utf-8", errors="replace")
                    self.console.print(f"--- console of {board.spec.name}\n{text[-2000:]}")
