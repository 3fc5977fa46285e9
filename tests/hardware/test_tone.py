"""Noise floor and tone test of a board's microphone."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardware import bench, boardfile
from hardware.bench import Plan
from hardware.session import session
from hardware.tone import BANDS, Second, Tone, judge_floor, judge_tone, listen
from simulator.devices.microphone import RATE_HZ, Microphone, Samples, full_scale_db
from simulator.pty_board import PtyBoard
from simulator.wiring import Wiring
from tests.hardware.conftest import Calm

TONE = Tone(1000.0, 80.0)


def second(level_db: float, quality: int = 0, **bands_db: float) -> Second:
    bands = [20.0] * BANDS
    for name, value in bands_db.items():
        bands[int(name[1:])] = value
    return Second(level_db, quality, bands)


QUIET = [second(31.0), second(30.0)]


def test_the_band_is_found_by_the_frequency() -> None:
    assert Tone(20, 80).band == 0
    assert TONE.band == 17
    assert Tone(20_000, 80).band == BANDS - 1


@pytest.mark.parametrize(
    ("heard", "state", "words"),
    [
        ([second(80, b17=79.5)], "passed", "79.5 dB at 1000 Hz"),
        ([second(80, b17=79.5, b16=72.0)], "passed", "80 played"),
        ([second(80, b17=70.0)], "failed", "blocked or leaking"),
        ([second(90, b17=88.0)], "failed", "compare with a meter"),
        ([second(80, b17=79.0, b25=75.0)], "failed", "not pure"),
        ([second(80, b20=80.0)], "failed", "a sound at 1995 Hz"),
        ([second(31)], "failed", "no tone was heard"),
    ],
)
def test_a_tone_is_judged_by_level_and_frequency(
    heard: list[Second], state: str, words: str
) -> None:
    found = judge_tone("microphone", QUIET, heard, TONE)
    assert (found.state, words in found.detail) == (state, True), found


@pytest.mark.parametrize(
    ("quiet", "state", "words"),
    [
        (QUIET, "passed", "30.0 dB(A)"),
        ([second(60.0)], "failed", "quieter room"),
        ([second(30.0, 2)], "failed", "no sound"),
        ([second(30.0, 8)], "failed", "does not trust"),
    ],
)
def test_the_floor_is_judged(quiet: list[Second], state: str, words: str) -> None:
    found = judge_floor("microphone", quiet)
    assert (found.state, words in found.detail) == (state, True), found


class Speaker:
    """The room's own sound, and a tone while `plays`."""

    def __init__(self, microphone: Microphone, frequency_hz: float, level_db: float) -> None:
        self.plays = False
        self._room = microphone.source
        self._turn = 2 * math.pi * frequency_hz / RATE_HZ
        self._amplitude = 10 ** ((level_db - full_scale_db(microphone.KIND)) / 20)

    def samples(self, first: int, count: int) -> Samples:
        sound = self._room.samples(first, count)
        if self.plays:
            sound = sound + self._amplitude * np.sin(self._turn * (first + np.arange(count)))
        return sound


class QuietRoom(Calm):
    """30 dB(A)."""

    def value(self, quantity_name: str, now_ms: int) -> float | None:
        return 30.0 if quantity_name == "laeq" else super().value(quantity_name, now_ms)


def test_a_board_hears_a_tone_that_is_played_to_it(vm: object, tmp_path: Path) -> None:
    plan = Plan(board=boardfile.load("noise"), records=tmp_path / "boards.jsonl")
    wired: dict[str, Any] = plan.board.board_json()
    speakers: list[Speaker] = []

    def buses(clock: Callable[[], int]) -> Wiring:
        made = Wiring(wired, QuietRoom(), 1, clock)
        for device in made.devices:
            if isinstance(device, Microphone):
                speaker = Speaker(device, 1000.0, 80.0)
                device.play(speaker)
                speakers.append(speaker)
        return made

    def tell(text: str) -> None:
        speakers[-1].plays = text.startswith("Play")

    (entry,) = [e for e in wired["sensors"] if e["bus"].startswith("i2s:")]
    board = PtyBoard(tmp_path / "b", wired["chip"], wired, buses, flashed=True)
    with board:
        bench.put_firmware(board.path, plan)
        with session(board.path) as opened:
            results = list(listen(opened, entry, TONE, tell, wait_s=10))
    assert [result.state for result in results] == ["passed", "passed"], results
