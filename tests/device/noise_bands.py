"""Levels of all bands over each stretch of a file of samples, in dB; a JSON list for each.

Arguments: samples, blocks of a stretch, blocks of it that are not counted, "wide".
"""

import json
import sys
from array import array

if sys.argv[4:] == ["wide"]:
    import wide_viper

    wide_viper.install()

from firmware.noise import loader
from firmware.noise.bands import Bands
from firmware.noise.channels import BANDS
from firmware.noise.microphones import FLAT

kernel = loader.load_spectrum()
as_bytes = kernel.__name__.endswith("kernel") if hasattr(kernel, "__name__") else True
bands = Bands(kernel, FLAT, False)
stretch, skipped = int(sys.argv[2]), int(sys.argv[3])
sound = bytearray(1920)
count = 0
with open(sys.argv[1], "rb") as samples:
    while samples.readinto(sound) == len(sound):
        bands.add(memoryview(sound) if as_bytes else array("i", bytes(sound)))
        count += 1
        if count == skipped:
            bands.close(0.0)
            bands.reset()
        if count == stretch:
            print(json.dumps([bands.level_db(place) for place in range(BANDS)]))
            bands.close(0.0)
            bands.reset()
            count = 0
