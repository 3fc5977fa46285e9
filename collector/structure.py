"""TOML tables into dataclasses: nothing is taken for something else, every fault has a place."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from cattrs import Converter
from cattrs.errors import AttributeValidationNote, IterableValidationNote

from collector.secret import Secret, read_secret
from collector.toml_lines import Path as KeyPath


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number, both included."""

    low: float
    high: float

    def check(self, value: Any) -> None:
        if not self.low <= value <= self.high:
            raise ValueError(f"must be from {self.low:g} to {self.high:g}, not {value}")


@dataclass(frozen=True, slots=True)
class Length:
    """Bounds of a text's length, both included; printable characters only."""

    low: int
    high: int

    def check(self, value: Any) -> None:
        if not self.low <= len(value) <= self.high or not value.isprintable():
            raise ValueError(f"must have {self.low} to {self.high} printable characters")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in a configuration file."""

    file: Path
    line: int
    key: str
    reason: str

    def __str__(self) -> str:
        where = f"{self.key}: " if self.key else ""
        return f"{self.file}:{self.line}: {where}{self.reason}"


class ConfigError(ValueError):
    """A configuration that cannot be used; `faults` has all that was found."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = faults
        super().__init__("\n".join(str(fault) for fault in faults))


class KeyFault(ValueError):
    """A fault of one key, raised by a dataclass that looks at several keys together."""

    def __init__(self, key: str, reason: str) -> None:
        self.key = key
        super().__init__(reason)


def leaves(error: BaseException, path: KeyPath) -> Iterator[tuple[KeyPath, BaseException]]:
    """Single errors below a cattrs group, each with the key it belongs to."""
    if not isinstance(error, BaseExceptionGroup):
        yield path, error
        return
    for inner in error.exceptions:
        where = path
        for note in getattr(inner, "__notes__", ()):
            if isinstance(note, AttributeValidationNote):
                where = (*path, note.name)
            elif isinstance(note, IterableValidationNote):
                where = (*path, note.index)
        yield from leaves(inner, where)


def make_converter(folder: Path) -> Converter:
    """A converter that takes nothing for something else: no text for a number, no unknown key."""
    converter = Converter(forbid_extra_keys=True, detailed_validation=True)
    converter.register_structure_hook(bool, _exactly(bool, "true or false"))
    converter.register_structure_hook(int, _exactly(int, "a whole number"))
    converter.register_structure_hook(str, _exactly(str, "a text"))
    converter.register_structure_hook(float, _float)
    converter.register_structure_hook(Path, lambda value, _: _path(value, folder))
    converter.register_structure_hook(Secret, lambda value, _: read_secret(value, folder=folder))
    converter.register_structure_hook_func(
        lambda kind: hasattr(kind, "__metadata__"), _annotated(converter)
    )
    converter.register_structure_hook_func(_is_literal, _one_of)
    return converter


def _is_literal(kind: Any) -> bool:
    origin: object = get_origin(kind)
    return origin is Literal


def _one_of(value: Any, kind: Any) -> Any:
    choices = get_args(kind)
    for choice in choices:
        if value == choice and type(value) is type(choice):
            return choice
    shown = ", ".join(
        f'"{choice}"' if isinstance(choice, str) else str(choice) for choice in choices
    )
    raise ValueError(f"must be one of {shown}")


def _exactly(kind: type, words: str) -> Callable[[Any, Any], Any]:
    def check(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"must be {words}, not {_shown(value)}")
        return value

    return check


def _float(value: Any, _: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError(f"must be a number, not {_shown(value)}")
    return float(value)


def _path(value: Any, folder: Path) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"must be a path, not {_shown(value)}")
    return folder / Path(value).expanduser()


def _shown(value: Any) -> str:
    names = {str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "a table" if isinstance(value, Mapping) else "a list")


def _annotated(converter: Converter) -> Callable[[Any, Any], Any]:
    def structure(value: Any, kind: Any) -> Any:
        inner, *constraints = get_args(kind)
        result = converter.structure(value, inner)
        for constraint in constraints:
            if hasattr(constraint, "check"):
                constraint.check(result)
        return result

    return structure
