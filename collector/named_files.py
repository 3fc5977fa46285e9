"""Files that a configuration names: whether the service can use them, before it has to."""

import os
import ssl
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from collector.ownership import acting_as_owner, owner_of
from collector.settings import Config
from collector.structure import ConfigError, Fault
from collector.toml_lines import Path as KeyPath
from collector.toml_lines import key_lines, line_of

READ = "_file"
"""Keys that end so name a file that is only read."""


def unusable_files(config: Config) -> list[Fault]:
    """Every file that the owner of the data folder, as whom the service runs, could not use."""
    from collector.config import dotted, load

    lines = key_lines(config.file.read_text())
    with acting_as_owner(config.collector.data):
        try:
            load(config.file)  # secrets lie in files too, and root may read more than the service
        except ConfigError as error:
            return [
                Fault(each.file, each.line, each.key, f"{each.reason}{_as_whom(config)}")
                for each in error.faults
            ]
        return [
            Fault(config.file, line_of(lines, key), dotted(key), f"{reason}{_as_whom(config)}")
            for key, reason in _faults(config)
        ]


def _as_whom(config: Config) -> str:
    folder = config.collector.data
    return f" (for {owner_of(folder).name})" if folder.is_dir() else ""


def _faults(config: Config) -> Iterator[tuple[KeyPath, str]]:
    data = config.collector.data
    if reason := _no_folder(data):
        yield ("collector", "data"), reason
    for kind, entries in (("mqtt", config.mqtt), ("sink", [each.config for each in config.sinks])):
        for index, entry in enumerate(entries):
            yield from _faults_of(entry, (kind, index))


def _faults_of(settings: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    for field in fields(settings):
        value, key = getattr(settings, field.name), (*path, field.name)
        if is_dataclass(value):
            yield from _faults_of(value, key)
        elif not isinstance(value, Path):
            continue
        elif field.name.endswith(READ):
            if reason := _unreadable(value, is_authority=field.name == "ca_file"):
                yield key, reason
        elif reason := _unwritable(value):
            yield key, reason
    if getattr(settings, "certificate_file", None) and getattr(settings, "key_file", None):
        try:
            ssl.create_default_context().load_cert_chain(
                settings.certificate_file, settings.key_file, password=lambda: ""
            )
        except FileNotFoundError:
            pass  # said above
        except (OSError, ValueError) as error:
            yield (*path, "certificate_file"), f"is no certificate for the key_file: {error}"


def _unreadable(path: Path, *, is_authority: bool) -> str:
    try:
        path.open("rb").close()
        if is_authority:
            ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        return f"{path}: no certificate in PEM form"
    except OSError as error:
        return f"{path}: {error.strerror}"
    return ""


def _no_folder(path: Path) -> str:
    """Why a folder can neither be used nor made."""
    place = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    return "" if place.is_dir() else f"{place}: Not a directory"


def _unwritable(path: Path) -> str:
    """Why a file that is written cannot be; nothing is made to find that out."""
    if path.is_dir():
        return f"{path}: Is a directory"
    place = path if path.exists() else next(p for p in path.absolute().parents if p.exists())
    if place != path and not place.is_dir():
        return f"{place}: Not a directory"
    allowed = os.access(place, os.W_OK, effective_ids=True)
    return "" if allowed else f"{place}: Permission denied"
