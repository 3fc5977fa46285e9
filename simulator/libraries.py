"""Fetch the MicroPython libraries that stock ESP32 images freeze in, for the VM."""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from simulator.vm import LIBRARY

UMQTT = "micropython-umqtt.simple==1.3.4"
UMQTT_SHA256 = "b6a2520239e3992c63a7de9370ee9b3d9d27819a90359c521f1c0f7ccab8d12f"


def fetch_umqtt(library: Path = LIBRARY) -> Path:
    """Put umqtt/simple.py into library and return its path.

    The package has no build script, so pip cannot install it; unearth downloads it as it is.
    Raises ValueError when the archive's hash differs, CalledProcessError when it cannot be had.
    """
    with tempfile.TemporaryDirectory() as folder:
        finder = Path(sys.executable).with_name("unearth")
        subprocess.run(
            [str(finder), "--download", folder, UMQTT], check=True, stdout=subprocess.DEVNULL
        )
        archive = next(Path(folder).glob("*.tar.gz"))
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if digest != UMQTT_SHA256:
            raise ValueError(f"{archive.name} has SHA-256 {digest}, expected {UMQTT_SHA256}")
        return _unpack(archive, library)


def _unpack(archive: Path, library: Path) -> Path:
    target = library / "umqtt" / "simple.py"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as package:
        member = next(m for m in package.getmembers() if m.name.endswith("umqtt/simple.py"))
        content = package.extractfile(member)
        if content is None:
            raise ValueError(f"{archive.name} holds no umqtt/simple.py")
        target.write_bytes(content.read())
    return target


if __name__ == "__main__":
    try:
        print(fetch_umqtt())
    except (OSError, ValueError, subprocess.CalledProcessError) as fault:
        sys.exit(f"umqtt.simple could not be fetched: {fault}. Check the network and run again.")
