"""Commands typed with sudo: whatever root did, the service's own user can go on with it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.collector.house import RECORDS, House, an_hour, make_house

ROOT = Path(__file__).resolve().parent.parent.parent
SERVICE = 65_534
"""Another user than root: nobody, on every Linux."""
WITHIN_S = 120.0


class Machine:
    """A folder that belongs to the service, at /mnt in a name space of its own.

    The folders above a test's are closed to other users; /mnt is not.
    """

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self.folder = folder
        self.python = python

    @classmethod
    def at(cls, folder: Path) -> "Machine | None":
        """With a Python whose library the service may read; None when there is none."""
        for python in (sys.executable, "/usr/bin/python3"):
            machine = cls(folder, python)
            seen = [machine.library(user) for user in (0, SERVICE)]
            if seen[0] and seen[0] == seen[1]:
                return machine
        return None

    def library(self, user: int) -> str:
        """Where a user finds Python's own library and ours, "" when not."""
        code = "import collector.cli, collector.app, cryptography, os; print(os.__file__)"
        return subprocess.run(
            self.command("-c", code, user=user),
            env=self.environment, capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip

    def command(self, *words: str, user: int = 0) -> list[str]:
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        return [
            "unshare", "--mount", "--propagation", "private",
            "sh", "-c", 'mount --bind "$1" /mnt && shift && cd / && exec "$@"', "sh",
            str(self.folder), *become, self.python, *words,
        ]  # fmt: skip

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OSN_COLLECTOR_CONFIG": "/mnt/collector.toml",
        }

    def root(self, *words: str, codes: tuple[int, ...] = (0,), umask: int = 0o022) -> str:
        """Runs a command as root; nothing of the service's may be root's afterwards."""
        done = subprocess.run(
            self.command("-m", "collector", *words),
            env=self.environment, capture_output=True, text=True, timeout=300, check=False,
            umask=umask,
        )  # fmt: skip
        assert done.returncode in codes, f"{words}: {done.stdout}{done.stderr}"
        strangers = [
            str(path.relative_to(self.folder))
            for path in (self.folder, *self.folder.rglob("*"))
            if path.lstat().st_uid != SERVICE and "usb" not in path.parts
        ]
        assert not strangers, f"{words} left {strangers} to root"
        open_to_all = [
            path.name for path in (self.folder / "data").iterdir() if path.stat().st_mode & 0o007
        ]
        assert not open_to_all, f"{words} left {open_to_all} open to everybody"
        return done.stdout

    @contextmanager
    def service(self, user: int = SERVICE) -> Iterator[None]:
        """The service runs meanwhile; it has to start, and to end well."""
        log = self.folder.parent / "log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                self.command("-m", "collector", "run", user=user),
                env=self.environment, stdout=output, stderr=output, umask=0o077,
            )  # fmt: skip
        try:
            deadline = time.monotonic() + WITHIN_S
            while not (self.folder / "data" / "control.sock").exists():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, "the collector did not start"
                time.sleep(0.02)
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, log.read_text()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def give(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, SERVICE, SERVICE)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """An hour of readings that the service has received."""
    if os.geteuid() != 0 or not (shutil.which("unshare") and shutil.which("setpriv")):
        pytest.skip("only root can become another user")
    folder = tmp_path / "machine"
    folder.mkdir(mode=0o755)
    machine = Machine.at(folder)
    if machine is None:
        pytest.skip("no name spaces here, or another user cannot read this checkout")
    house = make_house(folder)
    house.live(an_hour)
    (folder / "records.jsonl").unlink()
    for path in (folder / "data").iterdir():
        path.chmod(0o600)
    (folder / "data").chmod(0o750)
    usb = folder / "usb"
    usb.mkdir(mode=0o700)
    (usb / "passphrase").write_text("correct horse battery\n")
    (usb / "pier.key").write_text("ab" * 32)
    quay = {**RECORDS[0], "node": "0000000b", "uuid": "0" * 31 + "b", "name": "Quay"}
    (usb / "more.jsonl").write_text(json.dumps(quay) + "\n")
    give(folder)
    for path in (usb, *usb.iterdir()):
        os.chown(path, 0, 0)
    return machine


SEALED = ("--passphrase-file", "/mnt/usb/passphrase")
UUID = "6f9619ff-8b86-4d01-b42d-0000000000aa"


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_restore_leaves_a_folder_that_the_service_can_use(machine: Machine, umask: int) -> None:
    machine.root("broker-config", "/mnt/broker", umask=umask)
    machine.root("backup", "/mnt/usb/osn.backup", *SEALED, umask=umask)
    machine.root("restore", "/mnt/usb/osn.backup", *SEALED, "--replace", umask=umask)
    with machine.service():
        assert "\nnodes" in machine.root("status", codes=(0, 3))
    for name in ("data", "broker", "collector.toml"):
        path = machine.folder / name
        path.unlink() if path.is_file() else shutil.rmtree(path)
    machine.root("restore", "/mnt/usb/osn.backup", *SEALED, umask=umask)
    modes = {p.name: p.stat().st_mode & 0o777 for p in (machine.folder / "broker").iterdir()}
    assert modes["ca.key"] == modes["collector.password"] == 0o600
    assert modes["server.key"] == modes["passwords"] == modes["access"] == 0o640
    assert modes["ca.crt"] == modes["mosquitto.conf"] == 0o644
    assert (machine.folder / "broker").stat().st_mode & 0o777 == 0o751
    with machine.service():
        machine.root("backup", "/mnt/usb/again.backup", *SEALED, umask=umask)


def test_no_command_leaves_files_that_the_service_cannot_open(machine: Machine) -> None:
    reading = (
        ("status",), ("ledger",), ("trace", "Plaza", "2026-03-01T12:15:00Z"), ("doctor",),
        ("export", "/mnt/usb/out.csv"), ("means", "/mnt/usb/means.csv"), ("nodes", "list"),
        ("levels", "/mnt/usb/levels.csv"), ("quarantine", "list"), ("sinks", "explain"),
        ("quarantine", "explain", "000000ff"),
    )  # fmt: skip
    for words in reading:
        machine.root(*words, codes=(0, 3))
    (machine.folder / "delivered.jsonl").unlink()
    (machine.folder / "data" / "quarantine.db").unlink()
    machine.root("sinks", "provision", "file")
    machine.root("nodes", "import", "/mnt/usb/more.jsonl")
    machine.root("nodes", "set", "Quay", "--latitude", "41.4")
    machine.root(
        "nodes", "adopt", "000000aa", "--name", "Pier", "--uuid", UUID,
        "--key-file", "/mnt/usb/pier.key",
    )  # fmt: skip
    machine.root("nodes", "rotate", "Quay", "--out", "/mnt/usb/next.jsonl")
    machine.root("nodes", "revoke", "Pier", "--yes")
    machine.root("nodes", "erase", "Bike", "--yes")
    with (machine.folder / "data" / "archive.db").open("r+b") as file:
        file.write(bytes(100))
    (machine.folder / "data" / "quarantine.db").write_bytes(b"x" * 9_000)
    machine.root("doctor", "--repair", codes=(0, 3))
    with machine.service():
        for words in (("status",), ("nodes", "set", "Quay", "--latitude", "41.5"), ("doctor",)):
            machine.root(*words, codes=(0, 3))
    with machine.service(user=0):
        machine.root("status", codes=(0, 3))


def test_the_first_nodes_and_the_first_start_may_be_roots(machine: Machine) -> None:
    shutil.rmtree(machine.folder / "data")
    machine.root("nodes", "import", "/mnt/usb/more.jsonl", umask=0o077)
    assert (machine.folder / "data").stat().st_mode & 0o777 == 0o750
    with machine.service(user=0):
        machine.root("status", codes=(0, 3))
    with machine.service():
        pass


def test_a_configuration_that_root_makes_is_the_services(machine: Machine) -> None:
    (machine.folder / "collector.toml").unlink()
    answers = machine.folder / "usb" / "answers.toml"
    answers.write_text('data = "/mnt/deep/below/data"\n')
    machine.root(
        "init", "--answers", "/mnt/usb/answers.toml", "--nodes", "/mnt/usb/more.jsonl", umask=0o077
    )
    folder = machine.folder / "deep" / "below" / "data"
    assert folder.stat().st_mode & 0o777 == 0o750
    assert folder.parent.stat().st_mode & 0o777 == 0o755
    assert (folder / "keys.json").stat().st_mode & 0o777 == 0o600


def test_a_configuration_is_checked_with_the_eyes_of_the_service(machine: Machine) -> None:
    house = House(machine.folder)
    text = house.config.read_text()
    secret = machine.folder / "password"
    secret.write_text("x\n")
    house.config.write_text(
        text.replace("[[mqtt]]", '[[mqtt]]\nuser = "u"\npassword = { file = "password" }')
    )
    for user, codes in ((0, (1,)), (SERVICE, (0,))):
        os.chown(secret, user, user)
        secret.chmod(0o600)
        done = subprocess.run(
            machine.command("-m", "collector", "check-config", "/mnt/collector.toml"),
            env=machine.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode in codes, done.stderr
        assert ("Permission denied" in done.stderr) == (user == 0)
        assert ("(for " in done.stderr) == (user == 0)


def test_what_root_left_before_is_named_and_given_back(machine: Machine) -> None:
    keys, lock = (machine.folder / "data" / name for name in ("keys.json", ".collector.lock"))
    lock.touch(0o600)
    for path in (keys, lock):
        os.chown(path, 0, 0)
    house = House(machine.folder)
    shown = house.call("doctor", code=3)
    assert ".collector.lock, keys.json" in shown
    assert "sudo osn-collector doctor --repair" in shown
    assert f"{'keys.json'} given to" in machine.root("doctor", "--repair", codes=(0, 3))
    with machine.service():
        pass
