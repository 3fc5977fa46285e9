"""Compiled firmware that is kept between runs."""

from pathlib import Path

from hardware.compiled import KEPT_MAX, CompiledCache, key

FILES = {"slot/firmware/node.mpy": b"M\x06\x00\xff", "root/main.py": b"run()"}


def test_what_is_kept_comes_back_whole(tmp_path: Path) -> None:
    cache = CompiledCache(tmp_path / "firmware")
    assert cache.find("a") is None
    cache.keep("a", FILES)
    assert cache.find("a") == FILES


def test_what_was_damaged_is_made_anew(tmp_path: Path) -> None:
    cache = CompiledCache(tmp_path)
    cache.keep("a", FILES)
    path = tmp_path / "a.json"
    path.write_text(path.read_text().replace("cnVuKCk=", "cnVuKSk="))
    assert cache.find("a") is None
    path.write_text("[]")
    assert cache.find("a") is None


def test_it_keeps_a_limited_number(tmp_path: Path) -> None:
    cache = CompiledCache(tmp_path)
    for number in range(KEPT_MAX + 5):
        cache.keep(f"n{number}", FILES)
    assert len(list(tmp_path.iterdir())) == KEPT_MAX


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = CompiledCache(tmp_path / "file" / "below")
    cache.keep("a", FILES)
    assert cache.find("a") is None


def test_the_key_follows_the_sources_and_the_chip(tmp_path: Path) -> None:
    source = tmp_path / "firmware" / "node.py"
    source.parent.mkdir()
    source.write_text("x = 1\n")
    first = key(tmp_path, "xtensawin")
    assert key(tmp_path, "xtensawin") == first
    assert key(tmp_path, "rv32imc") != first
    source.write_text("x = 2\n")
    assert key(tmp_path, "xtensawin") != first
