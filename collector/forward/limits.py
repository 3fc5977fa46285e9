"""How fast, when and with how much a network may be asked: buckets, waiting times, sizes.

Pure state: times come in as monotonic seconds and waits go out; nothing here sleeps.
"""

import random
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from collector.backoff import delays_s
from collector.sinks.base import Rate

ADDRESSES_MAX = 10_000
RETRY_AFTER_MAX_S = 6 * 3600.0
ROUNDING = 1e-9
SUCCESSES_TO_GROW = 8
SMALLEST_SHARE = 64


class TokenBucket:
    """At most `burst` at once, `per_s` in the long run."""

    def __init__(self, rate: Rate) -> None:
        if rate.per_s <= 0 or rate.burst < 1:
            raise ValueError("a rate needs per_s above 0 and a burst of at least 1")
        self._rate = rate
        self._tokens = rate.burst
        self._at_s: float | None = None

    def wait_s(self, now_s: float) -> float:
        """Seconds until a token is there; 0 when there is one."""
        self._fill(now_s)
        return 0.0 if self._tokens >= 1 - ROUNDING else (1 - self._tokens) / self._rate.per_s

    def take(self, now_s: float) -> None:
        """Takes one token, after `wait_s` said 0."""
        self._fill(now_s)
        self._tokens -= 1

    def _fill(self, now_s: float) -> None:
        if self._at_s is not None:
            passed_s = max(0.0, now_s - self._at_s)
            self._tokens = min(self._rate.burst, self._tokens + passed_s * self._rate.per_s)
        self._at_s = now_s


class Way(NamedTuple):
    """A lane's readings to one address of a network, "" where the network knows none.

    What a network thinks of old readings says nothing about new ones, so lanes wait apart.
    """

    address: str
    lane: str


class Gate:
    """Why a way, a channel, or the whole network, may not be asked now, and until when.

    Failures in a row wait ever longer; so do doubts, up to an hour: all that was asked for was
    refused. A denied credential waits from a minute up to an hour. A success opens the gate.
    """

    FIRST_S = 2.0
    LONGEST_S = 300.0
    DENIED_FIRST_S = 60.0
    DENIED_LONGEST_S = 3600.0

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._delays: Iterator[float] | None = None
        self._denied: Iterator[float] | None = None
        self._doubted: Iterator[float] | None = None
        self.until_s = float("-inf")
        self.reason = ""
        self.failures = 0

    def failed(self, now_s: float, reason: str, after_s: float | None = None) -> float:
        """Closes the gate after a failure; the network's own `after_s` is a lower bound."""
        self._delays = self._delays or delays_s(self.FIRST_S, self.LONGEST_S, self._chance)
        return self._close(now_s, reason, max(next(self._delays), _sane(after_s)))

    def denied(self, now_s: float, reason: str) -> float:
        """Closes the gate after a 401 or 403."""
        self._denied = self._denied or delays_s(
            self.DENIED_FIRST_S, self.DENIED_LONGEST_S, self._chance
        )
        return self._close(now_s, reason, next(self._denied))

    def doubted(self, now_s: float, reason: str) -> float:
        """Closes the gate after everything that was tried was refused."""
        self._doubted = self._doubted or delays_s(self.FIRST_S, self.DENIED_LONGEST_S, self._chance)
        return self._close(now_s, reason, next(self._doubted))

    @property
    def in_doubt(self) -> bool:
        """Whether nothing has got through since a doubt."""
        return self._doubted is not None

    def succeeded(self) -> None:
        self._delays = self._denied = self._doubted = None
        self.until_s = float("-inf")
        self.reason = ""
        self.failures = 0

    def wait_s(self, now_s: float) -> float:
        return max(0.0, self.until_s - now_s)

    def _close(self, now_s: float, reason: str, wait_s: float) -> float:
        self.failures += 1
        self.reason = reason
        self.until_s = max(self.until_s, now_s + wait_s)
        return wait_s


class Limits:
    """The network's gate and bucket, ways' gates, addresses' buckets; the least used forgotten."""

    def __init__(
        self,
        network: Rate | None,
        address: Rate | None,
        chance: random.Random,
        addresses_max: int = ADDRESSES_MAX,
    ) -> None:
        self.gate = Gate(chance)
        self._bucket = TokenBucket(network) if network else None
        self._address_rate = address
        self.chance = chance
        self._max = addresses_max
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._gates: OrderedDict[Way, Gate] = OrderedDict()

    def gates_wait_s(self, lane: str, now_s: float) -> float:
        """Seconds until this lane may send anything at all, rates aside."""
        gate = self._gates.get(Way("", lane))
        return max(self.gate.wait_s(now_s), gate.wait_s(now_s) if gate else 0.0)

    def wait_s(self, lane: str, now_s: float) -> float:
        """Seconds until this lane may send a request."""
        wait_s = self.gates_wait_s(lane, now_s)
        return max(wait_s, self._bucket.wait_s(now_s)) if self._bucket else wait_s

    def way_wait_s(self, way: Way, now_s: float) -> float:
        """Seconds until this way may be asked, the network aside."""
        gate = self._gates.get(way)
        bucket = self._address_bucket(way.address)
        return max(
            gate.wait_s(now_s) if gate else 0.0,
            bucket.wait_s(now_s) if bucket else 0.0,
        )

    def take(self, address: str, now_s: float) -> None:
        """Counts one request."""
        if self._bucket:
            self._bucket.take(now_s)
        bucket = self._address_bucket(address)
        if bucket:
            bucket.take(now_s)

    def way_gate(self, way: Way) -> Gate:
        """The gate of one way."""
        gate = self._gates.get(way)
        if gate is None:
            gate = self._gates[way] = Gate(self.chance)
            if len(self._gates) > self._max:
                self._gates.popitem(last=False)
        else:
            self._gates.move_to_end(way)
        return gate

    def in_doubt(self, way: Way) -> bool:
        """Whether all that was asked this way was refused."""
        gate = self._gates.get(way)
        return gate is not None and gate.in_doubt

    def succeeded(self, way: Way) -> None:
        """Opens the network's gate and this way's."""
        self.gate.succeeded()
        if way in self._gates:
            del self._gates[way]

    def reason(self) -> str:
        """Why the network, or one lane to it, waits or waited last; "" when all is well."""
        lanes = [gate for way, gate in self._gates.items() if not way.address]
        return next((gate.reason for gate in (self.gate, *lanes) if gate.reason), "")

    def blocked_for_s(self, now_s: float) -> float:
        """The longest wait of the network and of its lanes."""
        lanes = [gate.wait_s(now_s) for way, gate in self._gates.items() if not way.address]
        return max([self.gate.wait_s(now_s), *lanes])

    def closed_addresses(self, now_s: float) -> dict[str, str]:
        """Addresses that wait, with the reason; for the operator's status."""
        return {
            way.address: gate.reason
            for way, gate in self._gates.items()
            if way.address and (gate.in_doubt or gate.wait_s(now_s) > 0)
        }

    def _address_bucket(self, address: str) -> TokenBucket | None:
        if self._address_rate is None or not address:
            return None
        bucket = self._buckets.get(address)
        if bucket is None:
            bucket = self._buckets[address] = TokenBucket(self._address_rate)
            if len(self._buckets) > self._max:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(address)
        return bucket


class RequestSize:
    """How many readings a request may hold: fewer after a time-out or a "too large", slowly more.

    `largest` is what the network takes at best; None as `limit` says that nothing is limited.
    Silence says less about size than a refusal for it does, so time-outs stop at a 64th.
    """

    def __init__(self, largest: int) -> None:
        self.limit: int | None = None
        self._largest = largest
        self._successes = 0

    def too_large(self, readings: int) -> None:
        """The network said that these were too many."""
        self._shrink(readings, 1)

    def timed_out(self, readings: int) -> None:
        """These got no answer in time."""
        self._shrink(readings, max(1, self._largest // SMALLEST_SHARE))

    def succeeded(self, readings: int) -> None:
        """A request of this many was answered."""
        if self.limit is None or readings < self.limit:
            return
        self._successes += 1
        if self._successes >= SUCCESSES_TO_GROW:
            self._successes = 0
            self.limit = self.limit * 2 if self.limit * 2 < self._largest else None

    def _shrink(self, readings: int, smallest: int) -> None:
        self._successes = 0
        half = max(smallest, readings // 2)
        if half < readings or self.limit is not None:
            self.limit = half if self.limit is None else min(self.limit, half)


def _sane(after_s: float | None) -> float:
    if after_s is None or not after_s > 0:
        return 0.0
    return min(after_s, RETRY_AFTER_MAX_S)
