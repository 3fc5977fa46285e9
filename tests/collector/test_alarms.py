"""What one node's alarms may do to the log and to those of others: nothing."""

import logging

import pytest

from collector.alarms import ALARMS_MAX, LINE_EVERY_MS, NODE_ALARMS_MAX, Alarms
from collector.ledger.ledger import Alarm
from tests.collector.core import NODE, BenchClock

OTHER = 0x0BAD


def conflict(node: int, boot: int = 1) -> Alarm:
    return Alarm("conflict", node, boot, 1, "two frames have one number")


def test_a_node_that_raises_many_pushes_out_nobody_elses() -> None:
    alarms = Alarms(BenchClock())
    alarms.add(conflict(NODE))
    for boot in range(5_000):
        alarms.add(conflict(OTHER, boot))
    assert [alarm.boot for alarm in alarms.latest if alarm.node == NODE] == [1]
    newest = range(5_000 - NODE_ALARMS_MAX, 5_000)
    assert [alarm.boot for alarm in alarms.latest if alarm.node == OTHER] == list(newest)


def test_all_nodes_together_are_bounded() -> None:
    alarms = Alarms(BenchClock())
    for node in range(3 * ALARMS_MAX):
        alarms.add(conflict(node))
    assert [alarm.node for alarm in alarms.latest] == list(range(2 * ALARMS_MAX, 3 * ALARMS_MAX))
    alarms.add(conflict(0))
    assert alarms.latest[-1].node == 0


def test_a_kind_of_a_node_has_a_line_a_minute_that_says_how_many(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = BenchClock()
    alarms = Alarms(clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            alarms.add(conflict(OTHER))
        alarms.add(conflict(NODE))
        alarms.add(Alarm("lost_here", OTHER, 1, 3, "acknowledged once"))
        clock.pass_ms(LINE_EVERY_MS)
        alarms.add(conflict(OTHER))
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in lines] == [
        "alarm conflict", "alarm conflict", "alarm lost_here", "alarm conflict",
    ]  # fmt: skip
    assert [line.endswith("(99 more like it before)") for line in lines] == [False] * 3 + [True]
