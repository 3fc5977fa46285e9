"""COMMAND: what an operator asks a board to do; RESULT answers each."""

from firmware import health
from protocol import downlink as bodies
from protocol import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.node import Node

IDENTIFY_MS = 60_000
TEST_FILE = "selftest"


def take(node: "Node", data: memoryview, now: int) -> None:
    """Act on a COMMAND once; the same id again only gets the same answer again."""
    id = bodies.request_id(data)
    code, arguments = bodies.command(data)
    known, status = node.downlink.last_command
    detail = b""
    if id != known:
        status, detail = _run(node, code, arguments, now)
        node.downlink.last_command = (id, status)
    node.result(wire.T_COMMAND, id, code, status, detail)


def _run(node: "Node", code: int, arguments: memoryview, now: int) -> "tuple[int, bytes]":
    """(status, detail) of a command."""
    if code in (wire.C_OTHER_SLOT, wire.C_DROP_SPOOL):
        if bodies.number(arguments, 0) != node.live.counter:
            return wire.R_STALE, b""
    if code == wire.C_REBOOT:
        node.restart_wanted = True
    elif code == wire.C_IDENTIFY:
        node.identify(now + IDENTIFY_MS)
    elif code == wire.C_SELF_TEST:
        return _self_test(node)
    elif code == wire.C_OTHER_SLOT:
        from firmware.slots import Slots

        if not Slots(node.hal).switch():
            return wire.R_FAILED, b"the other slot is empty"
        node.restart_wanted = True
    elif code == wire.C_SAFE_MODE:
        health.set_starts(node.hal.nvs, health.QUICK_RESETS + 1)
        node.restart_wanted = True
    elif code == wire.C_DROP_SPOOL:
        return _drop(node)
    elif code == wire.C_RESEND:
        boot, first, last = [bodies.number(arguments, index) for index in range(3)]
        if not node.outbox.uplink.resend(boot, first, last):
            return wire.R_FAILED, b"none of these is kept"
    elif code == wire.C_HELLO:
        if not node.hello(now):
            return wire.R_FAILED, b"HELLO and LOG have had their share"
    else:
        return wire.R_UNKNOWN, b""
    return wire.R_DONE, b""


def _drop(node: "Node") -> "tuple[int, bytes]":
    try:
        frames = node.outbox.drop_all()
    except OSError:
        return wire.R_FAILED, b"flash cannot be written"
    return wire.R_DONE, b"%d" % frames


def _self_test(node: "Node") -> "tuple[int, bytes]":
    """Flash, heap, and every sensor's last answer: one character a sensor, "+" or "-"."""
    answers = ""
    for sensor, _ in node.sensors:
        answers += "-" if getattr(sensor, "failures", 0) else "+"
    written = _flash_works(node)
    detail = "flash%s heap=%d sensors=%s" % (
        "+" if written else "-",
        node.hal.free_heap(),
        answers,
    )
    good = written and "-" not in answers
    return wire.R_DONE if good else wire.R_FAILED, detail.encode()


def _flash_works(node: "Node") -> bool:
    files = node.hal.files
    try:
        handle = files.open(TEST_FILE, "wb")
        handle.write(b"osn")
        handle.close()
        handle = files.open(TEST_FILE, "rb")
        same = handle.read() == b"osn"
        handle.close()
        files.remove(TEST_FILE)
    except OSError:
        return False
    return same
