"""The simulated network as a transport of the firmware, over the bridge."""

import _host

from simulator import bridge


class SteppedLink:
    """firmware.types.Transport: whole frames go to the host and come from it."""

    POLL_MS = 1_000
    secure = True

    def __init__(self):
        self.connected = False
        self.reason = "not started"
        self._started = False

    def start(self, now_ms):
        self._started = True

    def poll(self, now_ms):
        if self._started:
            self.connected = _host.call(bridge.LINK_CONNECTED)[0] == 1
            self.reason = "" if self.connected else "network unreachable"

    def send(self, frame):
        return self.connected and _host.call(bridge.LINK_SEND, 0, 0, frame)[0] == 1

    def receive(self):
        if not self.connected:
            return None
        frame = _host.call(bridge.LINK_RECEIVE)[1]
        return memoryview(frame) if frame else None

    def close(self):
        self.connected = False
        self._started = False
