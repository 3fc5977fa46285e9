"""What was acknowledged is on the disk: looked up each time that the collector has died."""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from simulator.hosted import HostedNode
from simulator.truth import Position, Truth


def broken_promises(archive: Path, truth: Truth, nodes: Iterable[HostedNode]) -> list[Position]:
    """Frames that their board takes for stored and that a dead collector's archive lacks.

    What a board has dropped and counted is acknowledged too: of a board that has dropped some, as
    many may be missing.
    """
    nodes = list(nodes)
    promised = acknowledged(truth, nodes)
    if not promised:
        return []
    missing = sorted(promised - frames_in(archive))
    dropped = {
        hosted.address: sum(hosted.node.outbox.drops.counts)
        for hosted in nodes
        if hosted.node is not None
    }
    by_node = Counter(node for node, *_ in missing)
    return [position for position in missing if by_node[position[0]] > dropped[position[0]]]


def frames_in(archive: Path) -> set[Position]:
    """All frames in the archive of a collector that does not run."""
    connection = sqlite3.connect(archive)
    try:
        return set(connection.execute("SELECT node, boot, seq FROM frame"))
    finally:
        connection.close()


def acknowledged(truth: Truth, nodes: Iterable[HostedNode]) -> set[Position]:
    """Frames for which the boards under power have heard an acknowledgement in this boot."""
    covers = {
        hosted.address: hosted.node.outbox.settled.covers
        for hosted in nodes
        if hosted.node is not None
    }
    return {
        position
        for position in truth.positions()
        if position[0] in covers and covers[position[0]](position[1], position[2])
    }
