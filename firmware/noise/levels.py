"""Decibels from the meter's energies, keys and counts. Floats, so outside the hot path."""

from math import log10

from firmware.noise.blocks import CLASSES, KEY_BITS
from firmware.noise.state import BLOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

CLASS_LOW_DB = 20.0
CLASS_DB = 0.5
_OCTAVE_DB = 10 * log10(2)


def mean_level(
    words: "Sequence[int]", first: int, count: int, blocks: int, offset_db: float
) -> float:
    """Level of an energy that was summed over blocks of 10 ms, in dB; -100 for none."""
    if blocks <= 0:
        return -100.0
    return energy_level(words, first, count) - 10 * log10(BLOCK * blocks) + offset_db


def energy_level(words: "Sequence[int]", first: int, count: int) -> float:
    """10 log10 of an energy; -400 for none.

    words[first:first + count] are 16 bits each, the lowest first.
    """
    energy = 0.0
    scale = 1.0
    for place in range(count):
        energy += words[first + place] * scale
        scale *= 65536.0
    return 10 * log10(energy) if energy > 0 else -400.0


def key_level(key: int, offset_db: float) -> float:
    """Level of a square with this key (see firmware.noise.blocks), in dB; -100 for key 0."""
    if key <= 0:
        return -100.0
    octave = key >> KEY_BITS
    part = 1 + ((key & ((1 << KEY_BITS) - 1)) + 0.5) / (1 << KEY_BITS)
    return octave * _OCTAVE_DB + 10 * log10(part) + offset_db


def level_key(level_db: float, offset_db: float) -> int:
    """The key of the square with this level."""
    octaves = (level_db - offset_db) / _OCTAVE_DB
    if octaves <= 0:
        return 0
    whole = int(octaves)
    return (whole << KEY_BITS) + int((2 ** (octaves - whole) - 1) * (1 << KEY_BITS))


def linear_key(level_db: float, offset_db: float) -> int:
    """A level on the histogram's scale, which is straight in dB."""
    return round((level_db - offset_db) / _OCTAVE_DB * (1 << KEY_BITS))


def exceeded(classes: "Sequence[int]", percent: int) -> float:
    """The level exceeded in this percentage of the counted samples, in dB; -100 without any.

    Within a class of 0.5 dB the samples are taken to be spread evenly.
    """
    total = 0
    for place in range(CLASSES):
        total += classes[place]
    if not total:
        return -100.0
    wanted = total * percent / 100
    above = 0
    for place in range(CLASSES - 1, -1, -1):
        count = classes[place]
        if count and above + count >= wanted:
            share = (wanted - above) / count
            return CLASS_LOW_DB + CLASS_DB * (place + 1 - share)
        above += count
    return CLASS_LOW_DB
