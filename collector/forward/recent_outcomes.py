"""How many of the latest readings a network rejected, and in which words."""

from __future__ import annotations

import logging
from collections.abc import Sequence

log = logging.getLogger(__name__)

WINDOW_READINGS = 10_000
REASONS_MAX = 64


class RecentOutcomes:
    """Counts that fade: those of the last 10,000 to 20,000 readings weigh most."""

    def __init__(self, sink: str) -> None:
        self.reason = ""
        self._sink = sink
        self._accepted = 0.0
        self._rejected = 0.0
        self._logged: set[str] = set()

    def note(self, accepted: int, rejected: Sequence[str]) -> None:
        """Adds outcomes; the first rejection of each reason is a line in the log."""
        self._accepted += accepted
        self._rejected += len(rejected)
        if self._accepted + self._rejected > 2 * WINDOW_READINGS:
            share = WINDOW_READINGS / (self._accepted + self._rejected)
            self._accepted *= share
            self._rejected *= share
        for reason in rejected:
            self.reason = reason
            word = reason.split(":", 1)[0]
            if word not in self._logged and len(self._logged) < REASONS_MAX:
                self._logged.add(word)
                log.warning("%s: rejects readings for ever: %s", self._sink, reason)

    def rejected_share(self) -> float:
        """0 to 1."""
        total = self._accepted + self._rejected
        return self._rejected / total if total else 0.0
