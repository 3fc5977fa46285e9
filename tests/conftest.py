"""Fixtures for every room."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from simulator import vm as micropython

VmRun = Callable[..., subprocess.CompletedProcess[str]]

RECORDINGS = os.environ.get("OSN_DATA")


@pytest.fixture(scope="session")
def vm() -> VmRun:
    """Runs a script on the MicroPython VM; skips without one, but fails under CI."""
    if micropython.find() is None:
        reason = "no MicroPython VM on this machine: set MICROPYTHON or install micropython"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return micropython.run


@pytest.fixture(scope="session")
def recordings() -> Path | None:
    """The folder of real recordings named by OSN_DATA, or None."""
    return Path(RECORDINGS) if RECORDINGS else None
