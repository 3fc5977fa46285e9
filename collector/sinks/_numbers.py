"""Numbers as text."""

from __future__ import annotations


def decimal(value: float) -> str:
    """The shortest text that reads back as the same number, never with an exponent."""
    text = repr(float(value))
    if "e" in text or "E" in text:
        text = f"{value:.12f}".rstrip("0")
    return text.removesuffix(".0") if text.endswith(".0") else text.rstrip(".")
