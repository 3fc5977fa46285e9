"""A mobile board on the MicroPython VM: its place goes over TLS, and never where others read."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol import quantity, wire
from protocol.columns import Column
from protocol.decoder import Frame, decode
from tests.firmware.pier import Pier
from tests.integration.certificates import Authority
from tests.integration.test_firmware_mqtt import Run

PLACE = {
    quantity.LATITUDE: 5_237_000,
    quantity.LONGITUDE: 489_000,
    quantity.ALTITUDE: 20,
    quantity.HORIZONTAL_ACCURACY: 40,
}
NODE_MAX_S = 600
"""Nobody waits for it: the test ends the node once it has heard enough."""


@pytest.fixture
def mobile(vm: Any, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Starts a node with a GPS that reaches its broker by name; it ends with the test."""
    runs: list[Run] = []

    def start(port: int, ca: bytes | None) -> Run:
        folder = tmp_path / f"node{len(runs)}"
        folder.mkdir()
        if ca is not None:
            (folder / "ca.der").write_bytes(ca)
        tls = 0 if ca is None else 1
        settings = {"broker_host": "localhost", "broker_port": port, "broker_tls": tls}
        runs.append(Run(folder, NODE_MAX_S, "gps", **settings))
        return runs[-1]

    yield start
    for run in runs:
        run.process.kill()
        run.process.wait()


def heard(pier: Pier, run: Run, enough: Callable[[list[Frame]], bool]) -> list[Frame]:
    """All frames as soon as they are enough."""
    while True:
        frames = [decode(raw) for raw in list(pier.frames)]
        if enough(frames):
            return frames
        assert run.process.poll() is None, run.ended()
        time.sleep(0.05)


def columns(frames: list[Frame], type: int) -> list[Column]:
    """Every column of a position in the frames of a type."""
    return [
        column
        for frame in frames
        if frame.type == type
        for samples in frame.samples
        for column in samples.columns
        if column.quantity in PLACE
    ]


def test_without_tls_the_place_is_refused_and_people_are_told(
    mobile: Callable[..., Run], mosquitto: Any
) -> None:
    broker = mosquitto()
    with Pier(broker.port) as pier:
        run = mobile(broker.port, None)
        frames = heard(
            pier,
            run,
            lambda frames: (
                any(frame.type == wire.T_LOG for frame in frames)
                and len(columns(frames, wire.T_DATA)) >= 3 * len(PLACE)
            ),
        )
    told = columns(frames, wire.T_DATA) + columns(frames, wire.T_LIVE)
    assert {value for column in told for value in column.values} == {0}
    assert {code for column in told for code in column.qualities or (0,)} == {wire.Q_MISSING}
    logs = [frame.text for frame in frames if frame.type == wire.T_LOG]
    assert logs == ["position refused: the link is neither TLS nor a cable"]


def test_over_tls_the_place_is_told(
    mobile: Callable[..., Run], mosquitto: Any, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    broker = mosquitto(authority.mosquitto())
    with Pier(broker.port, tls=authority.context) as pier:
        run = mobile(broker.port, authority.der)
        frames = heard(pier, run, lambda frames: len(columns(frames, wire.T_DATA)) >= len(PLACE))
    told = {column.quantity: set(column.values) for column in columns(frames, wire.T_DATA)}
    assert told == {id: {value} for id, value in PLACE.items()}
    assert not [frame.text for frame in frames if frame.type == wire.T_LOG]
