"""Build frames in CPython: downlink for the collector, uplink for tests and tools."""

import hmac
from binascii import crc32
from collections.abc import Iterable, Sequence
from struct import pack

from protocol import wire
from protocol.frame import FrameBuilder
from protocol.samples import Batch, Channel
from protocol.sections import AckEntry, Chunk, ClockSet, Descriptor, Info, Offer, SpoolBoot
from protocol.varint import U32, uvarint, zigzag

ACK_ENTRIES_MAX = (wire.DOWNLINK_MAX - wire.HEADER - 3 - 4 - wire.TAG_BYTES) // 12
CHUNK_MAX = wire.DOWNLINK_MAX - wire.HEADER - 3 - 7 - wire.TAG_BYTES
U48 = 0xFFFFFFFFFFFF

Section = tuple[int, bytes]


def compose(
    type: int,
    node: int,
    boot: int,
    seq: int,
    sections: Iterable[Section],
    key: bytes | None,
    limit: int = wire.FRAME_MAX_COLLECTOR,
) -> bytes:
    """A frame of any type from the bytes of its sections.

    key is the direction's derived key; None makes an unauthenticated frame. Raises ValueError
    for what does not fit.
    """
    for value in (node, boot, seq):
        if not 0 <= value <= U32:
            raise ValueError(f"{value} is outside 0 to 2**32 - 1")
    sections = list(sections)
    body_bytes = sum([3 + len(data) for _, data in sections])
    if wire.HEADER + body_bytes + (4 if key is None else wire.TAG_BYTES) > limit:
        raise ValueError(f"the frame is longer than {limit} bytes")
    flags = type if key is None else type | wire.AUTH
    frame = pack("<BBHIII", wire.MAGIC, flags, body_bytes, node, boot, seq)
    frame += b"".join([pack("<BH", tag, len(data)) + data for tag, data in sections])
    if key is None:
        return frame + pack("<I", crc32(frame, wire.CRC_START))
    return frame + hmac.digest(key, frame, "sha256")[: wire.TAG_BYTES]


def _down(type: int, node: int, boot: int, seq: int, key: bytes | None, data: bytes) -> bytes:
    return compose(type, node, boot, seq, [(_DOWN_TAGS[type], data)], key, wire.DOWNLINK_MAX)


_DOWN_TAGS = {
    wire.T_ACK: wire.S_ACK,
    wire.T_TIME: wire.S_TIME,
    wire.T_CONFIG: wire.S_CONFIG,
    wire.T_COMMAND: wire.S_COMMAND,
    wire.T_UPDATE: wire.S_UPDATE,
}


def compose_ack(
    key_down: bytes | None,
    node: int,
    boot: int,
    seq: int,
    collector: int,
    entries: Iterable[AckEntry | tuple[int, int, int]],
) -> bytes:
    """ACK: entries of (boot, upto, mask), at most 17. boot is the node's current one."""
    data = pack("<I", collector)
    for entry in entries:
        if isinstance(entry, AckEntry):
            entry = (entry.boot, entry.upto, entry.mask)
        data += pack("<III", *entry)
    return _down(wire.T_ACK, node, boot, seq, key_down, data)


def compose_time(
    key_down: bytes | None,
    node: int,
    boot: int,
    seq: int,
    uptime_ms: int,
    counter: int,
    received_ms: int,
    sent_ms: int,
) -> bytes:
    """TIME: echo of a LIVE's uptime and counter, Unix ms at its receipt and at sending."""
    data = u48(uptime_ms) + pack("<I", counter) + u48(received_ms) + u48(sent_ms)
    return _down(wire.T_TIME, node, boot, seq, key_down, data)


def compose_config(
    key_down: bytes | None,
    node: int,
    boot: int,
    seq: int,
    id: int,
    entries: Iterable[tuple[int, int | str | bytes]],
) -> bytes:
    """CONFIG: (key, value) pairs; integers go as zigzag uvarint, text as UTF-8."""
    data = pack("<H", id)
    for key, value in entries:
        encoded = setting(value)
        data += pack("<HB", key, len(encoded)) + encoded
    return _down(wire.T_CONFIG, node, boot, seq, key_down, data)


def compose_command(
    key_down: bytes | None,
    node: int,
    boot: int,
    seq: int,
    id: int,
    code: int,
    arguments: bytes = b"",
) -> bytes:
    """COMMAND; codes 4 and 6 need the last LIVE's counter, 7 (boot, from, to): see arguments()."""
    return _down(wire.T_COMMAND, node, boot, seq, key_down, pack("<HB", id, code) + arguments)


def arguments(*numbers: int) -> bytes:
    """Arguments of a COMMAND: u32 each."""
    return pack(f"<{len(numbers)}I", *numbers)


def compose_update(
    key_down: bytes | None, node: int, boot: int, seq: int, update: Offer | Chunk
) -> bytes:
    """UPDATE: the offer of a firmware, or a piece of it of at most CHUNK_MAX bytes."""
    if isinstance(update, Chunk):
        body = pack("<HBI", update.id, wire.U_CHUNK, update.offset) + update.data
        return _down(wire.T_UPDATE, node, boot, seq, key_down, body)
    if len(update.sha256) != 32:
        raise ValueError("sha256 is 32 bytes")
    name = update.version.encode()
    body = pack("<HBI", update.id, wire.U_OFFER, update.size) + update.sha256
    body += pack("<B", len(name)) + name + pack("<B", len(update.signature)) + update.signature
    return _down(wire.T_UPDATE, node, boot, seq, key_down, body)


def compose_data(
    key_up: bytes | None,
    node: int,
    boot: int,
    seq: int,
    channels: Sequence[Channel],
    rows: Sequence[Sequence[int | None]],
    t0_ms: int = 0,
    period_ms: int = 60_000,
    extra: Iterable[Section] = (),
) -> bytes:
    """DATA with one scalar SAMPLES section, as a board makes it; raises ValueError if too long."""
    samples = samples_section(channels, rows, t0_ms, period_ms)
    return compose(wire.T_DATA, node, boot, seq, [(wire.S_SAMPLES, samples), *extra], key_up)


def samples_section(
    channels: Sequence[Channel],
    rows: Sequence[Sequence[int | None]],
    t0_ms: int = 0,
    period_ms: int = 60_000,
) -> bytes:
    """Content of a SAMPLES section for rows of scalar values; None is missing."""
    batch = Batch(list(channels), max(1, len(rows)))
    batch.start(t0_ms, period_ms)
    for index, row in enumerate(rows):
        batch.add_row(t0_ms + index * period_ms)
        for column, value in enumerate(row):
            batch.put(column, value)
    builder = FrameBuilder(wire.FRAME_MAX_COLLECTOR, None)
    builder.begin(wire.T_DATA, 0, 0, 0)
    if batch.encode(builder) != len(rows):
        raise ValueError("the rows do not fit into one frame")
    return bytes(builder.buf[wire.HEADER + 3 : builder.pos])


def compose_hello(
    key_up: bytes | None,
    node: int,
    boot: int,
    seq: int,
    info: Info,
    descriptors: Iterable[Descriptor] = (),
) -> bytes:
    """HELLO with INFO and DESCRIPTORS."""
    sections = [(wire.S_INFO, info_section(info))]
    channels = b"".join(
        pack("<BBbHB", d.quantity, d.instance, d.exponent, d.model, len(d.name.encode()))
        + d.name.encode()
        for d in descriptors
    )
    if channels:
        sections.append((wire.S_DESCRIPTORS, channels))
    return compose(wire.T_HELLO, node, boot, seq, sections, key_up)


def info_section(info: Info) -> bytes:
    """Content of an INFO section."""
    switch = info.key_switch
    entries = {
        wire.INFO_FIRMWARE: None if info.firmware is None else info.firmware.encode(),
        wire.INFO_BOARD: None if info.board is None else info.board.encode(),
        wire.INFO_RESET_CAUSE: None if info.reset_cause is None else bytes([info.reset_cause]),
        wire.INFO_REGISTRY: None if info.registry is None else pack("<H", info.registry),
        wire.INFO_IDENTITY: info.identity,
        wire.INFO_KEY_SWITCH: None if switch is None else pack("<II", *switch),
        **info.others,
    }
    return b"".join(
        bytes([key, len(value)]) + value for key, value in entries.items() if value is not None
    )


def compose_live(
    key_up: bytes | None,
    node: int,
    boot: int,
    counter: int,
    uptime_ms: int,
    boots: Sequence[SpoolBoot | tuple[int, int, int]] = (),
    dropped: Sequence[tuple[int, int]] = (),
    downlink_seq: int = 0,
    settings_revision: int = 0,
    collector: int = 0,
    flags: int = 0,
    unlisted: int = 0,
    extra: Iterable[Section] = (),
) -> bytes:
    """LIVE: boots are (boot, lowest kept, highest issued), dropped are (reason, frames)."""
    data = u48(uptime_ms) + pack("<III", downlink_seq, settings_revision, collector)
    data += pack("<BHB", flags, unlisted, len(boots))
    for entry in boots:
        if isinstance(entry, SpoolBoot):
            entry = (entry.boot, entry.lowest, entry.highest)
        data += pack("<III", *entry)
    data += bytes([len(dropped)])
    for reason, frames in dropped:
        data += bytes([reason]) + uvarint(frames)
    return compose(wire.T_LIVE, node, boot, counter, [(wire.S_STATE, data), *extra], key_up)


def compose_log(key_up: bytes | None, node: int, boot: int, seq: int, text: str) -> bytes:
    """LOG with one TEXT section."""
    return compose(wire.T_LOG, node, boot, seq, [(wire.S_TEXT, text.encode())], key_up)


def compose_result(
    key_up: bytes | None,
    node: int,
    boot: int,
    seq: int,
    type: int,
    id: int,
    code: int,
    status: int,
    data: bytes = b"",
) -> bytes:
    """RESULT: the answer to downlink of that type, id, and command code or settings key."""
    body = pack("<BHHB", type, id, code, status) + data
    return compose(wire.T_RESULT, node, boot, seq, [(wire.S_OUTCOME, body)], key_up)


def clock_section(clock: ClockSet) -> Section:
    """A CLOCK section, for DATA and HELLO."""
    data = u48(clock.uptime_ms) + u48(clock.unix_ms)
    return wire.S_CLOCK, data + pack("<IB", clock.error_ms, clock.source)


def u48(value: int) -> bytes:
    """Six bytes, little-endian; raises ValueError outside 0 to 2**48 - 1."""
    if not 0 <= value <= U48:
        raise ValueError(f"{value} is outside 0 to 2**48 - 1")
    return value.to_bytes(6, "little")


def setting(value: int | str | bytes) -> bytes:
    """A settings value on the wire: zigzag uvarint (int32), UTF-8, or bytes as they are."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    return uvarint(zigzag(value))
