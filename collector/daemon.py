"""The collector as a system service: signals, readiness, watchdog."""

import asyncio
import logging
import os
import signal
import sqlite3
import threading
from functools import partial

from collector.app import Collector, all_transports, disk_free, mqtt_fault, supervised
from collector.archive import archive
from collector.archive.schema import SchemaError
from collector.archive.writer import WriteFailed
from collector.clock import Clock, SteadyClock, SystemClock
from collector.exit_codes import EXIT_BUSY, EXIT_CONFIG, EXIT_FAILED
from collector.keys import open_files
from collector.notify import notify, watchdog_interval_s
from collector.operate.control import ControlServer
from collector.operate.operations import Operations
from collector.ownership import become_owner, make_data_folder
from collector.private_file import PrivateFileError
from collector.settings import CollectorSettings, Config
from collector.single import AlreadyRunning, FolderLock
from collector.storage.storage import Storage, open_storage

log = logging.getLogger(__name__)

HEARTBEAT_KEY = "heartbeat"
BEATS_PER_WATCHDOG = 3
READY_WITHIN_S = 10.0
REPLAY_STEP_WITHIN_S = 90
"""Far longer than a part of a replay takes on the slowest Pi."""
NEEDS_A_PERSON = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)


def run_daemon(config: Config) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code."""
    try:
        return asyncio.run(_run(config))
    except (
        PrivateFileError, SchemaError, AlreadyRunning, WriteFailed, OSError, sqlite3.Error,
    ) as error:  # fmt: skip
        log.error("%s", error)
        return exit_code_of(error)


def exit_code_of(error: BaseException) -> int:
    """78 for what only a person can mend, so that systemd does not try it again for ever."""
    if isinstance(error, AlreadyRunning):
        return EXIT_BUSY
    cause = error.__cause__ if isinstance(error, PrivateFileError) else error
    if isinstance(cause, OSError) and not isinstance(cause, NEEDS_A_PERSON):
        return EXIT_FAILED
    return EXIT_FAILED if isinstance(error, WriteFailed | sqlite3.Error) else EXIT_CONFIG


async def _run(config: Config) -> int:
    settings = config.collector
    make_data_folder(settings.data, config.file)
    if (owner := become_owner(settings.data)) is not None:
        log.warning("started as root: going on as %s, who owns %s", owner.name, settings.data)
    if fault := await mqtt_fault(config):
        log.error("%s", fault)
        return EXIT_CONFIG
    lock = FolderLock(settings.data)
    try:
        return await _receive(config)
    finally:
        lock.release()


async def _receive(config: Config) -> int:
    settings = config.collector
    clock = SteadyClock(SystemClock(settings.clock))
    nodes, keys = open_files(settings.nodes, settings.keys)
    storage = await _open(settings, clock)
    if storage is None:
        log.info("stopped while frames were replayed; the next start goes on from here")
        return 0
    collector = Collector(
        config,
        clock,
        storage,
        list(all_transports(config)),
        nodes,
        keys,
        free_bytes=disk_free(settings.data),
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, collector.stop)
    operations = Operations(collector)
    control = ControlServer(settings.data, operations.handlers())
    beside = [
        asyncio.create_task(_serve_manager(collector)),
        asyncio.create_task(supervised("control", control.run)),
    ]
    if config.web.enabled:
        from collector.operate import metrics

        serve = partial(metrics.serve, config.web, partial(operations.status, {}))
        beside.append(asyncio.create_task(supervised("metrics", serve)))
    log.info(
        "collector %s %08x: %d nodes, %d frames replayed into the ledger",
        settings.name,
        storage.ledger.collector,
        len(nodes),
        storage.replayed,
    )
    try:
        await collector.run()
    finally:
        notify("STOPPING=1")
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await collector.close()
    log.info("stopped")
    return 0


class _Stopped(Exception):
    """The start was interrupted by a signal."""


async def _open(settings: CollectorSettings, clock: Clock) -> Storage | None:
    """Opens the storage beside the event loop; None when a signal came before that was done.

    After a crash under load there may be many frames to replay: the service manager is told that
    it goes on.
    """
    stopping = threading.Event()

    def going_on(frames: int) -> None:
        notify(
            f"STATUS=replaying: {frames} frames so far",
            f"EXTEND_TIMEOUT_USEC={REPLAY_STEP_WITHIN_S * 1_000_000}",
        )
        if stopping.is_set():
            raise _Stopped

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        opening = partial(
            open_storage, settings.archive, settings.quarantine, clock, going_on=going_on
        )
        storage = await asyncio.to_thread(opening)
    except _Stopped:
        return None
    if stopping.is_set():
        await storage.close()
        return None
    return storage


async def _serve_manager(collector: Collector) -> None:
    """Tells the service manager that we are ready, and that commits go on happening."""
    await collector.started.wait()
    ready = partial(notify, within_s=READY_WITHIN_S)
    await asyncio.to_thread(ready, "READY=1", f"MAINPID={os.getpid()}", "STATUS=receiving")
    interval_s = watchdog_interval_s()
    if interval_s is None:
        return
    seen = -1
    while True:
        await asyncio.sleep(interval_s / BEATS_PER_WATCHDOG)
        commits = await _commits(collector.storage, seen, collector.clock.unix_ms())
        if commits > seen:
            seen = commits
            notify("WATCHDOG=1")


async def _commits(storage: Storage, seen: int, now_ms: int) -> int:
    """How many commits have happened; makes a small one when there was none since."""
    counters = storage.writer.counters
    if counters.commits <= seen:
        try:
            await storage.writer.write(
                lambda connection: archive.put_meta(connection, HEARTBEAT_KEY, now_ms), urgent=True
            )
        except WriteFailed as error:
            log.error("heartbeat could not be committed: %s", error)
    return counters.commits
