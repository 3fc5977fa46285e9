"""The wire protocol: registry, frames, samples, keys, serial framing."""


def const(value: int) -> int:
    """A number that MicroPython's compiler puts in the place of its private name."""
    return value
