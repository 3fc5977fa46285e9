"""CONFIG: settings from the collector, checked as a whole; those of the network are tried first."""

from firmware.setting_rules import RESTART, SettingError
from firmware.settings import Settings
from protocol import downlink as bodies
from protocol import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.node import Node


class Trial:
    """New network settings: kept when an ACK comes over them, else the old ones come back."""

    def __init__(self, node: "Node", id: int, now: int) -> None:
        self._node = node
        self.id = id
        self._deadline = now + node.settings["trial_s"] * 1000
        self._start = -1

    def step(self, now: int) -> None:
        """Reconnect once the last frames are out; go back when the time is over."""
        if self._start < 0:
            self._start = now
            self._node.link.open(now)
        elif now >= self._deadline:
            self._node.settings.revert()
            self._end(wire.R_FAILED)
            self._node.link.open(now)

    def heard(self, now: int) -> None:
        """An ACK came over the new settings: they are good."""
        if self._start >= 0 and self._node.link.connected:
            self._end(keep(self._node))

    def _end(self, status: int) -> None:
        self._node.downlink.trial = None
        self._node.configure()
        self._node.result(wire.T_CONFIG, self.id, 0, status)


def take(node: "Node", data: memoryview, now: int) -> None:
    """Act on a CONFIG; RESULT tells what became of it, with the key of a setting that is wrong."""
    id = bodies.request_id(data)
    trial = node.downlink.trial
    if trial is not None:
        if trial.id != id:
            node.result(wire.T_CONFIG, id, 0, wire.R_PENDING)
        return
    try:
        entries = list(bodies.settings(data))
        before = restart_values(node.settings)
        network = node.settings.apply(entries)
    except SettingError as fault:
        node.result(wire.T_CONFIG, id, fault.key, wire.R_INVALID, str(fault).encode())
        return
    if network:
        node.downlink.trial = Trial(node, id, now)
        return
    status = keep(node)
    node.configure()
    node.result(wire.T_CONFIG, id, 0, status)
    if restart_values(node.settings) != before:
        node.restart_wanted = True


def keep(node: "Node") -> int:
    """Write the settings to flash; the status to answer with."""
    try:
        node.settings.keep()
    except OSError:
        return wire.R_FAILED
    return wire.R_DONE


def restart_values(settings: Settings) -> "list[int]":
    """The values that only count after a restart."""
    return [settings[name] for name in RESTART]
