"""A firmware's way to fifty boards: in stages, resumed after restarts, stopped by a bad build."""

from collections.abc import Callable
from pathlib import Path

import pytest

from collector.archive.archive import StoredFrame
from collector.archive.identity import Identity
from collector.boards.bundles import Bundle, BundleError, read_bundle, signed_file
from collector.boards.downlink import Downlink
from collector.boards.rollout import COME_BACK_MS, OFFER_AGAIN_MS, RolloutError, Rollouts, stages
from collector.ledger.ledger import Ledger
from collector.transports.base import Source
from protocol import wire
from protocol.compose import compose_hello, compose_result
from protocol.decoder import decode
from protocol.mac import derive
from protocol.sections import Chunk, Info, Offer
from tests.collector.core import BenchClock

BOARDS = range(1, 51)
NEW, OLD = "1.4.0", "1.3.0"
CONTENT = b"OSNB\x02\x00\x05" + NEW.encode() + bytes(range(256)) * 40
SIGNATURE = bytes(range(64))
SOURCE = Source("mqtt")
KEY = bytes(32)


def bundle() -> Bundle:
    return read_bundle(signed_file(CONTENT, SIGNATURE))


class Board:
    """What a board does with an update; `good` says whether the new build works on it."""

    def __init__(self, node: int, good: bool = True) -> None:
        self.node = node
        self.good = good
        self.version = OLD
        self.have = b""
        self.id = 0
        self.seq = 0
        self.answers: list[bytes] = []

    def take(self, raw: bytes) -> None:
        for update in decode(raw).sections:
            if isinstance(update, Offer) and self.version != update.version:
                self.id = update.id
                self._result(wire.R_WANTED, len(self.have).to_bytes(4, "little"))
            elif isinstance(update, Offer):
                self.id = update.id
                self._result(wire.R_DONE, self.version.encode())
            elif isinstance(update, Chunk) and update.offset == len(self.have):
                self.have += update.data
                if len(self.have) == len(CONTENT):
                    self._result(wire.R_PENDING, NEW.encode())
                elif len(self.have) % 4096 == 0:
                    self._result(wire.R_WANTED, len(self.have).to_bytes(4, "little"))

    def restart(self) -> None:
        """The trial: a good build stays, a bad one goes back."""
        if self.good:
            self.version = NEW
        self._result(wire.R_DONE if self.good else wire.R_FAILED, self.version.encode())
        self.hello()

    def hello(self) -> None:
        self.seq += 1
        info = Info(self.version, "street", 1, 1, bytes(16))
        self.answers.append(compose_hello(derive(KEY, b"up"), self.node, 1, self.seq, info))

    def _result(self, status: int, data: bytes) -> None:
        self.seq += 1
        self.answers.append(
            compose_result(
                derive(KEY, b"up"), self.node, 1, self.seq, wire.T_UPDATE, self.id, 0, status, data
            )
        )


class City:
    """Fifty boards and one collector."""

    def __init__(self, folder: Path, bad: Callable[[int], bool] = lambda node: False) -> None:
        self.clock = BenchClock()
        self.folder = folder
        self.boards = {node: Board(node, not bad(node)) for node in BOARDS}
        self.ledger = Ledger(Identity(1))
        for node in BOARDS:
            self.ledger.node(node).boot = 1
            self.ledger.node(node).seen_ms = node
        self.rollouts = self.start()
        self.sent = 0

    def start(self) -> Rollouts:
        return Rollouts(
            self.folder, lambda node: derive(KEY, b"dn"), self.ledger, self.clock, self.down
        )

    def down(self, downlink: Downlink) -> None:
        self.sent += 1
        self.boards[downlink.node].take(downlink.raw)

    def turn(self) -> None:
        """Every board is heard once, and its answers are stored."""
        for node, board in self.boards.items():
            self.rollouts.on_live(node, 1, SOURCE)
            while board.answers:
                raw = board.answers.pop(0)
                frame = decode(raw)
                self.rollouts.on_answer(
                    StoredFrame(1, node, 1, frame.seq, frame.type, 0, 0, 0, 0, raw)
                )

    def restart_tried(self) -> None:
        for board in self.boards.values():
            if len(board.have) == len(CONTENT) and board.version == OLD:
                board.restart()

    @property
    def updated(self) -> int:
        return sum(board.version == NEW for board in self.boards.values())


def test_one_board_then_a_tenth_then_all(tmp_path: Path) -> None:
    city = City(tmp_path)
    city.rollouts.begin(bundle(), BOARDS)
    seen = []
    for _ in range(8):
        city.turn()
        city.restart_tried()
        city.turn()
        seen.append(city.updated)
    assert seen[0] == 1
    assert sorted(set(seen)) == [1, 6, 50]
    status = city.rollouts.status()
    assert status is not None
    assert status["over"]
    assert not status["stopped"]
    assert all(board.have == CONTENT for board in city.boards.values())
    assert set(city.rollouts.versions.values()) == {NEW}


def test_a_bad_build_stops_at_the_first_board(tmp_path: Path) -> None:
    city = City(tmp_path, bad=lambda node: True)
    city.rollouts.begin(bundle(), BOARDS)
    for _ in range(5):
        city.turn()
        city.restart_tried()
    assert city.rollouts.current is not None
    assert "tried it and went back to 1.3.0" in city.rollouts.current.stopped
    assert sum(bool(board.have) for board in city.boards.values()) == 1
    sent = city.sent
    city.turn()
    assert city.sent == sent, "nothing is offered after a stop"


def test_an_answer_that_comes_late_does_not_make_a_trial_good(tmp_path: Path) -> None:
    """A lost WANTED is sent again after the board has gone to its trial, and HELLO follows."""
    city = City(tmp_path, bad=lambda node: True)
    city.rollouts.begin(bundle(), BOARDS)
    city.turn()
    city.turn()
    (first,) = (board for board in city.boards.values() if board.have)
    first._result(wire.R_WANTED, (4096).to_bytes(4, "little"))
    first.version = NEW
    first.hello()
    city.turn()
    assert city.rollouts.current is not None
    assert city.rollouts.current.targets[first.node].state == "trying"
    assert city.rollouts.current.stage == 0


def test_a_board_on_trial_whose_word_of_it_was_lost_is_not_good_yet(tmp_path: Path) -> None:
    city = City(tmp_path, bad=lambda node: True)
    city.rollouts.begin(bundle(), BOARDS)
    city.turn()
    (first,) = (board for board in city.boards.values() if board.have)
    assert city.rollouts.current is not None
    city.rollouts.current.targets[first.node].state = "fetching"
    first.answers.clear()
    first.version = NEW
    first.hello()
    city.turn()
    assert city.rollouts.current.targets[first.node].state == "trying"
    assert city.rollouts.current.stage == 0


def test_a_board_that_does_not_come_back_stops_it(tmp_path: Path) -> None:
    city = City(tmp_path)
    city.rollouts.begin(bundle(), BOARDS)
    city.turn()
    city.turn()
    city.clock.now_ms += COME_BACK_MS + 1_000
    city.turn()
    assert city.rollouts.current is not None
    assert "did not come back" in city.rollouts.current.stopped
    with pytest.raises(RolloutError, match="no roll-out is under way"):
        city.rollouts.stop()
    city.rollouts.go_on()
    city.turn()
    assert sum(bool(board.have) for board in city.boards.values()) == 6


def test_it_goes_on_after_a_restart_at_every_step(tmp_path: Path) -> None:
    city = City(tmp_path)
    city.rollouts.begin(bundle(), BOARDS)
    for _ in range(12):
        city.turn()
        city.rollouts = city.start()
        city.restart_tried()
        city.rollouts = city.start()
    assert city.updated == len(BOARDS)
    assert (tmp_path / "rollout.json").stat().st_mode & 0o777 == 0o600


def test_time_in_which_the_collector_is_away_counts_against_no_board(tmp_path: Path) -> None:
    city = City(tmp_path)
    city.rollouts.begin(bundle(), BOARDS)
    city.turn()
    city.turn()
    city.clock.now_ms += 10 * COME_BACK_MS
    city.rollouts = city.start()
    city.turn()
    assert city.rollouts.current is not None
    assert not city.rollouts.current.stopped
    city.clock.now_ms += COME_BACK_MS + 1_000
    city.turn()
    assert "did not come back" in city.rollouts.current.stopped


def test_a_board_that_has_forgotten_the_offer_gets_it_again(tmp_path: Path) -> None:
    city = City(tmp_path)
    city.rollouts.begin(bundle(), [1])
    board = city.boards[1]
    city.rollouts.on_live(1, 1, SOURCE)
    asked = board.answers.pop()
    city.rollouts.on_answer(StoredFrame(1, 1, 1, 1, decode(asked).type, 0, 0, 0, 0, asked))
    board.answers.clear()
    sent = city.sent
    city.rollouts.on_live(1, 2, SOURCE)
    assert city.sent == sent
    city.clock.now_ms += OFFER_AGAIN_MS
    city.rollouts.on_live(1, 3, SOURCE)
    assert city.sent == sent + 1


def test_the_state_without_its_bundle_is_forgotten_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    City(tmp_path).rollouts.begin(bundle(), BOARDS)
    (tmp_path / "rollout.bundle").write_bytes(signed_file(CONTENT + b"!", SIGNATURE))
    assert City(tmp_path).rollouts.current is None
    assert "another bundle" in caplog.text
    (tmp_path / "rollout.bundle").unlink()
    assert City(tmp_path).rollouts.current is None


def test_a_damaged_state_is_forgotten_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "rollout.json").write_text("{")
    assert City(tmp_path).rollouts.current is None
    assert "forgotten" in caplog.text


def test_only_one_at_a_time_and_only_boards_with_keys(tmp_path: Path) -> None:
    city = City(tmp_path)
    city.rollouts.begin(bundle(), [1])
    with pytest.raises(RolloutError, match="stop it first"):
        city.rollouts.begin(bundle(), [2])
    city.rollouts.stop()
    keyless = Rollouts(None, lambda node: None, city.ledger, city.clock, city.down)
    with pytest.raises(RolloutError, match="no board"):
        keyless.begin(bundle(), [1])


def test_boards_that_are_heard_go_first() -> None:
    found = stages(range(1, 31), lambda node: node * 1000)
    assert [node for node, target in found.items() if target.stage == 0] == [30]
    assert sum(target.stage == 1 for target in found.values()) == 3


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"PK\x03\x04", "not a firmware bundle"),
        (CONTENT, "not signed"),
        (signed_file(b"OSNB\x02\x00\xff", SIGNATURE), "cut short"),
        (signed_file(b"OSNB\x02" + bytes(400_000), SIGNATURE), "at most"),
        (signed_file(b"OSNB\x02\x01\xff\x00", SIGNATURE), "not text"),
    ],
)
def test_a_file_that_is_no_signed_bundle_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        read_bundle(raw)


def test_a_bundle_is_read_as_the_technicians_tool_makes_it() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from hardware.bundle import compose, sign

    content = compose("xtensawin", NEW, {"firmware/application.mpy": b"M\x06"})
    made = sign(content, NEW, Ed25519PrivateKey.generate())
    found = read_bundle(signed_file(made.content, made.signature))
    assert (found.architecture, found.version) == ("xtensawin", NEW)
    assert (found.content, found.sha256) == (made.content, made.sha256)
    assert found.signature == made.signature
