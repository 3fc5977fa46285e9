"""What survives a power cut of a hosted board: flash, NVS, the chip's number, what is wired."""

from collections.abc import Callable
from typing import Any

NVS_NOT_FOUND = -0x1102


class MemoryNvs:
    """esp32.NVS in memory: what was not committed is gone after a power cut.

    on_commit is called before a commit takes effect, and may raise PowerCut.
    """

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}
        self._open: dict[str, bytes] = {}
        self.commits = 0
        self.on_commit: Callable[[], None] | None = None

    def get_blob(self, key: str, buffer: bytearray) -> int:
        """Copy a value into buffer; returns its length. OSError for an unknown key."""
        value = self._open.get(key, self._kept.get(key))
        if value is None:
            raise OSError(NVS_NOT_FOUND, "ESP_ERR_NVS_NOT_FOUND")
        buffer[: len(value)] = value
        return len(value)

    def set_blob(self, key: str, value: bytes) -> None:
        """Set a value; it lasts once it is committed."""
        self._open[key] = bytes(value)

    def erase_key(self, key: str) -> None:
        """Forget a value."""
        self._open.pop(key, None)
        self._kept.pop(key, None)

    def commit(self) -> None:
        """Make what was set last."""
        if self.on_commit is not None:
            self.on_commit()
        self._kept.update(self._open)
        self._open.clear()
        self.commits += 1

    def lose_power(self) -> None:
        """Forget what was not committed."""
        self._open.clear()


class HostedBoard:
    """A board without power: its chip number, flash, NVS and the sensors wired to it.

    sampled_sound: its microphone gives samples to the firmware's own meter, 15 times faster than
    time at best; else it gives levels.
    """

    def __init__(self, board: dict[str, Any], files: Any, nvs: MemoryNvs, unique_id: bytes) -> None:
        self.board = board
        self.files = files
        self.nvs = nvs
        self.unique_id = unique_id
        self.rtc_memory = b""
        self.pins: dict[int, int] = {}
        self.sampled_sound = False
