"""Fetching a 32-bit VM: which mirrors, and what is said when there is none."""

from pathlib import Path

import pytest

from simulator import vm32


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    monkeypatch.setattr(vm32, "SOURCES", tmp_path)
    monkeypatch.setattr(vm32, "FOLDER", tmp_path / "folder")
    return tmp_path


def test_the_mirrors_are_those_of_the_machine(sources: Path) -> None:
    (sources / "sources.list").write_text(
        "# deb file:///old/debian x main\ndeb [arch=amd64] file:///one/debian bookworm main\n",
        encoding="utf-8",
    )
    (sources / "sources.list.d/debian.sources").write_text(
        "Types: deb\nURIs: file:///two/debian\nSuites: bookworm\n\n"
        "Types: deb\nURIs: file:///two/debian-security\nSuites: bookworm-security\n",
        encoding="utf-8",
    )
    assert vm32.mirrors() == ["file:///one/debian", "file:///two/debian"]


def test_without_a_mirror_it_says_what_else_would_do(
    sources: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vm32.main() == 1
    said = capsys.readouterr().err
    assert "names no Debian mirror" in said
    assert "set MICROPYTHON32" in said


def test_a_command_that_fails_is_named_with_what_it_said() -> None:
    with pytest.raises(vm32.CannotFetch, match="sh failed:\nno such thing"):
        vm32.run("sh", "-c", "echo no such thing >&2; exit 3")
    with pytest.raises(vm32.CannotFetch, match="not-a-command-here"):
        vm32.run("not-a-command-here")


def test_packages_without_a_c_library_are_refused(tmp_path: Path) -> None:
    with pytest.raises(vm32.CannotFetch, match="no ld-linux"):
        vm32.unpack([], tmp_path)
