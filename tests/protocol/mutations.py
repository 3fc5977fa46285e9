"""Hostile frames without end: random, truncated, mutated, and sealed again so they get deep."""

import random
from collections.abc import Iterator
from struct import pack

from tests.protocol.good_frames import all_frames
from tests.protocol.recipes import all_recipes
from tests.protocol.refusals import KEY, all_refusals, sealed

INTERESTING = (0, 1, 2, 14, 15, 16, 32, 63, 64, 65, 127, 128, 129, 192, 254, 255, 0x81, 0x84)


def corpus() -> list[bytes]:
    """Bodies with their type in front, of all vectors."""
    from tests.protocol.encoding import encode

    frames = [frame for _, frame, _ in all_frames()]
    frames += [frame for _, _, frame, _ in all_refusals() if len(frame) > 24]
    for recipe in all_recipes():
        frames += encode(recipe, KEY)
    return [bytes([frame[1] & 31]) + frame[16:-8] for frame in frames if len(frame) <= 1024]


def mutated(rng: random.Random, bodies: list[bytes]) -> bytes:
    """A body with its type in front, changed in a few places."""
    body = bytearray(rng.choice(bodies))
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(body))
        match rng.randrange(6):
            case 0:
                body[at] = rng.randrange(256)
            case 1:
                body[at] = rng.choice(INTERESTING)
            case 2:
                body[at] ^= 1 << rng.randrange(8)
            case 3:
                body[at:at] = rng.randbytes(rng.randrange(1, 20))
            case 4 if len(body) > 2:
                del body[max(1, at) : at + rng.randrange(1, 20)]
            case _:
                other = rng.choice(bodies)
                body[at:] = other[rng.randrange(len(other)) :]
        if not body:
            body = bytearray(b"\x01")
    return bytes(body)


def mended(body: bytes) -> bytes:
    """The first section's length made right, so that its content is looked at."""
    if len(body) < 4:
        return body
    return body[:2] + pack("<H", min(65535, len(body) - 4)) + body[4:]


def hostile(seed: int) -> Iterator[bytes]:
    """Frames under KEY or under none, for ever the same ones for a seed."""
    rng = random.Random(seed)
    bodies = corpus()
    while True:
        body = mutated(rng, bodies)
        kind = rng.random()
        if kind < 0.05:
            yield rng.randbytes(rng.randrange(300))
        elif kind < 0.75:
            if rng.random() < 0.5:
                body = mended(body)
            yield sealed(body[1:4200], body[0] & 31, None if rng.random() < 0.1 else KEY)
        else:
            frame = bytearray(sealed(body[1:4000], body[0] & 31))
            if kind < 0.85:
                yield bytes(frame[: rng.randrange(len(frame))])
            else:
                frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
                yield bytes(frame)
