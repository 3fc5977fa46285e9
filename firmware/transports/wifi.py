"""Wi-Fi: one state machine around network.WLAN that neither blocks nor raises."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firmware.settings import Settings

GIVE_UP_MS = 15_000  # an association that takes longer is begun anew
PAUSE_MS = 1_000  # the driver wants a second between disconnect and connect
RESTARTS_AFTER = 3  # failures until the radio is switched off and on
LONGEST_PAUSE_MS = 8_000

_OFF, _PAUSED, _JOINING, _UP = 0, 1, 2, 3


class Wifi:
    """Joins the network of the settings, and joins again whenever it is lost.

    Without a name the network is somebody else's matter (a cable, a simulator): always up.
    """

    def __init__(self, settings: "Settings", wlan: "Any" = None) -> None:
        self._name = settings["wifi_ssid"]
        self._password = settings["wifi_password"]
        self._wlan = wlan
        self._state = _OFF
        self._since = 0
        self._pause_ms = 0
        self._failures = 0
        self.reason = ""
        self.joined = 0  # times that the network was joined

    def poll(self, now_ms: int) -> bool:
        """Do what is due; True while there is a network."""
        if not self._name:
            return True
        try:
            self._step(now_ms)
        except (OSError, RuntimeError) as fault:
            self._fail("wifi " + str(fault), now_ms)
        return self._state == _UP

    def rssi_dbm(self) -> "int | None":
        """Signal strength; None without one."""
        if self._state != _UP:
            return None
        try:
            strength: int = self._wlan.status("rssi")
        except (OSError, ValueError):
            return None
        return strength

    def close(self) -> None:
        """Leave the network."""
        if self._wlan is not None:
            try:
                self._wlan.disconnect()
            except OSError:
                pass
        self._state = _OFF

    def _step(self, now_ms: int) -> None:
        if self._state == _OFF:
            self._switch_on()
            self._pause(0, now_ms)
        if self._state == _PAUSED and now_ms - self._since >= self._pause_ms:
            self._wlan.connect(self._name, self._password)
            self._state = _JOINING
            self._since = now_ms
        elif self._state == _JOINING:
            if self._wlan.isconnected():
                self._state = _UP
                self._failures = 0
                self.reason = ""
                self.joined += 1
            elif now_ms - self._since >= GIVE_UP_MS:
                self._fail("wifi status %d" % self._wlan.status(), now_ms)
        elif self._state == _UP and not self._wlan.isconnected():
            self._fail("wifi lost", now_ms)

    def _switch_on(self) -> None:
        if self._wlan is None:
            import network

            self._wlan = network.WLAN(network.STA_IF)
        self._wlan.active(True)
        try:
            self._wlan.config(reconnects=0)  # the driver's own endless retries hide failures
        except (OSError, ValueError, TypeError):
            pass

    def _fail(self, reason: str, now_ms: int) -> None:
        self.reason = reason
        self._failures += 1
        try:
            self._wlan.disconnect()
            if self._failures % RESTARTS_AFTER == 0:
                self._wlan.active(False)
                self._state = _OFF
                self._wlan.active(True)
        except (OSError, AttributeError):
            pass
        self._pause(min(LONGEST_PAUSE_MS, PAUSE_MS * self._failures), now_ms)

    def _pause(self, pause_ms: int, now_ms: int) -> None:
        self._state = _PAUSED
        self._since = now_ms
        self._pause_ms = pause_ms
