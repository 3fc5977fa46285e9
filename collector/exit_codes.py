"""What the end of a command or of the daemon says to scripts and to systemd."""

EXIT_FAILED = 1
EXIT_ALARM = 3
EXIT_UNANSWERED = 4
EXIT_BUSY = 75
"""Somebody else is at work on the folder: worth another try in a moment."""
EXIT_CONFIG = 78
"""Configuration or files cannot be used: a restart alone mends nothing, so systemd makes none."""
