"""The names of settings that the link knows are those of the board's table."""

from firmware import setting_rules
from protocol.setting_names import SETTINGS, Setting


def test_the_collectors_names_are_the_boards() -> None:
    board = {
        row.name: Setting(row.key, row.is_text)
        for row in setting_rules.rows()
        if row.kind != setting_rules.LOCAL
    }
    assert dict(SETTINGS) == board


def test_what_only_usb_may_change_has_no_name_on_the_link() -> None:
    local = {row.name for row in setting_rules.rows() if row.kind == setting_rules.LOCAL}
    assert "wifi_password" in local
    assert not local & set(SETTINGS)
