"""The ESP32's network.WLAN for a VM: the host decides when there is a network."""

import _host

from simulator import bridge as _bridge

STA_IF = 0
AP_IF = 1
STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202
STAT_ASSOC_FAIL = 203
STAT_BEACON_TIMEOUT = 200
STAT_HANDSHAKE_TIMEOUT = 204

_hostname = "mpy-esp32"


def hostname(name=None):
    global _hostname
    if name is None:
        return _hostname
    _hostname = name
    return None


def country(code=None):
    return "XX" if code is None else None


class WLAN:
    IF_STA = 0
    IF_AP = 1
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2

    def __init__(self, interface_id=STA_IF):
        self._active = False

    def active(self, is_active=None):
        if is_active is None:
            return self._active
        self._active = bool(is_active)
        if not self._active:
            self.disconnect()
        return self._active

    def connect(self, ssid=None, password=None, *, bssid=None):
        if not self._active:
            raise OSError("Wifi Not Started")
        name = ssid.encode() if isinstance(ssid, str) else ssid or b""
        _host.call(_bridge.WLAN_CONNECT, 0, 0, name)

    def disconnect(self):
        _host.call(_bridge.WLAN_DISCONNECT)

    def isconnected(self):
        return self._active and _host.call(_bridge.WLAN_STATUS)[0] == STAT_GOT_IP

    def status(self, param=None):
        if param == "rssi":
            return -_host.call(_bridge.WLAN_RSSI)[0]
        return _host.call(_bridge.WLAN_STATUS)[0]

    def config(self, param=None, **kwargs):
        if param == "mac":
            return bytes.fromhex(_host.boot()["unique_id"])
        if param in ("hostname", "dhcp_hostname"):
            return hostname()
        return None

    def ifconfig(self, ip_mask_gateway_dns=None):
        return ("127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1")

    def scan(self):
        return [(b"simulated", b"\x00" * 6, 1, -60, 3, False)]
