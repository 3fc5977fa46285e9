"""The MQTT transport against a real mosquitto and the embedded amqtt."""

import asyncio
import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from collector.doctor.worries import worries
from collector.settings import MqttSettings
from collector.transports.base import FRAME_BYTES_MAX, Source
from collector.transports.mqtt import UNREACHED, MqttTransport, reach
from tests.collector.core import Bench, Board
from tests.integration.certificates import Authority

WITHIN_S = 240.0
NODE = 0xA1B2C3D4


async def until(holds: Callable[[], Any]) -> None:
    deadline_s = asyncio.get_running_loop().time() + WITHIN_S
    while not holds():
        assert asyncio.get_running_loop().time() < deadline_s, "it never came true"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def running(port: int, **settings: Any):
    transport = MqttTransport(
        MqttSettings(port=port, reconnect_s=0.05, reconnect_longest_s=0.1, **settings)
    )
    received: list[tuple[bytes, Source]] = []
    task = asyncio.create_task(transport.run(lambda raw, source: received.append((raw, source))))
    try:
        await until(lambda: transport.state.connected)
        yield transport, received
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_frames_come_up_and_downlinks_go_down(mosquitto):
    broker = mosquitto()
    async with (
        running(broker.port) as (transport, received),
        aiomqtt.Client("127.0.0.1", broker.port) as node,
    ):
        await node.subscribe("osn/1/a1b2c3d4/d")
        assert not transport.send(NODE, b"nobody was heard yet")
        await node.publish("osn/1/a1b2c3d4/u", b"frame")
        await until(lambda: received)
        assert received == [(b"frame", Source("mqtt", NODE, False))]
        assert transport.send(NODE, b"ack")
        async with asyncio.timeout(WITHIN_S):
            message = await anext(node.messages)
        assert (message.payload, message.retain) == (b"ack", False)


async def test_what_is_not_a_frame_of_ours_is_counted_and_ignored(mosquitto):
    broker = mosquitto()
    async with aiomqtt.Client("127.0.0.1", broker.port) as stranger:
        await stranger.publish("osn/1/a1b2c3d4/u", b"kept by the broker", retain=True)
        async with running(broker.port) as (transport, received):
            await stranger.publish("osn/1/A1B2C3D4/u", b"upper case is another topic")
            await stranger.publish("osn/1/xyz/u", b"no address")
            await stranger.publish("osn/1/a1b2c3d4/u", bytes(FRAME_BYTES_MAX + 1))
            await stranger.publish("osn/1/a1b2c3d4/d", b"another's downlink")
            await stranger.publish("osn/1/a1b2c3d4/u", b"good")
            await until(lambda: received)
            counters = transport.state.counters
            assert [raw for raw, _ in received] == [b"good"]
            assert (counters.foreign, counters.oversize, counters.retained) == (2, 1, 1)


async def test_it_comes_back_after_the_broker_was_killed(mosquitto):
    broker = mosquitto()
    async with running(broker.port) as (transport, received):
        for turn in range(3):
            broker.kill()
            await until(lambda: not transport.state.connected)
            assert not transport.send(NODE, b"not reached")
            broker.start()
            await until(lambda: transport.state.connected)
            async with aiomqtt.Client("127.0.0.1", broker.port) as node:
                await node.publish("osn/1/a1b2c3d4/u", b"%d" % turn)
                await until(lambda turn=turn: len(received) == turn + 1)
        assert transport.state.counters.connects == 4


async def test_a_wrong_password_is_named_and_tried_again(mosquitto, tmp_path):
    (tmp_path / "passwords").write_text("")
    broker = mosquitto(
        f"listener @PORT@ 127.0.0.1\nallow_anonymous false\npassword_file {tmp_path}/passwords\n"
    )
    transport = MqttTransport(MqttSettings(port=broker.port, reconnect_s=0.02))
    task = asyncio.create_task(transport.run(lambda raw, source: None))
    await until(lambda: "uthori" in transport.state.reason)
    assert not transport.state.connected
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


NO_LISTENERS = {
    "defaultACLAccess": {
        "publishClientSend": True,
        "publishClientReceive": True,
        "subscribe": False,
        "unsubscribe": True,
    },
    "clients": [{"username": "collector", "roles": []}],
    "roles": [],
    "groups": [],
}


@pytest.fixture
def plugin() -> Path:
    """mosquitto's dynamic security, the one that refuses a subscription by its SUBACK."""
    found = next(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"), None)
    if found is None:
        pytest.skip("mosquitto has no dynamic security here")
    return found


async def test_a_broker_that_does_not_let_us_listen_is_named(mosquitto, tmp_path, plugin):
    access = tmp_path / "access.json"
    access.write_text(json.dumps(NO_LISTENERS))
    broker = mosquitto(
        "listener @PORT@ 127.0.0.1\nallow_anonymous true\n"
        f"plugin {plugin}\nplugin_opt_config_file {access}\n"
    )
    transport = MqttTransport(MqttSettings(port=broker.port, reconnect_s=0.02))
    task = asyncio.create_task(transport.run(lambda raw, source: None))
    await until(lambda: transport.state.reason != "not started" or transport.state.connected)
    assert not transport.state.connected
    assert "does not let us subscribe to osn/1/+/u" in transport.state.reason
    assert "access list" in transport.state.reason
    assert transport.state.counters.connects == 0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    with pytest.raises(UNREACHED, match="does not let us subscribe"):
        await reach(MqttSettings(port=broker.port))


async def test_the_doctor_enters_a_broker_and_names_what_keeps_it_out(
    mosquitto, tmp_path, free_port
):
    await reach(MqttSettings(port=mosquitto().port))
    (tmp_path / "passwords").write_text("")
    closed = mosquitto(
        f"listener @PORT@ 127.0.0.1\nallow_anonymous false\npassword_file {tmp_path}/passwords\n"
    )
    with pytest.raises(UNREACHED, match="uthori"):
        await reach(MqttSettings(port=closed.port))
    with pytest.raises(UNREACHED, match="refused"):
        await reach(MqttSettings(port=free_port()))


async def test_a_broker_that_asks_for_a_client_certificate_gets_one(mosquitto, tmp_path):
    authority = Authority(tmp_path)
    broker = mosquitto(
        authority.mosquitto() + f"cafile {tmp_path}/ca.pem\nrequire_certificate true\n"
    )
    tls = {"host": "localhost", "tls": True, "ca_file": tmp_path / "ca.pem"}
    own = {"certificate_file": tmp_path / "server.pem", "key_file": tmp_path / "server.key"}
    async with running(broker.port, **tls, **own) as (transport, _):
        assert transport.state.connected
    with pytest.raises(UNREACHED):
        await reach(MqttSettings(port=broker.port, **tls))


async def test_of_two_brokers_each_answers_the_nodes_that_it_heard(mosquitto):
    first, second = mosquitto(), mosquitto()
    async with (
        running(first.port, name="first") as (one, heard_by_one),
        running(second.port, name="second") as (two, heard_by_two),
        aiomqtt.Client("127.0.0.1", second.port) as node,
    ):
        await node.publish("osn/1/a1b2c3d4/u", b"frame")
        await until(lambda: heard_by_two)
        assert heard_by_two == [(b"frame", Source("second", NODE, False))]
        assert heard_by_one == []
        assert not one.send(NODE, b"ack")
        assert two.send(NODE, b"ack")
        first.kill()
        await until(lambda: not one.state.connected)
        await node.publish("osn/1/a1b2c3d4/u", b"goes on")
        await until(lambda: len(heard_by_two) == 2)


async def test_the_embedded_broker_serves_as_well(unused_tcp_port):
    from amqtt.broker import Broker

    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{unused_tcp_port}"}},
            "plugins": {
                "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
            },
        }
    )
    await broker.start()
    try:
        async with (
            running(unused_tcp_port) as (transport, received),
            aiomqtt.Client("127.0.0.1", unused_tcp_port) as node,
        ):
            await node.subscribe("osn/1/a1b2c3d4/d")
            await node.publish("osn/1/a1b2c3d4/u", b"frame")
            await until(lambda: received)
            assert transport.send(NODE, b"ack")
            async with asyncio.timeout(WITHIN_S):
                message = await anext(node.messages)
            assert message.payload == b"ack"
    finally:
        await broker.shutdown()


async def test_acknowledgements_that_the_broker_swallows_are_noticed(mosquitto, tmp_path):
    access = tmp_path / "access"
    access.write_text("topic read osn/1/+/u\ntopic write osn/1/+/u\ntopic read osn/1/+/d\n")
    broker = mosquitto(f"listener @PORT@ 127.0.0.1\nallow_anonymous true\nacl_file {access}\n")
    board = Board()
    bench = Bench(tmp_path, [board])
    async with (
        running(broker.port) as (transport, received),
        aiomqtt.Client("127.0.0.1", broker.port) as node,
    ):
        await node.subscribe("osn/1/a1b2c3d4/d")
        for sent, wait_s in enumerate((0, 10, 20, 40), 1):
            bench.clock.pass_ms(1000 * wait_s)
            await node.publish("osn/1/a1b2c3d4/u", board.data(1))
            await until(lambda sent=sent: len(received) == sent)
            bench.receive(received[-1][0])
            await bench.intake.flush()
            assert transport.send(NODE, bench.raw_down[-1].raw), "MQTT says nothing at QoS 0"
        await until(lambda: transport.state.counters.sent == 4)
        assert len(bench.acks()) == 4
        assert not len(node.messages)
    found = {"name": "Plaza", "deaf": bench.intake.hearing.deaf(NODE)}
    found["frames"], found["conflicts"] = {"lost": 0}, 0
    status = {"alarms": [], "running": True, "collector": {"accepting": True}, "transports": []}
    (line,) = worries({**status, "nodes": [found], "sinks": []})
    assert "boards do not hear us: Plaza" in line
    assert "write PREFIX/1/+/d" in line
