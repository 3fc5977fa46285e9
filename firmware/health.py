"""Is the board well: deadlines behind the watchdog, quick resets and safe mode, a silent link."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.types import Nvs

STARTS_KEY = "starts"
SILENT_KEY = "silent"
QUICK_RESETS = 3  # more starts than these without a good run mean safe mode
GOOD_AFTER_MS = 300_000  # a run that lasts so long is a good one
SLACK_MS = 60_000


def count_start(nvs: "Nvs") -> int:
    """Count a start; how many there were without a good run."""
    starts = min(255, read_count(nvs, STARTS_KEY) + 1)
    set_starts(nvs, starts)
    return starts


def set_starts(nvs: "Nvs", starts: int) -> None:
    """Say how many starts there were without a good run."""
    if read_count(nvs, STARTS_KEY) != starts:
        write_count(nvs, STARTS_KEY, starts)


def may_reboot_for_silence(nvs: "Nvs") -> bool:
    """Whether a reboot may be tried against a link without ACK: once until there was one."""
    if read_count(nvs, SILENT_KEY):
        return False
    write_count(nvs, SILENT_KEY, 1)
    return True


def heard(nvs: "Nvs") -> None:
    """An ACK came: the next silence may have its reboot."""
    if read_count(nvs, SILENT_KEY):
        write_count(nvs, SILENT_KEY, 0)


def read_count(nvs: "Nvs", key: str) -> int:
    """A number of one byte; 0 when there is none."""
    record = bytearray(1)
    try:
        nvs.get_blob(key, record)
    except OSError:
        return 0
    return record[0]


def write_count(nvs: "Nvs", key: str, value: int) -> None:
    """Keep a number of one byte, if NVS can be written."""
    try:
        nvs.set_blob(key, bytes([value]))
        nvs.commit()
    except OSError:
        pass


class Deadlines:
    """Each part says when it last did its work; overdue() names one that has not in time.

    An outage is no fault: the link's part is to have been served, not to be connected.
    """

    def __init__(self) -> None:
        self._parts: "dict[str, list[int]]" = {}

    def expect(self, part: str, within_ms: int, now_ms: int) -> None:
        """From now on part has to report at least every within_ms, give or take a minute."""
        self._parts[part] = [within_ms + SLACK_MS, now_ms]

    def met(self, part: str, now_ms: int) -> None:
        """Part did its work at now_ms."""
        if part in self._parts:
            self._parts[part][1] = now_ms

    def overdue(self, now_ms: int) -> str:
        """The part that is overdue; "" when all are well."""
        for part in self._parts:
            within_ms, last_ms = self._parts[part]
            if now_ms - last_ms > within_ms:
                return part
        return ""
