"""What is kept A/B or checksummed: stores, settings, drop counters, identity."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware import identity, setting_rules
from firmware.drops import Drops
from firmware.identity import Identity
from firmware.setting_rules import SettingError
from firmware.settings import Settings
from firmware.store import DATA_MAX, Store
from protocol import wire
from protocol.compose import setting
from simulator.faults.filesystem import Behaviour, Faults, MemoryFiles, Outcome, PowerCut
from tests.firmware.boards import BOOT, KEY, NODE, UUID, MemoryNvs, provision

CUTS = list(itertools.product(Behaviour, Outcome))


@pytest.mark.parametrize(("behaviour", "outcome"), CUTS)
def test_a_store_has_the_old_or_the_new_data_after_any_cut(
    behaviour: Behaviour, outcome: Outcome
) -> None:
    for cut_at in itertools.count(1):
        files = MemoryFiles(behaviour, Faults(cut_at, outcome))
        store = Store(files, "record")
        saved = b""
        try:
            for version in range(4):
                saving = b"data %d" % version
                store.save(saving)
                saved = saving
        except PowerCut:
            found = Store(files.survivors(), "record").load() or b""
            assert found in (saved, saving)
            continue
        assert cut_at > 8
        return


def test_a_store_takes_no_damaged_slot() -> None:
    files = MemoryFiles()
    store = Store(files, "record")
    store.save(b"first")
    store.save(b"second")
    newest = f"record.{2 & 1}"
    damaged = bytearray(files.content[newest])
    damaged[9] ^= 1
    files.content[newest] = bytes(damaged)
    assert Store(files, "record").load() == b"first"


def test_a_store_refuses_what_it_could_not_read_back() -> None:
    with pytest.raises(ValueError, match="too long"):
        Store(MemoryFiles(), "record").save(bytes(DATA_MAX + 1))


def test_drop_counters_survive_and_forget_what_the_collector_knows() -> None:
    files = MemoryFiles()
    drops = Drops(files, "drops")
    drops.count(wire.DROP_SPOOL_FULL, 5, 100, 40)
    drops.count(wire.DROP_CORRUPT, 1, 101, 3)
    again = Drops(files, "drops")
    assert again.counts[:3] == [5, 0, 1]
    assert again.left == [(100, 40), (101, 3)]
    again.settled(100, 39)
    again.settled(101, 3)
    assert again.left == [(100, 40)]


def test_identity_survives_and_a_boot_counts() -> None:
    nvs = MemoryNvs()
    assert identity.load(nvs) is None
    provision(nvs)
    who = identity.load(nvs)
    assert who is not None
    assert (who.node, who.boot, who.uuid, who.key) == (NODE, BOOT, UUID, KEY)
    identity.next_boot(nvs, who)
    again = identity.load(nvs)
    assert again is not None
    assert again.boot == BOOT + 1


@given(st.integers(0, identity.SIZE * 8 - 1))
def test_identity_takes_no_damaged_record(bit: int) -> None:
    record = bytearray(Identity(NODE, BOOT, UUID, KEY).pack())
    record[bit // 8] ^= 1 << bit % 8
    assert identity.unpack(record) is None


def test_every_default_is_within_its_limits_and_every_key_is_unique() -> None:
    rows = list(setting_rules.rows())
    for row in rows:
        row.check(row.default)
    assert len({row.key for row in rows}) == len({row.name for row in rows}) == len(rows)
    assert set(setting_rules.RESTART) <= {row.name for row in rows}


def test_settings_come_back_from_flash() -> None:
    files = MemoryFiles()
    first = Settings(files)
    first.set("broker_host", "pi.lan")
    first.set("sample_interval_s", 10)
    first.save()
    again = Settings(files)
    again.load()
    assert again["broker_host"] == "pi.lan"
    assert again["sample_interval_s"] == 10
    assert again["report_interval_s"] == setting_rules.row_named("report_interval_s").default


def test_settings_of_a_newer_build_survive_an_older_one() -> None:
    files = MemoryFiles()
    Store(files, "settings").save(b"\xe7\x03\x02ab" + b"\x02\x00\x01\x14")
    older = Settings(files)
    older.load()
    assert older["sample_interval_s"] == 10
    older.set("window", 4)
    older.save()
    kept = Store(files, "settings").load()
    assert kept is not None
    assert b"\xe7\x03\x02ab" in kept


def test_a_provisioning_file_is_taken_up_once() -> None:
    files = MemoryFiles()
    files.content["provision.json"] = json.dumps({"wifi_password": "secret"}).encode()
    first = Settings(files)
    first.load()
    assert first["wifi_password"] == "secret"
    assert "provision.json" not in files.content
    again = Settings(files)
    again.load()
    assert again["wifi_password"] == "secret"


@pytest.mark.parametrize("cut_at", range(1, 9))
def test_a_power_cut_while_provisioning_leaves_the_file_or_the_settings(cut_at: int) -> None:
    files = MemoryFiles(faults=Faults(cut_at, Outcome.NOTHING))
    files.content["provision.json"] = b'{"broker_host": "pi.lan"}'
    try:
        Settings(files).load()
    except PowerCut:
        files = files.survivors()
    again = Settings(files)
    again.load()
    assert again["broker_host"] == "pi.lan"


@given(st.integers(0, 2147483647))
def test_integers_are_coded_as_the_collector_codes_them(value: int) -> None:
    assert setting_rules.encode(value) == setting(value)


@pytest.mark.parametrize(
    ("key", "raw"),
    [
        ("sample_interval_s", setting(0)),
        ("sample_interval_s", setting(90_000)),
        ("sample_interval_s", b""),
        ("sample_interval_s", b"\x80"),
        ("broker_host", b"\xff\xfe"),
        ("broker_host", b"h" * 65),
        ("broker_password", b"secret"),
    ],
)
def test_what_is_out_of_limits_is_refused_with_its_key(key: str, raw: bytes) -> None:
    table = Settings()
    row = setting_rules.row_named(key)
    with pytest.raises(SettingError) as caught:
        table.apply([(row.key, raw)])
    assert caught.value.key == row.key
    assert table[key] == row.default
