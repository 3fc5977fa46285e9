"""The generated broker configuration in a real mosquitto, with clients that mean harm."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from collector.keys import KeyRing, broker_password
from collector.nodes import NodeInfo, NodeRegistry, node_text
from collector.operate.broker_config import COLLECTOR_USER, BrokerPlan, write_broker_config

WITHIN_S = 240.0
SILENCE_S = 0.3
GOOD, OTHER, REVOKED = 0xA1B2C3D4, 0x00000002, 0x00000003
UUID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"


class Site:
    """A configured broker: how its clients enter."""

    def __init__(self, folder: Path, plan: BrokerPlan, keys: KeyRing) -> None:
        self.folder = folder
        self.plan = plan
        self._keys = keys

    @property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "ca.crt"))

    def password(self, node: int) -> str:
        held = self._keys.get(node)
        assert held is not None
        return broker_password(held.current.secret)

    def node(self, node: int, **changes: Any) -> aiomqtt.Client:
        given: dict[str, Any] = {
            "username": node_text(node),
            "password": self.password(node),
            "tls_context": self.tls,
        }
        return aiomqtt.Client("127.0.0.1", self.plan.tls_port, **{**given, **changes})

    def collector(self) -> aiomqtt.Client:
        password = (self.folder / "collector.password").read_text().strip()
        return aiomqtt.Client(
            "127.0.0.1", self.plan.local_port, username=COLLECTOR_USER, password=password
        )


@pytest.fixture
def site(tmp_path: Path, mosquitto: Callable[..., Any], free_port: Callable[[], int]) -> Site:
    registry = NodeRegistry(
        nodes=[NodeInfo(node, UUID, node_text(node)) for node in (GOOD, OTHER, REVOKED)]
    )
    keys = KeyRing(secrets={node: bytes([node & 0xFF] * 32) for node in (GOOD, OTHER, REVOKED)})
    keys.revoke(REVOKED)
    plan = BrokerPlan(("127.0.0.1", "pi.local"), free_port(), free_port())
    folder = tmp_path / "broker"
    changed = write_broker_config(folder, plan, registry, keys)
    assert set(changed) == {path.name for path in folder.iterdir() if path.name[0] != "."}
    assert write_broker_config(folder, plan, registry, keys) == [], "a second run changes nothing"
    mosquitto((folder / "mosquitto.conf").read_text(), plan.tls_port)
    return Site(folder, plan, keys)


async def received(client: aiomqtt.Client, within_s: float = WITHIN_S) -> tuple[str, bytes] | None:
    try:
        async with asyncio.timeout(within_s):
            message = await anext(client.messages)
    except TimeoutError:
        return None
    return str(message.topic), bytes(message.payload)


@asynccontextmanager
async def listening(client: aiomqtt.Client, *topics: str) -> AsyncIterator[aiomqtt.Client]:
    async with client:
        for topic in topics:
            await client.subscribe(topic)
        yield client


async def test_a_node_and_the_collector_talk_over_tls(site: Site) -> None:
    async with (
        listening(site.collector(), "osn/1/+/u") as collector,
        listening(site.node(GOOD), "osn/1/a1b2c3d4/d") as node,
    ):
        await node.publish("osn/1/a1b2c3d4/u", b"frame")
        assert await received(collector) == ("osn/1/a1b2c3d4/u", b"frame")
        await collector.publish("osn/1/a1b2c3d4/d", b"ack")
        assert await received(node) == ("osn/1/a1b2c3d4/d", b"ack")


async def test_a_node_cannot_speak_for_another_or_for_the_collector(site: Site) -> None:
    async with (
        listening(site.collector(), "osn/1/+/u", "osn/1/+/w") as collector,
        listening(site.node(GOOD), "osn/1/a1b2c3d4/d") as victim,
        site.node(OTHER) as hostile,
    ):
        for topic in ("osn/1/a1b2c3d4/u", "osn/1/a1b2c3d4/d", "osn/1/a1b2c3d4/w", "other/topic"):
            await hostile.publish(topic, b"forged")
        await hostile.publish("osn/1/00000002/u", b"its own")
        assert await received(collector) == ("osn/1/00000002/u", b"its own")
        assert await received(collector, SILENCE_S) is None
        assert await received(victim, SILENCE_S) is None


async def test_a_node_reads_nothing_but_its_own_downlinks(site: Site) -> None:
    topics = ("#", "osn/1/+/d", "osn/1/a1b2c3d4/d", "osn/1/a1b2c3d4/u", "$SYS/#")
    async with (
        listening(site.node(OTHER), *topics) as hostile,
        site.collector() as collector,
        site.node(GOOD) as node,
    ):
        await node.publish("osn/1/a1b2c3d4/u", b"private")
        await collector.publish("osn/1/a1b2c3d4/d", b"private")
        assert await received(hostile, SILENCE_S) is None


async def test_a_node_cannot_push_another_off_by_its_client_id(site: Site) -> None:
    async with (
        listening(site.node(GOOD, identifier="a1b2c3d4"), "osn/1/a1b2c3d4/d") as victim,
        site.collector() as collector,
        site.node(OTHER, identifier="a1b2c3d4"),
    ):
        await asyncio.sleep(SILENCE_S)
        await collector.publish("osn/1/a1b2c3d4/d", b"still here")
        assert await received(victim) == ("osn/1/a1b2c3d4/d", b"still here")


async def test_nothing_is_retained_and_nothing_large_passes(site: Site) -> None:
    async with site.node(GOOD, timeout=2) as node:
        with pytest.raises(aiomqtt.MqttError):
            await node.publish("osn/1/a1b2c3d4/u", bytes(100_000), qos=1)
    with suppress(aiomqtt.MqttError):
        async with site.node(GOOD, timeout=2) as node:
            await node.publish("osn/1/a1b2c3d4/u", b"kept?", qos=1, retain=True)
    async with listening(site.collector(), "osn/1/+/u") as collector:
        assert await received(collector, SILENCE_S) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"username": None, "password": None},
        {"password": "wrong"},
        {"username": "stranger"},
        {"username": node_text(OTHER)},
        {"username": COLLECTOR_USER},
        {"username": "+"},
        {"username": "#"},
    ],
)
async def test_strangers_do_not_enter(site: Site, changes: dict[str, Any]) -> None:
    with pytest.raises(aiomqtt.MqttError):
        async with site.node(GOOD, **changes):
            pass


async def test_a_revoked_node_does_not_enter(site: Site) -> None:
    with pytest.raises(aiomqtt.MqttError):
        async with site.node(REVOKED):
            pass


async def test_the_boards_listener_speaks_tls_only_and_proves_itself(site: Site) -> None:
    with pytest.raises(aiomqtt.MqttError):
        async with site.node(GOOD, tls_context=None, timeout=2):
            pass
    with pytest.raises(aiomqtt.MqttError, match="certificate"):
        async with site.node(GOOD, tls_context=ssl.create_default_context()):
            pass


def test_secrets_are_not_readable_by_everybody(site: Site) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in site.folder.iterdir()}
    assert modes["ca.key"] == modes["collector.password"] == 0o600
    assert modes["server.key"] == modes["passwords"] == 0o640
    assert "\n" not in (site.folder / "passwords").read_text().splitlines()[0]


def test_a_new_name_renews_the_server_certificate_only(site: Site, tmp_path: Path) -> None:
    plan = BrokerPlan(("127.0.0.1", "new.local"), site.plan.tls_port, site.plan.local_port)
    changed = write_broker_config(site.folder, plan, NodeRegistry(), KeyRing())
    assert set(changed) == {"server.key", "server.crt", "passwords"}


async def test_it_works_from_debians_own_configuration(
    site: Site, mosquitto: Callable[..., Any], free_port: Callable[[], int], tmp_path: Path
) -> None:
    folder = tmp_path / "conf.d"
    folder.mkdir()
    tls, local = free_port(), free_port()
    text = (site.folder / "mosquitto.conf").read_text()
    text = text.replace(f"listener {site.plan.tls_port}", f"listener {tls}")
    text = text.replace(f"listener {site.plan.local_port}", f"listener {local}")
    (folder / "osn.conf").write_text(text)
    mosquitto(
        "persistence true\n"
        f"persistence_location {tmp_path}/\n"
        f"log_dest file {tmp_path}/mosquitto.log\n"
        f"include_dir {folder}\n",
        local,
    )
    async with aiomqtt.Client(
        "127.0.0.1",
        local,
        username=COLLECTOR_USER,
        password=(site.folder / "collector.password").read_text().strip(),
    ) as client:
        await client.subscribe("osn/1/+/u")
