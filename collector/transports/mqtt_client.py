"""The one MQTT client: aiomqtt's, prompt with its socket, and able to hand messages over in bulk.

aiomqtt defers each watch of its socket, because paho connects in another thread. Between the turns
paho may have closed the socket or have nothing left to write: the watch then fails, is set on
another connection that got the same number, or wakes the loop again and again. And it takes one
packet in a turn of the loop, which costs ten times what a frame needs.

Neither library has a public way around that. So this module reaches into both, no other does, and
`probe` says at start whether the installed versions still are as it needs them:

    aiomqtt   Client._loop                the loop that all watches of the socket are set on;
                                          what it lets read the socket reads while pending()
    aiomqtt   Client._client              paho's client
    paho      Client._create_socket()     makes the connected socket, which is then read by
                                          recv() and pending() alone
"""

import asyncio
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from socket import socketpair
from typing import Any

import aiomqtt
from paho.mqtt.client import Client as PahoClient

from collector.settings import BrokerSettings
from collector.transports.buffered_socket import BufferedSocket, Message

SUPPORTED = {"aiomqtt": ">=2.4,<2.6", "paho-mqtt": ">=2.1,<2.3"}
"""What was tested; pyproject.toml says the same."""

CLOSED = (OSError, ValueError, RuntimeError)
"""What a loop raises for a number that is no open socket any more, or another transport's."""

FAILURE_CODES_FROM = 128
PROBE_S = 10.0

_CONNACK = b"\x20\x02\x00\x00"
_PROBE_MESSAGE = (b"probe", b"\x00\xff", False)
_PROBE_PACKET = b"\x30\x09\x00\x05probe\x00\xff"


class UnsupportedLibraries(aiomqtt.MqttError):
    """The installed aiomqtt or paho-mqtt is not one that this client can work with."""

    def __init__(self, missing: str) -> None:
        found = " and ".join(f"{name} {metadata.version(name)}" for name in SUPPORTED)
        wanted = " ".join(f"'{name}{versions}'" for name, versions in SUPPORTED.items())
        super().__init__(
            f"MQTT does not work with the installed {found} ({missing}): "
            f"pip install {wanted} in the collector's environment"
        )


class SubscriptionRefused(aiomqtt.MqttError):
    """The broker lets us in, but not listen."""


class BrokerClient(aiomqtt.Client):
    """aiomqtt's client, made in a running loop; takes what that takes.

    With `message` all that comes is handed over there at once, and nothing by `messages`.
    Raises UnsupportedLibraries.
    """

    def __init__(
        self, hostname: str, port: int = 1883, *, message: Message | None = None, **options: Any
    ) -> None:
        super().__init__(hostname, port, **options)
        inner: Any = self
        if not isinstance(getattr(self, "_loop", None), asyncio.AbstractEventLoop):
            raise UnsupportedLibraries("aiomqtt.Client._loop is no event loop")
        if not isinstance(getattr(self, "_client", None), PahoClient):
            raise UnsupportedLibraries("aiomqtt.Client._client is no client of paho-mqtt")
        self.prompt_loop = inner._loop = PromptLoop(self._loop)
        if message is not None:
            self._hand_over(inner._client, message)

    def _hand_over(self, paho: Any, message: Message) -> None:
        """Lets paho read through a buffer, which takes the messages of QoS 0 out."""
        connected_socket = getattr(paho, "_create_socket", None)
        if not callable(connected_socket):
            raise UnsupportedLibraries("paho's Client._create_socket is no method")
        self._connected_socket: Callable[[], Any] = connected_socket

        def buffered() -> BufferedSocket:
            return BufferedSocket(self._connected_socket(), message, self.prompt_loop.read_again)

        def from_paho(client: object, data: object, found: Any) -> None:
            message(found.topic.encode(), found.payload, found.retain)

        paho._create_socket = buffered
        paho.on_message = from_paho

    async def listen(self, topic: str, qos: int = 0) -> None:
        """Subscribes. Raises SubscriptionRefused with what to do when the broker does not let us.

        aiomqtt takes any SUBACK for a success; a code from 128 up (MQTT 3.1.1, 3.9.3) is none.
        """
        for code in await self.subscribe(topic, qos=qos):
            number = getattr(code, "value", code)
            if number >= FAILURE_CODES_FROM:
                raise SubscriptionRefused(
                    f"the broker does not let us subscribe to {topic} (code {number}): "
                    "allow this user to read it in the broker's access list"
                )


class PromptLoop:
    """Stands for the running loop; all but what is here is the loop's own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._read: Callable[[], object] | None = None
        self._reads_again = False

    @property
    def watches(self) -> bool:
        """Whether a socket is read by this loop."""
        return self._read is not None

    def call_soon_threadsafe(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Calls now in the loop's own thread, in the next turn from any other."""
        if threading.get_ident() == self._thread:
            _call(callback, *arguments)
        else:
            self._loop.call_soon_threadsafe(_call, callback, *arguments)

    def add_reader(self, number: int, callback: Callable[[], object]) -> None:
        """The loop's own; remembers what reads the socket."""
        self._read = callback
        self._loop.add_reader(number, callback)

    def remove_reader(self, number: int) -> bool:
        """The loop's own; what read the socket is not called any more."""
        self._read = None
        return self._loop.remove_reader(number)

    def read_again(self) -> None:
        """Reads in the next turn of the loop, whether or not the network has more by then."""
        if not self._reads_again:
            self._reads_again = True
            self._loop.call_soon(self._read_now)

    def _read_now(self) -> None:
        self._reads_again = False
        if self._read is not None:
            self._read()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


def _call(callback: Callable[..., object], *arguments: Any) -> None:
    with suppress(*CLOSED):
        callback(*arguments)


async def probe() -> None:
    """Connects a client to a socket pair and hands one message over; asks no network.

    Raises UnsupportedLibraries when that does not go the way that this module needs.
    """
    heard: asyncio.Queue[tuple[bytes, bytes, bool]] = asyncio.Queue()
    by_paho: list[object] = []
    ours, theirs = socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.sendall(_CONNACK + _PROBE_PACKET)
        client = BrokerClient(
            "probe", message=lambda *found: heard.put_nowait(found), timeout=PROBE_S
        )
        client._connected_socket = lambda: ours
        client._client.on_message = lambda *found: by_paho.append(found)
        try:
            async with asyncio.timeout(PROBE_S):
                async with client:
                    if not client.prompt_loop.watches:
                        raise UnsupportedLibraries("aiomqtt watches its socket by another loop")
                    if await heard.get() != _PROBE_MESSAGE or by_paho:
                        raise UnsupportedLibraries("paho-mqtt reads past the buffer")
        except UnsupportedLibraries:
            raise
        except (aiomqtt.MqttError, AttributeError, TypeError, OSError) as error:
            reason = f"a probing connection failed: {type(error).__name__} {error}".rstrip()
            raise UnsupportedLibraries(reason) from error


def broker_options(broker: BrokerSettings) -> dict[str, Any]:
    """What BrokerClient takes of a broker's settings. Raises OSError for files of TLS."""
    return {
        "hostname": broker.host,
        "port": broker.port_used,
        "username": broker.user,
        "password": broker.password.reveal() if broker.password else None,
        "tls_context": tls_context(broker),
    }


def tls_context(broker: BrokerSettings) -> ssl.SSLContext | None:
    """The context that checks the broker's certificate and name, None without TLS."""
    if not broker.uses_tls:
        return None
    context = ssl.create_default_context(cafile=_text(broker.ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if broker.certificate_file is not None:
        context.load_cert_chain(broker.certificate_file, broker.key_file)
    return context


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
