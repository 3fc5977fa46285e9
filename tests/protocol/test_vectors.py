"""The golden vectors: fresh, complete, read alike by all decoders, encoded to the same bytes."""

import json
from pathlib import Path
from typing import Any

import pytest

from protocol import reasons, schema
from protocol.decoder import decode
from protocol.serial_stream import ConsoleLine, RawFrame, SerialStream
from tests.protocol import agreement, make_vectors
from tests.protocol.encoding import encode

FOLDER = Path(__file__).parent.parent / "vectors"
FRAMES = json.loads((FOLDER / "frames.json").read_text(encoding="utf-8"))["frames"]
RECIPES = json.loads((FOLDER / "samples.json").read_text(encoding="utf-8"))["recipes"]
STREAMS = json.loads((FOLDER / "serial.json").read_text(encoding="utf-8"))["streams"]


def name_of(vector: dict[str, Any]) -> str:
    return str(vector["name"])


def key_of(vector: dict[str, Any]) -> bytes | None:
    return None if vector["key"] is None else bytes.fromhex(vector["key"])


def test_files_are_what_the_generator_writes() -> None:
    """A change of these files is a change of the protocol: it must be meant."""
    for name, content in make_vectors.files().items():
        stored = (FOLDER / name).read_text(encoding="utf-8")
        assert stored == content, f"{name}: run python -m tests.protocol.make_vectors"


def test_there_are_enough_and_no_name_twice() -> None:
    for vectors in (FRAMES, RECIPES, STREAMS):
        names = [vector["name"] for vector in vectors]
        assert len(set(names)) == len(names)
    assert len(FRAMES) + len(RECIPES) >= 60


def test_every_refusal_has_a_vector() -> None:
    shown = {vector["refused"] for vector in FRAMES if "refused" in vector}
    assert shown == set(reasons.ENVELOPE) | set(reasons.CONTENT)


@pytest.mark.parametrize("vector", FRAMES, ids=name_of)
def test_frame(vector: dict[str, Any]) -> None:
    frame, key = bytes.fromhex(vector["hex"]), key_of(vector)
    expected = vector.get("meaning") or vector["refused"]
    assert agreement.check(frame, key) == expected
    if "refused" in vector:
        assert agreement.fast(frame, key) == vector["refused"]


@pytest.mark.parametrize("recipe", RECIPES, ids=name_of)
def test_recipe(recipe: dict[str, Any]) -> None:
    key = key_of(recipe)
    assert key is not None
    frames = [bytes.fromhex(text) for text in recipe["frames"]]
    assert encode(recipe, key) == frames
    for frame, meaning in zip(frames, recipe["meaning"], strict=True):
        assert len(frame) <= recipe["size"]
        assert agreement.check(frame, key) == meaning
        assert schema.trailer(frame, key) == frame[-8:]


@pytest.mark.parametrize("recipe", RECIPES, ids=name_of)
def test_what_went_in_comes_out(recipe: dict[str, Any]) -> None:
    """The recipe's numbers, clamped to int32 and repeated where missing, with their qualities."""
    assert decoded(recipe) == expected(recipe)


def decoded(recipe: dict[str, Any]) -> dict[tuple[int, int, int, int], tuple[int, int]]:
    found = {}
    for text in recipe["frames"]:
        for samples in decode(bytes.fromhex(text)).samples:
            for column in samples.columns:
                width = max(1, column.bands)
                for at, value in enumerate(column.values):
                    row, band = divmod(at, width)
                    quality = column.qualities[row] if column.qualities else 0
                    place = (len(found), column.quantity, column.instance, column.first_band + band)
                    place = (samples.times_ms[row], *place[1:])
                    found[place] = (0 if quality == 6 else value, quality)
    return found


def expected(recipe: dict[str, Any]) -> dict[tuple[int, int, int, int], tuple[int, int]]:
    columns: dict[int, list[tuple[list[int] | None, int]]] = {}
    instants: list[int] = []
    for instant, row in recipe["rows"]:
        instants.append(max(instant, instants[-1] if instants else 0))
        for column, value in enumerate(row):
            columns.setdefault(column, []).append(entry(value))
    found = {}
    for column, entries in columns.items():
        quantity, instance, _, bands, first_band = recipe["channels"][column]
        kept = held([0] * max(1, bands), entries)
        for instant, (values, quality) in zip(instants, kept, strict=True):
            for band, value in enumerate(values):
                found[instant, quantity, instance, first_band + band] = (value, quality)
    return found


def held(
    start: list[int], entries: list[tuple[list[int] | None, int]]
) -> list[tuple[list[int], int]]:
    """What is not there repeats the last; of quality missing (6) no value means anything."""
    found = []
    for values, quality in entries:
        start = start if values is None else values
        found.append(([0] * len(start) if quality == 6 else start, quality))
    return found


def entry(value: Any) -> tuple[list[int] | None, int]:
    """Values of a recipe's entry, None for missing, and its quality."""
    if isinstance(value, dict):
        return value["bands"], value.get("quality", 0)
    value, quality = value if isinstance(value, list) else (value, 0)
    if value is None:
        return None, quality or 6
    if value > 2**31 - 1:
        return [2**31 - 1], quality or 4
    if value < -(2**31):
        return [-(2**31)], quality or 3
    return [value], quality


@pytest.mark.parametrize("stream", STREAMS, ids=name_of)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_stream(stream: dict[str, Any], step: int) -> None:
    line = SerialStream()
    data = bytes.fromhex(stream["hex"])
    items = [item for at in range(0, len(data), step) for item in line.feed(data[at : at + step])]
    items += line.flush()
    shown = [
        ["frame", item.raw.hex()] if isinstance(item, RawFrame) else ["line", item.text]
        for item in items
        if isinstance(item, RawFrame) or item != ConsoleLine("")
    ]
    wanted = [item for item in stream["items"] if item != ["line", ""]]
    assert shown == wanted
    assert (line.garbage > 0) == stream["garbage"]
