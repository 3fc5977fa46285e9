"""COMMAND and CONFIG: each is done once, answered by a RESULT, and safe against repetition."""

from typing import Any

import pytest

from firmware import health
from firmware.node import Node
from firmware.setting_rules import row_named
from firmware.settings import Settings
from protocol import wire
from tests.firmware import boards
from tests.firmware.conversation import Collector


@pytest.fixture
def node() -> Node:
    node = boards.make_node(sample_interval_s=5, report_interval_s=20, spool_sync_s=0, window=32)
    node.start()
    boards.run(node, 61_000)
    return node


@pytest.fixture
def collector(node: Node) -> Collector:
    collector = Collector(node)
    collector.ack()
    return collector


def hal_of(node: Node) -> boards.MemoryHal:
    assert isinstance(node.hal, boards.MemoryHal)
    return node.hal


def key(name: str) -> int:
    return row_named(name).key


def test_reboot_answers_before_it_resets(node: Node, collector: Collector) -> None:
    collector.command(1, wire.C_REBOOT)
    boards.run(node, 1_000)
    assert collector.outcomes() == [(wire.T_COMMAND, 1, wire.C_REBOOT, wire.R_DONE)]
    boards.run(node, 3_000)
    assert hal_of(node).resets == 1
    assert not node.outbox.spool.unsynced


def test_a_repeated_command_is_answered_but_not_done_again(
    node: Node, collector: Collector
) -> None:
    collector.command(4, wire.C_HELLO)
    collector.command(4, wire.C_HELLO)
    boards.run(node, 15_000)
    assert collector.outcomes() == [(wire.T_COMMAND, 4, wire.C_HELLO, wire.R_DONE)] * 2
    hellos = {frame.seq for frame in collector.heard(wire.T_HELLO)}
    assert len(hellos) == 2  # the first greeting and the one asked for


def test_identify_blinks_for_a_minute(node: Node, collector: Collector) -> None:
    levels: list[int] = []

    class Led:
        def value(self, level: int) -> None:
            levels.append(level)

    node.board["led"] = 2
    node.hal.pin = lambda number: Led()  # type: ignore[method-assign, assignment]
    collector.command(1, wire.C_IDENTIFY)
    boards.run(node, 70_000)
    assert {0, 1} <= set(levels)
    assert levels[-1] == 0


def test_dropping_the_spool_needs_the_counter_of_the_last_live(
    node: Node, collector: Collector
) -> None:
    boards.run(node, 30_000)
    collector.command(1, wire.C_DROP_SPOOL, node.live.counter + 1)
    assert collector.outcomes()[-1] == (wire.T_COMMAND, 1, wire.C_DROP_SPOOL, wire.R_STALE)
    collector.command(2, wire.C_DROP_SPOOL, node.live.counter)
    boards.run(node, 15_000)
    assert (wire.T_COMMAND, 2, wire.C_DROP_SPOOL, wire.R_DONE) in collector.outcomes()
    state = collector.heard(wire.T_LIVE)[-1].state
    assert state is not None
    dropped = dict(state.dropped)
    assert dropped[wire.DROP_COMMAND] >= 1


def test_resend_brings_acknowledged_frames_again(node: Node, collector: Collector) -> None:
    boards.run(node, 60_000)
    collector.ack()
    collector.link.up.clear()
    boot = node.identity.boot
    collector.command(1, wire.C_RESEND, boot, 2, 3)
    boards.run(node, 2_000)
    assert [f.seq for f in collector.heard(wire.T_DATA)][:2] == [2, 3]


def test_safe_mode_by_command_samples_nothing_and_still_answers(collector: Collector) -> None:
    node = collector.node
    collector.command(1, wire.C_SAFE_MODE)
    boards.run(node, 1_000)
    hal = hal_of(node)
    again = boards.make_node(hal)
    again.start()
    assert again.safe_mode
    assert again.sampler is None
    boards.run(again, 100_000)
    there = Collector(again)
    there.ack()
    there.command(9, wire.C_HELLO)
    boards.run(again, 1_000)
    assert (wire.T_COMMAND, 9, wire.C_HELLO, wire.R_DONE) in there.outcomes()
    state = there.heard(wire.T_LIVE)[-1].state
    assert state is not None
    assert state.flags & wire.STATE_SAFE_MODE


def test_an_unknown_command_is_answered_as_such(collector: Collector) -> None:
    collector.command(1, 99)
    assert collector.outcomes() == [(wire.T_COMMAND, 1, 99, wire.R_UNKNOWN)]


def test_self_test_names_the_sensor_that_fails(node: Node, collector: Collector) -> None:
    collector.command(1, wire.C_SELF_TEST)
    boards.run(node, 1_000)
    outcome = collector.heard(wire.T_RESULT)[0].outcome
    assert outcome is not None
    assert outcome.status == wire.R_DONE
    assert outcome.data.endswith(b"sensors=+")
    node.sensors[0][0].failures = 3
    collector.command(2, wire.C_SELF_TEST)
    boards.run(node, 1_000)
    outcome = collector.heard(wire.T_RESULT)[-1].outcome
    assert outcome is not None
    assert outcome.status == wire.R_FAILED
    assert outcome.data.endswith(b"sensors=-")


def test_config_is_kept_and_told_by_its_revision(node: Node, collector: Collector) -> None:
    collector.config(3, [(key("revision"), 12), (key("live_interval_s"), 30)])
    boards.run(node, 31_000)
    assert collector.outcomes() == [(wire.T_CONFIG, 3, 0, wire.R_DONE)]
    state = collector.heard(wire.T_LIVE)[-1].state
    assert state is not None
    assert state.settings_revision == 12
    assert node.link.live_ms == 30_000


@pytest.mark.parametrize(
    ("entries", "wrong"),
    [
        ([("report_interval_s", 60), ("live_interval_s", 1)], "live_interval_s"),
        ([("live_interval_s", "soon")], "live_interval_s"),
        ([("wifi_password", "secret")], "wifi_password"),
        ([("home_zone_1", "57.1 -2.1 500")], "home_zone_1"),
    ],
)
def test_a_wrong_config_changes_nothing_and_names_its_key(
    node: Node, collector: Collector, entries: list[tuple[str, Any]], wrong: str
) -> None:
    collector.config(3, [(key(name), value) for name, value in entries])
    assert collector.outcomes() == [(wire.T_CONFIG, 3, key(wrong), wire.R_INVALID)]
    assert node.settings["report_interval_s"] == 20


def test_an_unknown_setting_is_refused(collector: Collector) -> None:
    collector.config(3, [(999, 1)])
    assert collector.outcomes() == [(wire.T_CONFIG, 3, 999, wire.R_INVALID)]


def test_settings_that_need_it_restart_the_board(node: Node, collector: Collector) -> None:
    collector.config(3, [(key("sample_interval_s"), 10)])
    boards.run(node, 5_000)
    assert hal_of(node).resets == 1
    assert collector.outcomes() == [(wire.T_CONFIG, 3, 0, wire.R_DONE)]


def trial_node() -> tuple[Node, Collector, list[str]]:
    """A node with settings in flash, whose links note which broker they are for."""
    hal = boards.MemoryHal()
    boards.provision(hal.nvs)
    settings = Settings(hal.files)
    settings.set("broker_host", "old")
    settings.set("trial_s", 60)
    settings.save()
    hosts: list[str] = []
    plain = hal.link

    def link(given: Settings) -> boards.Link:
        hosts.append(given["broker_host"])
        return plain(given)

    hal.link = link  # type: ignore[method-assign]
    node = Node(hal, {"board": "test"}, settings, sensors=[(boards.Ramp(), 0)])
    node.start()
    boards.run(node, 1_000)
    return node, Collector(node), hosts


def test_network_settings_are_kept_after_an_ack_over_them() -> None:
    node, collector, hosts = trial_node()
    collector.config(5, [(key("broker_host"), "new")])
    boards.run(node, 500)
    assert hosts == ["old", "new"]
    collector.ack()
    boards.run(node, 1_000)
    fresh = Settings(node.hal.files)
    fresh.load()
    assert fresh["broker_host"] == "new"
    assert node.downlink.trial is None


def test_network_settings_revert_by_themselves_without_an_ack() -> None:
    node, collector, hosts = trial_node()
    collector.config(5, [(key("broker_host"), "new")])
    boards.run(node, 62_000)
    assert hosts == ["old", "new", "old"]
    assert node.settings["broker_host"] == "old"
    assert not node.settings.on_trial
    collector.ack(0)
    boards.run(node, 61_000)
    assert collector.outcomes() == [(wire.T_CONFIG, 5, 0, wire.R_FAILED)]


def test_a_reset_during_the_trial_brings_the_old_settings_back() -> None:
    node, collector, _ = trial_node()
    collector.config(5, [(key("broker_host"), "new")])
    boards.run(node, 500)
    fresh = Settings(node.hal.files)
    fresh.load()
    assert fresh["broker_host"] == "old"


def test_downlink_for_another_boot_or_heard_before_is_refused(
    node: Node, collector: Collector
) -> None:
    upto = node.outbox.settled.upto(node.identity.boot)
    boards.run(node, 30_000)
    collector.seq -= 1
    collector.ack()
    assert node.outbox.settled.upto(node.identity.boot) == upto
    assert node.downlink.refused == 1
    node.identity.boot += 1
    collector.seq += 5
    collector.ack()
    node.identity.boot -= 1
    assert node.downlink.refused == 1


def test_three_quick_resets_lead_to_safe_mode_and_a_good_run_ends_the_count() -> None:
    hal = boards.MemoryHal()
    for start in range(1, 6):
        node = boards.make_node(hal)
        assert node.safe_mode == (start > 3)
    health.set_starts(hal.nvs, 0)
    for _ in range(6):
        hal.now_ms = 0
        node = boards.make_node(hal)
        node.start()
        boards.run(node, health.GOOD_AFTER_MS + 2_000)
        assert not node.safe_mode


def test_safe_mode_tries_again_after_an_hour() -> None:
    hal = boards.MemoryHal()
    boards.provision(hal.nvs)
    health.set_starts(hal.nvs, 9)
    node = boards.make_node(hal)
    node.start()
    assert node.safe_mode
    boards.run(node, 3_605_000)
    assert hal.resets == 1
    assert not boards.make_node(hal).safe_mode
    assert boards.make_node(hal).safe_mode


def test_a_silent_link_gets_one_reboot_until_it_was_heard_again() -> None:
    hal = boards.MemoryHal()
    hal.transport.accepts = False
    for expected in (1, 1):
        hal.now_ms = 0
        node = boards.make_node(hal, sample_interval_s=600, silent_reboot_h=1)
        node.start()
        boards.run(node, 2 * 3_600_000)
        assert hal.resets == expected
    hal.transport.accepts = True
    node = boards.make_node(hal, sample_interval_s=600, silent_reboot_h=1)
    node.start()
    boards.run(node, 1_000)
    Collector(node).ack(0)
    assert health.may_reboot_for_silence(hal.nvs)


def test_an_answer_does_not_wait_behind_two_weeks_of_data() -> None:
    node = boards.make_node(sample_interval_s=60, report_interval_s=60, silent_reboot_h=0)
    hal_of(node).transport.accepts = False
    node.start()
    boards.run(node, 6 * 3_600_000)
    hal_of(node).transport.accepts = True
    boards.run(node, 1_000)
    collector = Collector(node)
    collector.ack(0)
    boards.run(node, 1_000)
    collector.command(3, wire.C_IDENTIFY)
    boards.run(node, 2_000)
    assert collector.outcomes() == [(wire.T_COMMAND, 3, wire.C_IDENTIFY, wire.R_DONE)]
    assert len(collector.heard(wire.T_DATA)) < 40
    assert node.outbox.issued > 300
