"""The rules of the house: who may import whom, and a place for each new thing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from docs import generate, house
from hardware import cross

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("protocol", "firmware", "collector", "hardware", "simulator")
MAY_IMPORT = {
    "protocol": {"protocol"},
    "firmware": {"firmware", "protocol"},
    "collector": {"collector", "protocol"},
    "hardware": {"hardware", "protocol"},
    "simulator": {"simulator", "protocol", "firmware", "hardware", "collector"},
}
MICROPYTHON = {
    "array", "asyncio", "binascii", "deflate", "errno", "esp32", "framebuf", "gc", "hashlib", "io",
    "json", "machine", "math", "micropython", "network", "ntptime", "os", "random", "select",
    "socket", "ssl", "struct", "sys", "time", "tls", "uctypes", "umqtt", "vfs", "_thread",
    "cryptolib", "collections", "typing",
}  # fmt: skip


def modules(room: str) -> list[Path]:
    return sorted(p for p in (ROOT / room).rglob("*.py") if "shims" not in p.parts)


def imports(path: Path) -> Iterator[tuple[str, int]]:
    yield from cross.imports(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    strangers = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(room)
        for name, line in imports(path)
        if name.split(".")[0] in ROOMS and name.split(".")[0] not in MAY_IMPORT[room]
    ]
    assert not strangers


@pytest.mark.parametrize("room", house.SETTLED)
def test_no_arrow_leads_back_up(room: str) -> None:
    assert list(house.survey(room).back_up) == []


def test_a_circle_leads_back_up(tmp_path: Path) -> None:
    room = tmp_path / "room"
    for name, text in {
        "cellar/stone": "",
        "hall/door": "from room.cellar import stone\n",
        "attic/roof": "if TYPE_CHECKING:\n    from room.loft import sky\n",
        "loft/sky": "from room.attic.roof import tile\n",
    }.items():
        path = room / f"{name}.py"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")

    found = house.survey("room", tmp_path)

    assert found.floors == [["attic", "cellar", "loft"], ["hall"]]
    assert set(found.back_up) == {
        ("room.attic.roof", "room.loft.sky"),
        ("room.loft.sky", "room.attic.roof"),
    }


def test_the_board_imports_only_what_micropython_has() -> None:
    strangers = [
        f"{path}:{line} imports {name}"
        for path in cross.board_files()
        for name, line in imports(ROOT / path)
        if name.split(".")[0] not in {"firmware", "protocol", *MICROPYTHON}
    ]
    assert not strangers


def test_construct_stays_in_the_schema() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in modules(room)
        for name, _ in imports(path)
        if name.split(".")[0] == "construct"
    }
    assert users == {"protocol/schema.py", "protocol/schema_walk.py"}


def test_a_bundle_s_format_is_stated_once() -> None:
    places = {
        (path.relative_to(ROOT).as_posix(), text)
        for room in ROOMS
        for path in modules(room)
        for text in ('"OSNB', '"OSNS"', '"osn-update-', " 400_000")
        if text in path.read_text(encoding="utf-8")
    }
    assert {path for path, _ in places} == {"protocol/bundle.py"}


def test_what_only_development_uses_is_imported_by_nothing_that_runs() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in modules(room)
        for name, _ in imports(path)
        if name.startswith("protocol.spec") and path.parent.name != "spec"
    }
    assert not users, "protocol/spec is not in the wheel"


def test_the_daemon_never_imports_sqlite_utils() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for path in modules("collector")
        for name, _ in imports(path)
        if name.split(".")[0] == "sqlite_utils"
    }
    assert users <= {"collector/archive/migrations.py"}


def test_mqtt_is_spoken_by_one_client() -> None:
    made = {
        path.relative_to(ROOT).as_posix()
        for room in ("collector", "simulator", "hardware")
        for path in modules(room)
        if "aiomqtt.Client(" in path.read_text(encoding="utf-8")
    }
    assert not made, "use collector.transports.mqtt_client"


def plugins(folder: str, not_plugins: set[str]) -> list[str]:
    names = [path.stem for path in (ROOT / folder).glob("*.py")]
    return sorted(n for n in names if not n.startswith("_") and n not in not_plugins)


SENSORS = plugins("firmware/sensors", {"common", "crc8", "base", "gas_index"})
SINKS = plugins("collector/sinks", {"base"})


@pytest.mark.parametrize("name", SENSORS)
def test_a_sensor_has_its_model_its_test_and_its_page(name: str) -> None:
    assert (ROOT / f"simulator/devices/{name}.py").exists()
    assert (ROOT / f"tests/firmware/sensors/test_{name}.py").exists()
    assert (ROOT / f"docs/sensors/{name}.md").exists()
    assert name in (ROOT / "docs/sensors/README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SINKS)
def test_a_sink_has_its_test_and_its_page(name: str) -> None:
    assert list((ROOT / "tests/collector/sinks").glob(f"test_{name}*.py"))
    assert (ROOT / f"docs/sinks/{name}.md").exists()
    assert name in (ROOT / "docs/sinks/README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted((ROOT / "hardware/boards").glob("*.toml")), ids=str)
def test_a_board_has_its_page(path: Path) -> None:
    assert (ROOT / "docs/boards" / f"{path.stem}.md").exists()


def test_the_page_of_settings_is_up_to_date() -> None:
    assert generate.SETTINGS_PAGE.read_text(encoding="utf-8") == generate.settings_page()


def test_the_changelog_speaks_of_this_version() -> None:
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_link_between_documents_leads_somewhere() -> None:
    import re

    broken = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if "://" in target or target.startswith("mailto:"):
                continue
            if not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)} -> {target}")
    assert not broken
