"""How fast and when a network may be asked: token buckets, waiting times, circuit breakers.

Pure state: times come in as monotonic seconds and waits go out; nothing here sleeps.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterator

from collector.forward.backoff import delays_s
from collector.sinks.base import Rate

ADDRESSES_MAX = 10_000
RETRY_AFTER_MAX_S = 6 * 3600.0
ROUNDING = 1e-9


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


class Gate:
    """Why an address, or the whole network, may not be asked now, and until when.

    Failures in a row wait ever longer; a denied credential waits from a minute up to an hour; a
    success opens the gate at once.
    """

    FIRST_S = 2.0
    LONGEST_S = 300.0
    DENIED_FIRST_S = 60.0
    DENIED_LONGEST_S = 3600.0

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._delays: Iterator[float] | None = None
        self._denied: Iterator[float] | None = None
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

    def succeeded(self) -> None:
        self._delays = self._denied = None
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
    """The network's gate and bucket, and those of each address, the least used forgotten."""

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
        self._chance = chance
        self._max = addresses_max
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._gates: OrderedDict[str, Gate] = OrderedDict()

    def wait_s(self, now_s: float) -> float:
        """Seconds until the network may be asked at all."""
        wait_s = self.gate.wait_s(now_s)
        return max(wait_s, self._bucket.wait_s(now_s)) if self._bucket else wait_s

    def address_wait_s(self, address: str, now_s: float) -> float:
        """Seconds until this address may be asked, the network aside."""
        gate = self._gates.get(address)
        bucket = self._address_bucket(address)
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

    def address_gate(self, address: str) -> Gate:
        """The gate of one address; the network's for ""."""
        if not address:
            return self.gate
        gate = self._gates.get(address)
        if gate is None:
            gate = self._gates[address] = Gate(self._chance)
            if len(self._gates) > self._max:
                self._gates.popitem(last=False)
        else:
            self._gates.move_to_end(address)
        return gate

    def succeeded(self, address: str) -> None:
        """Opens the network's gate and this address's."""
        self.gate.succeeded()
        if address in self._gates:
            del self._gates[address]

    def closed_addresses(self, now_s: float) -> dict[str, str]:
        """Addresses that wait, with the reason; for the operator's status."""
        return {a: g.reason for a, g in self._gates.items() if g.wait_s(now_s) > 0}

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


def _sane(after_s: float | None) -> float:
    if after_s is None or not after_s > 0:
        return 0.0
    return min(after_s, RETRY_AFTER_MAX_S)
