"""Compares the spectrum's machine code with the reference on the MicroPython VM, on random numbers.

Argument "wide" puts signs into the machine code. Prints "equal", or the first function that is not.
"""

import random
import sys
from array import array

if sys.argv[1:] == ["wide"]:
    import wide_viper

    wide_viper.install()

from firmware.noise import spectrum_kernel, spectrum_reference
from firmware.noise.bands import Bands
from firmware.noise.microphones import ICS43434

random.seed(5)
bands = [Bands(module, ICS43434, True) for module in (spectrum_kernel, spectrum_reference)]
for round_ in range(2 * 17):
    size = 1 << (8 if round_ < 17 else 30)
    sound = array("i", [random.randint(-size, size - 1) << 1 for _ in range(480)])
    for one in bands:
        one.add(sound)
    for name in ("_z", "_slow", "_middle_sums", "_low_sums", "_book"):
        found, wanted = [list(getattr(one, name)) for one in bands]
        if found != wanted:
            print("block", round_, name, "differs")
            sys.exit(1)
print("equal")
