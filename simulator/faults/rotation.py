"""Keys that are changed: the operator announces the next one, a technician puts it on the board."""

from random import Random
from struct import pack

from collector.keys import KeyRing
from collector.nodes import NodeError
from collector.private_file import PrivateFileError
from firmware import identity as identities
from simulator.collector_host import CollectorHost
from simulator.faults.power import PowerCuts
from simulator.hosted import HostedNode
from simulator.virtual_loop import VirtualLoop


class Rotations:
    """Changes keys of boards whose collector has its keys in a file."""

    def __init__(
        self, loop: VirtualLoop, host: CollectorHost, power_cuts: PowerCuts, chance: Random
    ) -> None:
        self._loop = loop
        self._host = host
        self._power_cuts = power_cuts
        self._chance = chance
        self._mended = False

    def mend(self) -> None:
        """No board gets a key any more that it has not got yet."""
        self._mended = True

    def begin(self, node: HostedNode, way_ms: int) -> None:
        """Announce a key; the board has it way_ms later. Nothing, while the file refuses."""
        secret = self._chance.randbytes(32)
        try:
            KeyRing(self._host.keys_file).rotate(node.address, secret)
        except (NodeError, PrivateFileError, OSError):
            return
        self._loop.call_at_ms(self._loop.now_ms + way_ms, self._put, node, secret)

    def _put(self, node: HostedNode, secret: bytes) -> None:
        """It is put on a board that runs, which starts anew."""
        if self._mended:
            return
        if node.node is None:
            self._loop.call_at_ms(self._loop.now_ms + 10_000, self._put, node, secret)
            return
        boot, issued = node.node.identity.boot, node.node.outbox.issued
        self._power_cuts.cut(node)
        nvs = node.board.nvs
        who = identities.load(nvs)
        assert who is not None
        nvs.set_blob(identities.SWITCH, pack("<II", boot, issued))
        identities.save(nvs, identities.Identity(who.node, who.boot, who.uuid, secret))

    def judge(self) -> list[str]:
        """What frames have shown of rotations is in the file, too."""
        collector = self._host.collector
        if collector is None or collector.keys.path is None:
            return []
        kept, known = KeyRing(self._host.keys_file), collector.keys
        return [
            f"node {node:08x}: the file of keys does not say what is in force"
            for node in sorted({*kept.nodes(), *known.nodes()})
            if kept.get(node) != known.get(node)
        ]
