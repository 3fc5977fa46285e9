"""The operator's commands on a folder with an hour of readings."""

import asyncio
import csv
import io
import json
import re
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from collector.app import Collector
from collector.cli import _COMMANDS, main
from collector.forward import book_tables
from collector.keys import KeyRing
from collector.nodes import NodeRegistry
from collector.readings.observation import Place
from collector.readings.privacy import cell_centre
from protocol.compose import compose_data
from protocol.mac import derive
from protocol.registry import by_name
from protocol.samples import Channel
from tests.collector.house import (
    BOOT,
    FRAMES,
    KEYS,
    PERIOD_MS,
    RECORDS,
    ROWS,
    START_MS,
    STRANGER,
    STREET,
    House,
    Script,
    street_frame,
)

STORED = FRAMES * ROWS * 3
AT = "2026-03-01T12:15:00Z"
AT_LATER = "2026-03-01T14:00:00Z"


def table(text: str) -> list[list[str]]:
    return [row for row in csv.reader(io.StringIO(text)) if row]


def test_every_command_has_help_with_an_example_or_children() -> None:
    for name in _COMMANDS:
        command = main.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        assert command.name == name
        assert command.help
        for child in getattr(command, "commands", {}).values():
            assert child.help, f"{name} {child.name} has no help"


def test_a_wrong_command_is_answered_with_the_right_one(house: House) -> None:
    assert "Did you mean status?" in house.call("statsu", code=2)


def test_status_without_a_running_collector_reads_the_archive(house: House) -> None:
    shown = house.call("status", code=3)
    assert "not running" in shown
    assert "Plaza" in shown
    assert "4.00 V" not in shown, "the last battery reading is 3.991 V"
    assert "3.99 V" in shown
    found = json.loads(house.call("status", "--json", code=3))
    nodes = {node["node"]: node for node in found["nodes"]}
    plaza = nodes["a1b2c3d4"]
    assert plaza["frames"]["stored"] == FRAMES
    assert plaza["health"] == {"battery_voltage": 3_991.0}
    assert plaza["time"]["source"] == "live"
    assert {r["quantity"]: r["value"] for r in plaza["readings"]} == {
        "pm2_5": 19.0,
        "humidity": 50.0,
    }
    (sink,) = found["sinks"]
    assert sink["open_frames"] == 0
    assert sink["readings"] == {"delivered": 2 * STORED - 1, "left_out": 1}


def test_the_ledger_adds_up(house: House) -> None:
    shown = house.call("ledger")
    assert "1 left_out: missing" in shown
    accounts = {a["node"]: a for a in map(json.loads, house.call("ledger", "--json").splitlines())}
    street = accounts["a1b2c3d4"]
    assert street["frames"] == {
        "produced": FRAMES,
        "stored": FRAMES,
        "dropped": 0,
        "lost": 0,
        "erased": 0,
        "outstanding": 0,
    }
    assert street["readings"] == STORED
    file = street["sinks"]["file"]
    assert (file["delivered"], file["left_out"], file["unaccounted"]) == (STORED - 1, 1, 0)
    assert not street["alarming"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("ledger",), ("status",), ("trace", "Plaza", AT), ("nodes", "list"), ("means", "Plaza"),
        ("export", "--out", "all.csv"), ("doctor",), ("backup", "b.tar"), ("quarantine", "list"),
        ("sinks", "explain", "file"), ("sinks", "provision", "file"),
        ("nodes", "erase", "Plaza", "--yes"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)  # fmt: skip
def test_a_command_leaves_the_databases_as_one_file_each(
    house: House, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(house.folder)
    before = {path.name for path in (house.folder / "data").iterdir()}
    house.run(*arguments)
    left = {path.name for path in (house.folder / "data").iterdir()}
    assert not [name for name in left if name.endswith(("-wal", "-shm"))]
    assert not [name for name in before if name.endswith(("-wal", "-shm"))]


def test_the_ledger_finds_what_is_unaccounted_for(house: House) -> None:
    with sqlite3.connect(house.folder / "data" / "archive.db") as archive:
        archive.execute(
            "UPDATE delivery_count SET readings = readings - 7"
            " WHERE outcome = 'delivered' AND node = ?",
            (STREET,),
        )
    shown = house.call("ledger", "Plaza", "--json", code=3)
    assert json.loads(shown)["sinks"]["file"]["unaccounted"] == 7


def test_the_ledger_says_when_its_books_count_more_than_was_stored(house: House) -> None:
    with sqlite3.connect(house.folder / "data" / "archive.db") as archive:
        archive.execute(
            "UPDATE delivery_count SET readings = readings + 7"
            " WHERE outcome = 'delivered' AND node = ?",
            (STREET,),
        )
    shown = house.call("ledger", "Plaza", "--json", code=3)
    assert json.loads(shown)["sinks"]["file"]["surplus"] == 7
    assert "7 readings more than were stored" in house.call("ledger", "Plaza", code=3)


def test_the_ledger_shows_what_is_still_to_be_sent(house: House) -> None:
    with sqlite3.connect(house.folder / "data" / "archive.db") as archive:
        book_tables.replay(archive, "file", 1, 1_000)
    file = json.loads(house.call("ledger", "Plaza", "--json"))["sinks"]["file"]
    assert (file["to_send"], file["unaccounted"], file["surplus"]) == (STORED, 0, 0)


def test_trace_shows_the_whole_way(house: House) -> None:
    shown = house.call("trace", "Plaza", AT)
    assert "reading   pm2_5 = 14 ug/m3 (ok; integer 140, column 0, sample 4)" in shown or (
        "reading   pm2_5 = 15 ug/m3 (ok; integer 150" in shown
    )
    assert "frame     DATA seq 2" in shown
    assert "ACK       covered" in shown
    assert "sink      file: done" in shown


def test_trace_shows_source_and_bound_of_a_time_and_the_bounds_of_an_undated_boot(
    house: House,
) -> None:
    assert re.search(r"^time +\S+ \+- \d+ ms, from live$", house.call("trace", "Plaza", AT), re.M)
    key = derive(KEYS[STREET], b"up")
    channels = [Channel(by_name("pm2_5").id)]
    lost = compose_data(key, STREET, BOOT + 1, 1, channels, [[70]], 0, PERIOD_MS)

    async def a_boot_without_live(transport: Script, collector: Collector) -> None:
        transport.receive(STREET, lost)
        await asyncio.sleep(5)

    house.live(a_boot_without_live, at_ms=START_MS + 7_200_000)
    shown = house.call("trace", "Plaza", AT_LATER)
    assert f"undated   boot {BOOT + 1}: 1 frames, after " in shown
    as_json = json.loads(house.call("trace", "Plaza", AT_LATER, "--json").splitlines()[-1])
    assert as_json["undated"]["frames"] == 1
    assert as_json["undated"]["latest_ms"] is None


def test_trace_never_hands_out_a_mobile_nodes_frame(house: House) -> None:
    street = json.loads(house.call("trace", "Plaza", AT, "--json").splitlines()[0])
    mobile = json.loads(house.call("trace", "Bike", AT, "--json").splitlines()[0])
    assert len(bytes.fromhex(street["frame"]["raw"])) > 20
    assert mobile["frame"]["raw"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("trace", "Plaza", "yesterday"), "is not a time"),
        (("trace", "Nobody", AT), "no node 'Nobody'"),
        (("trace", "Plaza", "2020-01-01"), "no readings of a1b2c3d4 within an hour"),
        (("export", "x.xlsx"), "say --format"),
        (("export",), "give a file"),
        (("export", "-", "--sqlite", "x.db"), "--sqlite FILE stands alone"),
        (("export", "-", "--quantity", "pm25"), "'pm25' is not a quantity"),
        (("export", "-", "--from", "soon"), "is not a time"),
        (("sinks", "explain", "city"), "no sink 'city' is configured; known are: file"),
        (("decode", "xyz"), "not hex digits"),
        (("configure", "Plaza", "2"), "'2' is not NAME=VALUE"),
        (("configure", "Plaza", "sample_intervall_s=9"), "did you mean sample_interval_s?"),
        (("configure", "Plaza", "window=wide"), "whole number from 1 to 32, not 'wide'"),
        (("configure", "Plaza", "window=33"), "window takes a whole number from 1 to 32"),
        (("configure", "Plaza", "9=33"), "window takes a whole number from 1 to 32"),
        (("configure", "Plaza", "9=²"), "window takes a whole number"),
        (("configure", "Plaza", f"wifi_ssid={'é' * 17}"), "a text of at most 32 bytes"),
        (("configure", "Plaza", "64=secret"), "setting 64 may only be set over USB"),
        (("export", "-", "--from", "2026-03-02", "--to", "2026-03-01"), "is not before --to"),
        (("means", "-", "--from", "2026-03-01", "--to", "2026-03-01"), "is not before --to"),
        (("levels", "-", "--from", "2026-03-02", "--to", "2026-03-01"), "is not before --to"),
        (("sinks", "replay", "file", "--from", "2027", "--to", "2026", "--yes"), "is not a time"),
        (
            ("sinks", "replay", "file", "--from", "2026-03-02", "--to", "2026-03-01", "--yes"),
            "is not before --to",
        ),
        (("export", "-", "--to", "2026-01-01"), "the archive holds 2026-03-01T12:00:00.000Z to"),
        (("export", "-", "--from", "2030-01-01"), "nothing was measured then"),
        (("means", "-", "--to", "2010-01-01"), "nothing was measured then"),
        (("levels", "-", "--from", "2030-01-01"), "nothing was measured then"),
        (("configure", "Plaza", "wifi_password=x"), "is not a setting that can be sent"),
        (("configure", "Plaza", "window=4"), "no collector runs"),
        (("nodes", "resolve", "Plaza", "--yes"), "no collector runs"),
        (("nodes", "set", "Plaza", "--name", "bike"), "'bike' is that of node 0000b0b1"),
        (("nodes", "set", "Plaza", "--name", "0000b0b1"), "is that of node 0000b0b1"),
        (("nodes", "set", "Plaza", "--name", "=1+1"), "begins with =, which spreadsheets"),
        (("nodes", "set", "Plaza", "--name", "\t=1+1"), "cannot be printed"),
        (("quarantine", "submit", "000000ff"), "no collector runs"),
    ],
)
def test_a_mistake_is_named(house: House, arguments: tuple[str, ...], words: str) -> None:
    assert words in house.call(*arguments, code=1)


def test_export_as_csv(house: House) -> None:
    header, *rows = table(house.call("export", "-"))
    assert header[:5] == ["node", "name", "time", "error_ms", "quantity"]
    assert len(rows) == 2 * STORED
    first = dict(zip(header, rows[0], strict=True))
    assert (first["name"], first["quantity"], first["quality"]) == ("Plaza", "pm2_5", "missing")
    assert first["time"].startswith("2026-03-01T12:")
    times = Counter((row[0], row[2]) for row in rows)
    assert set(times.values()) == {3}, "three quantities at every time of a node"


def test_export_chooses_nodes_quantities_and_times(house: House, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    house.call(
        "export", str(target), "--node", "Plaza", "--quantity", "pm2_5",
        "--from", "2026-03-01T12:10:00Z", "--to", "2026-03-01T12:20:00Z",
    )  # fmt: skip
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert len(rows) == 10
    assert {row["quantity"] for row in rows} == {"pm2_5"}
    assert all("2026-03-01T12:1" in row["time"] for row in rows)
    assert "exists" in house.call("export", str(target), code=1)
    assert not list(tmp_path.glob("*.unfinished"))


@pytest.mark.parametrize(
    "chosen",
    [
        ("--to", "2026-04-01"),
        ("--to", "9999-12-31"),
        ("--from", "2010-01-01"),
        ("--from", "1970-01-01"),
        ("--from", "0001-01-01"),
        ("--from", "2010-01-01", "--to", "2040-01-01"),
        ("--from", "2026-03-01T12:00:00Z"),
    ],
)
def test_a_range_around_the_archive_holds_all_of_it(house: House, chosen: tuple[str, ...]) -> None:
    _, *everything = table(house.call("export", "-"))
    _, *rows = table(house.call("export", "-", *chosen))
    assert sorted(rows) == sorted(everything)
    assert house.call("means", "-", *chosen) == house.call("means", "-")
    assert house.call("levels", "-", *chosen) == house.call("levels", "-")


def test_open_ranges_that_meet_hold_everything_once(house: House) -> None:
    _, *everything = table(house.call("export", "-"))
    for moment in ("2026-03-01T12:25:00Z", "2026-03-01T12:30:00Z", "2026-03-01T12:59:00Z"):
        _, *before = table(house.call("export", "-", "--to", moment))
        _, *after = table(house.call("export", "-", "--from", moment))
        assert before
        assert after
        assert sorted(before + after) == sorted(everything)


def test_readings_without_a_time_are_counted_where_a_time_is_chosen(house: House) -> None:
    key = derive(KEYS[STREET], b"up")
    lost = compose_data(key, STREET, BOOT + 1, 1, [Channel(by_name("pm2_5").id)], [[70]], 0, 1)

    async def a_boot_without_live(transport: Script, collector: Collector) -> None:
        transport.receive(STREET, lost)
        await asyncio.sleep(5)

    house.live(a_boot_without_live, at_ms=START_MS + 7_200_000)
    done = house.run("export", "-", "--from", "2026-03-01")
    assert done.exit_code == 0
    assert "1 frames have no time yet and are left out" in done.stderr
    assert "left out" not in house.run("export", "-").stderr


def test_export_of_corrected_values_keeps_raw_beside(house: House) -> None:
    lines = house.call("export", "-", "--format", "jsonl", "--values", "both").splitlines()
    rows = [json.loads(line) for line in lines]
    corrected = [row for row in rows if row["formula"] and row["corrected"] is not None]
    assert len(corrected) == FRAMES * ROWS - 1
    for row in corrected:
        assert row["formula"] == "kappa-koehler-1"
        assert row["corrected"] == pytest.approx(row["value"] / (1 + 0.4 / 1.65))
    only = house.call("export", "-", "--format", "jsonl", "--values", "corrected").splitlines()
    assert {json.loads(line)["quantity"] for line in only} == {"pm2_5"}


def test_export_never_tells_more_of_a_mobile_nodes_way_than_its_cell(house: House) -> None:
    def places(*options: str) -> set[float]:
        text = house.call("export", "-", "--format", "jsonl", "--quantity", "latitude", *options)
        return {json.loads(line)["value"] for line in text.splitlines()}

    its_cell = {cell_centre(Place(41.38506, 2.1734), 1_000).latitude}
    for finer in ((), ("--grid-m", "0"), ("--grid-m", "125")):
        assert places(*finer) == its_cell
    assert places("--grid-m", "3000") == {cell_centre(Place(41.38506, 2.1734), 4_000).latitude}


@pytest.mark.parametrize("ending", ["db", "parquet"])
def test_export_as_database_and_parquet(house: House, tmp_path: Path, ending: str) -> None:
    target = tmp_path / f"out.{ending}"
    if ending == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    how = ("--sqlite", str(target)) if ending == "db" else (str(target),)
    house.call("export", *how, "--node", "Plaza")
    if ending == "db":
        with sqlite3.connect(target) as database:
            rows = database.execute(
                "SELECT quantity, count(*), min(value), max(value) FROM reading GROUP BY 1"
            ).fetchall()
        assert ("humidity", FRAMES * ROWS, 50.0, 50.0) in rows
    else:
        assert parquet.read_table(target).num_rows == STORED


def test_a_stranger_is_held_explained_and_adopted(house: House) -> None:
    listed = json.loads(house.call("quarantine", "list", "--json"))
    assert (listed["node"], listed["reason"], listed["frames"]) == ("000000ff", "unknown_node", 3)
    assert "nodes adopt" in house.call("quarantine", "list")
    assert "the tag was not checked" in house.call("quarantine", "explain", "000000ff")
    adopt = (
        "nodes", "adopt", "000000ff", "--name", "Pier", "--uuid", RECORDS[0]["uuid"][:-1] + "0",
    )  # type: ignore[index]  # fmt: skip
    assert "64 hex digits" in house.call(*adopt, code=1, stdin="beef\n")
    key = KEYS[STRANGER].hex()
    shown = house.call(*adopt, stdin=f"{key}\n")
    assert key not in shown
    assert "authentic: the tag holds" in house.call("quarantine", "explain", "000000ff")

    async def play(transport: Script, collector: object) -> None:
        import asyncio

        await collector.storage.quarantine_writer.write(lambda db: None)  # type: ignore[attr-defined]
        transport.receive(STRANGER, street_frame(4, STRANGER))
        await asyncio.sleep(5)

    house.live(play)
    accounts = {a["node"]: a for a in map(json.loads, house.call("ledger", "--json").splitlines())}
    assert accounts["000000ff"]["frames"]["stored"] >= 1


def test_decode_explains_a_frame_and_checks_its_tag(house: House) -> None:
    raw = street_frame(2)
    assert "authentic: the tag holds" in house.call("decode", raw.hex(), "--node-key")
    assert "the tag was not checked" in house.call("decode", stdin=raw.hex())
    forged = raw[:-1] + bytes([raw[-1] ^ 1])
    assert "refused: tag" in house.call("decode", forged.hex(), "--node-key")


def test_nodes_are_renamed_placed_and_listed(house: House) -> None:
    change = ("nodes", "set", "Plaza", "--name", "Quay", "--latitude", "41.4", "--exact")
    assert "add --irreversible" in house.call(*change, code=1)
    house.call(*change, "--irreversible")
    shown = [json.loads(line) for line in house.call("nodes", "list", "--json").splitlines()]
    quay = next(node for node in shown if node["node"] == "a1b2c3d4")
    assert (quay["name"], quay["site"]["latitude"], quay["exact"]) == ("Quay", 41.4, True)
    assert quay["site"]["longitude"] == 2.173404
    assert not any("key" in node and len(str(node["key"])) == 64 for node in shown)
    assert "site.latitude" in house.call("nodes", "set", "Quay", "--latitude", "91", code=1)


def test_a_name_from_before_the_rule_stops_nothing_and_is_named(house: House) -> None:
    path = house.folder / "data" / "nodes.json"
    path.write_text(path.read_text().replace('"Plaza"', '"=1+1"'))
    assert "=1+1" in house.call("status", code=3)
    assert "a1b2c3d4: '=1+1' begins with =" in house.call("doctor", code=3)

    async def play(transport: Script, collector: Collector) -> None:
        transport.receive(STREET, street_frame(FRAMES + 1))
        await asyncio.sleep(5)
        assert transport.sent

    house.live(play)
    house.call("nodes", "set", "a1b2c3d4", "--exact", "--irreversible")
    house.call("nodes", "set", "a1b2c3d4", "--name", "Plaza")
    assert "spreadsheets" not in house.call("doctor", code=3)


def test_a_finer_cell_wants_a_word_and_a_larger_one_says_what_stays_known(house: House) -> None:
    def cell_of(*options: str) -> int:
        return int(json.loads(house.call("nodes", "set", "Plaza", *options))["cell_m"])

    assert "can never be taken back" in house.call(
        "nodes", "set", "Plaza", "--cell-m", "250", code=1
    )
    assert cell_of("--cell-m", "200", "--irreversible") == 250
    done = house.run("nodes", "set", "Plaza", "--cell-m", "3000")
    assert "cells of 3000 m there are not: 4000 m is taken" in done.stderr
    assert "a cell of 250 m stays known where it was told" in done.stderr
    assert "--irreversible" in house.call("nodes", "set", "Plaza", "--cell-m", "2000", code=1)
    assert cell_of("--name", "Quay") == 4_000
    house.call("nodes", "import", str(house.folder / "records.jsonl"))
    (_, plaza) = house.call("nodes", "list", "--json").splitlines()
    assert json.loads(plaza)["cell_m"] == 4_000, "a record imported again changes no choice"
    assert "places: each node's own cell" in house.call("sinks", "explain", "file")


def test_a_wish_of_a_sink_that_is_no_size_is_told_as_the_next_larger(house: House) -> None:
    text = house.config.read_text()
    sink = 'file = "delivered.jsonl"\n'
    house.config.write_text(text.replace(sink, sink + "[sink.privacy]\ngrid_m = 900\n"))
    shown = house.call("check-config", str(house.config))
    assert "file: cells of 900 m there are not: 1000 m is taken" in shown
    assert "places: cells of 1000 m (grid_m = 900)" in house.call("sinks", "explain", "file")


def test_a_rotation_writes_a_private_record_and_shows_no_key(house: House, tmp_path: Path) -> None:
    out = tmp_path / "next.jsonl"
    shown = house.call("nodes", "rotate", "Plaza", "--out", str(out))
    secret = json.loads(out.read_text())["key"]
    assert out.stat().st_mode & 0o777 == 0o600
    assert secret not in shown
    assert secret != KEYS[STREET].hex()
    assert "rotating" in house.call("nodes", "list")
    assert "exists" in house.call("nodes", "rotate", "Plaza", "--out", str(out), code=1)
    house.call("nodes", "rotate", "Plaza", "--undo")
    assert "rotating" not in house.call("nodes", "list")


def test_a_revoked_node_comes_back_by_its_record(house: House) -> None:
    house.call("nodes", "revoke", "Plaza", "--yes")
    assert "a1b2c3d4  revoked   revoked" in house.call("nodes", "list")
    house.call("nodes", "import", str(house.folder / "records.jsonl"))
    assert "a1b2c3d4  active    key" in house.call("nodes", "list")


def test_an_import_is_all_or_nothing(bare_house: House, tmp_path: Path) -> None:
    uuid = "6f9619ff-8b86-4d01-b42d-000000000009"
    good = {**RECORDS[0], "node": "00000009", "uuid": uuid, "name": "Quay"}
    file = tmp_path / "more.jsonl"
    for line, words in [
        ("{", "line 2: not JSON"),
        (json.dumps({**good, "key": "00"}), "line 2: key must be 64 hex digits"),
        (json.dumps({**RECORDS[0], "key": "00" * 32}), "another key"),
        (json.dumps({**RECORDS[0], "uuid": good["uuid"]}), "is already Plaza"),
        (json.dumps({**good, "node": "0000000a", "name": "=1+1"}), "line 2: node 0000000a: name"),
        (json.dumps({**good, "name": "Bike"}), "the name 'Bike' is that of node 0000b0b1"),
        (
            json.dumps({**good, "node": "0000000a", "name": "Pier"}),
            "00000009 and 0000000a have one UUID",
        ),
        (json.dumps({**good, "key": "11" * 32}), "node 00000009 is there twice"),
    ]:
        file.write_text(json.dumps(good) + "\n" + line + "\n")
        assert words in bare_house.call("nodes", "import", str(file), code=1)
        assert len(NodeRegistry(bare_house.folder / "data" / "nodes.json")) == 2
        assert 9 not in KeyRing(bare_house.folder / "data" / "keys.json")


def test_a_node_that_leaves_is_gone_and_its_resends_are_only_acknowledged(house: House) -> None:
    shown = house.call("nodes", "erase", "Plaza", "--yes")
    assert f"{FRAMES} frames removed and overwritten; {FRAMES} numbers stay as erased" in shown
    assert f"file was given {STORED - 1} readings" in shown
    for path in (house.folder / "data").iterdir():
        content = path.read_bytes()
        for seq in range(1, FRAMES + 1):
            assert street_frame(seq)[20:] not in content, f"{path.name} still holds frame {seq}"
        assert b"Plaza" not in content
        assert KEYS[STREET].hex().encode() not in content

    house.call("nodes", "import", str(house.folder / "records.jsonl"))

    async def play(transport: Script, collector: object) -> None:
        import asyncio

        transport.receive(STREET, street_frame(2))
        await asyncio.sleep(5)
        assert transport.sent, "a resend is acknowledged, so that the board frees it"

    house.live(play)
    street = json.loads(house.call("ledger", "Plaza", "--json"))
    assert (street["frames"]["stored"], street["frames"]["erased"]) == (0, FRAMES)


def test_what_a_network_calls_our_channels(house: House) -> None:
    shown = house.call("sinks", "explain", "file")
    assert "pm2_5" in shown
    assert "laeq" not in shown
    assert "laeq" in house.call("sinks", "explain", "file", "--all")
    house.call("sinks", "provision", "file", "--dry-run")
    house.call("sinks", "provision", "file")


def test_commands_before_the_first_start(bare_house: House) -> None:
    for command in (("status",), ("ledger",), ("trace", "Plaza", AT), ("export", "-")):
        assert "start the collector first" in bare_house.call(*command, code=1)
    assert "nothing was refused yet" in bare_house.call("quarantine", "list", code=1)
    assert "0 frames removed" in bare_house.call("nodes", "erase", "Bike", "--yes")


def test_the_configuration_is_checked_by_every_command(house: House) -> None:
    house.config.write_text("[collector]\ndata = 5\nx = 1\n")
    shown = house.call("status", code=1)
    assert f"{house.config}:2: collector.data" in shown
    assert f"{house.config}:3: collector.x: unknown key" in shown
    assert "2 faults" in shown
