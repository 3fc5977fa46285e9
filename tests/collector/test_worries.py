"""status says what needs a person, each a line that begins with `!`, and ends with 3."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from collector.app import Collector
from collector.doctor.worries import worries
from collector.operate.operations import Operations
from collector.operate.status import Status
from collector.readings.observation import Channel, Observation
from collector.sinks.base import ACCEPTED, AccessDenied, Group, NotSent, Outcome, Sink
from tests.collector.house import (
    MOBILE,
    House,
    Script,
    an_hour,
    make_house,
    street_frame,
)

DAY_MS = 86_400_000


class Boxes(Sink):
    """A network that knows the box of one node only, as openSenseMap and others do."""

    name = "boxes"

    def upstream_name(self, channel: Channel) -> str:
        return channel.key

    def split(self, observations: Sequence[Observation]) -> Iterable[Group]:
        for address in sorted({o.channel.node.hex for o in observations}):
            own = [o for o in observations if o.channel.node.hex == address]
            yield Group(address, own)

    async def send(self, batch: Sequence[Observation]) -> Sequence[Outcome]:
        if batch[0].channel.node.link == MOBILE:
            raise AccessDenied("status 403: node not found")
        return [ACCEPTED] * len(batch)


class Away(Boxes):
    """A network whose certificate's authority is a file that is not there."""

    name = "away"

    async def prepare(self, nodes: object) -> None:
        raise NotSent("ca.pem: No such file or directory")


def lived(house: House, sinks: Sequence[Sink] = (), *, synchronised: bool = True) -> Status:
    """The status of a running collector after an hour."""
    found: list[Status] = []

    async def play(transport: Script, collector: Collector) -> None:
        task = asyncio.create_task(an_hour(transport, collector))
        await asyncio.sleep(3_700)
        task.cancel()
        found.append(await Operations(collector).status({}))

    house.live(play, sinks={sink.name: sink for sink in sinks}, synchronised=synchronised)
    return found[0]


def of(said: Sequence[str], word: str) -> list[str]:
    return [line for line in said if word in line]


def test_a_network_and_each_of_its_addresses_that_is_held_up(bare_house: House) -> None:
    said = worries(lived(bare_house, [Boxes(), Away()]))
    assert of(said, "boxes") == ["boxes is held up for 0000b0b1: status 403: node not found"]
    [line] = of(said, "away")
    assert line == "away is held up: ca.pem: No such file or directory"


def test_many_addresses_are_counted() -> None:
    closed = {f"box {number}": "no box" for number in range(50)}
    sink = {"name": "map", "blocked_reason": "", "closed_addresses": closed}
    status: Status = {
        "alarms": [], "running": True, "collector": {"accepting": True}, "transports": [],
        "nodes": [], "sinks": [sink],
    }  # fmt: skip
    said = worries(status)
    assert len(said) == 6
    assert said[-1] == "map is held up for 45 more addresses"


def test_a_healthy_collector_says_nothing_but_the_stranger(bare_house: House) -> None:
    # how fast a card wears is told of all that this process writes, other tests included
    [line] = [line for line in worries(lived(bare_house)) if not line.startswith("card")]
    assert line.startswith("1 unknown board held in quarantine: 000000ff (3 frames)")


def test_an_unknown_board_is_named_until_it_is_adopted_or_silent_for_a_day(house: House) -> None:
    found = json.loads(house.call("status", "--json", code=3))
    assert found["strangers"] == [], "it was heard months ago by this machine's clock"

    async def a_day_later(transport: Script, collector: Collector) -> None:
        silent.append(await Operations(collector).status({}))
        transport.receive(0xFE, street_frame(1, 0xFF))
        transport.receive(0xFF, street_frame(1, 0xFF))
        await asyncio.sleep(30)
        again.append(await Operations(collector).status({}))

    silent: list[Status] = []
    again: list[Status] = []
    house.live(a_day_later, at_ms=1_772_366_400_000 + 2 * DAY_MS)
    assert not of(worries(silent[0]), "unknown")
    assert "000000ff" in of(worries(again[0]), "unknown")[0]
    key = bytes(range(2, 34)).hex()
    house.call("nodes", "adopt", "000000ff", "--name", "Pier", "--uuid", "f" * 32, stdin=f"{key}\n")

    async def adopted(transport: Script, collector: Collector) -> None:
        await asyncio.sleep(10)
        again.append(await Operations(collector).status({}))

    house.live(adopted, at_ms=1_772_366_400_000 + 2 * DAY_MS + 60_000)
    assert not of(worries(again[-1]), "unknown")


def test_a_clock_that_nobody_sets_is_named(bare_house: House) -> None:
    text = bare_house.config.read_text()
    assert not of(worries(lived(bare_house, synchronised=False)), "clock"), (
        "somebody vouches for it"
    )
    bare_house.config.write_text(text.replace('"always"', '"kernel"'))
    assert of(worries(lived(bare_house, synchronised=False)), "the clock is not synchronised")
    assert not of(worries(lived(bare_house)), "clock")


@pytest.mark.parametrize("content", [None, "{}", '{"nodes": {}}'])
def test_keys_that_are_gone_are_named(tmp_path: Path, content: str | None) -> None:
    house = make_house(tmp_path)
    house.live(an_hour)
    keys = house.folder / "data" / "keys.json"
    keys.unlink() if content is None else keys.write_text(content)
    assert "! no key for Bike, Plaza" in house.call("status", code=3)
    assert of(worries(lived(house)), "no key for Bike, Plaza")
    (house.folder / "data" / "nodes.json").unlink()
    assert "! no key for 0000b0b1, a1b2c3d4" in house.call("status", code=3)


def test_who_left_or_was_revoked_needs_no_key(house: House) -> None:
    house.call("nodes", "erase", "Bike", "--yes")
    house.call("nodes", "revoke", "Plaza", "--yes")
    assert "no key" not in house.call("status", code=3)


def test_commits_that_fail_are_named(bare_house: House) -> None:
    found = lived(bare_house)
    found["storage"] |= {"failing": True, "last_failure": "disk I/O error"}
    found["collector"]["restored"] = True
    found["storage"]["written_per_day_bytes"] = 20_000_000_000
    said = worries(found)
    assert of(said, "commit failed: disk I/O error")
    assert of(said, "older than what this collector acknowledged")
    assert of(said, "lasts 3 years")


def test_a_damaged_quarantine_hides_nothing_else(house: House) -> None:
    (house.folder / "data" / "quarantine.db").write_bytes(b"x" * 9_000)
    assert "Plaza" in house.call("status", code=3)
