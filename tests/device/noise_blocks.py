"""Weighs a file of samples block by block; a line of numbers for each: python or MicroPython VM.

Arguments: samples, results, microphone, "wide" to put signs into the machine code.
A line: range, overload, square of the C peak, energies A, C, Z (high and low), key of LAF.
"""

import sys
from array import array

if sys.argv[4:] == ["wide"]:
    import wide_viper

    wide_viper.install()

from firmware.noise import blocks, loader, state
from firmware.noise.microphones import by_name

weigh, takes_bytes = loader.load()
if not takes_bytes:
    print("the reference runs, not machine code")
words = state.new_state(by_name(sys.argv[3]).coefficients)
book = blocks.new_book()
curve = blocks.bend()
classes = array("H", [0] * blocks.CLASSES)
sound = bytearray(4 * state.BLOCK)
view = memoryview(sound)
with open(sys.argv[1], "rb") as samples, open(sys.argv[2], "w") as results:
    while samples.readinto(sound) == len(sound):
        weigh(0, 0, view if takes_bytes else array("i", bytes(sound)), words)
        line = [words[state.SHIFT], words[state.OVER], words[state.PEAK]]
        line.extend(words[state.ENERGY : state.ENERGY + 6])
        book[blocks.FAST_MAX] = 0
        blocks.fold(words, book, curve, classes, 1)
        line.append(book[blocks.FAST_MAX])
        results.write(" ".join(str(number) for number in line) + "\n")
