"""The names of settings that the link knows are those of the board's table."""

import pytest

from firmware import setting_rules
from protocol.setting_names import LOCAL, SETTINGS, USB_ONLY, Setting


def test_the_collectors_names_are_the_boards() -> None:
    board = {
        row.name: Setting(row.key, row.is_text, row.lowest, row.highest)
        for row in setting_rules.rows()
        if row.kind != setting_rules.LOCAL
    }
    assert dict(SETTINGS) == board


@pytest.mark.parametrize("name", SETTINGS)
def test_the_collector_refuses_exactly_what_the_board_would(name: str) -> None:
    setting, row = SETTINGS[name], setting_rules.row_named(name)
    texts = ["", "x" * setting.highest, "x" * (setting.highest + 1), "é" * setting.highest]
    numbers = [setting.lowest - 1, setting.lowest, setting.highest, setting.highest + 1, -1, 0]
    values: list[int | str] = [*texts, *numbers] if setting.is_text else [*numbers, "3"]
    for value in values:
        try:
            row.check(value)
        except setting_rules.SettingError:
            assert setting.fault(value), value
        else:
            assert not setting.fault(value), value


def test_what_only_usb_may_change_has_no_name_on_the_link() -> None:
    table = {
        row.name: Setting(row.key, row.is_text, row.lowest, row.highest)
        for row in setting_rules.rows()
        if row.kind == setting_rules.LOCAL
    }
    assert dict(LOCAL) == table
    local = set(table)
    assert "wifi_password" in local
    assert not local & set(SETTINGS)
    assert {row.key for row in setting_rules.rows() if row.name in local} == USB_ONLY
