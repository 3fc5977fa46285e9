"""Frames of the SPS30 on its serial line; what it measures is in test_sps30."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.sensors import sps30_uart


@pytest.mark.parametrize(
    ("command", "data", "frame"),
    [
        (0x00, b"\x01\x03", "7e00000201 03f97e"),
        (0x01, b"", "7e000100fe7e"),
        (0x03, b"", "7e000300fc7e"),
        (0x10, b"", "7e001000ef7e"),
        (0x11, b"", "7e007d3100ee7e"),
        (0x56, b"", "7e005600a97e"),
    ],
)
def test_frames_of_the_data_sheet(command: int, data: bytes, frame: str) -> None:
    assert sps30_uart.request(command, data) == bytes.fromhex(frame)


@given(st.binary(max_size=60))
def test_stuffing_is_undone(data: bytes) -> None:
    body = bytes((0, 3, 0, len(data))) + data
    frame = sps30_uart.stuffed(body)
    assert frame.count(b"\x7e") == 2
    assert b"\x11" not in frame
    assert b"\x13" not in frame
    assert sps30_uart.unstuffed(frame[1:-1]) == body


def test_a_broken_frame_is_refused() -> None:
    frame = bytearray(sps30_uart.stuffed(b"\x00\x03\x00\x02\x01\x02"))
    frame[5] ^= 1
    assert sps30_uart.unstuffed(bytes(frame[1:-1])) is None
    assert sps30_uart.unstuffed(b"") is None
