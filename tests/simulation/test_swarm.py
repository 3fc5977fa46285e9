"""The swarm: scenarios under random seeds, judged by the oracle; and the oracle itself."""

import sqlite3
from collections import Counter
from functools import partial
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from collector.ledger.ledger import Alarm
from protocol.compose import compose_log
from simulator import prove_oracle
from simulator.books import Books
from simulator.cli import main
from simulator.faults.network import UP, Cable
from simulator.network import Network
from simulator.oracle import Allowed, Oracle, Verdict, judge_alarms
from simulator.planted_bugs import BUGS, CannotPlant, PlantedBug, place_of, plant
from simulator.promises import broken_promises
from simulator.scenario import ScenarioError, draw_table, find, is_rare, load, names
from simulator.simulation import RunOptions, simulate
from simulator.soak import Job, StateError, corpus, drawn, job_of, perform, soak, wheel_of
from simulator.truth import Boot, Position, Truth
from simulator.upstream_model import Upstream
from simulator.vm import ROOT

QUICK = ("quiet_day", "power_cuts", "hostile_sender", "failing_network", "lossy_backlog",
         "refusing_flash")  # fmt: skip


@pytest.mark.parametrize("name", QUICK)
def test_a_scenario_leaves_nothing_unaccounted(name: str) -> None:
    verdict, report = simulate(drawn(name, 3), RunOptions(3, nodes=2, hours=1))
    assert report["findings"] == []
    assert verdict.unaccounted == 0
    assert verdict.readings_stored >= 2 * 8 * 300


def test_a_hundred_boards_share_one_bad_network() -> None:
    verdict, report = simulate(drawn("flaky_wifi", 3), RunOptions(3, nodes=100, hours=0.25))
    assert report["findings"] == []
    assert verdict.readings_delivered >= 100 * 8 * 100


def test_boards_that_nobody_wakes_are_asked_for_all_before_they_are_quiet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = RunOptions(3, nodes=2, hours=1)
    awake = simulate(drawn("quiet_day", 3), options)[0]
    monkeypatch.setattr("simulator.simulation.Network", partial(Network, patient=True))
    patient = simulate(drawn("quiet_day", 3), options)[0]
    assert patient.findings == []
    assert patient.readings_stored == awake.readings_stored


def test_the_same_seed_gives_the_same_report(tmp_path: Path) -> None:
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    for file in files:
        arguments = ["run", "flaky_wifi", "--seed", "5", "--nodes", "1", "--days", "0.02"]
        result = CliRunner().invoke(main, [*arguments, "--report", str(file)])
        assert result.exit_code == 0, result.output
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_planted_bug_still_has_its_place(bug: PlantedBug) -> None:
    path, start, end = place_of(bug, ROOT)
    assert path.read_text(encoding="utf-8")[start:end].split() == bug.old.split()
    assert bug.new.split() != bug.old.split()
    assert bug.scenario in ("", *names())


def test_a_bug_without_its_place_is_refused(tmp_path: Path) -> None:
    for name, found in (("f", 0), ("C.g", 2), ("C.f", 1)):
        file = tmp_path / "room" / "deep" / "x.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        code = "class C:\n    def f(self):\n        if a:\n            b(c,\n              d)\n"
        file.write_text(code + "    def g(self):\n        b(c, d); b(c, d)\n", encoding="utf-8")
        bug = PlantedBug("b", "room", name, "b(c, d)", "if e:\n    pass")
        if found == 1:
            plant(bug, tmp_path)
            planted = "            if e:\n                pass\n    def g"
            assert planted in file.read_text(encoding="utf-8")
            continue
        with pytest.raises(CannotPlant, match=f"{found} times"):
            plant(bug, tmp_path)


def test_a_finding_is_a_bugs_when_the_same_run_finds_nothing_without_it() -> None:
    assert prove_oracle._is_the_bugs("quiet_day --seed 1 --hours 0.1: a reading is missing")
    assert not prove_oracle._is_the_bugs("nowhere --seed 1: a reading is missing")


def test_every_scenario_can_be_read_and_says_what_must_hold() -> None:
    assert len(names()) >= 10
    for name in names():
        assert load(find(name), Random(1)).title
        assert "tells" in find(name).read_text(encoding="utf-8")


def test_a_bad_scenario_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="there are"):
        find("nowhere")
    file = tmp_path / "bad.toml"
    file.write_text('title = "x"\nhours = 1\nnodes = 1\nstorm = 2\n', encoding="utf-8")
    with pytest.raises(ScenarioError, match="storm"):
        load(file, Random(1))


def test_numbers_are_drawn_by_the_seed() -> None:
    table = {"kind": "loss", "probability": [0.1, 0.2], "times": [2, 5]}
    assert draw_table(table, Random(1)) == draw_table(table, Random(1))
    assert 0.1 <= draw_table(table, Random(2))["probability"] <= 0.2
    assert draw_table({"chance": 0.0, **table}, Random(3)) == {}


def test_what_a_run_raises_is_a_finding() -> None:
    result = perform(Job("nowhere", 1))
    assert result.unaccounted
    assert "ScenarioError" in result.finding


def test_a_soak_goes_on_where_it_was_broken_off(tmp_path: Path) -> None:
    state = tmp_path / "soak.json"
    first = soak(1, 0, 1, 1e9, state, ["quiet_day"], with_corpus=False)
    again = soak(2, 0, 1, 1e9, state, ["quiet_day"], with_corpus=False)
    assert (first.seeds, again.seeds) == (1, 2)
    state.write_text("{}", encoding="utf-8")
    with pytest.raises(StateError, match="remove it"):
        soak(1, 0, 1, 1e9, state, ["quiet_day"])


def test_the_swarm_takes_costly_scenarios_seldom_and_most_runs_short() -> None:
    wheel = wheel_of(names())
    jobs = [job_of(seed, wheel) for seed in range(8 * len(wheel))]
    runs = Counter(job.scenario for job in jobs)
    assert {is_rare(name): runs[name] for name in names()} == {True: 8, False: 48}
    assert sum(job.hours is None for job in jobs) == len(wheel)
    assert all(job.hours is None or 1 <= job.hours <= 6 for job in jobs)
    assert Job("power_cuts", 3, 1.5).again == "osn-simulator run power_cuts --seed 3 --hours 1.5"


def test_the_corpus_names_runs_that_there_are() -> None:
    assert len(corpus()) >= 8
    assert {job.scenario for job in corpus()} <= set(names())


def test_a_cable_carries_what_is_whole_and_invents_nothing() -> None:
    random = Random(5)
    cable = Cable(garbled=0.002, chatter=0.5)
    sent = [compose_log(bytes(32), 7, 1, seq, "x" * (seq % 200)) for seq in range(1, 400)]
    found = [raw for frame in sent for _, raw in cable.carry(UP, 7, (0, frame), 0, random)]
    whole = [raw for raw in found if raw in sent]
    assert len(whole) > len(sent) // 2
    assert whole == sorted(whole, key=sent.index)
    clean = Cable(garbled=0.0, chatter=1.0)
    assert [raw for f in sent for _, raw in clean.carry(UP, 7, (0, f), 0, random)] == sent


def test_a_lost_promise_is_found(tmp_path: Path) -> None:
    archive = tmp_path / "archive.db"
    connection = sqlite3.connect(archive)
    connection.execute("CREATE TABLE frame (node, boot, seq)")
    connection.execute("INSERT INTO frame VALUES (1, 2, 3)")
    connection.commit()
    connection.close()
    settled = SimpleNamespace(covers=lambda boot, seq: boot == 2 and seq <= 4)
    drops = SimpleNamespace(counts=[0, 0])
    outbox = SimpleNamespace(settled=settled, drops=drops)
    hosted: Any = SimpleNamespace(address=1, node=SimpleNamespace(outbox=outbox))
    truth = Truth(frames={(1, 2, seq): b"" for seq in (3, 4, 5)})
    assert broken_promises(archive, truth, [hosted]) == [(1, 2, 4)]
    drops.counts = [0, 1]
    assert broken_promises(archive, truth, [hosted]) == []


@pytest.mark.parametrize("name", ["lossy_backlog", "power_cuts", "failing_network"])
def test_a_large_run_is_judged_on_the_way_with_the_same_report(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = RunOptions(3, nodes=3, hours=1.0)
    at_the_end = simulate(load(find(name), Random(3)), options)
    monkeypatch.setattr("simulator.oracle.HELD_MAX", 500)
    condensed: list[Position] = []
    condense = Truth.condense

    def noting(truth: Truth, position: Position, rows: int) -> None:
        condensed.append(position)
        condense(truth, position, rows)

    monkeypatch.setattr(Truth, "condense", noting)
    on_the_way = simulate(load(find(name), Random(3)), options)
    assert on_the_way[1] == at_the_end[1]
    assert len(condensed) > at_the_end[0].frames_built // 2


def test_what_is_delivered_again_after_it_was_judged_is_found() -> None:
    upstream = Upstream(Random(1), judged={(1, 2, 3): 0b1}, again=Counter({(1, 2, 3): 1}))
    for duplicates, findings in ((False, 1), (True, 0)):
        oracle = Oracle(
            Truth(), upstream, Allowed(duplicates=duplicates), Books(upstream, blind=False)
        )
        oracle._judge_network({(1, 2, 3)})
        assert len(oracle.verdict.findings) == findings
    oracle = Oracle(Truth(), upstream, Allowed(duplicates=True), Books(upstream, blind=False))
    oracle._judge_network(set())
    assert oracle.verdict.unaccounted == 1


def test_a_frame_built_again_with_other_bytes_is_found_after_it_was_judged() -> None:
    truth = Truth(boots={(1, 2): Boot(0, 1000, 1)})
    for raw in (b"A" * 8, b"B" * 8):
        truth._note(1, raw + (2).to_bytes(4, "little") + (3).to_bytes(4, "little"))
        if (1, 2, 3) in truth.frames:
            truth.condense((1, 2, 3), 0)
    assert truth.rewritten == [(1, 2, 3)]
    assert list(truth.positions()) == [(1, 2, 3)]


def test_an_alarm_without_a_cause_is_a_finding() -> None:
    alarm = Alarm("lost_here", 1, 2, 1, "acknowledged and not there")
    for allowed, findings in ((Allowed(), 1), (Allowed(restored=True), 0)):
        verdict = Verdict()
        judge_alarms([alarm], allowed, verdict)
        assert len(verdict.findings) == findings


def test_wrong_words_to_run_are_answered_before_anything_runs(tmp_path: Path) -> None:
    bad = tmp_path / "storm.toml"
    bad.write_text('title = "x"\nhours = 0.1\nnodes = 1\n[[network]]\nkind = "hail"\n', "utf-8")
    for arguments, said in (
        (["nowhere"], "no scenario 'nowhere'"),
        ([str(bad)], "no network fault 'hail'"),
        (["quiet_day", "--report", str(tmp_path / "no" / "r.json")], "there is no folder"),
    ):
        result = CliRunner().invoke(main, ["run", *arguments])
        assert result.exit_code in (1, 2)
        assert said in result.output
