"""Is the board well: deadlines behind the watchdog, quick resets, safe mode."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.types import Nvs

QUICK_KEY = "quick"
QUICK_RESETS = 3  # so many in a row mean safe mode
GOOD_AFTER_MS = 300_000  # a run that lasts so long was no quick reset
SLACK_MS = 60_000


def count_start(nvs: "Nvs") -> int:
    """Count a start; how many came in a row without a good run between them."""
    record = bytearray(1)
    try:
        nvs.get_blob(QUICK_KEY, record)
    except OSError:
        pass
    record[0] = min(255, record[0] + 1)
    _write(nvs, record)
    return record[0]


def good_run(nvs: "Nvs") -> None:
    """This run has lasted: the count starts anew."""
    _write(nvs, bytearray(1))


def _write(nvs: "Nvs", record: bytearray) -> None:
    try:
        nvs.set_blob(QUICK_KEY, record)
        nvs.commit()
    except OSError:
        pass


class Deadlines:
    """Each part says when it last did its work; well() is False once one is overdue.

    An outage is no fault: the link's part is to have been served, not to be connected.
    """

    def __init__(self) -> None:
        self._parts: "dict[str, list[int]]" = {}

    def expect(self, part: str, within_ms: int, now_ms: int) -> None:
        """From now on part has to report at least every within_ms, give or take a minute."""
        self._parts[part] = [within_ms + SLACK_MS, now_ms]

    def met(self, part: str, now_ms: int) -> None:
        """Part did its work."""
        if part in self._parts:
            self._parts[part][1] = now_ms

    def overdue(self, now_ms: int) -> str:
        """The part that is overdue; "" when all are well."""
        for part in self._parts:
            within_ms, last_ms = self._parts[part]
            if now_ms - last_ms > within_ms:
                return part
        return ""
