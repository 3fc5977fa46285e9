"""The configuration: TOML into frozen dataclasses, every fault named with path, line and reason.

An unknown key is a fault. Relative paths start at the configuration file's folder.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from cattrs import BaseValidationError
from cattrs.errors import ForbiddenExtraKeysError

from collector import sinks
from collector.readings.corrections import CorrectionError, bind
from collector.settings import (
    CollectorSettings,
    Config,
    CorrectionSettings,
    MqttSettings,
    Name,
    PrivacySettings,
    RetentionSettings,
    SerialSettings,
    SinkEntry,
    WebSettings,
)
from collector.structure import ConfigError, Fault, KeyFault, leaves, make_converter
from collector.toml_lines import Path as KeyPath
from collector.toml_lines import key_lines, line_of

CONFIG_BYTES_MAX = 1_000_000
ENTRIES_MAX = 64
OWN_FILES = ("archive.db", "quarantine.db", "nodes.json", "keys.json", "backups.json")
"""How names of the data folder's files that are nobody else's begin."""

__all__ = ["Config", "ConfigError", "Fault", "load", "parse"]


def load(file: Path) -> Config:
    """Reads and checks a file; ConfigError with every fault found."""
    text = _read(file)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([Fault(file, _syntax_line(str(error)), "", str(error))]) from error
    return parse(document, file, text)


def parse(document: Mapping[str, Any], file: Path, text: str = "") -> Config:
    """Structures a document; `text` is where line numbers come from."""
    reader = _Reader(file, key_lines(text))
    config = reader.config(document)
    faults = reader.faults or list(_own_files_named(config, key_lines(text)))
    if faults:
        raise ConfigError(sorted(faults, key=lambda fault: fault.line))
    return config


def _own_files_named(config: Config, lines: dict[KeyPath, int]) -> Iterator[Fault]:
    """Sinks that would write into what the collector itself keeps."""
    data = config.collector.data.resolve()
    for index, entry in enumerate(config.sinks):
        for each in fields(entry.config):
            value = getattr(entry.config, each.name)
            if not isinstance(value, Path) or each.name.endswith("_file"):
                continue
            path = value.resolve()
            kept = path.parent == data and path.name.startswith(OWN_FILES)
            if kept or path == config.file.resolve():
                key: KeyPath = ("sink", index, each.name)
                reason = f"{path} is the collector's own; give another"
                yield Fault(config.file, line_of(lines, key), dotted(key), reason)


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            raw = opened.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError([Fault(file, 1, "", error.strerror or str(error))]) from error
    if len(raw) > CONFIG_BYTES_MAX:
        raise ConfigError([Fault(file, 1, "", f"longer than {CONFIG_BYTES_MAX} bytes")])
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError([Fault(file, line, "", "not UTF-8 text")]) from error


def _syntax_line(message: str) -> int:
    words = message.replace(",", " ").replace(")", " ").split()
    if "line" in words[:-1]:
        number = words[words.index("line") + 1]
        if number.isdigit():
            return int(number)
    return 1


_SINGLE = {"collector": CollectorSettings, "web": WebSettings, "retention": RetentionSettings}
_LISTS = {"mqtt": MqttSettings, "serial": SerialSettings, "correction": CorrectionSettings}
_SINK_KEYS = frozenset({"type", "name", "privacy", "nodes", "corrected", "enabled"})


class _Reader:
    """Structures tables one by one and collects the faults of all."""

    def __init__(self, file: Path, lines: dict[KeyPath, int]) -> None:
        self.file = file
        self.faults: list[Fault] = []
        self._lines = lines
        self._converter = make_converter(file.parent)

    def config(self, document: Mapping[str, Any]) -> Config:
        for key in document:
            if key not in _SINGLE and key not in _LISTS and key != "sink":
                self._fault((key,), self._unknown(key, [*_SINGLE, *_LISTS, "sink"]))
        single = {key: self._table(document, key, kind) for key, kind in _SINGLE.items()}
        lists = {key: self._list(document, key, kind) for key, kind in _LISTS.items()}
        for index, correction in lists["correction"]:
            try:
                bind(correction)
            except CorrectionError as error:
                self._fault(("correction", index, error.key), str(error))
        entries = self._sinks(document)
        self._unique(
            [(("mqtt", i), m.name) for i, m in lists["mqtt"]]
            + [(("serial", i), s.name) for i, s in lists["serial"]]
        )
        self._unique([(("sink", i), s.name) for i, s in entries])
        return Config(
            file=self.file,
            **{key: value for key, value in single.items() if value is not None},
            mqtt=tuple(m for _, m in lists["mqtt"]),
            serial=tuple(s for _, s in lists["serial"]),
            corrections=tuple(c for _, c in lists["correction"]),
            sinks=tuple(s for _, s in entries),
        )

    def _table(self, document: Mapping[str, Any], key: str, kind: type[Any]) -> Any:
        value = document.get(key, {})
        if not isinstance(value, Mapping):
            self._fault((key,), f"must be a table: [{key}]")
            return None
        return self._structure((key,), value, kind)

    def _entries(
        self, document: Mapping[str, Any], key: str
    ) -> Iterator[tuple[int, Mapping[str, Any]]]:
        value = document.get(key, [])
        if not isinstance(value, list):
            self._fault((key,), f"must be a list of tables: [[{key}]]")
            return
        if len(value) > ENTRIES_MAX:
            self._fault((key,), f"has {len(value)} entries; at most {ENTRIES_MAX} are possible")
            return
        for index, entry in enumerate(value):
            if isinstance(entry, Mapping):
                yield index, entry
            else:
                self._fault((key, index), f"must be a table: [[{key}]]")

    def _list(
        self, document: Mapping[str, Any], key: str, kind: type[Any]
    ) -> list[tuple[int, Any]]:
        found = [
            (index, self._structure((key, index), entry, kind))
            for index, entry in self._entries(document, key)
        ]
        return [(index, value) for index, value in found if value is not None]

    def _sinks(self, document: Mapping[str, Any]) -> list[tuple[int, SinkEntry]]:
        found = [(i, self._sink(("sink", i), e)) for i, e in self._entries(document, "sink")]
        return [(index, entry) for index, entry in found if entry is not None]

    def _sink(self, path: KeyPath, entry: Mapping[str, Any]) -> SinkEntry | None:
        kinds = sinks.kinds()
        kind = entry.get("type")
        if kind not in kinds:
            reason = "is missing" if kind is None else f"{kind!r} is unknown"
            self._fault((*path, "type"), f"{reason}; known are: {', '.join(kinds)}")
            return None
        common = {key: value for key, value in entry.items() if key in _SINK_KEYS}
        own = {key: value for key, value in entry.items() if key not in _SINK_KEYS}
        head = self._structure(path, {"name": kind, **common}, _SinkHead)
        config = self._structure(path, own, sinks.config_class(kind), known=_SINK_KEYS)
        if head is None or config is None:
            return None
        return SinkEntry(
            kind, head.name, config, head.privacy, head.nodes, head.corrected, head.enabled
        )

    def _structure(
        self,
        path: KeyPath,
        value: Mapping[str, Any],
        kind: type[Any],
        known: frozenset[str] = frozenset(),
    ) -> Any:
        try:
            return self._converter.structure(value, kind)
        except BaseValidationError as group:
            for where, error in leaves(group, path):
                self._explain(where, error, known)
        except KeyFault as fault:
            self._fault((*path, fault.key), str(fault))
        except (ValueError, TypeError) as error:
            self._fault(path, str(error))
        return None

    def _explain(self, path: KeyPath, error: BaseException, known: frozenset[str]) -> None:
        if isinstance(error, ForbiddenExtraKeysError):
            fields = [*getattr(error.cl, "__dataclass_fields__", {}), *sorted(known)]
            for key in sorted(error.extra_fields):
                self._fault((*path, key), self._unknown(key, fields))
        elif isinstance(error, KeyFault):
            self._fault((*path, error.key), str(error))
        elif isinstance(error, KeyError):
            self._fault(path, "is missing")
        else:
            self._fault(path, str(error) or type(error).__name__)

    @staticmethod
    def _unknown(key: str, known: list[str]) -> str:
        import difflib

        close = difflib.get_close_matches(key, known, 1)
        hint = f"did you mean {close[0]}?" if close else f"known are: {', '.join(known)}"
        return f"unknown key; {hint}"

    def _unique(self, names: list[tuple[KeyPath, str]]) -> None:
        seen: dict[str, KeyPath] = {}
        for path, name in names:
            if name in seen:
                first = line_of(self._lines, seen[name])
                self._fault(
                    (*path, "name"), f"{name!r} is already the name of the one at line {first}"
                )
            seen.setdefault(name, path)

    def _fault(self, path: KeyPath, reason: str) -> None:
        self.faults.append(Fault(self.file, line_of(self._lines, path), dotted(path), reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class _SinkHead:
    """What every [[sink]] may say, whatever its kind."""

    type: str
    name: Name
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    nodes: tuple[str, ...] = ()
    corrected: bool = False
    enabled: bool = True


def dotted(path: KeyPath) -> str:
    """A key's path as people write it: sink[0].http.ca_file."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")
