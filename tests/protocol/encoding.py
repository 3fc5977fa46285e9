"""Encode a recipe as a board does: into as many frames as it takes. Runs on MicroPython too."""

from protocol.builder import FrameBuilder
from protocol.mac import Mac
from protocol.samples import Batch, Channel

NODE = 0xA1B2C3D4
BOOT = 1764000000


def encode(recipe: "dict", key: bytes) -> "list[bytes]":  # type: ignore[type-arg]
    """The DATA frames of a recipe, seq from 1; drives the batch as the firmware does."""
    batch = Batch([Channel(*channel) for channel in recipe["channels"]], len(recipe["rows"]))
    batch.start(recipe["rows"][0][0], recipe["period_ms"])
    for instant, values in recipe["rows"]:
        batch.add_row(instant)
        for column in range(len(values)):
            put(batch, column, values[column])
    builder = FrameBuilder(recipe["size"], Mac(key))
    frames = []
    while batch.rows:
        builder.begin(1, NODE, BOOT, len(frames) + 1)
        batch.drop_rows(batch.encode(builder))
        frames.append(bytes(builder.buf[: builder.finish()]))
    return frames


def put(batch: Batch, column: int, value: "object") -> None:
    """Put one entry of a recipe's row."""
    if isinstance(value, dict):
        batch.put_vector(column, value["bands"], value.get("quality", 0))
    elif isinstance(value, (list, tuple)):
        batch.put(column, value[0], value[1])
    else:
        batch.put(column, value)  # type: ignore[arg-type]
