"""The firmware's version, as told in HELLO."""

VERSION = "0.1.0"
