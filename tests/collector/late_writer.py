"""A writer in virtual time that commits later, as from another thread, whoever still waits."""

import asyncio
import sqlite3
from collections.abc import Callable

from collector.archive.inline_writer import InlineWriter
from collector.archive.writer import Operation, T, outcome

READ_S = 0.01
WRITE_S = 0.03


class LateWriter(InlineWriter):
    """Reads take 10 ms and writes 30; what has begun ends, unless the process is `dead` by then."""

    def __init__(self, open_connection: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(open_connection)
        self.dead = False

    async def write(self, operation: Operation[T], *, frames: int = 0, urgent: bool = False) -> T:
        return await self._later(lambda: self.write_now(operation, frames=frames), WRITE_S)

    async def maintain(self, operation: Operation[T]) -> T:
        return await self._later(lambda: self._run(operation, alone=True), WRITE_S)

    async def read(self, operation: Operation[T]) -> T:
        await asyncio.sleep(READ_S)
        return await super().read(operation)

    async def _later(self, function: Callable[[], T], delay_s: float) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def begin() -> None:
            if self.dead:
                return  # nobody learns anything any more
            try:
                future.set_result(function())
            except Exception as error:
                future.set_exception(error)

        loop.call_later(delay_s, begin)
        return await outcome(future)
