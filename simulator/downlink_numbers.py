"""Whether each number of a downlink frame is above those before it: a board hears no other."""

from simulator.faults.network import DOWN


class DownlinkNumbers:
    """Listens to what a collector sends; see Network.taps."""

    def __init__(self) -> None:
        self.findings: list[str] = []
        self._latest: dict[tuple[int, int], int] = {}

    def listen(self, direction: str, node: int, raw: bytes) -> None:
        """Takes a frame of either direction."""
        if direction != DOWN:
            return
        boot = int.from_bytes(raw[8:12], "little")
        number = int.from_bytes(raw[12:16], "little")
        latest = self._latest.get((node, boot), 0)
        if number <= latest:
            self.findings.append(
                f"node {node:08x}: downlink number {number} of boot {boot} comes after {latest}"
            )
        self._latest[node, boot] = max(number, latest)
