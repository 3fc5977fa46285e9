"""The service manager's protocol (sd_notify): ready, status, watchdog, stopping.

Datagrams to the socket that $NOTIFY_SOCKET names; without one nothing is sent.
"""

import os
import socket


def notify(*lines: str, within_s: float = 0) -> bool:
    """Sends lines such as READY=1; False when nobody listens, or takes them within `within_s`."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.settimeout(within_s)
        try:
            channel.sendto("\n".join(lines).encode(), address)
        except OSError:
            return False
    return True


def watchdog_interval_s() -> float | None:
    """How often WATCHDOG=1 must come at the latest, or None when nobody watches this process."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    process = os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdigit() or (process and process != str(os.getpid())):
        return None
    return int(microseconds) / 1e6
