"""Updates: offered, fetched with resume, verified, tried, kept or undone."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware import ed25519
from firmware import slots as board_slots
from firmware import update as board_update
from firmware.boot import pick
from firmware.node import Node
from firmware.slots import Slots
from firmware.version import VERSION
from hardware import bundle
from protocol import compose, wire
from protocol.bundle import SIGNATURE_BYTES
from protocol.sections import Chunk, Offer
from simulator.faults.filesystem import MemoryFiles
from tests.firmware import boards
from tests.firmware.conversation import Collector

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
FILES = {
    "firmware/application.py": b"run = None\n" * 40,
    "firmware/node.py": b"# node\n" * 700,
    "protocol/wire.py": b"MAGIC = 161\n" * 30,
}
NEW = bundle.sign(bundle.compose("", "9.9.9", FILES), "9.9.9", KEY)
CHUNK = 200


def with_key(files: MemoryFiles) -> MemoryFiles:
    files.content["update.pub"] = PUBLIC
    return files


def start(hal: boards.MemoryHal) -> Node:
    """The board's start: boot.py's choice, then the node."""
    pick(hal.nvs, False)
    hal.now_ms = 0
    hal.transport.up.clear()
    node = boards.make_node(hal, sample_interval_s=30, report_interval_s=60, spool_sync_s=0)
    node.start()
    return node


class Server(Collector):
    """A collector that offers a bundle and sends what the board asks for."""

    def __init__(self, node: Node, offered: bundle.Bundle = NEW, id: int = 5) -> None:
        super().__init__(node)
        self.offered = offered
        self.id = id
        self.chunks = 0
        self._answered: set[tuple[int, int]] = set()

    def offer(self, **changes: Any) -> None:
        b = self.offered
        fields = {
            "id": self.id,
            "size": len(b.content),
            "sha256": b.sha256,
            "version": b.version,
            "signature": b.signature,
            **changes,
        }
        self.update(Offer(**fields))

    def update(self, update: Offer | Chunk) -> None:
        here = self.node.identity.boot
        self.say(compose.compose_update(boards.DOWN, boards.NODE, here, self.next_seq(), update))

    def serve(self, duration_ms: int, lose: Any = lambda: False, chunks_max: int = 10_000) -> None:
        """Answer what the board wants for a while, or until it resets."""
        hal = self.node.hal
        assert isinstance(hal, boards.MemoryHal)
        resets, end = hal.resets, hal.now_ms + duration_ms
        while hal.now_ms < end and hal.resets == resets and self.chunks < chunks_max:
            boards.run(self.node, 500)
            self.ack()
            for frame in self.heard(wire.T_RESULT):
                outcome = frame.outcome
                assert outcome is not None
                name = (frame.boot, frame.seq)
                if name in self._answered or outcome.status != wire.R_WANTED:
                    continue
                if frame.boot != self.node.identity.boot:
                    continue
                self._answered.add(name)
                self._send_from(int.from_bytes(outcome.data, "little"), lose, chunks_max)

    def _send_from(self, offset: int, lose: Any, chunks_max: int) -> None:
        for at in range(offset, min(offset + 4096, len(self.offered.content)), CHUNK):
            if self.chunks >= chunks_max:
                return
            self.chunks += 1
            if not lose():
                piece = self.offered.content[at : at + CHUNK]
                self.link.down.append(
                    compose.compose_update(
                        boards.DOWN,
                        boards.NODE,
                        self.node.identity.boot,
                        self.next_seq(),
                        Chunk(self.id, at, piece),
                    )
                )
            boards.run(self.node, 30)

    def statuses(self) -> list[tuple[int, int]]:
        return [
            (id, status)
            for kind, id, _, status in self.outcomes()
            if kind == wire.T_UPDATE and status != wire.R_WANTED
        ]


def installed(files: MemoryFiles, slot: str) -> dict[str, bytes]:
    prefix = slot + "/"
    return {k[2:]: v for k, v in files.content.items() if k.startswith(prefix)}


def test_the_technicians_tool_and_the_board_speak_of_the_same() -> None:
    assert bundle.ENTRY == board_slots.ENTRY
    signing = Ed25519PrivateKey.from_private_bytes(bytes(32))
    made = bundle.sign(b"content", "1.2", signing)
    assert len(made.signature) == SIGNATURE_BYTES
    signed = board_update.message(len(made.content), made.sha256, made.version)
    signing.public_key().verify(made.signature, signed)


def test_an_update_is_fetched_installed_tried_and_kept_after_an_ack() -> None:
    hal = boards.MemoryHal(with_key(MemoryFiles()))
    node = start(hal)
    boards.run(node, 1_000)
    server = Server(node)
    server.ack(0)
    server.offer()
    server.serve(120_000)
    assert hal.resets == 1
    assert installed(hal.files, "b") == FILES
    assert "update.bin" not in hal.files.content
    assert server.statuses() == [(5, wire.R_PENDING)]
    again = start(hal)
    assert Slots(hal).trial == "b"
    boards.run(again, 70_000)
    there = Server(again)
    there.ack()
    boards.run(again, 200_000)
    assert Slots(hal).good == "a"
    boards.run(again, 30_000)
    assert (Slots(hal).good, Slots(hal).trial) == ("b", "")
    assert (5, wire.R_DONE) in there.statuses()


def test_lost_chunks_are_asked_for_again() -> None:
    hal = boards.MemoryHal(with_key(MemoryFiles()))
    node = start(hal)
    boards.run(node, 1_000)
    server = Server(node)
    server.ack(0)
    server.offer()
    draw = boards.random.Random(4)
    server.serve(3_600_000, lambda: draw.random() < 0.1)
    assert installed(hal.files, "b") == FILES


def test_a_fetch_goes_on_after_a_reset() -> None:
    hal = boards.MemoryHal(with_key(MemoryFiles()))
    node = start(hal)
    boards.run(node, 1_000)
    server = Server(node)
    server.ack(0)
    server.offer()
    server.serve(60_000, chunks_max=12)
    assert len(hal.files.content["update.bin"]) == 12 * CHUNK
    again = start(hal)
    boards.run(again, 1_000)
    there = Server(again)
    there.ack(0)
    there.serve(120_000)
    assert installed(hal.files, "b") == FILES
    assert there.chunks <= len(NEW.content) // CHUNK + 1 - 12 + 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"signature": bytes(64)}, b"signature"),
        ({"version": "9.9.8"}, b"signature"),
        ({"size": 500_000}, b"too large"),
        ({"sha256": bytes(32)}, b"signature"),
    ],
)
def test_an_offer_that_is_not_right_is_refused(changes: dict[str, Any], why: bytes) -> None:
    node = start(boards.MemoryHal(with_key(MemoryFiles())))
    boards.run(node, 1_000)
    server = Server(node)
    server.ack(0)
    server.offer(**changes)
    boards.run(node, 1_000)
    outcome = server.heard(wire.T_RESULT)[0].outcome
    assert outcome is not None
    assert outcome.status == wire.R_FAILED
    assert why in outcome.data
    assert node.downlink.update is None


def test_a_board_without_key_takes_no_update() -> None:
    node = start(boards.MemoryHal())
    boards.run(node, 1_000)
    server = Server(node)
    server.offer()
    assert node.downlink.update is None


def test_the_running_version_is_answered_at_once() -> None:
    node = start(boards.MemoryHal(with_key(MemoryFiles())))
    boards.run(node, 1_000)
    server = Server(node)
    server.ack(0)
    server.offer(version=VERSION)
    boards.run(node, 1_000)
    assert server.statuses() == [(5, wire.R_DONE)]


def test_a_bundle_that_differs_from_its_hash_is_thrown_away() -> None:
    hal = boards.MemoryHal(with_key(MemoryFiles()))
    node = start(hal)
    boards.run(node, 1_000)
    damaged = bundle.Bundle(NEW.content[:-1] + b"!", NEW.version, NEW.sha256, NEW.signature)
    server = Server(node, damaged)
    server.ack(0)
    server.offer()
    server.serve(60_000)
    assert server.statuses() == [(5, wire.R_FAILED)]
    assert installed(hal.files, "b") == {}
    assert hal.resets == 0


def trial(hal: boards.MemoryHal) -> Node:
    """A board with a build in folder b that has its first start on trial."""
    hal.files.content.setdefault("b/firmware/application.py", b"new")
    Slots(hal).begin_trial(7)
    return start(hal)


def collector_is_there(node: Node) -> Server:
    """The collector answers once, with an ACK of all that was issued."""
    boards.run(node, 1_000)
    there = Server(node)
    there.ack(0)
    boards.run(node, 12_000)
    there.ack()
    return there


def test_a_build_without_ack_goes_back_after_a_quarter_of_an_hour_on_line() -> None:
    hal = boards.MemoryHal()
    node = trial(hal)
    boards.run(node, 890_000)
    assert hal.resets == 0
    boards.run(node, 20_000)
    assert hal.resets == 1
    start(hal)
    assert (Slots(hal).good, Slots(hal).trial) == ("a", "")


def test_a_build_without_ack_has_another_trial_once_the_collector_is_heard() -> None:
    """A collector that was away must not undo a good build."""
    hal = boards.MemoryHal()
    boards.run(trial(hal), 910_000)
    witness = start(hal)
    boards.run(witness, 12 * 3_600_000)
    assert (Slots(hal).trial, hal.resets) == ("", 1)
    collector_is_there(witness)
    boards.run(witness, 4_000)
    assert (Slots(hal).trial, hal.resets) == ("b", 2)
    again = start(hal)
    there = collector_is_there(again)
    boards.run(again, 300_000)
    assert (Slots(hal).good, Slots(hal).trial) == ("b", "")
    assert there.statuses() == [(7, wire.R_DONE)]


def test_a_build_that_never_has_an_ack_is_given_up_after_three_trials() -> None:
    hal = boards.MemoryHal()
    node = trial(hal)
    for _ in range(2):
        boards.run(node, 910_000)
        witness = start(hal)
        there = collector_is_there(witness)
        boards.run(witness, 4_000)
        assert there.statuses() == []
        node = start(hal)
        assert Slots(hal).trial == "b"
    boards.run(node, 910_000)
    witness = start(hal)
    there = collector_is_there(witness)
    boards.run(witness, 1_000)
    assert there.statuses() == [(7, wire.R_FAILED)]
    assert (Slots(hal).good, Slots(hal).trial, Slots(hal).id) == ("a", "", 0)


def test_the_clock_of_a_trial_stands_still_without_a_broker_but_for_a_day_at_most() -> None:
    hal = boards.MemoryHal()
    node = trial(hal)
    boards.run(node, 60_000)
    hal.transport.accepts = False
    boards.run(node, 23 * 3_600_000)
    assert hal.resets == 0
    boards.run(node, 3_600_000)
    assert hal.resets == 1


def test_a_build_that_cannot_start_goes_back_after_three_starts_and_not_into_safe_mode() -> None:
    hal = boards.MemoryHal()
    hal.files.content["b/firmware/application.py"] = b"new"
    Slots(hal).begin_trial(7)
    for _ in range(3):
        node = start(hal)
        assert Slots(hal).trial == "b"
    node = start(hal)
    assert (Slots(hal).good, Slots(hal).trial) == ("a", "")
    assert not node.safe_mode


def test_an_ack_alone_does_not_make_a_build_good_that_resets_soon() -> None:
    hal = boards.MemoryHal()
    hal.files.content["b/firmware/application.py"] = b"new"
    Slots(hal).begin_trial(7)
    for _ in range(3):
        node = start(hal)
        collector_is_there(node)
        boards.run(node, 60_000)
        assert Slots(hal).trial == "b"
    start(hal)
    assert Slots(hal).good == "a"


def test_waking_from_deep_sleep_is_no_start_of_a_trial() -> None:
    hal = boards.MemoryHal()
    Slots(hal).begin_trial(7)
    for _ in range(10):
        assert pick(hal.nvs, True) == ("b", True)
    assert [pick(hal.nvs, False) for _ in range(4)] == [("b", True)] * 3 + [("a", False)]


def test_what_an_unprovisioned_board_starts_is_folder_a() -> None:
    assert pick(boards.MemoryNvs(), False) == ("a", False)


def test_a_board_that_sleeps_keeps_a_build_by_the_ack_of_a_later_report() -> None:
    hal = boards.MemoryHal()
    hal.files.content["b/firmware/application.py"] = b"new"
    Slots(hal).begin_trial(7)

    def wake(cause: int) -> Node:
        pick(hal.nvs, cause == 4)
        hal.now_ms, hal.cause = 0, cause
        node = boards.make_node(hal, sleep=1, sleep_rows=2, sample_interval_s=60, spool_sync_s=0)
        node.start()
        return node

    node = wake(1)
    for _ in range(7):
        before = len(hal.slept)
        there = Server(node)
        there.seq = node.downlink.seq
        while len(hal.slept) == before:
            boards.run(node, 500)
            if hal.transport.connected:
                there.ack()
        node = wake(4)
        if not Slots(hal).trial:
            break
    assert (Slots(hal).good, Slots(hal).trial) == ("b", "")


def test_an_offer_to_a_build_on_trial_waits_and_touches_no_folder() -> None:
    hal = boards.MemoryHal(with_key(MemoryFiles()))
    node = trial(hal)
    boards.run(node, 1_000)
    server = Server(node)
    server.ack(0)
    server.offer()
    boards.run(node, 30_000)
    assert node.downlink.update is None
    assert installed(hal.files, "b") == {"firmware/application.py": b"new"}
    assert server.statuses() == []


def test_a_fetch_that_led_to_a_trial_is_not_taken_up_again() -> None:
    """Power failed after the trial was noted and before the bundle was removed."""
    hal = boards.MemoryHal(with_key(MemoryFiles()))
    node = start(hal)
    board_update.begin(node, 7, len(NEW.content), NEW.sha256, "9.9.9")
    hal.files.content["update.bin"] = NEW.content
    hal.files.content["b/firmware/application.py"] = b"new"
    Slots(hal).begin_trial(7)
    again = start(hal)
    assert again.downlink.update is None
    assert "update.bin" not in hal.files.content


@given(st.binary(max_size=200))
@settings(max_examples=10, deadline=None)
def test_ed25519_agrees_with_another_implementation(message: bytes) -> None:
    signature = KEY.sign(message)
    assert ed25519.verify(PUBLIC, message, signature)
    assert not ed25519.verify(PUBLIC, message + b"x", signature)
    for bit in (3, 200, 300, 500):
        damaged = bytearray(signature)
        damaged[bit // 8] ^= 1 << bit % 8
        assert not ed25519.verify(PUBLIC, message, bytes(damaged))


def test_ed25519_holds_rfc_8032s_vectors() -> None:
    vectors = (
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
    )
    for public, message, signature in vectors:
        key, told = bytes.fromhex(public), bytes.fromhex(message)
        assert ed25519.verify(key, told, bytes.fromhex(signature))
        # The same with s + order, which is another writing of the same number.
        s = int.from_bytes(bytes.fromhex(signature)[32:], "little") + ed25519._ORDER
        other = bytes.fromhex(signature)[:32] + s.to_bytes(32, "little")
        assert not ed25519.verify(key, told, other)


def test_sha512_agrees_with_hashlib() -> None:
    import hashlib

    for length in (0, 1, 111, 112, 127, 128, 300):
        data = bytes(index & 255 for index in range(length))
        assert ed25519.sha512(data) == hashlib.sha512(data).digest()
