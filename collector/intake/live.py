"""A board's LIVE: what it keeps and what it has dropped, what time its uptime is, and the answer.

The answer is the time, while the collector knows it, an ACK for each boot that the board keeps,
and the frames that the board shall send again.
"""

from collections.abc import Callable

from collector.boards.downlink import Answers
from collector.clock import Clock
from collector.intake.admission import KeyRing
from collector.intake.decision import LIVE, Decision, Kind
from collector.intake.renewal import Renewal
from collector.ledger.ledger import LOST_HERE, Alarm, Ledger, TooManyBoots
from collector.timeline.timeline import Timeline
from collector.transports.base import Source
from protocol.decoder import decode
from protocol.envelope import Head
from protocol.frame_bounds import UPTIME_MAX_MS
from protocol.sections import State
from protocol.wire import FrameError


class LiveReports:
    """Takes LIVE frames; `wake` is called when there is something to write because of one."""

    def __init__(
        self,
        keys: KeyRing,
        ledger: Ledger,
        clock: Clock,
        timeline: Timeline,
        answers: Answers,
        renewal: Renewal,
        *,
        on_alarm: Callable[[Alarm], None],
        wake: Callable[[], None],
    ) -> None:
        self._keys = keys
        self._ledger = ledger
        self._clock = clock
        self._timeline = timeline
        self._answers = answers
        self._renewal = renewal
        self._on_alarm = on_alarm
        self._wake = wake

    def take(self, raw: bytes, head: Head, source: Source) -> Decision:
        """Believes and answers an authentic LIVE that is newer than the last one."""
        try:
            state = decode(raw, with_samples=False).state
        except FrameError as error:
            return Decision(Kind.REFUSED, f"live_{error.reason}")
        assert state is not None
        if state.uptime_ms > UPTIME_MAX_MS:
            return Decision(Kind.REFUSED, "live_uptime")
        ledger = self._ledger
        now_ms = self._clock.unix_ms()
        try:
            boot = ledger.boot(head.node, head.boot, now_ms)
        except TooManyBoots:
            return Decision(Kind.REFUSED, "too_many_boots")
        if head.seq <= boot.live or state.uptime_ms < boot.live_ms:
            return Decision(Kind.IGNORED, "live_replayed")
        if head.boot < ledger.node(head.node).boot:
            return Decision(Kind.IGNORED, "live_of_old_boot")
        self._observe(head, state, now_ms)
        answers = self._answers
        if self._clock.synchronised():
            self._timeline.observe_live(head.node, head.boot, state.uptime_ms, now_ms)
            if boot.anchor_ms is None:
                boot.anchor(now_ms - state.uptime_ms)
            answers.time(head.node, head.boot, state.uptime_ms, head.seq, now_ms, source)
        boots = [kept.boot for kept in state.boots] or [head.boot]
        answers.ack(head.node, boots, source)
        answers.ask_again(head.node, source)
        if ledger.first_contacts:
            self._wake()
        return LIVE

    def _observe(self, head: Head, state: State, now_ms: int) -> None:
        """Takes over what the board says of its frames."""
        ledger = self._ledger
        for alarm in ledger.observe(head.node, head.boot, head.seq, state, now_ms):
            self._on_alarm(alarm)
            self._answers.want_again(alarm.node, alarm.boot, alarm.ranges)
            lost_here = alarm.kind == LOST_HERE and state.collector == ledger.collector
            if lost_here and self._renewal.change():
                self._wake()
        oldest = min(
            ((kept.boot, kept.lowest) for kept in state.boots if kept.lowest <= kept.highest),
            default=None,
        )
        self._keys.settled(head.node, oldest if not state.unlisted else (0, 0))
