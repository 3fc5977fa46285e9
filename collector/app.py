"""The collector as a whole: transports -> queue -> intake -> archive -> downlinks and forwarders.

Clock, storage, transports and, where wanted, sinks come from outside, so that the same object is
the daemon and the collector of a simulation in virtual time.
"""

import asyncio
import logging
import os
import random
import sqlite3
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from collector.alarms import Alarms
from collector.archive import quarantine
from collector.archive.archive import StoredFrame
from collector.archive.writer import WriteFailed
from collector.backoff import delays_s
from collector.boards.downlink import Downlink
from collector.boards.orders import Orders
from collector.boards.rollout import Rollouts
from collector.clock import Clock
from collector.forward.feeding import open_forwarders
from collector.forward.forwarder import Forwarder
from collector.housekeeping import Housekeeping, Keep
from collector.intake.frame_queue import FrameQueue
from collector.intake.intake import Intake, IntakeLimits
from collector.keys import KeyRing
from collector.ledger.ledger import LEDGER_HEALED, Alarm
from collector.ledger.ledger_store import Damage
from collector.loop_lag import LoopLag
from collector.nodes import NodeRegistry
from collector.private_file import PrivateFileError
from collector.settings import Config
from collector.sinks.base import Sink
from collector.storage.storage import Storage
from collector.transports.base import Source, Transport

log = logging.getLogger(__name__)

FRAMES_PER_TURN = 128
BUSY_GROUPS = 8
BUSY_WAIT_S = 0.01
WATCH_FILES_S = 5.0
GATHER_SHOWN_S = 1.0
WATCH_DISK_S = 10.0
LOOK_AGAIN_S = 10.0
RESTART_FIRST_S = 1.0
RESTART_LONGEST_S = 300.0
STOP_WITHIN_S = 20.0
MEGABYTE = 1_000_000
GIGABYTE = 1_000_000_000

FreeBytes = Callable[[], int | None]


class Collector:
    """Runs until `stop`; `storage` stays the caller's and is closed by `close`.

    `sinks` are ready-made ones by name, beside those of the configuration; `chance` spreads their
    waiting times, and is a seeded one in simulations.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        storage: Storage,
        transports: Sequence[Transport],
        nodes: NodeRegistry,
        keys: KeyRing,
        *,
        sinks: Mapping[str, Sink] | None = None,
        free_bytes: FreeBytes | None = None,
        housekeeping: bool = True,
        chance: random.Random | None = None,
    ) -> None:
        settings = config.collector
        self.config = config
        self.clock = clock
        self.storage = storage
        self.transports = {transport.name: transport for transport in transports}
        self.nodes = nodes
        self.keys = keys
        self.queue = FrameQueue(settings.queue_frames, keys.__contains__)
        self.forwarders: list[Forwarder] = []
        self.alarms = Alarms(clock)
        for damage in storage.healed:
            self.alarms.keep(_healed(damage))
        self.unsent_downlinks = 0
        self.loop_lag = LoopLag()
        self.started = asyncio.Event()
        self.started_ms = clock.monotonic_ms()
        self.intake = Intake(
            keys,
            storage,
            clock,
            send=self._send,
            limits=IntakeLimits(
                group_frames=settings.commit_frames,
                group_interval_s=settings.commit_interval_s,
                waiting_frames=settings.queue_frames,
            ),
            on_commit=self._committed,
            on_alarm=self.alarms.add,
            on_live=self._heard,
            on_answer=self._answered,
        )
        self.orders = Orders(keys.down, storage.ledger, clock, self._send)
        self.rollouts = Rollouts(settings.data, keys.down, storage.ledger, clock, self._send)
        self._housekeeping = (
            Housekeeping(storage, clock, _keep(config), lambda: self.forwarders)
            if housekeeping
            else None
        )
        self._sinks = sinks
        self._chance = chance
        self._free_bytes = free_bytes
        self._stopping = asyncio.Event()
        self._keyed = frozenset(keys.nodes())
        self._reloading = asyncio.Lock()
        self.file_fault = ""
        """Why the files of nodes and keys cannot be used; what was read of them is in force."""

    async def run(self) -> None:
        """Receives and forwards until `stop`; raises when a part fails that all depends on."""
        self.forwarders = await open_forwarders(
            self.config, self.storage, self.nodes, self.clock, self._sinks, self._chance
        )
        outer = asyncio.create_task(self._run_all())
        stopping = asyncio.create_task(self._stopping.wait())
        self.started.set()
        try:
            await asyncio.wait((outer, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            outer.cancel()
            await asyncio.gather(outer, stopping, return_exceptions=True)
            if not outer.cancelled() and outer.exception() is not None:
                raise first_cause(outer.exception())
        await self._drain()

    def stop(self) -> None:
        """Ends `run`: nothing new is taken in, what was received is committed and acknowledged."""
        self._stopping.set()

    async def close(self) -> None:
        """Writes the last snapshot and closes the storage."""
        await self.storage.close()

    def deliver(self, raw: bytes, source: Source) -> None:
        """Takes a frame from a transport."""
        self.queue.put(raw, source)

    async def _run_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for forwarder in self.forwarders:
                group.create_task(supervised(f"sink {forwarder.sink.name}", forwarder.run))
            for transport in self.transports.values():
                group.create_task(
                    supervised(f"transport {transport.name}", transport.run, self.deliver)
                )
            group.create_task(self._take_in())
            group.create_task(self.intake.run())
            group.create_task(self.storage.run())
            group.create_task(self.loop_lag.run())
            if self.nodes.path is not None or self.keys.path is not None:
                group.create_task(self._watch_files())
            if self._free_bytes is not None:
                group.create_task(self._watch_disk(self._free_bytes))
            if self.forwarders:
                group.create_task(self._look_again())
            if self._housekeeping is not None:
                group.create_task(supervised("housekeeping", self._housekeeping.run))

    async def _take_in(self) -> None:
        busy_frames = max(
            BUSY_GROUPS * self.intake.limits.group_frames, self.intake.limits.waiting_frames // 2
        )
        while True:
            await self.queue.wait()
            if self.intake.waiting >= busy_frames:
                await asyncio.sleep(BUSY_WAIT_S)
                continue
            for raw, source in self.queue.take(FRAMES_PER_TURN):
                self.intake.receive(raw, source)
            await asyncio.sleep(0)

    async def _drain(self) -> None:
        """Commits and acknowledges what was received before the end."""
        while arrivals := self.queue.take(FRAMES_PER_TURN):
            for raw, source in arrivals:
                self.intake.receive(raw, source)
        await self.intake.flush()
        await self._exchange()

    def _send(self, downlink: Downlink) -> None:
        transport = self.transports.get(downlink.source.transport)
        if transport is None or not transport.send(downlink.node, downlink.raw):
            self.unsent_downlinks += 1

    def _committed(self, newest_id: int) -> None:
        for forwarder in self.forwarders:
            forwarder.wake()

    def _heard(self, node: int, counter: int, source: Source) -> None:
        self.orders.on_live(node, counter, source)
        self.rollouts.on_live(node, counter, source)

    def _answered(self, frame: StoredFrame) -> None:
        self.orders.on_answer(frame)
        self.rollouts.on_answer(frame)

    async def _watch_files(self) -> None:
        """Sees nodes and keys that the command line has changed, keeps what frames have shown."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(WATCH_FILES_S):
                    await self.keys.shown.wait()
                    await asyncio.sleep(GATHER_SHOWN_S)
            await self._exchange()

    async def _exchange(self) -> None:
        before = self.file_fault
        try:
            await self.reload()
        except PrivateFileError as error:
            if str(error) != before:
                log.error("%s; what was read before stays in force", error)
        except (WriteFailed, sqlite3.Error) as error:
            log.error("held frames are looked at later: %s", error)
        else:
            if before:
                log.warning("keys and nodes can be read and written again")

    async def reload(self) -> None:
        """Takes over changed nodes and keys; PrivateFileError when a file cannot be used.

        What can be used is taken over all the same, and what was read before stays in force.
        """
        async with self._reloading:
            changed, faults = False, []
            # nodes again at the end: one may have been added, and its key, since they were read
            for file in (self.nodes, self.keys, self.nodes):
                try:
                    changed = await file.exchange() or changed
                except PrivateFileError as error:
                    faults.append(str(error))
            self.file_fault = "; ".join(dict.fromkeys(faults))
            if changed or frozenset(self.keys.nodes()) != self._keyed:
                await self._welcome()
        if self.file_fault:
            raise PrivateFileError(self.file_fault)

    async def _welcome(self) -> None:
        """Takes in what quarantine holds of nodes that have got a key."""
        keyed = frozenset(self.keys.nodes())
        fresh = keyed - self._keyed
        self._keyed &= keyed
        for node in sorted(fresh):
            held = await self.storage.quarantine_writer.write(
                partial(quarantine.release, node=node), urgent=True
            )
            log.info("node %08x has a key now; %d held frames are looked at", node, len(held))
            for frame in held:
                self.deliver(frame.raw, Source(frame.source, node))
            self._keyed |= {node}
        for forwarder in self.forwarders:
            forwarder.look_again()

    async def _look_again(self) -> None:
        """Frames that could not be dated may be datable now: a LIVE or a CLOCK has come since."""
        while True:
            await asyncio.sleep(LOOK_AGAIN_S)
            for forwarder in self.forwarders:
                if forwarder.status().held_frames:
                    forwarder.look_again()

    async def _watch_disk(self, free_bytes: FreeBytes) -> None:
        """Stops taking in while the disk is nearly full; boards keep what is not acknowledged."""
        low = self.config.retention.disk_free_mb_min * MEGABYTE
        while True:
            free = free_bytes()
            accepting = free is None or free > low + (0 if self.intake.accepting else low // 4)
            if accepting != self.intake.accepting:
                self.intake.accepting = accepting
                if accepting:
                    log.warning("the disk has room again: frames are taken in and acknowledged")
                else:
                    log.error(
                        "the disk is nearly full (%d MB free): nothing is taken in or "
                        "acknowledged; boards keep their data. Free some space",
                        (free or 0) // MEGABYTE,
                    )
            await asyncio.sleep(WATCH_DISK_S)


async def supervised(
    name: str, function: Callable[..., Coroutine[Any, Any, None]], *arguments: Any
) -> None:
    """Runs a part that may fail alone, again and again with growing waits."""
    waits = delays_s(RESTART_FIRST_S, RESTART_LONGEST_S)
    loop = asyncio.get_running_loop()
    while True:
        started_s = loop.time()
        try:
            await function(*arguments)
            log.error("%s ended by itself; it is started again", name)
        except Exception:
            log.exception("%s failed; it is started again", name)
        if loop.time() - started_s > RESTART_LONGEST_S:
            waits = delays_s(RESTART_FIRST_S, RESTART_LONGEST_S)
        await asyncio.sleep(next(waits))


def _healed(damage: Damage) -> Alarm:
    text = f"a damaged row of the ledger was made again from the frames: {damage.fault}"
    return Alarm(LEDGER_HEALED, damage.node, damage.boot or 0, 0, text)


def _keep(config: Config) -> Keep:
    retention = config.retention
    size_gb = retention.archive_gb_max
    return Keep(
        days=retention.keep_days,
        bytes_max=None if size_gb is None else round(size_gb * GIGABYTE),
        drop_undelivered=retention.drop_undelivered,
        sinks=tuple(entry.name for entry in config.sinks if entry.enabled),
    )


def first_cause(error: BaseException | None) -> BaseException:
    """The error inside groups of one."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert error is not None
    return error


def disk_free(folder: str | os.PathLike[str]) -> FreeBytes:
    """How many bytes an ordinary user may still write below a folder."""

    def free() -> int | None:
        try:
            status = os.statvfs(folder)
        except OSError:
            return None
        return status.f_bavail * status.f_frsize

    return free


def all_transports(config: Config) -> Iterable[Transport]:
    """The transports of a configuration."""
    if config.mqtt:
        from collector.transports.mqtt import MqttTransport

        for broker in config.mqtt:
            yield MqttTransport(broker)
    if config.serial:
        from collector.transports.serial import SerialTransport

        for port in config.serial:
            yield SerialTransport(port)


async def mqtt_fault(config: Config) -> str:
    """Why the installed libraries cannot speak the MQTT that is configured, "" when they can."""
    sinks = [entry for entry in config.sinks if entry.enabled]
    if not config.mqtt and not any(getattr(entry.config, "mqtt", None) for entry in sinks):
        return ""
    from collector.transports.mqtt_client import UnsupportedLibraries, probe

    try:
        await probe()
    except UnsupportedLibraries as error:
        return str(error)
    return ""
