"""What can be configured, table by table.

Defaults are safe: everything listens on 127.0.0.1, nothing is published unless a sink is
configured, TLS is asked for as soon as a broker is not on this machine.
"""

import ipaddress
import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from collector.clock import Trust
from collector.secret import Secret
from collector.structure import KeyFault, Length, Range

_LABEL = re.compile(r"(?![-])[\w-]{1,63}(?<!-)")

Port = Annotated[int, Range(1, 65_535)]
Name = Annotated[str, Length(1, 64)]
Seconds = Annotated[float, Range(0.01, 86_400)]


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorSettings:
    """[collector]: where its data lie and how it commits."""

    name: Name = "collector"
    data: Path = Path("/var/lib/osn-collector")
    commit_interval_s: Annotated[float, Range(0.05, 60)] = 1.0
    commit_frames: Annotated[int, Range(1, 10_000)] = 500
    queue_frames: Annotated[int, Range(100, 1_000_000)] = 20_000
    clock: Trust = "kernel"
    """Who says that this machine's clock is right: "kernel" (chrony, ntpd and systemd-timesyncd
    keep it informed), "always" (a GPS receiver or a hypervisor keeps it), "never"."""
    zone: Name = "UTC"
    """Time zone of the place, such as "Europe/Madrid": days and nights of means are its own."""

    def __post_init__(self) -> None:
        try:
            zoneinfo.ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError):
            message = f"{self.zone!r} is not a time zone such as Europe/Madrid"
            raise KeyFault("zone", message) from None

    @property
    def archive(self) -> Path:
        """The archive's database."""
        return self.data / "archive.db"

    @property
    def quarantine(self) -> Path:
        """Frames that are not authentic, and those of unknown nodes."""
        return self.data / "quarantine.db"

    @property
    def nodes(self) -> Path:
        """Registry of nodes."""
        return self.data / "nodes.json"

    @property
    def keys(self) -> Path:
        """Node keys, mode 0600."""
        return self.data / "keys.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """A broker. Off this machine it needs TLS, unless `plain = true` says otherwise."""

    host: Annotated[str, Length(1, 253)] = "127.0.0.1"
    port: Port | None = None
    user: Annotated[str, Length(1, 256)] | None = None
    password: Secret | None = None
    tls: bool | None = None
    plain: bool = False
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def __post_init__(self) -> None:
        if fault := host_fault(self.host):
            raise KeyFault("host", fault)
        if not self.uses_tls and not is_local(self.host) and not self.plain:
            raise KeyFault(
                "tls",
                f"{self.host} is not this machine: set tls = true, or plain = true to send "
                "the password and all readings readable by anybody on the way",
            )
        if self.user is None and self.password is not None:
            raise KeyFault("password", "needs a user")
        if (self.certificate_file is None) != (self.key_file is None):
            raise KeyFault("certificate_file", "certificate_file and key_file go together")
        if not self.uses_tls and (self.ca_file or self.certificate_file):
            raise KeyFault("tls", "ca_file and certificate_file need tls = true")

    @property
    def uses_tls(self) -> bool:
        """Whether the connection is encrypted: as said, else by the port 8883."""
        return self.port == 8883 if self.tls is None else self.tls

    @property
    def port_used(self) -> int:
        """The port, by default 8883 with TLS and 1883 without."""
        if self.port is not None:
            return self.port
        return 8883 if self.uses_tls else 1883


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSettings(BrokerSettings):
    """[[mqtt]]: a broker that boards reach."""

    name: Name = "mqtt"
    topic: Annotated[str, Length(1, 64)] = "osn"
    keepalive_s: Annotated[int, Range(5, 3600)] = 30
    reconnect_s: Seconds = 1.0
    reconnect_longest_s: Seconds = 60.0
    queue_down: Annotated[int, Range(10, 100_000)] = 5_000

    def __post_init__(self) -> None:
        BrokerSettings.__post_init__(self)  # a dataclass with slots has no super() to call
        if any(character in self.topic for character in "+#"):
            raise KeyFault("topic", "must not hold + or #")


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialSettings:
    """[[serial]]: one port, or a pattern such as /dev/osn-* of ports that come and go."""

    name: Name = "serial"
    port: Annotated[str, Length(1, 255)]
    baud: Annotated[int, Range(9_600, 4_000_000)] = 115_200
    repl: bool = False
    """The board's REPL shares the port: downlinks go as hex text."""
    rescan_s: Seconds = 2.0
    ports_max: Annotated[int, Range(1, 64)] = 16

    def __post_init__(self) -> None:
        pattern = Path(self.port)
        if not pattern.is_absolute() or any(mark in str(pattern.parent) for mark in "*?["):
            raise KeyFault(
                "port", "must be a whole path; only its last part may be a pattern: /dev/osn-*"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """[web]: /metrics and /healthz."""

    enabled: bool = True
    host: Annotated[str, Length(1, 253)] = "127.0.0.1"
    port: Annotated[int, Range(0, 65_535)] = 9464

    def __post_init__(self) -> None:
        if fault := host_fault(self.host):
            raise KeyFault("host", fault)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings:
    """[retention]: what the archive may forget; by default nothing."""

    keep_days: Annotated[int, Range(1, 36_500)] | None = None
    archive_gb_max: Annotated[float, Range(0.01, 100_000)] | None = None
    disk_free_mb_min: Annotated[int, Range(10, 1_000_000)] = 200
    drop_undelivered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacySettings:
    """How a sink says where a node stands: never finer than the node's own cell."""

    grid_m: Annotated[int, Range(0, 100_000)] = 0
    """Cells of at least this size for all nodes; 0 for each node's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionSettings:
    """[[correction]]: a named formula for one quantity of some nodes."""

    formula: Annotated[str, Length(1, 64)]
    nodes: tuple[str, ...] = ()
    quantity: Annotated[str, Length(1, 64)] | None = None
    instance: Annotated[int, Range(0, 255)] | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SinkEntry:
    """[[sink]]: its kind, its name, and the kind's own configuration, already structured."""

    kind: str
    name: str
    config: Any
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    nodes: tuple[str, ...] = ()
    corrected: bool = False
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole configuration file."""

    file: Path
    collector: CollectorSettings = field(default_factory=CollectorSettings)
    mqtt: tuple[MqttSettings, ...] = ()
    serial: tuple[SerialSettings, ...] = ()
    sinks: tuple[SinkEntry, ...] = ()
    corrections: tuple[CorrectionSettings, ...] = ()
    web: WebSettings = field(default_factory=WebSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)


def host_fault(host: str) -> str:
    """What is wrong with a host name or address, "" when it can be one."""
    try:
        ipaddress.ip_address(host)
        return ""
    except ValueError:
        pass
    name, colon, port = host.rpartition(":")
    if "://" in host or "/" in host:
        return f"{host!r} is an address of the web; give the host's name alone"
    if colon and port.isdigit() and ":" not in name:
        return f"{host!r} holds a port; give host {name!r}, and {port} as the port of its own"
    labels = host.removesuffix(".").split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        return f"{host!r} is not a host name such as mqtt.example, or an address such as 192.0.2.7"
    if labels[-1].isdigit():
        return f"{host!r} is not an address: four numbers from 0 to 255, such as 192.0.2.7"
    return ""


def is_local(host: str) -> bool:
    """Whether a host name means this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
