"""The daemon's writer: a thread gathers and commits, a few others read."""

import asyncio
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from collector.archive.group_writer import Group, GroupWriter, Reader, WaitedFor
from collector.archive.writer import Open, Operation, T

READERS = 2


class ThreadWriter(GroupWriter):
    """A thread owns the connection; readers have their own threads."""

    def __init__(self, open_connection: Open, open_reader: Open, **options: Any) -> None:
        super().__init__(open_connection, open_reader, **options)
        self._queue: queue.SimpleQueue[WaitedFor | None] = queue.SimpleQueue()
        self._local = threading.local()
        self._reading: list[Reader] = []
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="archive-reader")
        self._thread = threading.Thread(target=self._run, name="archive-writer", daemon=True)
        self._thread.start()

    def _hand_over(self, job: WaitedFor) -> None:
        self._queue.put(job)

    async def _have_read(self, operation: Operation[T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._read, operation)

    async def _end(self) -> None:
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        self._readers.shutdown(wait=True)
        for reader in self._reading:
            reader.close()
        self._queue.put(None)
        self._thread.join()

    def _read(self, operation: Operation[T]) -> T:
        reader: Reader | None = getattr(self._local, "reader", None)
        if reader is None:
            reader = self._local.reader = Reader(self._open_reader)
            self._reading.append(reader)
        return reader.run(operation)

    def _run(self) -> None:
        ending = False
        while not ending:
            first = self._queue.get()
            if first is None:
                break
            group = self._group(first, time.monotonic())
            ending = self._gather(group)
            self._commit(group)
        self._connection.close()

    def _gather(self, group: Group) -> bool:
        """Adds what arrives until the group is due; True when the writer is to end."""
        while (wait_s := group.wait_s(time.monotonic())) is not None:
            try:
                job = self._queue.get(timeout=wait_s)
            except queue.Empty:
                return False
            if job is None:
                return True
            group.take(job)
        return False
