"""A power cut at every step of an update: pieces, verification, slots, trial, keeping, going back.

Every operation on flash and every commit of NVS is a step. After each cut the board must start from
a slot that is whole, folder or slice, the update must come to its end, and the collector must be
told of it.
"""

import itertools
from hashlib import sha256
from struct import pack

import pytest

from firmware import health
from firmware import slots as board_slots
from firmware.boot import choose
from firmware.slots import Slots
from hardware import bundle, romfs
from protocol import wire
from simulator.faults.filesystem import Behaviour, Faults, MemoryFiles, Outcome, PowerCut
from tests.firmware import boards
from tests.firmware.test_update import FILES, KEY, Server, installed, with_key

SMALL = {name: content[:150] for name, content in FILES.items()}
OFFERED = bundle.sign(bundle.compose("", "9.9.9", SMALL), "9.9.9", KEY)
LARGE = {**SMALL, "firmware/node.py": b"# node\n" * 600}  # more than a block of flash
OFFERED_LARGE = bundle.sign(bundle.compose("", "9.9.9", LARGE), "9.9.9", KEY)
OLD = {"firmware/application.py": b"good"}
OLD_IMAGE = romfs.image(OLD, bundle.ENTRY)
NEW_IMAGE = romfs.image(LARGE, bundle.ENTRY)
SLICE_BYTES = 8192
STARTS_MAX = 40


class CutNvs(boards.MemoryNvs):
    """NVS whose commits are steps of the flash beside it: one happens whole or not at all."""

    def __init__(self, files: MemoryFiles, durable: dict[str, bytes]) -> None:
        super().__init__()
        self.durable = dict(durable)
        self._files = files

    def commit(self) -> None:
        for happens in self._files.count_operation():
            if happens is Outcome.ALL:
                super().commit()


class Board:
    """Flash and NVS over several lives; `heard` says whether the new build hears the collector.

    in_place: code is in slices, else in folders.
    """

    def __init__(self, faults: Faults, heard: bool, in_place: bool) -> None:
        self.files = with_key(MemoryFiles(Behaviour.COPY_ON_WRITE, faults))
        provisioned = boards.MemoryNvs()
        boards.provision(provisioned)
        self.nvs = CutNvs(self.files, provisioned.durable)
        self.heard = heard
        self.told: set[tuple[int, int]] = set()
        self.rom: boards.MemoryRom | None = None
        if in_place:
            first = OLD_IMAGE.ljust(SLICE_BYTES, b"\xff")
            self.rom = boards.MemoryRom(self.files, first + bytes(SLICE_BYTES))
            self.nvs.durable["rom_a"] = note_of(OLD_IMAGE)
        else:
            self.files.folders |= {"a", "a/firmware"}
            self.files.content["a/firmware/application.py"] = b"good"

    def lose_power(self) -> None:
        """The flash and NVS that the next start finds."""
        self.files = self.files.survivors()
        self.nvs = CutNvs(self.files, self.nvs.durable)
        if self.rom is not None:
            self.rom = boards.MemoryRom(self.files, self.rom.content)

    @property
    def over(self) -> bool:
        """The collector knows how it ended."""
        return (5, wire.R_DONE if self.heard else wire.R_FAILED) in self.told

    def live(self) -> None:
        """Start again and again, with a collector that offers, until the update is over."""
        for _ in range(STARTS_MAX):
            self._start()
            if self.over:
                return
        raise AssertionError("the update does not end")

    def _has_folder(self, slot: str) -> bool:
        return slot + "/firmware/application.py" in self.files.content

    def _start(self) -> None:
        hal = boards.MemoryHal(self.files, self.nvs, self.rom)
        mapped = None if self.rom is None else self.rom.view
        slot, _, image = choose(self.nvs, mapped, False, lambda slot: self._has_folder(slot))
        if self.rom is not None:
            assert image == (OLD_IMAGE if slot == "a" else NEW_IMAGE), "a slice in pieces"
        else:
            assert image is None
            there = installed(self.files, slot)
            assert there == (OLD if slot == "a" else SMALL), "a folder in pieces"
        node = boards.make_node(hal, sample_interval_s=600, report_interval_s=600, spool_sync_s=0)
        node.version = "9.9.9" if slot == "b" else "1.0.0"
        node.start()
        server = Server(node, OFFERED if self.rom is None else OFFERED_LARGE)
        if slot == "b" and not self.heard:
            boards.run(node, 60_000)
            return
        try:
            boards.run(node, 400)
            server.ack(0)
            for _ in range(12):
                if slot == "a" and not Slots(hal).id:
                    server.offer()
                server.serve(5_000)
                self.told |= set(server.statuses())
                if hal.resets or self.over:
                    return
        finally:
            self.told |= set(server.statuses())


def note_of(image: bytes) -> bytes:
    return pack("<I", len(image)) + sha256(image).digest()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials of seconds instead of minutes."""
    monkeypatch.setattr(health, "GOOD_AFTER_MS", 2_000)
    monkeypatch.setattr(board_slots, "TRIAL_LINKED_MS", 3_000)
    monkeypatch.setattr(board_slots, "TRIALS", 2)


@pytest.mark.parametrize("in_place", [False, True], ids=["folders", "slices"])
@pytest.mark.parametrize("heard", [True, False], ids=["kept", "goes back"])
@pytest.mark.parametrize("outcome", Outcome)
def test_a_power_cut_at_any_step_of_an_update_never_bricks(
    outcome: Outcome, heard: bool, in_place: bool
) -> None:
    for cut_at in itertools.count(1):
        board = Board(Faults(cut_at, outcome), heard, in_place)
        try:
            board.live()
        except PowerCut:
            board.lose_power()
            board.live()
        else:
            assert cut_at > 50
            return
        assert chr(board.nvs.durable["slot"][0]) == ("b" if heard else "a"), cut_at
        if heard:
            assert "update.bin" not in board.files.content, cut_at
        if board.rom is None:
            assert installed(board.files, "a") == OLD, cut_at
            assert not heard or installed(board.files, "b") == SMALL, cut_at
        else:
            assert board.rom.view[: len(OLD_IMAGE)] == OLD_IMAGE, cut_at
            assert board.nvs.durable["rom_a"] == note_of(OLD_IMAGE), cut_at
            assert board.nvs.durable["rom_b"] == note_of(NEW_IMAGE), cut_at
