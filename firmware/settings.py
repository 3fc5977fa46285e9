"""Settings: values by name, kept A/B with a checksum, tried before kept."""

from firmware.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable

    from firmware.types import Files


class Settings:
    """values holds what was ever set; all else has its default (firmware.setting_rules).

    A trial lives in RAM alone, so that any reset reverts it; keep() writes it to flash.
    """

    def __init__(self, files: "Files | None" = None, path: str = "settings") -> None:
        from firmware import setting_rules

        self._store = Store(files, path) if files is not None else None
        self._files = files
        self._defaults = setting_rules.defaults()
        self.values: "dict[str, int | str]" = {}
        self.foreign = b""  # entries of another build, as bytes
        self._before: "dict[str, int | str] | None" = None

    def __getitem__(self, name: str) -> "Any":
        if name in self.values:
            return self.values[name]
        return self._defaults[name]

    def load(self) -> None:
        """Read what is kept; a provision.json, put there over USB, is taken up and removed."""
        from firmware import setting_rules

        data = self._store.load() if self._store else None
        if data:
            setting_rules.unpack_into(self, data)
        if self._files is not None and setting_rules.take_provisioned(self, self._files):
            self.save()
            self._files.remove(setting_rules.PROVISION_FILE)

    def set(self, name: str, value: "int | str") -> None:
        """Set one value in RAM. Raises SettingError."""
        from firmware import setting_rules

        setting_rules.row_named(name).check(value)
        self.values[name] = value

    def save(self) -> None:
        """Write all that was ever set. Raises OSError."""
        from firmware import setting_rules

        if self._store:
            self._store.save(setting_rules.pack_all(self))

    def apply(self, entries: "Iterable[tuple[int, bytes | memoryview]]") -> bool:
        """Take a CONFIG's (key, bytes) as a trial, all or none; True when it is for the network.

        Raises SettingError; nothing is changed then. keep() or revert() must follow.
        """
        from firmware import setting_rules

        changed, network = setting_rules.changes(self, entries)
        self._before = dict(self.values)
        self.values.update(changed)
        return network

    @property
    def on_trial(self) -> bool:
        """Whether applied values wait for keep() or revert()."""
        return self._before is not None

    def keep(self) -> None:
        """End a trial well: write it to flash. Raises OSError."""
        self._before = None
        self.save()

    def revert(self) -> None:
        """End a trial: back to the values before it."""
        if self._before is not None:
            self.values = self._before
        self._before = None
