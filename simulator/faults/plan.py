"""From the tables of a scenario to faults: when, how long, how bad."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from simulator.faults import network
from simulator.faults.network import ALWAYS, NetworkFault, Span
from simulator.upstream_model import Behaviour

_RULES = ("loss", "duplicate", "delay", "corrupt", "partition", "half_open", "slow_connect",
          "flapping", "cable")  # fmt: skip


class PlanError(ValueError):
    """A table that names no fault."""


def spans_of(table: Mapping[str, Any], end_ms: int, random: Random) -> list[Span]:
    """`times` stretches of `seconds` each somewhere in the run; all of it without `seconds`."""
    if "seconds" not in table:
        return [ALWAYS]
    length_ms = int(table["seconds"] * 1000)
    spans = []
    for _ in range(int(table.get("times", 1))):
        start_ms = random.randrange(0, max(1, end_ms - length_ms // 2))
        spans.append(Span(start_ms, start_ms + length_ms))
    return spans


def network_faults(
    tables: Sequence[Mapping[str, Any]], end_ms: int, random: Random
) -> list[NetworkFault]:
    """The rules of all tables. Raises PlanError."""
    return [_rule(table, span) for table in tables for span in spans_of(table, end_ms, random)]


def _rule(table: Mapping[str, Any], span: Span) -> NetworkFault:
    kind = table.get("kind")
    if kind == "loss":
        return network.Loss(table["probability"], span, table.get("direction", ""))
    if kind == "duplicate":
        return network.Duplicate(table["probability"], span=span)
    if kind == "delay":
        return network.Delay(table.get("least_ms", 0), table["most_ms"], span)
    if kind == "corrupt":
        return network.Corrupt(table["probability"], span)
    if kind == "partition":
        return network.Partition(span)
    if kind == "half_open":
        return network.HalfOpen(span)
    if kind == "slow_connect":
        return network.SlowConnect(table["extra_ms"], span)
    if kind == "cable":
        return network.Cable(table["garbled"], table.get("chatter", 0.3), span)
    if kind == "flapping":
        return network.Flapping(table["period_ms"], table["off_ms"], span)
    raise PlanError(f"no network fault {kind!r}; there are: {', '.join(_RULES)}")


def behaviour_of(table: Mapping[str, Any], end_ms: int, random: Random) -> Behaviour:
    """How the open network behaves."""
    outages = (
        spans_of({"seconds": table["outage_s"], "times": table.get("outages", 1)}, end_ms, random)
        if "outage_s" in table
        else ()
    )
    return Behaviour(
        outages=outages,
        silent_stored=table.get("silent_stored", 0.0),
        silent_lost=table.get("silent_lost", 0.0),
        half_then_silent=table.get("half_then_silent", 0.0),
        busy=table.get("busy", 0.0),
        refuse_one_in=int(table.get("refuse_one_in", 0)),
        retry=table.get("retry", 0.0),
        latency_ms=int(table.get("latency_ms", 0)),
    )
