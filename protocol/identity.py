"""What names a boot and a frame, for ever."""

from typing import NamedTuple


class BootId(NamedTuple):
    """One start of one node; boot (u32) rises with each start and is never used again.

    Equal to the plain tuple (node, boot), and sorts as it does: by node, then by age.
    """

    node: int
    boot: int


class FrameId(NamedTuple):
    """One sequenced frame: seq (u32, from 1) counts up within its boot.

    Whoever sends a frame again sends the same bytes under the same three numbers, so that whatever
    comes twice is known by them.
    """

    node: int
    boot: int
    seq: int

    @property
    def of_boot(self) -> BootId:
        """The boot that made the frame."""
        return BootId(self.node, self.boot)

    def __str__(self) -> str:
        return f"{self.node:08x}/{self.boot}/{self.seq}"
