"""check-config opens the files that a configuration names."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.collector.house import CONFIG, House

ELSEWHERE = """
[[mqtt]]
name = "far"
host = "broker.example"
tls = true
"""
HTTP = """
[[sink]]
type = "sensorthings"
name = "city"
url = "https://sensors.example/v1.1"
"""


def check(house: House, more: str, code: int = 1) -> str:
    house.config.write_text(CONFIG + more)
    return house.call("check-config", str(house.config), code=code)


@pytest.fixture
def certificates(bare_house: House) -> Path:
    folder = bare_house.folder
    for name in ("a", "b"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
    return folder


@pytest.mark.parametrize(
    ("more", "key", "reason"),
    [
        (ELSEWHERE + 'ca_file = "no.pem"\n', "mqtt[1].ca_file", "No such file"),
        (ELSEWHERE + 'ca_file = "data"\n', "mqtt[1].ca_file", "Is a directory"),
        (ELSEWHERE + 'ca_file = "records.jsonl"\n', "mqtt[1].ca_file", "no certificate in PEM"),
        (HTTP + '[sink.http]\nca_file = "no.pem"\n', "sink[1].http.ca_file", "No such file"),
        (
            '[[sink]]\ntype = "postgres"\ndatabase = "d"\nuser = "u"\nca_file = "no.pem"\n',
            "sink[1].ca_file",
            "No such file",
        ),
        ('[[sink]]\ntype = "jsonl"\nname = "x"\nfile = "data"\n', "sink[1].file", "directory"),
        (
            '[[sink]]\ntype = "jsonl"\nname = "x"\nfile = "records.jsonl/x"\n',
            "sink[1].file",
            "Not a directory",
        ),
        *(
            (f'[[sink]]\ntype = "jsonl"\nname = "x"\nfile = "{own}"\n', "sink[1].file", "own")
            for own in (
                "data/archive.db",
                "data/../data/archive.db-wal",
                "data/keys.json",
                "data/nodes.json",
                "data/quarantine.db",
                "collector.toml",
            )
        ),
        (
            ELSEWHERE + 'certificate_file = "a.crt"\nkey_file = "b.key"\n',
            "mqtt[1].certificate_file",
            "is no certificate for the key_file",
        ),
        (
            ELSEWHERE + 'certificate_file = "no.crt"\nkey_file = "b.key"\n',
            "mqtt[1].certificate_file",
            "No such file",
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_key(
    bare_house: House, certificates: Path, more: str, key: str, reason: str
) -> None:
    (bare_house.folder / "records.jsonl").touch()
    shown = check(bare_house, more)
    [line] = [line for line in shown.splitlines() if f": {key}: " in line]
    assert reason in line
    number = int(line.removeprefix(f"{bare_house.config}:").split(":")[0])
    assert key.rpartition(".")[2] in bare_house.config.read_text().splitlines()[number - 1]
    assert "1 fault" in shown


def test_a_data_folder_that_cannot_be_one_is_named(bare_house: House) -> None:
    text = bare_house.config.read_text().replace('data = "data"', 'data = "records.jsonl/data"')
    bare_house.config.write_text(text)
    words = bare_house.call("check-config", str(bare_house.config), code=1)
    assert "collector.data: " in words
    assert "Not a directory" in words


def test_files_that_can_be_used_are_good(bare_house: House, certificates: Path) -> None:
    more = ELSEWHERE + 'ca_file = "a.crt"\ncertificate_file = "a.crt"\nkey_file = "a.key"\n'
    assert "good" in check(bare_house, more + HTTP + '[sink.http]\nca_file = "b.crt"\n', code=0)


def test_a_folder_that_is_still_to_be_made_is_good(bare_house: House) -> None:
    shutil.rmtree(bare_house.folder / "data")
    sink = '[[sink]]\ntype = "jsonl"\nname = "x"\nfile = "out/readings.jsonl"\n'
    assert "good" in check(bare_house, sink, code=0)
    assert not (bare_house.folder / "out").exists(), "looking makes nothing"
