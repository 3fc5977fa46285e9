"""Texts of what firmware.noise.checks can find wrong. No board loads them: people on a host do."""

from firmware.noise.checks import (
    GAPS,
    NO_SOUND,
    OFFSET,
    OVERLOAD,
    RATE,
    SHIFTED,
    SILENT,
    STARTING,
    TOO_QUIET,
)

TEXTS = {
    NO_SOUND: "no samples from I2S",
    RATE: "sample rate off, or samples lost steadily",
    SILENT: "silent: dead microphone, or on the other channel",
    SHIFTED: "samples shifted by bits",
    OFFSET: "DC offset",
    OVERLOAD: "overload",
    GAPS: "less than half was heard",
    STARTING: "starting",
    TOO_QUIET: "below the microphone's own noise",
}


def names(reasons: int) -> "list[str]":
    """Texts of a set of reasons (bit 1 << reason)."""
    return [TEXTS[reason] for reason in sorted(TEXTS) if reasons >> reason & 1]
