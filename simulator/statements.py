"""What a collector stated of its times when it froze them: a better clock later changes nothing.

The oracle holds a delivered time against the error that was stated with it.
"""

from collector.app import Collector
from collector.archive.archive import StoredFrame
from collector.forward.forwarder import Forwarder
from collector.timeline.frozen_time import Line
from simulator.truth import Position


class Statements:
    """The error bound of each frame's times, noted when a forwarder dates the frame first."""

    def __init__(self) -> None:
        self._stated: dict[Position, tuple[Line, int]] = {}

    def watch(self, collector: Collector) -> None:
        """Note what this collector's forwarders state from now on."""
        for forwarder in collector.forwarders:
            self._watch(collector, forwarder)

    def error_ms(self, position: Position) -> int:
        """How wrong a frame's times may be, by what was stated; 0 for one that was not dated."""
        stated = self._stated.get(position)
        return stated[1] if stated is not None else 0

    def _watch(self, collector: Collector, forwarder: Forwarder) -> None:
        timeline = collector.storage.timeline
        reader = forwarder._reader
        render = reader.render

        def noting_render(frame: StoredFrame) -> object:
            ends = [
                timeline.time_of(frame.node, frame.boot, uptime_ms)
                for uptime_ms in (frame.first_ms, frame.last_ms)
            ]
            rendered = render(frame)
            errors = [stamp.error_ms for stamp in ends if stamp is not None]
            if len(errors) == len(ends):
                line = reader._frozen.line(frame.node, frame.boot, frame.first_ms, frame.last_ms)
                self._note((frame.node, frame.boot, frame.seq), line, max(errors))
            return rendered

        reader.render = noting_render  # type: ignore[method-assign,assignment]

    def _note(self, position: Position, line: Line | None, error_ms: int) -> None:
        known = self._stated.get(position)
        if line is not None and (known is None or known[0] != line):
            self._stated[position] = line, error_ms
