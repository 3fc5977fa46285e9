"""A file with one reading a line: for people, scripts, and for proving that nothing is lost."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, BinaryIO

from collector.readings.observation import (
    QUALITY_NAMES,
    Channel,
    Observation,
    PublicNode,
    quality_name,
)
from collector.sinks._values import iso_ms
from collector.sinks.base import (
    ACCEPTED,
    Capabilities,
    IdStore,
    NotSent,
    Outcome,
    Sink,
    SinkConfig,
)
from collector.structure import Range

BLOCK_BYTES = 1 << 20
TAIL_LINES = 200_000
RETRY_FULL_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(SinkConfig):
    """[[sink]] type = "jsonl": where the file lies, and how large it may grow."""

    file: Path
    largest_mb: Annotated[int, Range(1, 1_000_000)] = 4096


class JsonLines(Sink):
    """Appends lines; a reading is accepted once fsync has returned."""

    capabilities = Capabilities(
        reads_back=True,
        largest_batch=10_000,
        qualities=tuple(name for name in QUALITY_NAMES if name != "missing"),
        readback_delay_s=0.0,
    )

    def __init__(self, name: str, config: Config) -> None:
        self.name = name
        self._path = config.file
        self._largest_bytes = config.largest_mb * 1_000_000
        self._tail: set[int] | None = None

    def upstream_name(self, channel: Channel) -> str | None:
        return channel.key

    async def prepare(self, nodes: Sequence[PublicNode]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a+b") as file:
                _cut_torn_line(file)
        except OSError as error:
            raise NotSent(f"{self._path}: {error.strerror}") from None

    async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        self._tail = None
        raw = b"".join(map(line, batch))
        try:
            with self._path.open("ab", buffering=0) as file:
                start = file.seek(0, os.SEEK_END)
                if start + len(raw) > self._largest_bytes:
                    raise NotSent(
                        f"{self._path} has reached largest_mb: move it away", RETRY_FULL_S
                    )
                try:
                    _write_all(file, raw)
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(start)
                    raise
        except OSError as error:
            raise NotSent(f"{self._path}: {error.strerror}") from None
        return [ACCEPTED] * len(batch)

    async def read_back(self, batch: Sequence[Observation]) -> Sequence[bool] | None:
        if self._tail is None:
            try:
                self._tail = _tail_hashes(self._path, TAIL_LINES)
            except OSError as error:
                raise NotSent(f"{self._path}: {error.strerror}") from None
        return [hash(line(observation)) in self._tail for observation in batch]

    async def close(self) -> None:
        self._tail = None


def line(observation: Observation) -> bytes:
    """One reading as a line of JSON: always the same bytes for the same reading."""
    head, unit = _fixed_parts(observation.channel)
    return (
        f'{head}"time": "{iso_ms(observation.time_ms)}", "value": {observation.value!r}, '
        f'"unit": {unit}, "quality": "{quality_name(observation.quality)}"}}\n'
    ).encode()


@lru_cache(maxsize=16_384)
def _fixed_parts(channel: Channel) -> tuple[str, str]:
    known: dict[str, object] = {
        "node": channel.node.hex,
        "quantity": channel.quantity.name,
        "instance": channel.instance,
    }
    if channel.band is not None:
        known["band"] = channel.band
    if channel.formula is not None:
        known["formula"] = channel.formula
    return json.dumps(known)[:-1] + ", ", json.dumps(channel.quantity.unit)


def _write_all(file: BinaryIO, raw: bytes) -> None:
    view = memoryview(raw)
    while view:
        view = view[file.write(view) :]


def _cut_torn_line(file: BinaryIO) -> None:
    """Takes off what a power cut left of a line."""
    end = file.seek(0, os.SEEK_END)
    keep = end
    while keep:
        start = max(0, keep - BLOCK_BYTES)
        file.seek(start)
        found = file.read(keep - start).rfind(b"\n")
        if found >= 0:
            keep = start + found + 1
            break
        keep = start
    if keep < end:
        file.truncate(keep)
        os.fsync(file.fileno())


def _tail_hashes(path: Path, lines_max: int) -> set[int]:
    """Hashes of the last lines of a file."""
    found: set[int] = set()
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        rest = b""
        while position and len(found) < lines_max:
            start = max(0, position - BLOCK_BYTES)
            file.seek(start)
            lines = (file.read(position - start) + rest).splitlines(keepends=True)
            rest = lines.pop(0) if start else b""
            found.update(hash(one) for one in lines)
            position = start
    return found


def build(config: Config, name: str, ids: IdStore) -> JsonLines:
    """The sink of a configuration."""
    return JsonLines(name, config)
