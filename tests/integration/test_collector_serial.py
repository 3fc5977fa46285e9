"""The serial transport on pseudo-terminals: noise, console text, cables pulled and put back."""

import asyncio
import logging
import os
import random
import tty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from collector.settings import SerialSettings
from collector.transports.base import Source
from collector.transports.serial import SerialTransport, printable
from protocol.compose import compose_data
from protocol.mac import derive
from protocol.samples import Channel
from protocol.serial_stream import stuffed

UP = derive(bytes(32), b"up")
NODE = 0xA1B2C3D4
WITHIN_S = 240.0


def frame(seq: int, node: int = NODE) -> bytes:
    return compose_data(UP, node, 1, seq, [Channel(1)], [[seq]])


class Cable:
    """A pseudo-terminal under a name that can be put in and pulled out."""

    def __init__(self, name: Path) -> None:
        self.name = name
        self._near, self._far = os.openpty()
        tty.setraw(self._far)
        os.set_blocking(self._near, False)
        name.symlink_to(os.ttyname(self._far))

    def write(self, data: bytes) -> None:
        os.write(self._near, data)

    def read(self) -> bytes:
        try:
            return os.read(self._near, 65_536)
        except BlockingIOError:
            return b""

    def pull(self) -> None:
        self.name.unlink()
        os.close(self._far)
        os.close(self._near)


async def until(holds: Callable[[], Any]) -> None:
    deadline_s = asyncio.get_running_loop().time() + WITHIN_S
    while not holds():
        assert asyncio.get_running_loop().time() < deadline_s, "it never came true"
        await asyncio.sleep(0.01)


Received = list[tuple[bytes, Source]]


@asynccontextmanager
async def listening(
    folder: Path, **changes: Any
) -> AsyncIterator[tuple[SerialTransport, Received]]:
    transport = SerialTransport(
        SerialSettings(port=str(folder / "osn-*"), rescan_s=0.02, **changes)
    )
    received: Received = []
    task = asyncio.create_task(transport.run(lambda raw, source: received.append((raw, source))))
    try:
        yield transport, received
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_two_boards_come_by_cable_and_downlinks_find_theirs(tmp_path: Path) -> None:
    async with listening(tmp_path) as (transport, received):
        one, two = Cable(tmp_path / "osn-1"), Cable(tmp_path / "osn-2")
        await until(lambda: transport.state.counters.connects == 2)
        assert transport.state.connected
        one.write(stuffed(frame(1)))
        two.write(stuffed(frame(1, 2)))
        await until(lambda: len(received) == 2)
        assert {source for _, source in received} == {Source("serial")}
        assert transport.send(2, b"\xa1 for two")
        await until(lambda: two.read() == stuffed(b"\xa1 for two"))
        assert one.read() == b""
        assert not transport.send(3, b"nobody")
        one.pull()
        two.pull()


async def test_a_prompts_uart_gets_hex(tmp_path: Path) -> None:
    async with listening(tmp_path, repl=True) as (transport, received):
        cable = Cable(tmp_path / "osn-1")
        await until(lambda: transport.state.connected)
        cable.write(stuffed(frame(1)))
        await until(lambda: received)
        assert transport.send(NODE, b"\xa1\x03")
        await until(lambda: cable.read() == b"\x00a103\x00")
        cable.pull()


async def test_console_text_goes_to_the_log_without_control_characters(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "collector.console")
    async with listening(tmp_path) as (transport, received):
        cable = Cable(tmp_path / "osn-1")
        await until(lambda: transport.state.connected)
        cable.write(b"rst:0x1 (POWERON_RESET)\r\n\x1b[31mTraceback\r\n" + stuffed(frame(1)))
        await until(lambda: received)
        await until(lambda: "Traceback" in caplog.text)
        assert "POWERON_RESET" in caplog.text
        assert "\x1b" not in caplog.text
        for _ in range(30):
            cable.write(b"spam\r\n" * 20)
            await asyncio.sleep(0)
        cable.write(stuffed(frame(2)))
        await until(lambda: len(received) == 2)
        assert caplog.text.count("spam") <= 250
        cable.pull()


async def test_every_undamaged_frame_is_found_amid_noise(tmp_path: Path) -> None:
    chance = random.Random(5)
    whole: set[bytes] = set()
    async with listening(tmp_path) as (transport, received):
        cable = Cable(tmp_path / "osn-1")
        await until(lambda: transport.state.connected)
        for seq in range(1, 200):
            raw = frame(seq)
            line = bytearray(stuffed(raw))
            if chance.random() < 0.5:
                line[chance.randrange(1, len(line) - 1)] ^= 1 << chance.randrange(8)
            else:
                whole.add(raw)
            if chance.random() < 0.2:
                line += b"some text\r\n"
            cable.write(bytes(line))
            await asyncio.sleep(0)
        await until(lambda: whole <= {raw for raw, _ in received})
        cable.pull()


async def test_a_cable_pulled_in_mid_frame_and_put_back(tmp_path: Path) -> None:
    async with listening(tmp_path) as (transport, received):
        for turn in range(1, 4):
            cable = Cable(tmp_path / "osn-1")
            await until(lambda turn=turn: transport.state.counters.connects == turn)
            cable.write(stuffed(frame(turn)))
            await until(lambda turn=turn: len(received) == turn)
            cable.write(stuffed(frame(99))[:20])
            await asyncio.sleep(0.02)
            cable.pull()
            await until(lambda turn=turn: transport.state.counters.disconnects == turn)
            await until(lambda: not transport.state.connected)
            assert not transport.send(NODE, b"\xa1")
        assert transport.state.reason.startswith("no port")


async def test_a_port_that_others_use_is_named(tmp_path: Path) -> None:
    (tmp_path / "osn-1").write_text("not a port")
    async with listening(tmp_path) as (transport, _):
        await until(lambda: "osn-1" in transport.state.reason)
        assert not transport.state.connected


def test_what_is_printed_cannot_steer_a_terminal() -> None:
    assert printable("a\x1b[2Jb\u202e\tc") == "a.[2Jb..c"
