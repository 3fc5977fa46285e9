"""Readings out of frames: dated, corrected, placed, and only as public as their owner says."""
