"""A NOR flash chip in memory for littlefs on the VM: counts erases, and can lose power."""

BLOCK_BYTES = 4096


class Flash:
    """A block device (os.AbstractBlockDev, extended). After cut_at operations nothing changes any
    more, as if the power had gone in the middle of that operation: half of it is done."""

    def __init__(self, blocks, image=None, cut_at=0):
        self.data = image if image is not None else bytearray(b"\xff" * (blocks * BLOCK_BYTES))
        self.blocks = blocks
        self.erases = bytearray(4 * blocks)
        self.operations = 0
        self.written = 0
        self.cut_at = cut_at
        self.dead = False

    def erases_of(self, block):
        return int.from_bytes(self.erases[4 * block : 4 * block + 4], "little")

    def _operation(self):
        """False once the power is gone; the operation in which it goes is done by half."""
        if self.dead:
            return False
        self.operations += 1
        if self.operations == self.cut_at:
            self.dead = True
        return True

    def readblocks(self, block, buffer, offset=0):
        start = block * BLOCK_BYTES + offset
        buffer[:] = memoryview(self.data)[start : start + len(buffer)]

    def writeblocks(self, block, buffer, offset=None):
        if offset is None:
            self.ioctl(6, block)
            offset = 0
        if not self._operation():
            return
        start = block * BLOCK_BYTES + offset
        length = len(buffer) // 2 if self.dead else len(buffer)
        self.data[start : start + length] = memoryview(buffer)[:length]
        self.written += length

    def ioctl(self, operation, argument):
        if operation == 4:
            return self.blocks
        if operation == 5:
            return BLOCK_BYTES
        if operation == 6:
            if self._operation():
                count = self.erases_of(argument) + 1
                self.erases[4 * argument : 4 * argument + 4] = count.to_bytes(4, "little")
                start = argument * BLOCK_BYTES
                length = BLOCK_BYTES // 2 if self.dead else BLOCK_BYTES
                self.data[start : start + length] = b"\xff" * length
            return 0
        return None
