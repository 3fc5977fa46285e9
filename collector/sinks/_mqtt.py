"""Publishing over MQTT: a reading counts as accepted when the broker's PUBACK is there."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import aiomqtt

from collector.settings import BrokerSettings
from collector.sinks.base import (
    ACCEPTED,
    AccessDenied,
    NotSent,
    Outcome,
    Rejected,
    Unknown,
)
from collector.structure import Range
from collector.transports.mqtt_client import BrokerClient, UnsupportedLibraries, broker_options

AT_ONCE = 100
DENIED_CODES = frozenset((4, 5, 134, 135))
PAYLOAD_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PublisherSettings(BrokerSettings):
    """[sink.mqtt]: the broker to publish to."""

    timeout_s: Annotated[float, Range(1, 600)] = 30.0


MQTT_DEFAULTS = PublisherSettings()


class Will(NamedTuple):
    """What the broker says when this connection is lost."""

    topic: str
    payload: str


class Message(NamedTuple):
    """A JSON document or a text for a topic."""

    topic: str
    document: Any
    retain: bool = False


class Publisher:
    """One connection, opened when needed; a lost one is opened again by the next publish."""

    def __init__(self, settings: PublisherSettings, name: str, will: Will | None = None) -> None:
        self._settings = settings
        self._name = name
        self._will = will
        self._client: BrokerClient | None = None

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

    async def _one(self, client: BrokerClient, message: Message) -> Outcome:
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

    async def _open(self) -> BrokerClient:
        if self._client is not None:
            return self._client
        try:
            client = self._made()
            await client.__aenter__()
        except aiomqtt.MqttCodeError as error:
            code = getattr(error.rc, "value", error.rc)
            if code in DENIED_CODES:
                raise AccessDenied("the broker refuses user or password") from None
            raise NotSent(f"the broker refuses the connection: code {code}") from None
        except UnsupportedLibraries as error:
            raise NotSent(str(error)) from None
        except (aiomqtt.MqttError, TimeoutError, OSError) as error:
            raise NotSent(f"cannot connect: {type(error).__name__}") from None
        self._client = client
        return client

    def _made(self) -> BrokerClient:
        will = self._will
        return BrokerClient(
            **broker_options(self._settings),
            will=aiomqtt.Will(will.topic, will.payload, 1, True) if will else None,
            timeout=self._settings.timeout_s,
            max_inflight_messages=AT_ONCE,
        )
