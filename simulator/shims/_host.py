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
_got = 0
_body = None
now_ms = 0


def _open():
    global _up, _down
    _up = open(NODE_FOLDER + "/" + bridge.UP, "wb")
    _down = open(NODE_FOLDER + "/" + bridge.DOWN, "rb")


def _receive():
    """The rest of a reply; what Ctrl-C cuts short goes on where it stopped at the next call."""
    global _got, _body
    while _got < bridge.REPLY_BYTES:
        _got += _read(memoryview(_reply)[_got:])
    if _body is None:
        _body = bytearray(struct.unpack(bridge.REPLY, _reply)[1])
    while _got < bridge.REPLY_BYTES + len(_body):
        _got += _read(memoryview(_body)[_got - bridge.REPLY_BYTES :])


def _read(view):
    count = _down.readinto(view)
    if not count:
        raise SystemExit("the host of this node has gone")
    return count


def call(operation, unit=0, value=0, payload=b"", answer=True):
    """Ask the host; returns (status, payload). Raises OSError for a negative status."""
    global now_ms, _got, _body
    with _lock:
        if _up is None:
            _open()
        struct.pack_into(bridge.REQUEST, _request, 0, operation, unit, len(payload), value)
        _up.write(bytes(_request) + bytes(payload) if payload else _request)
        if not answer:
            return 0, b""
        _got = 0
        _body = None
        interrupted = None
        while True:
            try:
                _receive()
                break
            except KeyboardInterrupt as stopped:
                interrupted = stopped
        status, _, low, high = struct.unpack(bridge.REPLY, _reply)
        now_ms = low | high << 32
    if interrupted is not None:
        raise interrupted
    if status < 0:
        raise OSError(-status)
    return status, _body


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
