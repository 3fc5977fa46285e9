"""The boards' pages and wiring."""

import re

import pytest

from hardware import boardfile, pages, wiring


def test_the_pages_are_up_to_date() -> None:
    old = [path.name for path in pages.outdated()]
    assert not old, "run make docs"


def test_check_names_what_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    pages.main(["--check"])
    path = next(iter(pages.pages()))
    monkeypatch.setattr(pages, "pages", lambda: {path: "something else"})
    with pytest.raises(SystemExit, match=r"docs/boards/README\.md\nMend it with: make docs"):
        pages.main(["--check"])


def test_wiring_connects_every_needed_pin() -> None:
    text = wiring.yaml(boardfile.load("street"))
    assert '"PMS5003": [1, 2, 4, 5]' in text
    assert '"ESP32": ["5V", "GND", "GPIO 17", "GPIO 16"]' in text
    assert '"ICS43434": [1, 2, 3, 4, 5, 6]' in text
    assert text.count("wirecount") == 4


@pytest.mark.parametrize("name", boardfile.names())
def test_both_ends_of_a_cable_have_its_wires(name: str) -> None:
    text = wiring.yaml(boardfile.load(name))
    counts = [int(count) for count in re.findall(r"wirecount: (\d+)", text)]
    ends = re.findall(r'^  (?:- -|  -) "[^"]+": \[(.*)\]$', text, re.MULTILINE)
    assert [len(end.split(", ")) for end in ends] == [n for count in counts for n in (count, count)]


def test_an_led_that_is_not_on_the_module_is_wired() -> None:
    assert "LED and 1 kOhm" in wiring.yaml(boardfile.load("noise"))
    assert "LED" not in wiring.yaml(boardfile.load("street"))


def test_power_adds_up_over_the_regulator() -> None:
    board = boardfile.load("classic")
    assert abs(pages.average_w(board) - 5.0 * (70 + 60 + 0.001) / 1000) < 1e-9


def test_drawing() -> None:
    try:
        drawing = wiring.draw(wiring.yaml(boardfile.load("classic")))
    except wiring.NoWireviz as fault:
        pytest.skip(str(fault))
    assert "<svg" in drawing
    assert "SDS011" in drawing


def test_without_wireviz_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(wiring.NoWireviz, match=r"pip install 'opencities-osn\[docs\]'"):
        wiring.draw("")
