"""Fixtures for every room."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from simulator import compiled
from simulator import vm as micropython
from tests.inside import BUILT, MACHINE, ROOT, Inside, Machine, own_environment

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


STARTED: list[Inside] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """The net is up while a test runs, its fixtures included; pytest itself writes between."""
    for inside in STARTED:
        inside.on = True
    try:
        return (yield)
    finally:
        for inside in STARTED:
            inside.on = False


@pytest.fixture(scope="session")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Inside, Machine]]:
    """What keeps tests inside their own folders; see `tests.inside`."""
    base = tmp_path_factory.getbasetemp()
    machine = Machine([*map(Path, MACHINE), Path.home()], [base])
    # not below pytest's own, which is closed to the other users as whom some servers run
    temporary = Path(tempfile.mkdtemp(prefix="osn-tests-"))
    temporary.chmod(0o711)
    own = own_environment(base / "home", temporary)
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    tempfile.tempdir = None
    inside = Inside([base, temporary, compiled.KEPT, *(ROOT / name for name in BUILT)])
    inside.install()
    inside.on = True
    STARTED.append(inside)
    yield inside, machine
    STARTED.clear()
    inside.on = False
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    tempfile.tempdir = None
    shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture(autouse=True)
def _writes_nothing_outside(nets: tuple[Inside, Machine]) -> Iterator[None]:
    """Fails a test that writes what is not its own, also where its code swallowed the refusal."""
    yield
    inside, machine = nets
    found = [*inside.take(), *map(str, machine.changed())]
    assert not found, "written outside the test's own folders: " + "; ".join(found)
