"""The VM's end of the bridge to the host that plays the hardware; see simulator/bridge.py."""

import _thread
import json
import os
import struct

from simulator import bridge

NODE_FOLDER = os.getenv("OSN_NODE") or "."
STEPPED = os.getenv("OSN_TIME") == "stepped"

_lock = _thread.allocate_lock()
_reply = bytearray(bridge.REPLY_BYTES)
_request = bytearray(bridge.REQUEST_BYTES)
_up = None
_down = None
_boot = None
_stale = False
now_ms = 0


def _open():
    global _up, _down
    _up = open(NODE_FOLDER + "/" + bridge.UP, "wb")
    _down = open(NODE_FOLDER + "/" + bridge.DOWN, "rb")


def _read_all(buffer):
    view = memoryview(buffer)
    got = 0
    while got < len(view):
        count = _down.readinto(view[got:])
        if not count:
            raise SystemExit("the host of this node has gone")
        got += count


def _send(operation, unit, value, payload):
    struct.pack_into(bridge.REQUEST, _request, 0, operation, unit, len(payload), value)
    _up.write(bytes(_request) + bytes(payload) if payload else _request)


def _resync():
    """Read up to a mark that the host sends: before it lies what Ctrl-C kept us from reading."""
    mark = os.urandom(8)
    _send(bridge.RESYNC, 0, 0, mark)
    seen = bytes(8)
    byte = bytearray(1)
    while seen != mark:
        _read_all(byte)
        seen = seen[1:] + byte


def call(operation, unit=0, value=0, payload=b"", answer=True):
    """Ask the host; returns (status, payload). Raises OSError for a negative status.

    On the VM Ctrl-C may strike between any two machine instructions.
    """
    global now_ms, _stale
    with _lock:
        if _down is None:
            _open()
        if _stale:
            _resync()
        _stale = True
        _send(operation, unit, value, payload)
        if not answer:
            return 0, b""
        _read_all(_reply)
        status, length, low, high = struct.unpack(bridge.REPLY, _reply)
        now_ms = low | high << 32
        data = b""
        if length:
            data = bytearray(length)
            _read_all(data)
        _stale = False
    if status < 0:
        raise OSError(-status)
    return status, data


def boot():
    """What the chip is and why it started: a dict with unique_id, reset_cause, rtc, wake_ms."""
    global _boot
    if _boot is None:
        _boot = json.loads(bytes(call(bridge.BOOT)[1]))
    return _boot


def present():
    """Whether a host plays hardware for this VM."""
    try:
        os.stat(NODE_FOLDER + "/" + bridge.UP)
    except OSError:
        return False
    return True


# What has to run whenever the firmware gives time away: I2S callbacks.
idle_hooks = []


def run_idle_hooks():
    for hook in idle_hooks:
        hook()
