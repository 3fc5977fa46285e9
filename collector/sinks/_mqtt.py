"""Publishing over MQTT: a reading counts as accepted when the broker's PUBACK is there."""

import asyncio
import json
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import aiomqtt

from collector.secret import Secret
from collector.settings import host_fault, is_local
from collector.sinks.base import (
    ACCEPTED,
    AccessDenied,
    NotSent,
    Outcome,
    Rejected,
    Unknown,
)
from collector.structure import KeyFault, Length, Range
from collector.transports.prompt_client import PromptClient

AT_ONCE = 100
DENIED_CODES = frozenset((4, 5, 134, 135))
PAYLOAD_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSettings:
    """[sink.mqtt]: the broker. Off this machine it needs TLS, unless `plain` says otherwise."""

    host: Annotated[str, Length(1, 253)] = "127.0.0.1"
    port: Annotated[int, Range(1, 65_535)] | None = None
    user: str | None = None
    password: Secret | None = None
    tls: bool | None = None
    plain: bool = False
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    timeout_s: Annotated[float, Range(1, 600)] = 30.0

    def __post_init__(self) -> None:
        if fault := host_fault(self.host):
            raise KeyFault("host", fault)
        if not self.uses_tls and not is_local(self.host) and not self.plain:
            raise KeyFault(
                "tls",
                f"{self.host} is not this machine: set tls = true, or plain = true to send "
                "everything readable by anybody on the way",
            )
        if (self.certificate_file is None) != (self.key_file is None):
            raise KeyFault("certificate_file", "certificate_file and key_file go together")

    @property
    def uses_tls(self) -> bool:
        return self.port == 8883 if self.tls is None else self.tls


MQTT_DEFAULTS = MqttSettings()


class Will(NamedTuple):
    """What the broker says when this connection is lost."""

    topic: str
    payload: str


class Message(NamedTuple):
    """A JSON document or a text for a topic."""

    topic: str
    document: Any
    retain: bool = False


class MqttClient:
    """One connection, opened when needed; a lost one is opened again by the next publish."""

    def __init__(self, settings: MqttSettings, name: str, will: Will | None = None) -> None:
        self._settings = settings
        self._name = name
        self._will = will
        self._client: aiomqtt.Client | None = None

    @property
    def connected(self) -> bool:
        return self._client is not None

    async def publish(self, messages: Sequence[Message]) -> list[Outcome]:
        """Publishes with QoS 1; an outcome for each message. Raises NotSent, AccessDenied."""
        client = await self._open()
        outcomes: list[Outcome] = []
        for start in range(0, len(messages), AT_ONCE):
            part = messages[start : start + AT_ONCE]
            if self._client is None:
                outcomes += [Unknown("connection lost")] * len(part)
                continue
            outcomes += await asyncio.gather(*(self._one(client, message) for message in part))
            if any(isinstance(outcome, Unknown) for outcome in outcomes):
                await self.close()
                rest = len(messages) - len(outcomes)
                return outcomes + [Unknown("connection lost")] * rest
        return outcomes

    async def open(self) -> None:
        """Connects. Raises NotSent, AccessDenied."""
        await self._open()

    async def close(self) -> None:
        """Disconnects; may be called twice."""
        client, self._client = self._client, None
        if client is not None:
            with suppress(aiomqtt.MqttError, TimeoutError, OSError):
                await client.__aexit__(None, None, None)

    async def _one(self, client: aiomqtt.Client, message: Message) -> Outcome:
        payload = (
            message.document
            if isinstance(message.document, str)
            else json.dumps(message.document, separators=(",", ":"), allow_nan=False)
        )
        if len(payload) > PAYLOAD_BYTES_MAX:
            return Rejected("too large for a message")
        try:
            await client.publish(
                message.topic,
                payload,
                qos=1,
                retain=message.retain,
                timeout=self._settings.timeout_s,
            )
        except (aiomqtt.MqttError, TimeoutError, OSError):
            return Unknown("no PUBACK")
        except ValueError:
            return Rejected("no topic that MQTT allows")
        return ACCEPTED

    async def _open(self) -> aiomqtt.Client:
        if self._client is not None:
            return self._client
        client = self._made()
        try:
            await client.__aenter__()
        except aiomqtt.MqttCodeError as error:
            code = getattr(error.rc, "value", error.rc)
            if code in DENIED_CODES:
                raise AccessDenied("the broker refuses user or password") from None
            raise NotSent(f"the broker refuses the connection: code {code}") from None
        except (aiomqtt.MqttError, TimeoutError, OSError) as error:
            raise NotSent(f"cannot connect: {type(error).__name__}") from None
        self._client = client
        return client

    def _made(self) -> aiomqtt.Client:
        given = self._settings
        return PromptClient(
            given.host,
            given.port or (8883 if given.uses_tls else 1883),
            username=given.user,
            password=given.password.reveal() if given.password else None,
            identifier=None,
            will=aiomqtt.Will(self._will.topic, self._will.payload, 1, True)
            if self._will
            else None,
            tls_context=_context(given) if given.uses_tls else None,
            timeout=given.timeout_s,
            max_inflight_messages=AT_ONCE,
        )


def _context(settings: MqttSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ca_file)
    if settings.certificate_file is not None:
        context.load_cert_chain(settings.certificate_file, settings.key_file)
    return context
