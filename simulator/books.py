"""The collector's books of one network, held against what the network and the boards know."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from collector.archive import archive
from collector.forward import book_tables
from collector.operate.accounts import accounts
from collector.readings.counting import readings_of
from collector.storage.archive_view import ArchiveView
from simulator.upstream_model import Upstream

SINK = "model"
ASKED_FRAMES_MAX = 1_500
"""The collector's own accounts decode every frame, so of large archives they are not asked for."""


class Fate(NamedTuple):
    """What became of a stored reading, for each node on its own account."""

    node: int
    outcome: str


class Books:
    """`blind`: the network can neither be asked nor tell a duplicate, so some are only possible."""

    def __init__(self, upstream: Upstream, *, blind: bool) -> None:
        self.doubtful: Counter[int] = Counter()
        """By node, readings that a dead collector may have handed over or not."""
        self._upstream = upstream
        self._blind = blind

    def died(self, file: Path) -> None:
        """Note what this archive, whose collector has just died, has under way."""
        if not self._blind:
            return
        with closing(sqlite3.connect(file)) as connection:
            if not book_tables.has_books(connection):
                return
            state = book_tables.load(connection, SINK)
            for claimed in state.claims.values():
                for first, last in claimed:
                    for frame in archive.frames(connection, first, last, last - first + 1):
                        readings = readings_of(frame)
                        settled = state.settled(frame.id, readings)
                        self.doubtful[frame.node] += readings - settled

    def judge(
        self, connection: sqlite3.Connection, fates: Counter[Fate], *, restored: bool
    ) -> list[str]:
        """Compare with what became of the stored readings; a sentence for each fault."""
        counts = book_tables.counts(connection, SINK).get(SINK, {})
        booked: Counter[Fate] = Counter()
        for count, readings in counts.items():
            booked[Fate(count.node, count.outcome)] += readings
        said: list[str] = []
        for fate in sorted(fates.keys() | booked.keys()):
            if fate.outcome == book_tables.POSSIBLE_DUPLICATE:
                continue
            if booked[fate] != fates[fate]:
                told = f"{booked[fate]} readings {fate.outcome}, it is {fates[fate]}"
                said.append(f"node {fate.node:08x}: the books say {told}")
        said += self._judge_duplicates(booked, restored)
        state = book_tables.load(connection, SINK)
        if state.claims:
            said.append(f"claims {sorted(state.claims)} are open at the end")
        if left := [frame for frame in state.partial if frame in state.done]:
            said.append(f"frames {left} are done, and said to be done in part")
        return said + _own_accounts(connection, fates)

    def _judge_duplicates(self, booked: Counter[Fate], restored: bool) -> list[str]:
        said: list[str] = []
        upstream = self._upstream
        nodes = {fate.node for fate in booked} | upstream.twice.keys()
        for node in sorted(nodes):
            possible = booked[Fate(node, book_tables.POSSIBLE_DUPLICATE)]
            unanswered = upstream.unanswered[node] if self._blind else 0
            where = f"node {node:08x}: {possible} possible duplicates are counted"
            if restored and self._blind:
                continue
            if possible < unanswered:
                said.append(f"{where}, {unanswered} readings got no answer")
            if self._blind and possible < upstream.twice[node]:
                said.append(f"{where}, {upstream.twice[node]} readings came again")
            if possible > unanswered + self.doubtful[node]:
                most = f"{unanswered} readings got no answer, {self.doubtful[node]} may have"
                said.append(f"{where}, {most}")
        return said


def _own_accounts(connection: sqlite3.Connection, fates: Counter[Fate]) -> list[str]:
    """What the collector's own accounts make of it, as they are shown to people."""
    frames = connection.execute("SELECT count(*) FROM frame").fetchone()[0]
    if frames > ASKED_FRAMES_MAX:
        return []
    said: list[str] = []
    for account in accounts(ArchiveView(connection), (SINK,)):
        sink = account.sinks[SINK]
        settled = sum(readings for fate, readings in fates.items() if fate.node == account.node)
        where = f"node {account.node:08x}: the collector accounts for"
        if sink.unaccounted or sink.surplus:
            gone = f"{sink.unaccounted} readings unaccounted, {sink.surplus} too many"
            said.append(f"{where} {gone}")
        if account.readings != settled + sink.to_send:
            held = f"{account.readings} readings, {sink.to_send} to send"
            said.append(f"{where} {held}, it is {settled} settled")
    return said
