"""The registry of nodes and the key ring, in files and in memory."""

import asyncio
import json
import stat
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from collector.app import Collector
from collector.keys import KeyRing, broker_password, open_files, parse_key
from collector.nodes import (
    NodeError,
    NodeInfo,
    NodeRegistry,
    Site,
    as_record,
    parse_new_record,
    parse_record,
)
from collector.private_file import PrivateFileError
from protocol.mac import derive
from tests.collector.house import STREET, House, Script, street_frame

NODE = 0xA1B2C3D4
OLD, NEW, THIRD = bytes(range(32)), bytes(range(1, 33)), bytes(range(2, 34))
UUID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"


RECORD = {"node": "a1b2c3d4", "uuid": UUID, "name": "Plaza", "board": "street", "boot": 5}


def info(node: int = NODE, **changes: object) -> NodeInfo:
    own = UUID if node == NODE else f"6f9619ff-8b86-4d01-b42d-0000{node:08x}"
    return parse_record({**RECORD, "node": f"{node:08x}", "uuid": own, **changes})


def up(secret: bytes) -> bytes:
    return derive(secret, b"up")


def test_a_record_survives_the_way_to_a_file_and_back() -> None:
    site = {"latitude": 41.38, "longitude": 2.17, "elevation_m": 12.5}
    node = info(site=site, mobile=True, exact=True)
    assert node.site == Site(41.38, 2.17, 12.5)
    assert parse_record(json.loads(json.dumps(as_record(node)))) == node


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"node": "xyz"}, "eight hex digits"),
        ({"node": 5}, "node is missing"),
        ({"uuid": "no"}, "uuid"),
        ({"boot": -1}, "boot"),
        ({"boot": True}, "boot"),
        ({"name": "x" * 81}, "name"),
        ({"name": "a\x1b[31m"}, "name"),
        ({"mobile": 1}, "mobile must be true or false"),
        ({"site": {"latitude": 91, "longitude": 0}}, "site.latitude must be a number"),
        ({"site": {"latitude": True, "longitude": 0}}, "site.latitude"),
        ({"site": [1, 2]}, "site must be an object"),
        ({"state": "gone"}, "state must be one of"),
    ],
)
def test_a_bad_record_is_refused_with_the_field(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(NodeError, match=reason):
        parse_new_record({**RECORD, **changes})


BAD_NAMES = [
    "=1+1", "+34 600", "-1", "@SUM(A1)", "＝1+1", " =1", "\t=1+1", "\r=1", "a\nb", "a\x1b[31m",
    "a\x00", "a\u202eb", "a\u200b", "\ud800", "x" * 81, "\ufffd",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_harms_others_is_not_let_in_and_is_read_where_it_is(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(NodeError, match="name"):
        parse_new_record({**RECORD, "name": name})
    path = tmp_path / "nodes.json"
    path.touch(0o600)
    path.write_text(json.dumps({"version": 1, "nodes": [{**RECORD, "name": name}]}))
    registry = NodeRegistry(path)
    [held] = registry.misnamed()
    assert held.node == NODE
    assert held.name.isprintable()
    registry.set_state(NODE, "revoked")
    registry.set_state(NODE, "active")
    registry.put(info(name="Plaza"))
    assert registry.misnamed() == []


@pytest.mark.parametrize("name", ["Plaça 😀 7", "Κήπος", "7-9", "a=b", "x" * 80, "#1", "a+b@c"])
def test_a_name_of_any_language_is_taken(name: str) -> None:
    assert parse_new_record({**RECORD, "name": name}).name == name


@pytest.mark.parametrize("board", ["=1", "a\nb", "x" * 81])
def test_a_board_has_a_name_as_harmless(board: str) -> None:
    with pytest.raises(NodeError, match="board"):
        parse_new_record({**RECORD, "board": board})


def test_a_name_by_which_another_is_found_is_refused() -> None:
    registry = NodeRegistry(nodes=[info(), info(7, name="Pier"), info(9, name="Gone")])
    registry.set_state(9, "revoked")
    for name in ("plaza", "PLAZA", "a1b2c3d4", UUID, "00000001"):
        with pytest.raises(NodeError, match=r"name|address"):
            registry.check(info(8, name=name))
    with pytest.raises(NodeError, match="is that of node"):
        registry.check(info(8, name="Quay"), info(10, name="quay"))
    registry.check(info(8, name="Gone"), info(7, name="Pier"), info(10, name="0000000a"))


def test_names_that_were_given_twice_before_stay() -> None:
    registry = NodeRegistry(nodes=[info(), info(7)])
    registry.check(info(), info(7, exact=True))


def test_nodes_are_found_by_address_name_and_identity(tmp_path: Path) -> None:
    registry = NodeRegistry(tmp_path / "nodes.json")
    registry.put(info(), info(7, uuid=UUID.replace("6", "7"), name="Pier"))
    for text in ("a1b2c3d4", "plaza", UUID.upper()):
        assert registry.find(text).node == NODE
    registry.put(info(8, name="Pier"))
    with pytest.raises(NodeError, match=r"several nodes: 00000007, 00000008"):
        registry.find("Pier")
    with pytest.raises(NodeError, match="no node 'Quay'"):
        registry.find("Quay")


def test_an_identity_belongs_to_one_node(tmp_path: Path) -> None:
    registry = NodeRegistry(tmp_path / "nodes.json")
    registry.put(info(), info(7, name="Pier"))
    for twice in ([info(8, uuid=UUID.upper(), name="Quay")], [info(8), info(9, uuid=info(8).uuid)]):
        with pytest.raises(NodeError, match=r"have one UUID.*provision one of the boards again"):
            registry.put(*twice)
        assert len(registry) == 2
    registry.put(info(name="Plaza 2"))
    registry.set_state(NODE, "erased")
    registry.put(info(8, uuid=UUID))
    assert registry.get(8) == info(8, uuid=UUID)


def test_a_file_with_one_identity_twice_is_read_and_its_nodes_can_be_told_apart(
    tmp_path: Path,
) -> None:
    path = tmp_path / "nodes.json"
    twins = [as_record(info()), as_record(info(7, uuid=UUID, name="Pier"))]
    path.touch(0o600)
    path.write_text(json.dumps({"version": 1, "nodes": twins}))
    registry = NodeRegistry(path)
    assert [sorted(node.node for node in pair) for pair in registry.twins()] == [[7, NODE]]
    registry.put(info(name="Square"))
    registry.put(info(7))
    assert registry.twins() == []


def test_another_process_sees_a_change_and_nobody_else_reads_the_file(tmp_path: Path) -> None:
    daemon, operator = (NodeRegistry(tmp_path / "nodes.json") for _ in range(2))
    operator.put(info())
    assert daemon.get(NODE) is None
    assert daemon.reload()
    assert not daemon.reload()
    assert daemon.get(NODE) == info()
    assert stat.S_IMODE((tmp_path / "nodes.json").stat().st_mode) == 0o600


def test_writers_do_not_lose_each_others_nodes(tmp_path: Path) -> None:
    def write(first: int) -> None:
        registry = NodeRegistry(tmp_path / "nodes.json")
        for node in range(first, first + 10):
            registry.put(info(node))

    threads = [threading.Thread(target=write, args=(100 * turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(NodeRegistry(tmp_path / "nodes.json")) == 40


def test_keys_that_others_may_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    KeyRing(path).add(NODE, OLD)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    with pytest.raises(PrivateFileError, match="chmod 600"):
        KeyRing(path)


def test_a_damaged_key_file_is_named_without_its_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.touch(0o600)
    path.write_text(json.dumps({"nodes": {"a1b2c3d4": {"key": "ab" * 31}}}))
    with pytest.raises(PrivateFileError) as caught:
        KeyRing(path)
    assert "a1b2c3d4" in str(caught.value)
    assert "abab" not in str(caught.value)
    path.write_text("{")
    with pytest.raises(PrivateFileError, match="not JSON"):
        KeyRing(path)


def test_a_key_is_never_printed() -> None:
    ring = KeyRing(secrets={NODE: OLD})
    for shown in (repr(ring.get(NODE)), str(ring.get(NODE)), repr(ring)):
        assert OLD.hex() not in shown
        assert repr(OLD)[2:-1] not in shown
    with pytest.raises(NodeError, match="64 hex digits") as caught:
        parse_key("zz" * 32)
    assert "zz" not in str(caught.value)


def test_a_node_without_a_key_is_unknown() -> None:
    ring = KeyRing()
    assert ring.up(NODE, 1, 1) == []
    assert ring.down(NODE) is None


def test_a_second_key_needs_a_rotation(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    ring.add(NODE, OLD)
    ring.add(NODE, OLD)
    with pytest.raises(NodeError, match="rotate"):
        ring.add(NODE, NEW)


async def test_a_rotation_lets_old_frames_pass_until_the_spool_is_past_the_switch(
    tmp_path: Path,
) -> None:
    path = tmp_path / "keys.json"
    ring = KeyRing(path)
    ring.add(NODE, OLD)
    ring.rotate(NODE, NEW)
    assert ring.up(NODE, 9, 1) == [up(OLD), up(NEW)]
    assert ring.down(NODE) == derive(OLD, b"dn"), "the board has the old key as far as we know"

    ring.accepted(NODE, 9, 50, up(OLD))
    assert ring.down(NODE) == derive(OLD, b"dn")
    ring.accepted(NODE, 9, 105, up(NEW))
    ring.accepted(NODE, 9, 101, up(NEW))
    ring.accepted(NODE, 9, 110, up(NEW))
    assert await ring.exchange()
    ring = KeyRing(path)
    assert ring.down(NODE) == derive(NEW, b"dn")
    assert ring.up(NODE, 9, 100) == [up(OLD), up(NEW)]
    assert ring.up(NODE, 8, 5000) == [up(OLD), up(NEW)]
    assert ring.up(NODE, 9, 101) == [up(NEW)], "the old key is worth nothing past the switch"

    ring.settled(NODE, (9, 100))
    assert ring.up(NODE, 9, 100) == [up(OLD), up(NEW)]
    ring.settled(NODE, (9, 101))
    assert ring.up(NODE, 9, 100) == [up(NEW)]
    await ring.exchange()
    held = KeyRing(path).get(NODE)
    assert held is not None
    assert held.sealed == (OLD,)


def test_the_switch_that_a_board_names_is_taken_before_what_happened_to_arrive() -> None:
    ring = KeyRing(None, {NODE: OLD})
    ring.rotate(NODE, NEW)
    ring.accepted(NODE, 9, 3, up(OLD), (1, 1))
    assert ring.up(NODE, 9, 4) == [up(OLD), up(NEW)], "the former key names nothing"
    ring.accepted(NODE, 9, 50, up(NEW))
    assert ring.up(NODE, 9, 49) == [up(OLD), up(NEW)]
    ring.accepted(NODE, 9, 60, up(NEW), (8, 0xFFFFFFFF))
    assert ring.up(NODE, 9, 1) == [up(NEW)]
    assert ring.up(NODE, 8, 0xFFFFFFFF) == [up(OLD), up(NEW)]
    ring.settled(NODE, (8, 70))
    assert ring.up(NODE, 8, 70) == [up(OLD), up(NEW)]
    ring.settled(NODE, (9, 1))
    held = ring.get(NODE)
    assert held is not None
    assert held.previous is None


def test_a_rotation_that_never_reached_the_board_can_be_undone(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    ring.add(NODE, OLD)
    with pytest.raises(NodeError, match="no rotation"):
        ring.undo_rotation(NODE)
    ring.rotate(NODE, NEW)
    with pytest.raises(NodeError, match="under way"):
        ring.rotate(NODE, THIRD)
    ring.undo_rotation(NODE)
    assert ring.up(NODE, 1, 1) == [up(OLD)]
    ring.rotate(NODE, NEW)
    ring.accepted(NODE, 2, 1, up(NEW))
    with pytest.raises(NodeError, match="no rotation"):
        ring.undo_rotation(NODE)


def test_a_revoked_node_is_refused_and_its_keys_are_kept(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    ring.add(NODE, OLD)
    ring.revoke(NODE)
    assert ring.up(NODE, 1, 1) == []
    assert ring.down(NODE) is None
    assert OLD.hex() in (tmp_path / "keys.json").read_text()
    ring.add(NODE, OLD)
    assert ring.up(NODE, 1, 1) == [up(OLD)]
    ring.remove(NODE)
    assert OLD.hex() not in (tmp_path / "keys.json").read_text()


def test_the_brokers_password_follows_from_the_key_and_does_not_tell_it() -> None:
    password = broker_password(OLD)
    assert password == broker_password(OLD) != broker_password(NEW)
    assert len(password) == 32
    assert password not in OLD.hex()


def test_a_provisioned_board_gets_the_password_that_the_broker_expects() -> None:
    from hardware.provision import broker_entry
    from hardware.records import Identity

    assert broker_entry(Identity(NODE, UUID, OLD, 1)) == {
        "broker_user": "a1b2c3d4",
        "broker_password": broker_password(OLD),
    }


def test_a_crash_between_write_and_rename_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    ring.add(NODE, OLD)
    monkeypatch.setattr(Path, "replace", _no_power)
    with pytest.raises(OSError, match="power"):
        ring.rotate(NODE, NEW)
    assert KeyRing(tmp_path / "keys.json").up(NODE, 1, 1) == [up(OLD)]
    assert list(tmp_path.glob("*.new")) == list(tmp_path.glob(".*.new")) == []


def _no_power(*_: object) -> None:
    raise OSError("power cut")


BROKEN = {
    "no JSON": lambda path: path.write_text("{"),
    "a list": lambda path: path.write_text("[]"),
    "nodes that are a list": lambda path: path.write_text('{"nodes": [1]}'),
    "a node that is a number": lambda path: path.write_text('{"nodes": {"a1b2c3d4": 7}}'),
    "no keys in it": lambda path: path.write_text('{"nodes": {"a1b2c3d4": {}}}'),
    "nested without end": lambda path: path.write_text("[" * 100_000),
    "bytes": lambda path: path.write_bytes(bytes(range(256))),
    "readable by all": lambda path: path.chmod(0o644),
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("how", BROKEN)
async def test_a_key_file_that_breaks_in_a_rotation_leaves_what_was_read_in_force(
    tmp_path: Path, how: str
) -> None:
    path = tmp_path / "keys.json"
    operator = KeyRing(path)
    operator.add(NODE, OLD)
    operator.rotate(NODE, NEW)
    good = path.read_bytes()
    ring = KeyRing(path)
    BROKEN[how](path)
    ring.accepted(NODE, 9, 101, up(NEW))
    ring.settled(NODE, (9, 100))
    assert ring.up(NODE, 9, 101) == [up(NEW)]
    with pytest.raises(PrivateFileError, match=r"keys\.json") as raised:
        await ring.exchange()
    assert OLD.hex() not in str(raised.value)
    assert ring.up(NODE, 9, 101) == [up(NEW)]
    assert ring.up(NODE, 9, 5) == [up(OLD), up(NEW)]
    with suppress(OSError):
        path.rmdir()
    path.write_bytes(good)
    path.chmod(0o600)
    assert await ring.exchange()
    again = KeyRing(path)
    assert again.up(NODE, 9, 101) == [up(NEW)], "what the frame had shown is in the file by now"


@pytest.mark.parametrize("how", BROKEN)
async def test_a_file_of_nodes_that_breaks_leaves_what_was_read_in_force(
    tmp_path: Path, how: str
) -> None:
    path = tmp_path / "nodes.json"
    NodeRegistry(path).put(parse_record(RECORD))
    registry = NodeRegistry(path)
    BROKEN[how](path)
    with pytest.raises(PrivateFileError, match=r"nodes\.json"):
        await registry.exchange()
    assert len(registry) == 1


async def test_keys_that_cannot_be_written_are_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys.json"
    operator = KeyRing(path)
    operator.add(NODE, OLD)
    operator.rotate(NODE, NEW)
    ring = KeyRing(path)
    ring.accepted(NODE, 9, 101, up(NEW))

    def full(*what: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("collector.private_file.write_bytes", full)
        with pytest.raises(PrivateFileError, match="No space left"):
            await ring.exchange()
    assert ring.up(NODE, 9, 101) == [up(NEW)]
    await ring.exchange()
    assert KeyRing(path).up(NODE, 9, 101) == [up(NEW)]


async def test_what_an_operator_does_meanwhile_is_not_undone(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    operator = KeyRing(path)
    operator.add(NODE, OLD)
    operator.rotate(NODE, NEW)
    ring = KeyRing(path)
    operator.undo_rotation(NODE)
    ring.accepted(NODE, 9, 101, up(NEW))
    ring.settled(NODE, None)
    assert await ring.exchange()
    assert ring.up(NODE, 9, 200) == [up(OLD)]
    assert KeyRing(path).up(NODE, 9, 200) == [up(OLD)]


async def test_frames_touch_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.json"
    operator = KeyRing(path)
    operator.add(NODE, OLD)
    operator.rotate(NODE, NEW)
    ring = KeyRing(path)

    def touched(*what: object, **more: object) -> None:
        raise AssertionError("a file was opened on the event loop")

    monkeypatch.setattr("collector.private_file.locked", touched)
    monkeypatch.setattr("collector.private_file.read_json", touched)
    ring.accepted(NODE, 9, 101, up(NEW))
    ring.settled(NODE, None)
    assert ring.up(NODE, 9, 5) == [up(NEW)]


def test_the_collector_goes_on_with_broken_files_and_says_so(bare_house: House) -> None:
    keys = bare_house.folder / "data" / "keys.json"
    nodes = bare_house.folder / "data" / "nodes.json"
    seen: list[str] = []

    async def play(transport: Script, collector: Collector) -> None:
        good = keys.read_bytes()
        keys.write_text("{")
        nodes.unlink()
        await asyncio.sleep(20)
        seen.append(collector.file_fault)
        transport.receive(STREET, street_frame(1))
        await asyncio.sleep(5)
        assert collector.intake.commits.committed == 1
        keys.write_bytes(good)
        await asyncio.sleep(20)
        seen.append(collector.file_fault)

    bare_house.live(play)
    assert "keys.json" in seen[0]
    assert "nodes.json: is gone" in seen[0]
    assert "keys.json" not in seen[1]


def test_a_start_without_the_file_of_nodes_but_with_keys_is_refused(tmp_path: Path) -> None:
    nodes, keys = tmp_path / "nodes.json", tmp_path / "keys.json"
    assert [len(part.nodes()) for part in open_files(nodes, keys)[1:]] == [0], "both are new"
    NodeRegistry(nodes).put(info())
    KeyRing(keys).add(NODE, OLD)
    registry, ring = open_files(nodes, keys)
    assert (len(registry), ring.nodes()) == (1, [NODE])
    nodes.unlink()
    with pytest.raises(PrivateFileError, match=r"nodes\.json: is gone, and .* keys of 1 nodes"):
        open_files(nodes, keys)


@pytest.mark.parametrize("command", ["import", "adopt"])
def test_a_node_is_known_before_its_key_is(
    bare_house: House, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """What is believed and nobody's would be left out at every network, for good."""
    fresh = 0xB1B2C3D4
    seen: list[bool] = []
    add = KeyRing.add

    def watching(ring: KeyRing, node: int, secret: bytes) -> None:
        seen.append(NodeRegistry(bare_house.folder / "data" / "nodes.json").get(node) is not None)
        add(ring, node, secret)

    monkeypatch.setattr(KeyRing, "add", watching)
    record = as_record(info(fresh, name="New")) | {"key": OLD.hex()}
    if command == "import":
        file = bare_house.folder / "tray.jsonl"
        file.write_text(json.dumps(record) + "\n")
        bare_house.call("nodes", "import", str(file))
    else:
        uuid = str(record["uuid"])
        arguments = [f"{fresh:08x}", "--name", "New", "--uuid", uuid]
        bare_house.call("nodes", "adopt", *arguments, stdin=f"{OLD.hex()}\n")
    assert seen == [True]


async def test_a_node_that_comes_with_its_key_while_files_are_read_is_known_too(
    bare_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bare_house.folder / "data"
    nodes, keys = NodeRegistry(data / "nodes.json"), KeyRing(data / "keys.json")
    fresh, exchange = 0xB1B2C3D4, KeyRing.exchange

    async def late(ring: KeyRing) -> bool:
        nodes.put(info(fresh))
        keys.add(fresh, OLD)
        return await exchange(ring)

    seen: list[bool] = []

    async def play(transport: Script, collector: Collector) -> None:
        monkeypatch.setattr(KeyRing, "exchange", late)
        await collector.reload()
        seen.append(fresh in collector.keys and collector.nodes.get(fresh) is not None)

    await asyncio.to_thread(bare_house.live, play)
    assert seen == [True]
