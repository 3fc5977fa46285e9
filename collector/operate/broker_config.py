"""What mosquitto needs to serve a collector: TLS, passwords, and an access list.

Each node may publish on its own `u` and `w` topics and read its own `d`; the collector reads all
`u` and `w` and publishes on all `d`; nobody else does anything. A node's broker password comes
from its key, so nothing more has to be kept or typed: it only keeps strangers off the broker, for
frames prove themselves.
"""

import base64
import grp
import hashlib
import hmac
import os
import re
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from collector.keys import KeyRing, broker_password
from collector.nodes import NodeRegistry
from collector.operate.certificates import ascii_name, names_held, renew_certificates
from collector.ownership import make_folders, owner_of
from collector.private_file import write_bytes
from collector.settings import host_fault

COLLECTOR_USER = "osn-collector"
CONFIGURATION = "mosquitto.conf"
BROKER_GROUP = "mosquitto"
BROKER_READS = ("passwords", "access", "server.key")
HASH_ITERATIONS = 1_000
"""Passwords have 128 random bits, so the hash need not be slow; each connect costs this."""
SALT_BYTES = 12


TLS_PORT, LOCAL_PORT = 8883, 1883
_LISTENERS = re.compile(r"^listener (\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class BrokerPlan:
    """Where the broker listens and which names its certificate holds."""

    hosts: tuple[str, ...]
    tls_port: int = TLS_PORT
    local_port: int = LOCAL_PORT
    prefix: str = "osn"


def plan_for(
    folder: Path,
    hosts: Sequence[str],
    tls_port: int | None,
    local_port: int | None,
    prefix: str,
) -> BrokerPlan:
    """What is asked for, and where nothing is, what the folder holds from before.

    Names are never taken away: boards out there may use any of them. ValueError for a host that
    can be none.
    """
    for host in hosts:
        if fault := host_fault(host):
            raise ValueError(fault)
    own = socket.gethostname()
    held = names_held(folder)
    default = () if hosts or held else (own, f"{own}.local", "127.0.0.1")
    try:
        ports = [int(port) for port in _LISTENERS.findall((folder / CONFIGURATION).read_text())]
    except FileNotFoundError:
        ports = []
    was_tls, was_local = ports if len(ports) == 2 else (TLS_PORT, LOCAL_PORT)
    return BrokerPlan(
        tuple(dict.fromkeys((*held, *map(ascii_name, hosts), *default))),
        was_tls if tls_port is None else tls_port,
        was_local if local_port is None else local_port,
        prefix,
    )


def refresh_copy(folder: Path, copy: Path) -> bool:
    """Brings a copy of this folder's configuration up to date; True when it was not."""
    text = (folder / CONFIGURATION).read_text()
    try:
        held = copy.read_text()
    except OSError:
        return False
    ours = f"password_file {folder.resolve()}/passwords" in held.splitlines()
    if not ours or held == text or copy.is_symlink():
        return False
    write_bytes(copy, text.encode(), 0o644)
    return True


def write_broker_config(
    folder: Path, plan: BrokerPlan, registry: NodeRegistry, keys: KeyRing
) -> list[str]:
    """Writes or renews all files; returns the names of those that changed."""
    make_folder(folder)
    changed = renew_certificates(folder, plan.hosts)
    password = _collector_password(folder / "collector.password", changed)
    for name, content, mode in (
        ("passwords", password_lines(registry, keys, password), 0o640),
        ("access", access_list(plan.prefix), 0o640),
        (CONFIGURATION, configuration(folder.resolve(), plan), 0o644),
    ):
        if _differs(folder / name, content):
            write_bytes(folder / name, content.encode(), mode)
            changed.append(name)
    let_broker_read(folder)
    return changed


def make_folder(folder: Path) -> None:
    """Makes the folder, owned as its parent is: root and the collector both write here."""
    make_folders(folder, 0o751)
    if os.geteuid() == 0:
        os.chown(folder, *owner_of(folder.parent))
        folder.chmod(0o751)


def let_broker_read(folder: Path) -> None:
    """Gives what mosquitto must read to its group, where root runs this and the group is there."""
    if os.geteuid() != 0:
        return
    try:
        group = grp.getgrnam(BROKER_GROUP).gr_gid
    except KeyError:
        return
    for name in BROKER_READS:
        if (folder / name).exists():
            os.chown(folder / name, -1, group)


def configuration(folder: Path, plan: BrokerPlan) -> str:
    """mosquitto's configuration: TLS for boards, plain on this machine only."""
    return f"""# Written by `osn-collector broker-config`; changes here are overwritten.
# Link it into mosquitto's own: ln -s {folder}/mosquitto.conf /etc/mosquitto/conf.d/osn.conf
per_listener_settings false
allow_anonymous false
password_file {folder}/passwords
acl_file {folder}/access
retain_available false
persistence false
message_size_limit 4096
max_packet_size 8192
max_inflight_messages 20
max_queued_messages 1000
max_keepalive 3600
set_tcp_nodelay true

listener {plan.tls_port}
certfile {folder}/server.crt
keyfile {folder}/server.key
tls_version tlsv1.2
use_username_as_clientid true
max_connections 2000

listener {plan.local_port} 127.0.0.1
max_connections 100
"""


def access_list(prefix: str) -> str:
    """Who may do what; what is not named is refused."""
    return f"""user {COLLECTOR_USER}
topic read {prefix}/1/+/u
topic read {prefix}/1/+/w
topic write {prefix}/1/+/d

pattern write {prefix}/1/%u/u
pattern write {prefix}/1/%u/w
pattern read {prefix}/1/%u/d
"""


def password_lines(registry: NodeRegistry, keys: KeyRing, collector_password: str) -> str:
    """mosquitto's password file: the collector and every active node that has a key."""
    users = [(COLLECTOR_USER, collector_password)]
    for info in registry:
        held = keys.get(info.node)
        if held is None or held.revoked or info.state != "active":
            continue
        pair = held.current if held.previous is None or held.switch is not None else held.previous
        users.append((info.id, broker_password(pair.secret)))
    return "".join(f"{user}:{mosquitto_hash(user, password)}\n" for user, password in users)


def mosquitto_hash(user: str, password: str) -> str:
    """PBKDF2-SHA512 in mosquitto's form; the salt follows from both, so a file stays the same."""
    salt = hmac.digest(password.encode(), b"salt " + user.encode(), "sha512")[:SALT_BYTES]
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, HASH_ITERATIONS)
    return f"$7${HASH_ITERATIONS}${_base64(salt)}${_base64(digest)}"


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _differs(path: Path, content: str) -> bool:
    try:
        return path.read_text() != content
    except FileNotFoundError:
        return True


def _collector_password(path: Path, changed: list[str]) -> str:
    if path.exists():
        return path.read_text().strip()
    password = secrets.token_urlsafe(24)
    write_bytes(path, password.encode() + b"\n", 0o600)
    changed.append(path.name)
    return password
