"""Readings whose request got no answer: what became of them, as far as the network can say."""

from __future__ import annotations

from collections.abc import Sequence

from collector.forward.account import Account
from collector.forward.selection import Policy
from collector.forward.sending import NetworkWaits, Results, Sender
from collector.readings.observation import Observation
from collector.sinks.base import Capabilities

READ_BACK_READINGS = 2_000


class ReadBack:
    """Asks the network, where it can be asked; else the sink's policy says what is assumed."""

    def __init__(
        self, sender: Sender, account: Account, traits: Capabilities, policy: Policy
    ) -> None:
        self._sender = sender
        self._account = account
        self._traits = traits
        self._policy = policy

    @property
    def asks(self) -> bool:
        """Whether the network is asked at all."""
        return self._traits.reads_back and not self._traits.idempotent

    def to_ask_for(self, results: Results) -> Sequence[Observation]:
        """The unknown readings that the network can be asked for; decides about all others."""
        unknown = results.unknown
        if not unknown or self._traits.idempotent:
            return ()
        if self._traits.reads_back:
            return unknown
        self._account.possible_duplicates(unknown)
        if self._policy.on_unknown == "leave":
            results.accepted += unknown
        return ()

    async def look_for(self, results: Results) -> Sequence[Observation]:
        """Moves what the network holds to the accepted; returns those that stay unknown."""
        unknown = self.to_ask_for(results)
        for start in range(0, len(unknown), READ_BACK_READINGS):
            part = unknown[start : start + READ_BACK_READINGS]
            try:
                held = await self._sender.read_back(part)
            except NetworkWaits:
                held = None
            if held is None:
                return unknown[start:]
            results.accepted += [o for o, there in zip(part, held, strict=True) if there]
        return ()
