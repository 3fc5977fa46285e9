"""A firmware's way to many boards: one first, then a tenth, then all; it stops when one is lost.

Its state and the bundle are files beside the archive, so that it goes on after a restart. Boards
ask for the offset that they want next, so nothing is sent to a board that is not there.
"""

import json
import logging
import secrets
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from collector.archive.archive import StoredFrame
from collector.archive.decoding import decode_stored
from collector.boards.bundles import Bundle, read_bundle, signed_file
from collector.boards.downlink import Downlink
from collector.clock import HOUR_MS, Clock
from collector.ledger.ledger import Ledger
from collector.private_file import write_bytes
from collector.transports.base import Source
from protocol import wire
from protocol.bundle import WINDOW_BYTES
from protocol.compose import CHUNK_MAX, compose_update
from protocol.sections import Chunk, Offer
from protocol.wire import FrameError

log = logging.getLogger(__name__)

FILE_NAME = "rollout.json"
BUNDLE_NAME = "rollout.bundle"
WINDOW_LEAST = CHUNK_MAX
TENTH = 10
COME_BACK_MS = HOUR_MS
"""How long a board may be tried, while the collector runs, before it counts as lost."""
OFFER_AGAIN_MS = 600_000
"""After so long without a question a board that was fetching may have forgotten the offer."""

WAITING, FETCHING, TRYING, GOOD, FAILED, LOST = (
    "waiting", "fetching", "trying", "good", "failed", "lost",
)  # fmt: skip
OVER = (GOOD, FAILED, LOST)


class RolloutError(ValueError):
    """A roll-out that cannot begin or go on; the message says why."""


@dataclass(slots=True)
class Target:
    """One board of a roll-out."""

    node: int
    stage: int
    state: str = WAITING
    id: int = 0
    offset: int = 0
    since_ms: int = 0
    reason: str = ""
    window: int = WINDOW_BYTES


@dataclass(slots=True)
class Rollout:
    """A bundle, its boards in stages, and how far it is."""

    bundle: Bundle
    targets: dict[int, Target]
    stage: int = 0
    stopped: str = ""
    sent_bytes: int = field(default=0)

    @property
    def over(self) -> bool:
        """All boards have it, or it was stopped."""
        return bool(self.stopped) or all(t.state in OVER for t in self.targets.values())


def stages(nodes: Iterable[int], seen_ms: Callable[[int], int]) -> dict[int, Target]:
    """Boards in stages, those heard last first: one, then a tenth, then the rest."""
    ordered = sorted(nodes, key=lambda node: (-seen_ms(node), node))
    second = 1 + max(1, len(ordered) // TENTH)
    return {
        node: Target(node, 0 if index == 0 else 1 if index < second else 2)
        for index, node in enumerate(ordered)
    }


class Rollouts:
    """The roll-out under way, at most one; `send` hands a frame to the transports."""

    def __init__(
        self,
        folder: Path | None,
        key_down: Callable[[int], bytes | None],
        ledger: Ledger,
        clock: Clock,
        send: Callable[[Downlink], None],
    ) -> None:
        self.current: Rollout | None = None
        self.versions: dict[int, str] = {}
        self._folder = folder
        self._key_down = key_down
        self._ledger = ledger
        self._clock = clock
        self._send = send
        self._sources: dict[int, Source] = {}
        if folder is not None and (folder / FILE_NAME).exists():
            self._load(folder / FILE_NAME)

    def begin(self, bundle: Bundle, nodes: Iterable[int]) -> Rollout:
        """Starts a roll-out; RolloutError while another is under way or without boards."""
        if self.current is not None and not self.current.over:
            raise RolloutError(
                f"version {self.current.bundle.version} is being rolled out; stop it first"
            )
        chosen = [node for node in nodes if self._key_down(node) is not None]
        if not chosen:
            raise RolloutError("no board that could be updated")
        self.current = Rollout(bundle, stages(chosen, self._seen_ms))
        if self._folder is not None:
            signed = signed_file(bundle.content, bundle.signature)
            write_bytes(self._folder / BUNDLE_NAME, signed, 0o600)
        self._save()
        for node in self._sources:
            self._offer(node)
        return self.current

    def stop(self, reason: str = "stopped by the operator") -> None:
        """Offers nothing more; boards that have begun finish or give up by themselves."""
        if self.current is None or self.current.over:
            raise RolloutError("no roll-out is under way")
        self.current.stopped = reason
        self._save()

    def go_on(self) -> None:
        """Goes on after a stop; boards that failed are left out."""
        if self.current is None or not self.current.stopped:
            raise RolloutError("no roll-out was stopped")
        self.current.stopped = ""
        self._advance()
        self._save()

    def status(self) -> dict[str, Any] | None:
        """What is known of the roll-out, None without one."""
        if self.current is None:
            return None
        return {
            "version": self.current.bundle.version,
            "size": len(self.current.bundle.content),
            "stage": self.current.stage,
            "stopped": self.current.stopped,
            "over": self.current.over,
            "boards": [
                {**asdict(target), "node": f"{target.node:08x}"}
                for target in self.current.targets.values()
            ],
        }

    def on_live(self, node: int, counter: int, source: Source) -> None:
        """A board was heard: it may be its turn."""
        self._sources[node] = source
        self._offer(node)
        self.check()

    def on_answer(self, frame: StoredFrame) -> None:
        """A RESULT or HELLO was stored."""
        try:
            decoded = decode_stored(frame)
        except FrameError:
            return
        info, outcome = decoded.info, decoded.outcome
        if info is not None and info.firmware:
            self._runs(frame.node, info.firmware)
        if outcome is not None and outcome.type == wire.T_UPDATE:
            self._heard(frame.node, outcome.id, outcome.status, outcome.data)

    def check(self) -> None:
        """Stops a stage whose board did not come back in time."""
        rollout = self.current
        if rollout is None or rollout.over:
            return
        now_ms = self._clock.unix_ms()
        for target in rollout.targets.values():
            if target.state == TRYING and now_ms - target.since_ms > COME_BACK_MS:
                self._end(target, LOST, "did not come back with the new version")

    def _runs(self, node: int, version: str) -> None:
        self.versions[node] = version
        target = self._target(node)
        rollout = self.current
        if target is None or rollout is None or target.state in OVER:
            return
        if version != rollout.bundle.version:
            return
        if target.state == WAITING:
            self._end(target, GOOD, "")
        elif target.state == FETCHING:  # on trial; its word of that was lost on the way
            self._change(target, TRYING)

    def _heard(self, node: int, id: int, status: int, data: bytes) -> None:
        target = self._target(node)
        if target is None or target.state in (GOOD, FAILED) or id != target.id:
            return
        if status == wire.R_WANTED and len(data) >= 4:
            if target.state == TRYING:  # sent before it had all, and overtaken
                return
            self._pieces(target, int.from_bytes(data[:4], "little"))
        elif status == wire.R_PENDING:
            self._change(target, TRYING)
        elif status == wire.R_DONE:
            self._end(target, GOOD, "")
        elif status in (wire.R_FAILED, wire.R_INVALID, wire.R_UNKNOWN):
            said = data.decode("utf-8", "replace") or "refused"
            went_back = f"tried it and went back to {said}"
            self._end(target, FAILED, went_back if target.state == TRYING else said)

    def _offer(self, node: int) -> None:
        rollout, target = self.current, self._target(node)
        if rollout is None or target is None or rollout.stopped or target.stage > rollout.stage:
            return
        quiet_ms = self._clock.unix_ms() - target.since_ms
        if target.state != WAITING and (target.state != FETCHING or quiet_ms < OFFER_AGAIN_MS):
            return
        if not target.id:
            target.id = secrets.randbits(16) or 1
            self._save()
        bundle = rollout.bundle
        self._down(
            node,
            Offer(target.id, len(bundle.content), bundle.sha256, bundle.version, bundle.signature),
        )

    def _pieces(self, target: Target, offset: int) -> None:
        rollout = self.current
        if rollout is None or rollout.stopped:
            return
        again = target.state == FETCHING and target.offset == offset
        # A board takes no frame that a later one has overtaken: fewer at once over a bad line.
        target.window = (
            max(WINDOW_LEAST, target.window // 2) if again else min(WINDOW_BYTES, target.window * 2)
        )
        self._change(target, FETCHING)
        target.offset, target.since_ms = offset, self._clock.unix_ms()
        content = rollout.bundle.content
        end = min(len(content), offset + target.window)
        for at in range(offset, end, CHUNK_MAX):
            piece = content[at : min(at + CHUNK_MAX, end)]
            rollout.sent_bytes += len(piece)
            self._down(target.node, Chunk(target.id, at, piece))

    def _down(self, node: int, update: Offer | Chunk) -> None:
        source = self._sources.get(node)
        boot, key = self._ledger.current_boot(node), self._key_down(node)
        if source is None or boot is None or key is None:
            return
        seq = self._ledger.next_down(node, boot)
        if seq is None:
            return
        raw = compose_update(key, node, boot, seq, update)
        self._send(Downlink(node, raw, source))

    def _change(self, target: Target, state: str) -> None:
        if target.state != state:
            target.state = state
            target.since_ms = self._clock.unix_ms()
            self._save()

    def _end(self, target: Target, state: str, reason: str) -> None:
        target.state, target.reason = state, reason
        rollout = self.current
        assert rollout is not None
        if state in (FAILED, LOST):
            rollout.stopped = f"board {target.node:08x}: {reason}"
            log.error("roll-out of %s stopped: %s", rollout.bundle.version, rollout.stopped)
        else:
            log.info("board %08x runs %s", target.node, rollout.bundle.version)
            self._advance()
        self._save()

    def _advance(self) -> None:
        """Opens the next stage once all boards of this one are done with."""
        rollout = self.current
        assert rollout is not None
        while rollout.stage < 2 and all(
            target.state in OVER
            for target in rollout.targets.values()
            if target.stage <= rollout.stage
        ):
            rollout.stage += 1
        for node in list(self._sources):
            self._offer(node)

    def _target(self, node: int) -> Target | None:
        return None if self.current is None else self.current.targets.get(node)

    def _seen_ms(self, node: int) -> int:
        owner = self._ledger.nodes.get(node)
        return owner.seen_ms if owner is not None else 0

    def _save(self) -> None:
        if self._folder is None or self.current is None:
            return
        rollout = self.current
        document = {
            "sha256": rollout.bundle.sha256.hex(),
            "stage": rollout.stage,
            "stopped": rollout.stopped,
            "targets": [asdict(target) for target in rollout.targets.values()],
        }
        try:
            write_bytes(self._folder / FILE_NAME, json.dumps(document).encode(), 0o600)
        except OSError as error:  # it goes on, and is told to the next start as it was
            log.error("%s: %s; how far the roll-out is, is not kept", FILE_NAME, error)

    def _load(self, path: Path) -> None:
        try:
            document = json.loads(path.read_bytes())
            targets = [Target(**entry) for entry in document["targets"]]
            for target in targets:  # a collector that was away has lost nobody
                target.since_ms = self._clock.unix_ms()
            bundle = read_bundle(path.with_name(BUNDLE_NAME).read_bytes())
            if bundle.sha256.hex() != document["sha256"]:
                raise ValueError(f"{BUNDLE_NAME} is another bundle")
            self.current = Rollout(
                bundle,
                {target.node: target for target in targets},
                document["stage"],
                document["stopped"],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.error("%s: %s; the roll-out in it is forgotten", path, error)
