"""Intake: from bytes of a transport to frames in the archive, and what is not let in."""
