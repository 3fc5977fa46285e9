"""A USB serial port without USB: a pseudo-terminal whose far end is a model."""

import contextlib
import os
import pty
import random
import select
import threading
import time
import tty
from collections.abc import Callable
from types import TracebackType

CHUNK_BYTES = 65_536
BITS_PER_BYTE = 10


class SerialLine:
    """Carries bytes between whoever opens `path` and `answer(data) -> bytes`.

    baud paces both directions as a real line would (None: as fast as it goes); noise is the
    probability that a byte changes on its way to the computer; unplug() ends the line for good.
    """

    def __init__(
        self,
        answer: Callable[[bytes], bytes],
        baud: int | None = None,
        noise: float = 0.0,
        seed: int = 1,
    ) -> None:
        self._answer = answer
        self._baud = baud
        self._noise = noise
        self._random = random.Random(seed)
        self._near, self._far = pty.openpty()
        tty.setraw(self._far)
        self.path = os.ttyname(self._far)
        self._stop = threading.Event()
        self.carried_bytes = 0
        self.sent_bytes = 0
        self.unplug_after_bytes: int | None = None
        self._thread = threading.Thread(target=self._carry, daemon=True)

    def __enter__(self) -> "SerialLine":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.unplug()
        self._thread.join(5)

    def unplug(self) -> None:
        """Pull the cable: whoever has the port open gets an error."""
        self._stop.set()

    @property
    def unplugged(self) -> bool:
        """Whether the line has ended."""
        return self._stop.is_set()

    def send(self, data: bytes) -> None:
        """Bytes that the far end sends by itself."""
        self.sent_bytes += len(data)
        self._pace(data)
        if self._noise:
            data = bytes(
                byte ^ self._random.randrange(1, 256)
                if self._random.random() < self._noise
                else byte
                for byte in data
            )
        while data and not self._stop.is_set():
            data = data[os.write(self._near, data) :]

    def _carry(self) -> None:
        try:
            while not self._stop.is_set():
                readable, _, _ = select.select([self._near], [], [], 0.02)
                if not readable:
                    continue
                data = os.read(self._near, CHUNK_BYTES)
                self.carried_bytes += len(data)
                limit = self.unplug_after_bytes
                if limit is not None and self.carried_bytes > limit:
                    break
                self._pace(data)
                answer = self._answer(data)
                if answer:
                    self.send(answer)
        except OSError:
            pass
        finally:
            self._stop.set()
            for end in (self._near, self._far):
                with contextlib.suppress(OSError):
                    os.close(end)

    def _pace(self, data: bytes) -> None:
        if self._baud:
            time.sleep(len(data) * BITS_PER_BYTE / self._baud)
