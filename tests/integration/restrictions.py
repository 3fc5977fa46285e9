"""Starts a command as a unit file would: user, capabilities, folders, system calls, memory.

`python restrictions.py UNIT WRITABLE UID COMMAND...`, as root. What needs the service manager
itself (cgroups: devices, addresses, tasks) is left out.
"""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
EPERM = 1
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 38, 24
PROT_WRITE, PROT_EXEC = 2, 4
MASKED_EQ = 7
CLONE_NEWNS, MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = (
    0x20000, 1, 32, 4096, 16384, 1 << 18,
)  # fmt: skip

libc = ctypes.CDLL(None, use_errno=True)
seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
seccomp.seccomp_init.restype = ctypes.c_void_p


class Argument(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


def settings(unit: Path) -> dict[str, list[str]]:
    """Keys of a unit file with all their values."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        if "=" in line and not line.startswith(("#", "[")):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def expand(name: str) -> set[str]:
    """System calls of a group, as the service manager knows it."""
    if not name.startswith("@"):
        return {name}
    text = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    ).stdout
    calls: set[str] = set()
    for line in text.splitlines()[1:]:
        word = line.strip()
        if word and not word.startswith("#"):
            calls |= expand(word)
    return calls


def allowed_calls(lines: list[str]) -> set[str]:
    """Applies SystemCallFilter= lines in their order."""
    calls: set[str] = set()
    for line in lines:
        names = {call for word in line.lstrip("~").split() for call in expand(word)}
        calls = calls - names if line.startswith("~") else calls | names
    return calls


def check(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), what)


def mount(source: str | None, target: str, flags: int) -> None:
    first = source.encode() if source else None
    check(libc.mount(first, target.encode(), None, flags, None), target)


def protect_system(writable: str) -> None:
    """ProtectSystem=strict: everything is read-only but for one folder."""
    check(libc.unshare(CLONE_NEWNS), "unshare")
    mount(None, "/", MS_REC | MS_PRIVATE)
    mount(writable, writable, MS_BIND)
    mount("/", "/", MS_BIND | MS_REC)
    for line in Path("/proc/self/mounts").read_text().splitlines():
        point = line.split()[1]
        if point != writable and not point.startswith(("/proc", "/sys", "/dev")):
            libc.mount(None, point.encode(), None, MS_REMOUNT | MS_BIND | MS_RDONLY, None)
    os.chdir(writable)


def drop_capabilities() -> None:
    """CapabilityBoundingSet= (empty): after the next exec not even root has any."""
    for capability in range(int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1):
        check(libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), "bounding set")


def filter_calls(calls: set[str]) -> None:
    """SystemCallFilter= and MemoryDenyWriteExecute=, as the service manager builds them."""
    context = ctypes.c_void_p(seccomp.seccomp_init(ERRNO | EPERM))
    for call in sorted(calls):
        number = seccomp.seccomp_syscall_resolve_name(call.encode())
        if number < 0 or call in ("mmap", "mprotect", "pkey_mprotect"):
            continue
        check(seccomp.seccomp_rule_add(context, ALLOW, number, 0), call)
    number = seccomp.seccomp_syscall_resolve_name
    for bits in (0, PROT_WRITE, PROT_EXEC):
        rule = Argument(2, MASKED_EQ, PROT_WRITE | PROT_EXEC, bits)
        check(seccomp.seccomp_rule_add(context, ALLOW, number(b"mmap"), 1, rule), "mmap")
    for name in (b"mprotect", b"pkey_mprotect"):
        rule = Argument(2, MASKED_EQ, PROT_EXEC, 0)
        check(seccomp.seccomp_rule_add(context, ALLOW, number(name), 1, rule), "mprotect")
    check(seccomp.seccomp_load(context), "seccomp_load")


def main(unit: Path, writable: str, user: int, command: list[str]) -> None:
    """Never returns: the command takes this process over."""
    keys = settings(unit)
    calls = allowed_calls(keys["SystemCallFilter"])
    os.umask(int(keys["UMask"][-1], 8))
    protect_system(writable)
    if user:
        os.setgroups([])
        os.setgid(user)
    drop_capabilities()
    if user:
        os.setuid(user)
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    filter_calls(calls)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:])
