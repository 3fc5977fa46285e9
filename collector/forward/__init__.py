"""Forwarding: every open network fed from the archive, each at its own pace."""
