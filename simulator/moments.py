"""The next time that something of interest happens: a request, a commit, a start."""

from collections.abc import Callable

START, REQUEST, COMMIT = "start", "request", "commit"
MOMENTS = (START, REQUEST, COMMIT)


class Moments:
    """Who waits for one of MOMENTS is called once, when it begins the next time."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Callable[[], None]]] = {}

    def wait(self, moment: str, action: Callable[[], None]) -> None:
        """Has the action called at the next such moment."""
        self._waiting.setdefault(moment, []).append(action)

    def happens(self, moment: str) -> None:
        """It begins now."""
        for action in self._waiting.pop(moment, ()):
            action()

    def clear(self) -> None:
        """Nobody waits any more."""
        self._waiting.clear()
