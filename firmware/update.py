"""UPDATE: an offered bundle is checked, fetched in pieces, verified, unpacked and tried.

The state is in flash (record "update": id u16, size u32, SHA-256, version), so that a fetch goes
on where it stopped, after a cut of the link or of the power. The board asks by RESULT for the
offset that it wants, again after WINDOW_BYTES, and with back-off when nothing comes.
"""

from struct import pack, unpack_from

from firmware.slices import capacity
from firmware.slots import Slots
from firmware.store import Store
from protocol import downlink as bodies
from protocol import wire
from protocol.bundle import LABEL, SIZE_MAX, WINDOW_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firmware.node import Node

RECORD = "update"
BUNDLE_FILE = "update.bin"
KEY_FILE = "update.pub"
ASK_FIRST_MS = 10_000
ASK_LAST_MS = 300_000
ASK_NEXT_MS = 3_000  # after the last piece that came
PATIENCE_MS = 120_000
GIVE_UP_MS = 86_400_000
EARLY_MAX = 20  # of 203 bytes


def message(size: int, sha256: bytes, version: str) -> bytes:
    """What an update's signature signs."""
    return LABEL + pack("<I", size) + sha256 + version.encode()


class Fetch:
    """A bundle on its way; step() asks, chunk() takes, and the last piece starts the install."""

    def __init__(self, node: "Node", id: int, size: int, sha256: bytes, version: str) -> None:
        self._node = node
        self.id = id
        self.size = size
        self.sha256 = sha256
        self.version = version
        self.have = self._on_flash()
        self._asked_for = -1
        self._due = 0
        self._wait_ms = ASK_FIRST_MS
        self._heard_ms = node.clock.uptime_ms()
        self._early: "dict[int, bytes]" = {}  # pieces of this window that came before their turn

    def _on_flash(self) -> int:
        try:
            return min(self.size, self._node.hal.files.stat(BUNDLE_FILE)[6])
        except OSError:
            return 0

    def going(self, now: int) -> bool:
        """Whether pieces still come, so that a board that sleeps stays awake for them."""
        return now - self._heard_ms < PATIENCE_MS

    def step(self, now: int) -> None:
        """Ask for the next piece when it is due; install when all is there."""
        if self.have >= self.size:
            self._node.downlink.update = None
            finish(self._node, self)
        elif now - self._heard_ms >= GIVE_UP_MS:
            self._node.downlink.update = None
            forget(self._node)
            _refuse(self._node, self.id, "no pieces came for a day")
        elif self._node.link.connected and now >= self._due:
            self._ask(now)

    def _ask(self, now: int) -> None:
        if self._asked_for == self.have:
            self._wait_ms = min(ASK_LAST_MS, self._wait_ms * 2)
        self._asked_for = self.have
        self._due = now + self._wait_ms
        offset = pack("<I", self.have)
        self._node.result(wire.T_UPDATE, self.id, 0, wire.R_WANTED, offset)

    def chunk(self, offset: int, data: "memoryview | bytes", now: int) -> None:
        """Take a piece, and those after it that came early; others were heard before."""
        if not self.have <= offset < self.have + WINDOW_BYTES or offset + len(data) > self.size:
            return
        if offset != self.have:
            if offset not in self._early and len(self._early) < EARLY_MAX:
                self._early[offset] = bytes(data)
                self._wait_ms = ASK_FIRST_MS
            return
        handle = self._node.hal.files.open(BUNDLE_FILE, "ab")
        try:
            while data:
                handle.write(data)
                self.have += len(data)
                data = self._early.pop(self.have, b"")
        finally:
            handle.close()
        for early in list(self._early):
            if early < self.have:
                self._early.pop(early)
        self._heard_ms = now
        self._wait_ms = ASK_FIRST_MS
        self._due = now + ASK_NEXT_MS
        if self.have >= self._asked_for + WINDOW_BYTES:
            self._due = now


def take(node: "Node", data: memoryview, now: int) -> None:
    """Act on an UPDATE: an offer, or a piece of what was offered."""
    id = bodies.request_id(data)
    fetch = node.downlink.update
    if bodies.update_kind(data) == wire.U_CHUNK:
        if fetch is not None and fetch.id == id:
            try:
                fetch.chunk(*bodies.chunk(data), now)
            except OSError:
                node.downlink.update = None
                _refuse(node, id, "flash cannot be written")
        return
    size, sha256, version, signature = bodies.offer(data)
    digest = bytes(sha256)
    if node.on_trial:
        return  # the other slot runs; the offer comes again
    if version == node.version:
        node.result(wire.T_UPDATE, id, 0, wire.R_DONE, version.encode())
        return
    if fetch is not None and fetch.sha256 == digest:
        fetch.id = id
        return
    why = _objection(node, size, digest, version, bytes(signature))
    if why:
        _refuse(node, id, why)
        return
    begin(node, id, size, digest, version)


def _objection(node: "Node", size: int, sha256: bytes, version: str, signature: bytes) -> str:
    """Why an offer cannot be taken; "" when it can."""
    rom = node.hal.rom()
    if size > SIZE_MAX or (rom is not None and size > capacity(rom)):
        return "too large"
    try:
        handle = node.hal.files.open(KEY_FILE, "rb")
    except OSError:
        return "this board has no update key"
    public = handle.read(32)
    handle.close()
    from firmware.ed25519 import verify

    if not verify(public, message(size, sha256, version), signature):
        return "the signature is wrong"
    status = node.hal.files.statvfs(".")
    if status[4] * status[1] < (3 if rom is None else 2) * size:
        return "no room"
    return ""


def begin(node: "Node", id: int, size: int, sha256: bytes, version: str) -> None:
    """Start or go on with the fetch of a checked offer."""
    record = pack("<HI", id, size) + sha256 + version.encode()
    store = Store(node.hal.files, RECORD)
    known = store.load()
    if known is None or known[2:] != record[2:]:
        forget(node)
    try:
        store.save(record)
    except OSError:
        _refuse(node, id, "flash cannot be written")
        return
    node.downlink.update = Fetch(node, id, size, sha256, version)


def resume(node: "Node") -> None:
    """At start: go on with a fetch that was interrupted; one that led to a trial is over."""
    record = Store(node.hal.files, RECORD).load()
    if record:
        id, size = unpack_from("<HI", record, 0)
        if id == Slots(node.hal).id:
            forget(node)
            return
        version = str(record[38:], "utf-8")
        node.downlink.update = Fetch(node, id, size, bytes(record[6:38]), version)


def finish(node: "Node", fetch: Fetch) -> None:
    """Verify the whole bundle, put it into the other slot, and let it be tried."""
    from firmware import bundle

    files = node.hal.files
    slots = Slots(node.hal)
    try:
        if bundle.digest(files, BUNDLE_FILE) != fetch.sha256:
            forget(node)
            _refuse(node, fetch.id, "the bundle is damaged")
            return
        rom = node.hal.rom()
        if rom is None:
            bundle.unpack_into(files, BUNDLE_FILE, slots.other)
        else:
            bundle.fill_slice(files, BUNDLE_FILE, rom, node.hal.nvs, slots.other)
    except bundle.BundleError as fault:
        forget(node)
        _refuse(node, fetch.id, str(fault))
        return
    except OSError as fault:
        _refuse(node, fetch.id, "flash: " + str(fault))
        return
    slots.begin_trial(fetch.id)
    forget(node)
    node.result(wire.T_UPDATE, fetch.id, 0, wire.R_PENDING, fetch.version.encode())
    node.restart_wanted = True


def forget(node: "Node") -> None:
    """Remove what an update leaves in flash."""
    try:
        node.hal.files.remove(BUNDLE_FILE)
    except OSError:
        pass
    Store(node.hal.files, RECORD).clear()  # last: it leads here again after a power cut


def _refuse(node: "Node", id: int, why: str) -> None:
    node.result(wire.T_UPDATE, id, 0, wire.R_FAILED, why.encode())
