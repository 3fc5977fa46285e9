"""Which of a frame's readings one sink gets, and which it is spared, with the reason."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from collector.readings.observation import QUALITY_NAMES, QUALITY_OK, Channel, Observation
from collector.readings.rendering import Rendered
from collector.sinks.base import Capabilities, DeliverySettings

Order = Literal["live_first", "oldest_first"]
UnknownPolicy = Literal["resend", "leave"]

DAY_S = 86_400.0
CHANNELS_MAX = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How one sink is fed.

    qualities: quality codes that go out. fresh_s: readings older than this are left out, None when
    the network takes a backlog. order: what goes first while a backlog drains. backlog_age_s and
    backlog_frames: beyond these the oldest frames expire. live_age_s: a frame whose readings are
    older counts as backlog although it has just arrived. on_unknown: for networks that can neither
    be asked nor tell a duplicate, whether to send again what got no answer.
    """

    qualities: frozenset[int] = frozenset((QUALITY_OK,))
    order: Order = "live_first"
    fresh_s: float | None = None
    backlog_age_s: float = 90 * DAY_S
    backlog_frames: int = 2_000_000
    live_age_s: float = 900.0
    on_unknown: UnknownPolicy = "resend"

    def __post_init__(self) -> None:
        if self.backlog_frames < 1 or self.backlog_age_s <= 0:
            raise ValueError("a backlog needs an age and a number of frames above 0")


def policy_of(settings: DeliverySettings, capabilities: Capabilities) -> Policy:
    """How a sink is fed, from its configuration and from what its network can do."""
    names = capabilities.qualities if settings.qualities is None else settings.qualities
    fresh_s = settings.fresh_s
    if fresh_s is None and not capabilities.backlog:
        fresh_s = capabilities.fresh_s
    return Policy(
        qualities=frozenset(QUALITY_NAMES.index(name) for name in names),
        order=settings.order,
        fresh_s=fresh_s,
        backlog_age_s=settings.backlog_days * DAY_S,
        backlog_frames=settings.backlog_frames,
        on_unknown=settings.on_unknown,
    )


class Selection:
    """Applies freshness and thinning; remembers the last reading taken of each channel."""

    def __init__(
        self, policy: Policy, interval_s: float = 0.0, *, latest_only: bool = False
    ) -> None:
        self._policy = policy
        self._interval_s = interval_s
        self._latest_only = latest_only
        self._fresh_ms = None if policy.fresh_s is None else round(policy.fresh_s * 1000)
        self._interval_ms = round(interval_s * 1000)
        self._taken_ms: OrderedDict[Channel, int] = OrderedDict()

    def afresh(self) -> "Selection":
        """The same choice without a memory: it spares nothing that this one has ever sent."""
        return Selection(self._policy, self._interval_s, latest_only=self._latest_only)

    def choose(self, rendered: Rendered, settled: int, now_ms: int) -> list[Observation]:
        """Readings of a frame to send now. `settled` has a bit for each that is settled already.

        Adds to `rendered.left_out` what this sink is spared.
        """
        chosen = rendered.observations
        if settled:
            chosen = [o for o in chosen if not settled >> o.reading & 1]
        if self._fresh_ms is not None:
            oldest_ms = now_ms - self._fresh_ms
            fresh = [o for o in chosen if o.time_ms >= oldest_ms]
            if len(fresh) < len(chosen):
                rendered.leave_out("too_old", len(chosen) - len(fresh))
            chosen = fresh
        if self._interval_ms and not self._latest_only:
            due = [o for o in chosen if self._due(o, now_ms)]
            if len(due) < len(chosen):
                rendered.leave_out("interval", len(chosen) - len(due))
            chosen = due
        return chosen

    def narrow(
        self, readings: list[Observation], now_ms: int
    ) -> tuple[list[Observation], list[tuple[Observation, str]]]:
        """Of a window's readings, those to send and those to leave out, with the reason.

        Where the network dates what arrives, only the newest of each channel may go out, and only
        when none that is newer has gone before: any other would stand under a time not its own.
        """
        if not self._latest_only:
            return readings, []
        newest: dict[Channel, Observation] = {}
        for observation in readings:
            known = newest.get(observation.channel)
            if known is None or observation.time_ms >= known.time_ms:
                newest[observation.channel] = observation
        chosen: list[Observation] = []
        spared: list[tuple[Observation, str]] = []
        for observation in readings:
            taken_ms = self._taken_ms.get(observation.channel)
            if newest[observation.channel] is not observation or (
                taken_ms is not None and observation.time_ms < taken_ms
            ):
                spared.append((observation, "superseded"))
            elif self._due(observation, now_ms):
                chosen.append(observation)
            else:
                spared.append((observation, "interval"))
        return chosen, spared

    def _due(self, observation: Observation, now_ms: int) -> bool:
        """Whether the interval has passed. A time to come counts as now, lest it blocks others."""
        time_ms = min(observation.time_ms, now_ms)
        last_ms = self._taken_ms.get(observation.channel)
        passed_ms = None if last_ms is None else time_ms - last_ms
        if passed_ms is not None and passed_ms != 0 and passed_ms < self._interval_ms:
            return False
        self._taken_ms[observation.channel] = time_ms
        self._taken_ms.move_to_end(observation.channel)
        if len(self._taken_ms) > CHANNELS_MAX:
            self._taken_ms.popitem(last=False)
        return True
