"""The golden vectors on MicroPython: argv[1] is their folder. Prints what fails, then a count."""

import json
import sys

from protocol import cobs, downlink, frame, wire
from protocol.mac import Mac
from protocol.wire import FrameError
from tests.protocol.encoding import encode

ENVELOPE = ("short", "magic", "version", "incompatible", "length", "key", "tag", "downgrade", "crc")
failed = []


def load(name: str, head: str) -> "list":
    with open(sys.argv[1] + "/" + name) as file:
        return json.load(file)[head]


def expect(what: str, found: object, expected: object) -> None:
    if found != expected:
        failed.append(what)
        print("FAIL", what, "found", found, "expected", expected)


def hexadecimal(data: object) -> str:
    # The hex of nothing is b"" on MicroPython 1.27.
    return bytes(data).hex() or ""


def recipe(vector: dict) -> None:
    """The board's encoder makes the same bytes."""
    frames = encode(vector, bytes.fromhex(vector["key"]))
    expect(vector["name"], [each.hex() for each in frames], vector["frames"])


def received(vector: dict) -> None:
    """The board's half opens what it should, and refuses the rest for the same reason."""
    raw = memoryview(bytes.fromhex(vector["hex"]))
    mac = Mac(bytes.fromhex(vector["key"])) if vector["key"] else None
    try:
        body = frame.open_frame(raw, mac)
        count = sections(body)
    except FrameError as refused:
        expect(vector["name"], refused.reason, vector.get("refused"))
        return
    if vector.get("refused") in ENVELOPE:
        expect(vector["name"], "opened", vector["refused"])
    head = frame.parse_header(raw)
    if "meaning" in vector:
        expect(vector["name"] + " sections", count, len(vector["meaning"]["sections"]))
        expect(vector["name"] + " seq", head[5], vector["meaning"]["seq"])
    if head[0] >= wire.T_ACK:
        sent_down(vector, head[0], body)


def sections(body: memoryview) -> int:
    """How many sections a body has; raises FrameError section on an overrun."""
    at = count = 0
    while at < len(body):
        if len(body) - at < 3:
            raise FrameError("section")
        at += 3 + (body[at + 1] | body[at + 2] << 8)
        count += 1
    if at > len(body):
        raise FrameError("section")
    return count


def sent_down(vector: dict, type: int, body: memoryview) -> None:
    """Downlink sections are read as they are meant, or refused for the same reason."""
    tags = {
        wire.T_ACK: wire.S_ACK,
        wire.T_TIME: wire.S_TIME,
        wire.T_CONFIG: wire.S_CONFIG,
        wire.T_COMMAND: wire.S_COMMAND,
        wire.T_UPDATE: wire.S_UPDATE,
    }
    if type not in tags:
        return
    try:
        data = downlink.section(body, tags[type])
        found = READERS[type](data)
    except FrameError as refused:
        expect(vector["name"], refused.reason, vector.get("refused"))
        return
    meaning = dict(vector["meaning"]["sections"][0]) if "meaning" in vector else {}
    meaning.pop("section", None)
    expect(vector["name"], found, meaning)


def ack(data: memoryview) -> dict:
    collector = downlink.ack_collector(data)
    entries = [list(entry) for entry in downlink.ack_entries(data)]
    return {"collector": collector, "entries": entries}


def time(data: memoryview) -> dict:
    names = ("uptime_ms", "counter", "received_ms", "sent_ms")
    return dict(zip(names, downlink.time_answer(data)))  # noqa: B905


def config(data: memoryview) -> dict:
    entries = [[key, hexadecimal(value)] for key, value in downlink.settings(data)]
    return {"id": downlink.request_id(data), "entries": entries}


def command(data: memoryview) -> dict:
    code, arguments = downlink.command(data)
    return {"id": downlink.request_id(data), "code": code, "arguments": hexadecimal(arguments)}


def update(data: memoryview) -> dict:
    kind = downlink.update_kind(data)
    found = {"id": downlink.request_id(data)}
    if kind == wire.U_CHUNK:
        found["offset"], piece = downlink.chunk(data)
        found["data"] = hexadecimal(piece)
    else:
        found["size"], digest, found["version"], signature = downlink.offer(data)
        found["sha256"] = hexadecimal(digest)
        found["signature"] = hexadecimal(signature)
    return found


READERS = {
    wire.T_ACK: ack,
    wire.T_TIME: time,
    wire.T_CONFIG: config,
    wire.T_COMMAND: command,
    wire.T_UPDATE: update,
}


def stuffed(vector: dict) -> None:
    """COBS there and back, and equal to the stream's bytes."""
    for kind, content in vector["items"]:
        if kind != "frame":
            continue
        raw = bytes.fromhex(content)
        room = bytearray(cobs.encoded_max(len(raw)))
        length = cobs.encode_into(raw, len(raw), room)
        expect(
            vector["name"],
            content in hexadecimal(room)
            or room[:length].hex() in vector["hex"]
            or room[1:length].hex() in vector["hex"],
            True,
        )
        back = bytearray(len(raw) + 2)
        count = cobs.decode_into(memoryview(room)[1:], length - 2, back)
        expect(vector["name"] + " back", back[:count].hex(), content)


def main() -> None:
    count = 0
    for name, head, check in (
        ("samples.json", "recipes", recipe),
        ("frames.json", "frames", received),
        ("serial.json", "streams", stuffed),
    ):
        for vector in load(name, head):
            check(vector)
            count += 1
    print("failed", len(failed), "of", count)


main()
