"""Bytes of a UART, gathered until they make a frame."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.sensors.bus import Uart


class Input:
    """Up to `size` received bytes in .data[:.count]; what does not fit stays in the UART."""

    def __init__(self, uart: "Uart", size: int) -> None:
        self.uart = uart
        self.data = bytearray(size)
        self.count = 0
        self._view = memoryview(self.data)

    def receive(self) -> None:
        """Take in what the UART holds."""
        wanted = min(self.uart.any(), len(self.data) - self.count)
        if wanted > 0:
            got = self.uart.readinto(self._view[self.count : self.count + wanted])
            self.count += got or 0

    def view(self, length: int) -> memoryview:
        """The first bytes, without a copy; valid until drop()."""
        return self._view[:length]

    def drop(self, length: int) -> None:
        """Forget the first bytes."""
        rest = self.count - length
        for index in range(rest):
            self.data[index] = self.data[index + length]
        self.count = rest

    def seek(self, byte: int) -> None:
        """Drop what lies before the first `byte`; everything when there is none."""
        index = 0
        while index < self.count and self.data[index] != byte:
            index += 1
        if index:
            self.drop(index)

    def clear(self) -> None:
        """Forget everything, in the UART as well."""
        self.count = 0
        for _ in range(1000):
            if not self.uart.any() or not self.uart.readinto(self.data):
                break


def date_seconds(year: int, month: int, day: int, hour: int, minute: int, second: int) -> int:
    """Unix time of a date in UTC that came from outside; 0 for one that no calendar has."""
    if not 1 <= month <= 12 or day < 1 or hour > 23 or minute > 59 or second > 60:
        return 0
    midnight = unix_seconds(year, month, day, 0, 0, 0)
    if midnight >= unix_seconds(year, month + 1, 1, 0, 0, 0):
        return 0
    return midnight + hour * 3600 + minute * 60 + second


def unix_seconds(year: int, month: int, day: int, hour: int, minute: int, second: int) -> int:
    """Unix time of a date in UTC, Gregorian calendar, by counting the days from 1 March 0000."""
    if month <= 2:
        year -= 1
        month += 12
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month - 457) // 5 + day
    return (days - 719469) * 86400 + hour * 3600 + minute * 60 + second
