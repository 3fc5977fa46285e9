"""Compiled loops: the same frames, and a machine without a compiler simulates as well."""

import subprocess
import sys
from pathlib import Path

import pytest

from simulator import compiled

RUN = ["simulator", "run", "flaky_wifi", "--seed", "5", "--nodes", "2", "--hours", "1", "--report"]


@pytest.fixture(scope="module")
def made() -> Path:
    try:
        return compiled.folder()
    except compiled.NotCompiled as error:
        pytest.skip(f"no C compiler: {error}")


def python(*arguments: str, variables: dict[str, str] | None = None) -> str:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=compiled.ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    ).stdout


def test_a_run_is_the_same_as_interpreted(made: Path, tmp_path: Path) -> None:
    python("-m", "simulator.compiled", *RUN, str(tmp_path / "compiled.json"))
    python("-m", *RUN, str(tmp_path / "interpreted.json"))
    report = (tmp_path / "compiled.json").read_bytes()
    assert report == (tmp_path / "interpreted.json").read_bytes()
    assert b'"frames' in report


def test_what_runs_is_compiled(made: Path) -> None:
    files = python(
        "-P",
        "-c",
        "import protocol.samples as a, collector.timeline.timeline_fit as b; "
        "print(a.__file__, b.__file__)",
        variables=compiled.environment(made),
    ).split()
    assert all(Path(file).is_relative_to(made) for file in files)
    assert not any(file.endswith(".py") for file in files)


def test_a_changed_file_is_compiled_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "ROOT", tmp_path)
    for package in compiled.PACKAGES:
        (tmp_path / package).mkdir()
    file = tmp_path / "protocol" / "samples.py"
    file.write_text("ONE = 1\n")
    before = compiled._digest()
    assert compiled._digest() == before
    file.write_text("ONE = 2\n")
    assert compiled._digest() != before


def test_what_cannot_be_compiled_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "ROOT", tmp_path)
    monkeypatch.setattr(compiled, "KEPT", tmp_path / "kept")
    for package in compiled.PACKAGES:
        (tmp_path / package).mkdir()
    with pytest.raises(compiled.NotCompiled, match=r"builder\.py"):
        compiled.folder()
    assert not list((tmp_path / "kept").iterdir())


def test_a_run_goes_on_interpreted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[list[str]] = []

    def refuse() -> Path:
        raise compiled.NotCompiled("gcc is not installed")

    def execute(program: str, arguments: list[str], variables: dict[str, str]) -> None:
        started.append(arguments)
        assert variables == dict(compiled.os.environ)

    monkeypatch.setattr(compiled, "folder", refuse)
    monkeypatch.setattr(compiled.os, "execve", execute)
    monkeypatch.setattr(sys, "argv", ["compiled", "simulator.soak", "--seeds", "3"])
    compiled.main()
    assert started == [[sys.executable, "-m", "simulator.soak", "--seeds", "3"]]
    assert "gcc is not installed" in capsys.readouterr().err
