"""jsonl: exact lines, a torn end, a full file, no reading twice."""

import json
from pathlib import Path

import pytest

from collector.sinks import jsonl
from collector.sinks.base import MemoryIds, NotSent


def sink_for(path: Path, **more) -> jsonl.JsonLines:
    return jsonl.build(jsonl.Config(file=path, **more), "file", MemoryIds())


async def test_a_line(reading, tmp_path: Path) -> None:
    sink = sink_for(tmp_path / "out" / "file.jsonl")
    await sink.prepare([])
    await sink.send([reading("pm2_5", 1.3), reading("bands_z", 40.0, band=17, quality=8)])
    lines = (tmp_path / "out" / "file.jsonl").read_text().splitlines()
    assert lines[0] == (
        '{"node": "a1b2c3d4", "quantity": "pm2_5", "instance": 0, '
        '"time": "2026-02-02T02:40:00.000Z", "value": 1.3, "unit": "ug/m3", "quality": "ok"}'
    )
    assert json.loads(lines[1])["band"] == 17
    assert json.loads(lines[1])["quality"] == "suspect"


async def test_a_torn_line_is_cut_and_the_tail_read_back(reading, tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    batch = [reading("pm10", float(minute), minute) for minute in range(50)]
    await sink_for(path).send(batch[:30])
    with path.open("ab") as file:
        file.write(jsonl.line(batch[30])[:40])
    sink = sink_for(path)
    await sink.prepare([])
    assert await sink.read_back(batch) == [True] * 30 + [False] * 20
    await sink.send(batch[30:])
    assert path.read_bytes() == b"".join(map(jsonl.line, batch))


async def test_a_full_file_waits(reading, tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    sink = sink_for(path, largest_mb=1)
    path.write_bytes(b"x" * 999_990 + b"\n")
    with pytest.raises(NotSent, match="largest_mb"):
        await sink.send([reading("pm10", 1.0)])
    assert path.stat().st_size == 999_991


async def test_a_folder_that_cannot_be_written(reading) -> None:
    sink = sink_for(Path("/proc/nowhere/file.jsonl"))
    with pytest.raises(NotSent):
        await sink.prepare([])
