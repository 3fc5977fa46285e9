"""Fetch a 32-bit MicroPython: python -m simulator.vm32 (make vm32).

The noise kernel is written for 32-bit integers; on a 32-bit VM it runs exactly as it is shipped.
Debian's i386 package micropython of the release TRIXIE and its libraries are downloaded by apt-get
from the mirror that this machine already uses, into a state of its own: no system package changes.
apt checks the index's signature, and the SHA-256 of every package against the index; nothing that
fails these checks is unpacked.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

TRIXIE = "trixie"
ARCHITECTURE = "i386"
PACKAGE = "micropython"
LIBRARIES = ("libc6", "libgcc-s1", "libffi8", "libmbedtls21", "libmbedx509-7", "libmbedcrypto16")
FOLDER = Path(sysconfig.get_path("data")) / "micropython32"
SOURCES = Path("/etc/apt")
PROBE = "import sys; print(sys.maxsize)"


class CannotFetch(Exception):
    """No 32-bit VM can be had here; the text says why and what to do."""


def mirrors() -> list[str]:
    """Debian mirrors of this machine's own apt configuration."""
    found = []
    files = [SOURCES / "sources.list", *sorted((SOURCES / "sources.list.d").glob("*"))]
    for path in files:
        if path.suffix not in (".list", ".sources") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        found += re.findall(r"^URIs:\s*(\S+)", text, re.M)
        found += re.findall(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)", text, re.M)
    return [uri for uri in dict.fromkeys(found) if uri.rstrip("/").endswith("/debian")]


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command; CannotFetch with what it said when it fails."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise CannotFetch(f"{command[0]}: {error}") from error
    if done.returncode:
        raise CannotFetch(
            f"{' '.join(map(str, command[:1]))} failed:\n{done.stderr.strip()[-600:]}"
        )
    return done.stdout


def apt_options(folder: Path, mirror: str) -> list[str]:
    """Options that give apt a state, an architecture and one source of its own."""
    for part in ("state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    source = folder / "sources.list"
    source.write_text(f"deb [arch={ARCHITECTURE}] {mirror} {TRIXIE} main\n", encoding="utf-8")
    settings = {
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::sourcelist": source,
        "Dir::Etc::sourceparts": "-",
        "APT::Architecture": ARCHITECTURE,
        "APT::Architectures": ARCHITECTURE,
        "APT::Sandbox::User": "",
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def download(folder: Path) -> list[Path]:
    """The .deb files; CannotFetch when no mirror has them."""
    said = ["this machine's apt names no Debian mirror"]
    for mirror in mirrors():
        options = apt_options(folder, mirror)
        try:
            run("apt-get", *options, "update", "--error-on=any")
            run("apt-get", *options, "download", PACKAGE, *LIBRARIES, cwd=folder)
        except CannotFetch as fault:
            said.append(str(fault))
            continue
        return sorted(folder.glob("*.deb"))
    raise CannotFetch("\n".join(said))


def unpack(packages: Sequence[Path], folder: Path) -> Path:
    """Unpack beside the environment; a script that runs the interpreter with its own libraries."""
    root = folder / "root"
    shutil.rmtree(root, ignore_errors=True)
    for path in packages:
        run("dpkg-deb", "-x", path, root)
    loaders = [*root.glob("usr/lib/ld-linux.so.2"), *root.glob("lib/ld-linux.so.2")]
    loaders += root.glob("usr/lib/*/ld-linux.so.2")
    if not loaders:
        raise CannotFetch("the C library's package has no ld-linux.so.2")
    libraries = ":".join(str(root / part / "i386-linux-gnu") for part in ("usr/lib", "lib"))
    script = folder / "micropython"
    script.write_text(
        f'#!/bin/sh\nexec "{loaders[0]}" --library-path "{libraries}" '
        f'"{root}/usr/bin/micropython" "$@"\n',
        encoding="utf-8",
    )
    script.chmod(0o755)
    return script


def main() -> int:
    """Fetch, unpack and try it; 1 when that cannot be done here."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        packages = download(FOLDER)
        script = unpack(packages, FOLDER)
        largest = int(run(script, "-c", PROBE))
    except CannotFetch as fault:
        print(f"No 32-bit MicroPython here: {fault}", file=sys.stderr)
        print("Any other one will do: set MICROPYTHON32 to it.", file=sys.stderr)
        return 1
    if largest != 0x7FFFFFFF:
        print(f"{script} is not a 32-bit one: sys.maxsize is {largest}", file=sys.stderr)
        return 1
    print(f"export MICROPYTHON32={script}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
