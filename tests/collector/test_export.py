"""What leaves the archive as rows: nothing where nothing was measured, and never less of the rest.

One archive is made of random frames and read by every command that shows readings.
"""

import asyncio
import csv
import io
import json
import math
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from collector.app import Collector
from collector.archive import archive
from collector.clock import DATABLE_UNIX_MS
from collector.forward.feeding import decode_samples
from collector.nodes import NodeInfo, NodeRegistry
from collector.operate.export import SHAPE, Choice, Exporter
from collector.operate.export_means import MeansChoice, MeansExporter
from collector.operate.row_files import FORMATS, inert, kinds_of, write_file, write_stream
from collector.operate.row_files import RowShape as Shape
from collector.operate.status import latest_frame, node_status
from collector.operate.trace import trace
from collector.readings.corrections import NodeCorrections, bind
from collector.readings.observation import QUALITY_NAMES, FrameRef
from collector.readings.privacy import SinkAudience
from collector.readings.reading_view import register
from collector.readings.rendering import DecodedFrames, Renderer
from collector.settings import CorrectionSettings
from collector.storage.archive_view import ArchiveView, open_file
from collector.storage.rollup import Rollup
from collector.timeline.frozen_time import Line
from protocol import compose, wire
from protocol.frame import FrameBuilder
from protocol.mac import derive
from protocol.reading import readings
from protocol.registry import by_name
from protocol.samples import Batch, Channel
from tests.collector.core import BOOT, NODE, START_MS, Bench, Board
from tests.collector.house import (
    FRAMES,
    KEYS,
    MOBILE,
    MOBILE_CHANNELS,
    ROWS,
    STREET,
    Script,
    an_hour,
    make_house,
    street_frame,
)
from tests.collector.house import START_MS as HOUSE_START_MS

HOUR_MS = 3_600_000
QUANTITIES = ("pm2_5", "humidity", "laeq", "valid_time", "battery_voltage", "latitude", "longitude")
CHANNELS = [Channel(by_name(name).id) for name in QUANTITIES]
UUID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
NODES = NodeRegistry(nodes=[NodeInfo(NODE, UUID, "Plaza")])
KAPPA = CorrectionSettings(
    formula="kappa-koehler-1", quantity="pm2_5", parameters=MappingProxyType({})
)
CORRECTIONS = NodeCorrections([bind(KAPPA)], NODES)
LARGEST_UPTIME_MS = (1 << 48) - 1
LIVE_MS = 3 * HOUR_MS + START_MS % HOUR_MS
"""So that a boot's hours are those of the clock."""
END_UPTIME_MS = DATABLE_UNIX_MS.stop - START_MS + 3 * HOUR_MS


class Cell(NamedTuple):
    """What a driver said: an integer, and how good."""

    value: int
    quality: int


cells = st.builds(
    Cell, st.integers(1, 4_000), st.sampled_from([0, 0, 0, wire.Q_MISSING, *range(9)])
)
row_lists = st.lists(st.tuples(*[cells] * len(QUANTITIES)), min_size=1, max_size=12)


def frame_of(
    board: Board, seq: int, rows: Sequence[Sequence[Cell]], t0_ms: int, period_ms: int = 60_000
) -> bytes:
    """A frame with these values and qualities, made as a board makes it."""
    batch = Batch(CHANNELS, len(rows))
    batch.start(t0_ms, period_ms)
    for index, row in enumerate(rows):
        batch.add_row(t0_ms + index * period_ms)
        for column, cell in enumerate(row):
            given_value = None if cell.quality == wire.Q_MISSING else cell.value
            batch.put(column, given_value, cell.quality)
    builder = FrameBuilder(wire.FRAME_MAX_COLLECTOR, None)
    builder.begin(wire.T_DATA, 0, 0, 0)
    assert batch.encode(builder) == len(rows)
    section = bytes(builder.buf[wire.HEADER + 3 : builder.pos])
    return compose.compose(
        wire.T_DATA, board.node, board.boot, seq, [(wire.S_SAMPLES, section)], board.up
    )


async def _build(folder: Path, frames: Sequence[bytes], board: Board, live_ms: int) -> None:
    bench = Bench(folder, [board])
    bench.receive(board.live(live_ms, [(BOOT, 1, len(frames))]))
    assert set(await bench.take(*frames)) == {"accepted"}
    bench.clock.pass_ms(30 * HOUR_MS)
    await Rollup(bench.storage.writer, bench.storage.timeline, bench.clock).catch_up()
    await bench.storage.close()


class Built(NamedTuple):
    """An archive's file, and one of its frames as the sinks' renderer gets it."""

    file: Path
    raw: bytes


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def build(folder: Path, rows: Sequence[Sequence[Cell]]) -> Built:
    """An archive with two frames of these rows."""
    board = Board()
    frames = [frame_of(board, seq, rows, seq * HOUR_MS + 600_000) for seq in (1, 2)]
    asyncio.run(_build(folder, frames, board, LIVE_MS))
    return Built(folder / "archive.db", frames[0])


def exported(view: ArchiveView, folder: Path, ending: str) -> list[dict[str, object]]:
    """What an export of each kind gives back, missing values as None."""
    exporter = Exporter(view, NODES, CORRECTIONS, Choice(values="both"))
    file = folder / f"out{ending}"
    write_file(exporter.rows(), SHAPE, FORMATS[ending], file)
    if ending == ".csv":
        with file.open(newline="") as lines:
            return [{k: v or None for k, v in row.items()} for row in csv.DictReader(lines)]
    if ending == ".jsonl":
        return [json.loads(line) for line in file.read_text().splitlines()]
    if ending == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
        return list(parquet.read_table(file).to_pylist())
    connection = sqlite3.connect(file)
    connection.row_factory = sqlite3.Row
    rows = [dict(row) for row in connection.execute("SELECT * FROM reading")]
    connection.close()
    return rows


def check_values(rows: Sequence[dict[str, object]], given_rows: Sequence[Sequence[Cell]]) -> None:
    """A missing reading has no number, raw or corrected; every other one has its own."""
    assert len(rows) == 2 * len(given_rows) * len(QUANTITIES)
    for row in rows:
        cell = given_rows[int(str(row["sample"]))][QUANTITIES.index(str(row["quantity"]))]
        assert row["quality"] == QUALITY_NAMES[cell.quality]
        if cell.quality == wire.Q_MISSING:
            assert (row["value"], row.get("corrected")) == (None, None)
        elif row["quantity"] not in ("latitude", "longitude"):
            quantity = by_name(str(row["quantity"]))
            assert float(str(row["value"])) == quantity.value(cell.value)


@given(row_lists)
@settings(max_examples=15, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_no_output_has_a_number_for_a_missing_reading(given_rows: list[tuple[Cell, ...]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        built = build(folder, given_rows)
        with open_file(built.file) as view:
            for ending in (".csv", ".jsonl", ".db", ".parquet"):
                check_values(exported(view, folder, ending), given_rows)
            check_means(view, given_rows)
            check_trace(view, given_rows)
            check_status(view, given_rows)
        check_view(built.file, given_rows)
        check_sink(built.raw, given_rows)


def good_values(given_rows: Sequence[Sequence[Cell]], name: str) -> list[float]:
    column = QUANTITIES.index(name)
    return [by_name(name).value(r[column].value) for r in given_rows if r[column].quality == 0]


def check_means(view: ArchiveView, given_rows: Sequence[Sequence[Cell]]) -> None:
    choice = MeansChoice(ZoneInfo("UTC"), coverage_min=0.0)
    exporter = MeansExporter(view, NODES, CORRECTIONS, choice)
    for mean in exporter.means("hour"):
        values = good_values(given_rows, mean.quantity)
        assert (mean.low, mean.high, mean.readings) == (min(values), max(values), len(values))
        if mean.quantity == "laeq":
            heard_ms = [
                row[3].value for row in given_rows if (row[2].quality, row[3].quality) == (0, 0)
            ]
            assert mean.coverage == pytest.approx(sum(heard_ms) / HOUR_MS, abs=1e-4)


def check_trace(view: ArchiveView, given_rows: Sequence[Sequence[Cell]]) -> None:
    at = view.timeline.time_of(NODE, BOOT, HOUR_MS + 600_000)
    assert at is not None
    (traced,) = trace(view, NODE, at.unix_ms, [])
    for reading in traced.readings:
        cell = given_rows[0][QUANTITIES.index(reading.quantity)]
        there = cell.quality != wire.Q_MISSING and reading.quantity[-4:] != "tude"
        assert (reading.value is not None, reading.raw) == (there, cell.value if there else None)


def check_status(view: ArchiveView, given_rows: Sequence[Sequence[Cell]]) -> None:
    latest = latest_frame(view, NODE, archive.newest_id(view.connection))
    status = node_status(NODE, NODES, view.ledger, view.timeline, latest, view.boots(NODE))
    for reading in status["readings"]:
        cell = given_rows[-1][QUANTITIES.index(reading["quantity"])]
        assert (reading["value"] is None) == (cell.quality == wire.Q_MISSING)
    there = given_rows[-1][QUANTITIES.index("battery_voltage")].quality != wire.Q_MISSING
    assert ("battery_voltage" in status["health"]) == there


def check_view(file: Path, given_rows: Sequence[Sequence[Cell]]) -> None:
    connection = archive.open_reader(file)
    register(connection)
    cursor = connection.execute("SELECT * FROM reading")
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    check_values(rows, given_rows)
    assert {r["value"] for r in rows if r["quantity"] in ("latitude", "longitude")} == {None}
    hours = connection.execute("SELECT quantity, low, high, count FROM hourly_mean").fetchall()
    connection.close()
    for quantity, low, high, count in hours:
        assert quantity not in ("latitude", "longitude")
        values = good_values(given_rows, quantity)
        assert (low, high, count) == (min(values), max(values), len(values))


def check_sink(raw: bytes, given_rows: Sequence[Sequence[Cell]]) -> None:
    """Whatever qualities a sink asks for, a missing reading does not go out."""
    audience = SinkAudience(NODES, 1_000)
    every = range(len(QUALITY_NAMES))
    renderer = Renderer(DecodedFrames(decode_samples), audience, lambda c: c.key, every)
    rendered = renderer.render(FrameRef(1, NODE, BOOT, 1), raw, Line(0, 1_772_366_400_000, 0))
    missing = sum(cell.quality == wire.Q_MISSING for row in given_rows for cell in row)
    assert wire.Q_MISSING not in {o.quality for o in rendered.observations}
    assert rendered.left_out.get("missing", 0) == missing
    assert len(rendered.observations) + sum(rendered.left_out.values()) == rendered.total


def test_a_missing_reading_has_neither_value_nor_integer() -> None:
    raw = frame_of(Board(), 1, [[Cell(5, 0)] * 7, [Cell(7, wire.Q_MISSING)] * 7], 0)
    from protocol.decoder import decode

    told = {(r.sample, r.quality, r.raw) for r in readings(decode(raw))}
    assert told == {(0, 0, 5), (1, wire.Q_MISSING, None)}


ABSURD = {
    "the last row in the year 10946": (LARGEST_UPTIME_MS - 60_000, 60_000),
    "a row before the end of dates, the next one behind it": (END_UPTIME_MS - 1_000, 60_000),
    "every row near the end of time": (LARGEST_UPTIME_MS - 1, 1),
}


async def _with_absurd(folder: Path, board: Board, live_ms: int, t0_ms: int, step_ms: int) -> None:
    """A good frame, an absurd one written straight into the archive, and a good one."""
    bench = Bench(folder, [board])
    bench.receive(board.live(live_ms, [(BOOT, 1, 3)]))
    good = [[Cell(100 + row, 0)] * 7 for row in range(4)]
    far = [[Cell(200 + row, 0)] * 7 for row in range(2)]
    await bench.take(frame_of(board, 1, good, HOUR_MS))
    raw = frame_of(board, 2, far, t0_ms, step_ms)
    last_ms = t0_ms + step_ms * (len(far) - 1)
    frame = archive.StoredFrame(
        0, NODE, BOOT, 2, wire.T_DATA, 0, bench.clock.unix_ms(), t0_ms, last_ms, raw
    )
    await bench.storage.writer.write(lambda connection: archive.append(connection, frame))
    known = bench.storage.ledger.known_boot(NODE, BOOT)
    assert known is not None
    assert known.anchor_ms is not None
    bench.storage.hours.add(2, NODE, BOOT, 2, known.anchor_ms, t0_ms, last_ms)
    await bench.take(frame_of(board, 3, good, 2 * HOUR_MS))
    bench.clock.pass_ms(30 * HOUR_MS)
    await Rollup(bench.storage.writer, bench.storage.timeline, bench.clock).catch_up()
    await bench.storage.close()


@pytest.mark.parametrize("case", ABSURD)
def test_one_frame_at_no_possible_date_breaks_no_output(case: str, folder: Path) -> None:
    t0_ms, step_ms = ABSURD[case]
    board = Board()
    asyncio.run(_with_absurd(folder, board, 3 * HOUR_MS, t0_ms, step_ms))
    with open_file(folder / "archive.db") as view:
        check_absurd_export(view, folder)
        everything = MeansChoice(ZoneInfo("Europe/Madrid"), coverage_min=0.0)
        means = MeansExporter(view, NODES, CORRECTIONS, everything)
        found = list(means.means("hour"))
        assert sum(mean.readings for mean in found if mean.quantity == "pm2_5") >= 8
        assert list(MeansExporter(view, NODES, CORRECTIONS, everything).levels())
        assert len(list(view.hours_of(NODE))) <= 4, "only hours that have frames are looked at"
        at = view.timeline.time_of(NODE, BOOT, 2 * HOUR_MS)
        assert at is not None
        assert any(t.frame.seq == 3 for t in trace(view, NODE, at.unix_ms, ["file"]))
        latest = latest_frame(view, NODE, 2)
        assert node_status(NODE, NODES, view.ledger, view.timeline, latest, view.boots(NODE))
    connection = archive.open_reader(folder / "archive.db")
    register(connection)
    assert not connection.execute("SELECT time FROM reading WHERE seq = 2").fetchall()
    assert connection.execute("SELECT count(*) FROM hourly_mean WHERE hour IS NULL").fetchone() == (
        0,
    )
    connection.close()


def check_absurd_export(view: ArchiveView, folder: Path) -> None:
    exporter = Exporter(view, NODES, CORRECTIONS, Choice())
    rows = list(exporter.rows())
    assert {row.seq for row in rows} == {1, 3}
    assert all(row.time is not None for row in rows)
    (line,) = exporter.remarks.lines()
    assert f"{NODE:08x}: 1 frames that this version cannot decode" in line
    for ending in (".csv", ".jsonl", ".db", ".parquet"):
        assert len(exported(view, folder, ending)) == len(rows)
    within = Choice(from_ms=0, to_ms=253_402_300_800_000)
    assert {row.seq for row in Exporter(view, NODES, CORRECTIONS, within).rows()} >= {1, 3}


HOUSE_END_MS = DATABLE_UNIX_MS.stop - HOUSE_START_MS + HOUR_MS


async def _idle(transport: Script, collector: Collector) -> None:
    await asyncio.sleep(3_600)
    for forwarder in collector.forwarders:
        await forwarder.idle()


@pytest.mark.parametrize("t0_ms", [LARGEST_UPTIME_MS - 60_000, 1 << 45, HOUSE_END_MS])
def test_commands_and_sinks_go_on_past_a_frame_of_an_older_archive(
    t0_ms: int, tmp_path: Path
) -> None:
    """One that intake lets nobody store any more."""
    house = make_house(tmp_path)
    house.live(an_hour)
    channels = [Channel(by_name(name).id) for name in MOBILE_CHANNELS]
    raw = compose.compose_data(
        derive(KEYS[MOBILE], b"up"), MOBILE, BOOT, FRAMES + 1, channels, [[5, 6, 70]] * 2, t0_ms
    )
    connection = archive.open_archive(tmp_path / "data" / "archive.db")
    received_ms = HOUSE_START_MS + 2 * HOUR_MS
    far = archive.StoredFrame(
        0, MOBILE, BOOT, FRAMES + 1, wire.T_DATA, 0, received_ms, t0_ms, t0_ms + 60_000, raw
    )
    archive.append(connection, far)
    connection.close()

    async def more(transport: Script, collector: Collector) -> None:
        transport.receive(STREET, street_frame(FRAMES + 1))
        await _idle(transport, collector)

    house.live(more, HOUSE_START_MS + 2 * HOUR_MS)
    delivered = (tmp_path / "delivered.jsonl").read_text().splitlines()
    readings_made = 2 * FRAMES * ROWS * 3 + ROWS * 3
    assert len(delivered) == readings_made - 1, "all but the missing one"
    out = tmp_path / "out"
    for command in ("export", "means", "levels"):
        for kind in ("csv", "jsonl", "sqlite", "parquet"):
            done = house.run(command, f"{out}-{command}.{kind}", "--format", kind)
            assert done.exit_code == 0, done.output + repr(done.exception)
    done = house.run("export", "-")
    assert len(done.stdout.splitlines()) == 1 + readings_made
    assert f"node {MOBILE:08x}: 1 frames that this version cannot decode" in done.stderr
    shown = house.call("trace", "Bike", "2026-03-01T12:30:00Z", "--json")
    assert json.loads(shown.splitlines()[0])["frame"]["raw"] is None
    for command in (("status", "--json"), ("ledger",), ("sinks", "explain"), ("doctor",)):
        done = house.run(*command)
        assert done.exit_code in (0, 3), done.output + repr(done.exception)


def test_what_cannot_be_decoded_is_counted_and_passed_over(folder: Path) -> None:
    async def play() -> None:
        board = Board()
        bench = Bench(folder, [board])
        bench.receive(board.live(3 * HOUR_MS, [(BOOT, 1, 2)]))
        await bench.take(board.data(1, t0_ms=HOUR_MS))
        raw = board.data(2, t0_ms=2 * HOUR_MS)
        damaged = raw[: wire.HEADER + 1] + b"\xff\xff" + raw[wire.HEADER + 3 :]
        now_ms = bench.clock.unix_ms()
        frame = archive.StoredFrame(
            0, NODE, BOOT, 2, wire.T_DATA, 0, now_ms, 2 * HOUR_MS, 2 * HOUR_MS + 30_000, damaged
        )
        await bench.storage.writer.write(lambda connection: archive.append(connection, frame))
        await bench.storage.close()

    asyncio.run(play())
    with open_file(folder / "archive.db") as view:
        exporter = Exporter(view, NODES, CORRECTIONS, Choice())
        assert len(list(exporter.rows())) == 4
        assert [*exporter.remarks.lines()] == [
            f"node {NODE:08x}: 1 frames that this version cannot decode, left out"
        ]


@given(
    st.lists(st.integers(0, LARGEST_UPTIME_MS), min_size=1, max_size=20),
    st.integers(-(1 << 50), 1 << 50),
)
def test_a_sink_gets_what_has_a_date_and_the_rest_is_counted(
    uptimes_ms: list[int], unix_ms: int
) -> None:
    uptimes_ms.sort()
    section = decode_samples(frame_of(Board(), 1, [[Cell(9, 0)] * 7], 0))[0]
    columns = [c._replace(values=c.values * len(uptimes_ms)) for c in section.columns]  # type: ignore[attr-defined]
    wide = section._replace(times_ms=tuple(uptimes_ms), columns=tuple(columns))  # type: ignore[attr-defined]
    renderer = Renderer(
        DecodedFrames(lambda raw: [wide]), SinkAudience(NODES, 1_000), lambda c: c.key, [0]
    )
    rendered = renderer.render(FrameRef(1, NODE, BOOT, 1), b"", Line(0, unix_ms, 0))
    dated = [ms + unix_ms for ms in uptimes_ms if ms + unix_ms in DATABLE_UNIX_MS]
    assert sorted(o.time_ms for o in rendered.observations) == sorted(dated * 7)
    assert rendered.left_out.get("undatable", 0) == 7 * (len(uptimes_ms) - len(dated))


class Named(NamedTuple):
    """A row with a text and a number."""

    name: str
    value: float | None


BEGINNING = tuple("=+-@\t\r\uff1d")
BEGINS = st.sampled_from(["=", "+", "-", "@", "\t", " \t", "\r", " =", "a;=", "a\t@", "\uff1d"])


@given(st.lists(st.tuples(BEGINS, st.text(max_size=10), st.floats(-9, 9)), min_size=1, max_size=5))
def test_no_name_is_a_formula_in_a_spreadsheet_and_numbers_stay_numbers(
    parts: list[tuple[str, str, float]],
) -> None:
    rows = [Named(begin + rest, value) for begin, rest, value in parts]
    stream = io.StringIO(newline="")
    write_stream(iter(rows), Shape("named", kinds_of(Named), "name"), "csv", stream)
    text = stream.getvalue()
    for separator in ",;":
        table = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        for cell in (cell for row in table for cell in row):
            if cell.lstrip(" ")[:1] in BEGINNING:
                assert math.isfinite(float(cell)), (text, cell)
    stream = io.StringIO(text, newline="")
    again = [*csv.reader(stream)][1:]
    assert [float(value) for _, value in again] == [row.value for row in rows]


@pytest.mark.parametrize("name", ["Plaza Mayor", "a-b", "2 = two", "Café", "node+1", ""])
def test_other_names_stay_as_they_are(name: str) -> None:
    assert inert(name) == name
