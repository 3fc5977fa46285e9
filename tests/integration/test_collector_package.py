"""The Debian package: built, installed, upgraded and removed on a copy of this machine."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = """
set -eu
install() { dpkg --install "$1" >/tmp/dpkg.log 2>&1 || { cat /tmp/dpkg.log; exit 1; }; }
say() { echo "== $1"; }

say installed
install /tmp/osn.deb
grep "osn-collector init" /tmp/dpkg.log
id -un osn-collector
id -nG osn-collector
stat -c '%n %a %U' /etc/osn-collector /var/lib/osn-collector
osn-collector --version
systemd-analyze verify /lib/systemd/system/osn-collector.service

say configured
printf 'name = "pi"\\ndata = "/var/lib/osn-collector"\\nbroker = "here"\\n' >/tmp/answers.toml
osn-collector init --answers /tmp/answers.toml
stat -c '%n %a %U' /etc/osn-collector/collector.toml /etc/osn-collector/broker/collector.password
cp /usr/share/doc/osn-collector/collector.toml.example /tmp/example.toml
osn-collector check-config /tmp/example.toml

say started
: >/tmp/log
setpriv --reuid osn-collector --regid osn-collector --init-groups --no-new-privs \\
    /usr/bin/osn-collector run --config /etc/osn-collector/collector.toml >/tmp/log 2>&1 &
daemon=$!
trap 'kill $daemon 2>/dev/null || true' EXIT
for _ in $(seq 100); do grep -q "metrics at" /tmp/log && break; sleep 0.1; done
osn-collector status || true
kill $daemon
wait $daemon
cat /tmp/log
stat -c '%n %a %U' /var/lib/osn-collector/archive.db

say upgraded
install /tmp/osn.deb
ls /var/lib/osn-collector/archive.db /etc/osn-collector/collector.toml

say removed
dpkg --remove osn-collector >/dev/null 2>&1
ls /usr/bin/osn-collector /usr/lib/osn-collector 2>&1 || true
ls /var/lib/osn-collector/archive.db /etc/osn-collector/collector.toml

say purged
dpkg --purge osn-collector 2>&1 | grep kept
ls /etc/osn-collector 2>&1 || true
ls /var/lib/osn-collector/archive.db
"""


@contextmanager
def copy_of_this_machine() -> Iterator[list[str]]:
    """The start of a command that runs in an overlay over this machine, gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        prepare = (
            f"mount -t tmpfs tmpfs {folder} && mkdir {folder}/upper {folder}/work {folder}/root && "
            f"mount -t overlay overlay -o lowerdir=/,upperdir={folder}/upper,workdir={folder}/work "
            f"{folder}/root && mount -t proc proc {folder}/root/proc && "
            f"mount -t tmpfs tmpfs {folder}/root/run && mount --bind /dev {folder}/root/dev && "
            f"mount -t tmpfs tmpfs {folder}/root/tmp && "
            f'cp "$1" {folder}/root/tmp/osn.deb && shift && exec chroot {folder}/root "$@"'
        )
        yield ["unshare", "--mount", "sh", "-c", prepare, "sh"]


def _unavailable(reason: str) -> NoReturn:
    if os.environ.get("OSN_REQUIRE_INTEGRATION"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not os.environ.get("OSN_REQUIRE_INTEGRATION"):
        pytest.skip("building and installing takes two minutes: make test-integration")
    for program in ("dpkg-deb", "unshare", "setpriv", "adduser"):
        if shutil.which(program) is None:
            _unavailable(f"{program} is not installed")
    if os.geteuid() != 0:
        _unavailable("installing a package needs root")
    if not Path("/usr/bin/python3").exists():
        _unavailable("Debian's python3 is not installed")
    output = tmp_path_factory.mktemp("dist")
    subprocess.run([str(ROOT / "packaging" / "build-deb"), str(output)], check=True)
    (found,) = output.glob("osn-collector_*.deb")
    return found


@pytest.mark.integration
def test_it_installs_upgrades_and_leaves_cleanly(package: Path) -> None:
    with copy_of_this_machine() as inside:
        done = subprocess.run(
            [*inside, str(package), "/bin/sh", "-c", SCRIPT],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    parts = {
        part.split("\n", 1)[0]: part.split("\n", 1)[1] for part in done.stdout.split("== ")[1:]
    }
    installed = parts["installed"].splitlines()
    assert installed[1] == "osn-collector"
    assert "dialout" in installed[2].split()
    assert installed[3:5] == [
        "/etc/osn-collector 751 osn-collector",
        "/var/lib/osn-collector 750 osn-collector",
    ]
    assert installed[5].startswith("osn-collector, version ")
    assert "collector.toml 640 osn-collector" in parts["configured"]
    assert "collector.password 600 osn-collector" in parts["configured"]
    assert "good (1 mqtt" in parts["configured"]
    assert "running" in parts["started"]
    assert "stopped" in parts["started"]
    assert "Traceback" not in parts["started"]
    assert "archive.db 600 osn-collector" in parts["started"] or (
        "archive.db 644 osn-collector" in parts["started"]
    )
    assert "archive.db" in parts["upgraded"]
    assert parts["removed"].count("No such file") == 2
    assert "/var/lib/osn-collector/archive.db" in parts["removed"]
    assert "readings and keys are kept" in parts["purged"]
    assert "No such file" in parts["purged"]
