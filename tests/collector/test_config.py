"""Configuration files: what is good, and that every fault is named with its line."""

from pathlib import Path

import pytest

from collector.config import Config, ConfigError, load
from collector.toml_lines import key_lines, line_of


def written(folder: Path, text: str) -> Path:
    file = folder / "collector.toml"
    file.write_text(text)
    return file


def faults(folder: Path, text: str) -> list[str]:
    """Faults as `LINE key: reason`."""
    with pytest.raises(ConfigError) as caught:
        load(written(folder, text))
    return [f"{fault.line} {fault.key}: {fault.reason}" for fault in caught.value.faults]


def test_an_empty_file_is_a_safe_configuration(tmp_path: Path) -> None:
    config = load(written(tmp_path, ""))
    assert config == Config(file=tmp_path / "collector.toml")
    assert config.web.host == "127.0.0.1"
    assert not config.sinks
    assert not config.mqtt


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "broker.password").write_text("horse\n")
    config = load(
        written(
            tmp_path,
            """
[collector]
name = "pi"
data = "data"
commit_interval_s = 2
[[mqtt]]
name = "home"
host = "broker.example"
tls = true
user = "osn"
password = { file = "broker.password" }
[[mqtt]]
name = "local"
[[serial]]
port = "/dev/osn-*"
[[sink]]
type = "jsonl"
name = "file"
file = "out.jsonl"
[sink.privacy]
grid_m = 500
[[correction]]
formula = "linear-1"
quantity = "temperature"
nodes = ["a1b2c3d4"]
parameters = { slope = 1.0, offset = -0.4 }
""",
        )
    )
    assert config.collector.archive == tmp_path / "data" / "archive.db"
    assert config.collector.commit_interval_s == 2.0
    home, local = config.mqtt
    assert (home.port_used, local.port_used) == (8883, 1883)
    assert home.password is not None
    assert home.password.reveal() == "horse"
    assert "horse" not in repr(config)
    assert config.serial[0].port == "/dev/osn-*"
    (sink,) = config.sinks
    assert (sink.kind, sink.name, sink.privacy.grid_m) == ("jsonl", "file", 500)
    assert config.corrections[0].parameters == {"slope": 1.0, "offset": -0.4}


def test_every_fault_is_named_at_its_line(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        """[collector]
data = 5
commit_interval_s = "1"
commit_frame = 3

[[mqtt]]
host = "broker.example"

[[mqtt]]
name = "other"
port = 99999
nonsense = 3

[webb]
port = 1

[[serial]]
""",
    )
    assert [line.split(":")[0] for line in found] == [
        "2 collector.data",
        "3 collector.commit_interval_s",
        "4 collector.commit_frame",
        "6 mqtt[0].tls",
        "11 mqtt[1].port",
        "12 mqtt[1].nonsense",
        "14 webb",
        "17 serial[0].port",
    ]
    assert "did you mean commit_frames?" in found[2]
    assert found[4].endswith("must be from 1 to 65535, not 99999")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[collector\n", "1 : "),
        ("a = 1\na = 2\n", "2 : "),
        ("[[sink]]\n", "1 sink[0].type: is missing"),
        ('[[sink]]\ntype = "jsnl"\n', "2 sink[0].type: 'jsnl' is unknown"),
        ("mqtt = 3\n", "1 mqtt: must be a list of tables: [[mqtt]]"),
        ("collector = [1]\n", "1 collector: must be a table: [collector]"),
        ("[web]\nenabled = 1\n", "2 web.enabled: must be true or false, not a number"),
        ("[web]\nport = true\n", "2 web.port: must be a whole number, not true or false"),
        ('[[mqtt]]\npassword = "x"\n', "2 mqtt[0].password: needs a user"),
        ('[[mqtt]]\ntopic = "a/#"\n', "2 mqtt[0].topic: must not hold + or #"),
        ("[[mqtt]]\nca_file = 'x'\n", "1 mqtt[0].tls: ca_file and certificate_file need"),
        ("[[mqtt]]\n[[mqtt]]\n", "2 mqtt[1].name: 'mqtt' is already the name"),
        ("[collector]\nclock = 'gps'\n", "2 collector.clock: must be"),
        ("[[mqtt]]\nuser = 'a'\npassword = { env = 'OSN_NOT_SET' }\n", "3 mqtt[0].password: "),
        ("[[correction]]\nformula = 'x-1'\n", "2 correction[0].formula: 'x-1' is unknown"),
        (
            "[[correction]]\nformula = 'us-epa-2021-1'\nquantity = 'pm2_5'\n",
            "3 correction[0].quantity: us-epa-2021-1 is valid for pm2_5_cf1, not for pm2_5",
        ),
        ("[[correction]]\nformula = 'linear-1'\nquantity = 'pm1'\n", "1 correction[0].parameters"),
    ],
)
def test_a_fault_is_explained(tmp_path: Path, text: str, expected: str) -> None:
    (fault,) = faults(tmp_path, text)
    assert fault.startswith(expected)


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "missing.toml")
    (tmp_path / "binary.toml").write_bytes(b"\n\xff\n")
    with pytest.raises(ConfigError, match=r"binary\.toml:2: not UTF-8"):
        load(tmp_path / "binary.toml")


def test_lines_are_found_beside_multi_line_values() -> None:
    lines = key_lines(
        '''a = """
[not.a.table]
b = 1
"""
list = [ # comment [
  "x]", 'y"',
]
"quoted key".c = 1
[t.u]
d = 1
[[t.v]]
e = { f = 1 }
[[t.v]]
e = """x\\""""
g = 2
'''
    )
    assert lines[("a",)] == 1
    assert ("not", "a", "table") not in lines
    assert lines[("list",)] == 5
    assert lines[("quoted key", "c")] == 8
    assert lines[("t", "u", "d")] == 10
    assert lines[("t", "v", 0, "e")] == 12
    assert lines[("t", "v", 1, "g")] == 15
    assert line_of(lines, ("t", "v", 0, "e", "f")) == 12
    assert line_of(lines, ("nowhere",)) == 1
