"""The firmware's version, as told in HELLO, and what it knows of its own age."""

VERSION = "0.1.0"
BUILT_S = 1_767_225_600  # Unix time before which this version cannot run; raised by each release
LASTS_S = 15 * 31_557_600  # nor does it run so long after: a later date is no date
