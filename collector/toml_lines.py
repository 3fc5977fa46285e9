"""On which line of a TOML file each key stands: tomllib does not tell.

Reads only what is needed for that: table headers, keys, and where multi-line values end. It is
used on text that tomllib has already accepted.
"""

import re

Path = tuple[str | int, ...]

_KEY = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)\s*(\.|=|\])?""")
_BASIC, _LITERAL = '"""', "'''"


def key_lines(text: str) -> dict[Path, int]:
    """Maps each table's and key's path, list indexes included, to its line from 1."""
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    value = _Value()
    for number, line in enumerate(text.splitlines(), 1):
        if value.open:
            value.feed(line)
            continue
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if stripped.startswith("["):
            table = _header(stripped, counts)
            lines.setdefault(table, number)
            continue
        names, rest = _dotted(line)
        for length in range(1, len(names) + 1):
            lines.setdefault(table + names[:length], number)
        value.feed(rest)
    return lines


def line_of(lines: dict[Path, int], path: Path) -> int:
    """Line of the path, or of the closest table that holds it; 1 for the whole file."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return 1


def _header(line: str, counts: dict[Path, int]) -> Path:
    listed = line.startswith("[[")
    names, _ = _dotted(line.lstrip("["))
    path: Path = ()
    for name in names[:-1]:
        path = (*path, name)
        if path in counts:
            path = (*path, counts[path] - 1)
    path = (*path, names[-1])
    if not listed:
        return path
    index = counts.get(path, 0)
    counts[path] = index + 1
    return (*path, index)


def _dotted(text: str) -> tuple[Path, str]:
    """Splits `a."b".c = rest` into its names and the rest after `=` or `]`."""
    names: list[str | int] = []
    at = 0
    while match := _KEY.match(text, at):
        name, follows = match.group(1), match.group(2)
        names.append(name[1:-1] if name[0] in "\"'" else name)
        at = match.end()
        if follows != ".":
            break
    return tuple(names), text[at:]


class _Value:
    """Follows a value over lines: open while a bracket or a multi-line string is."""

    def __init__(self) -> None:
        self._depth = 0
        self._quote = ""

    @property
    def open(self) -> bool:
        return bool(self._depth or self._quote)

    def feed(self, text: str) -> None:
        at = 0
        while at < len(text):
            at = self._in_string(text, at) if self._quote else self._outside(text, at)

    def _in_string(self, text: str, at: int) -> int:
        if self._quote == _BASIC and text[at] == "\\":
            return at + 2
        if text.startswith(self._quote, at):
            at += 3
            self._quote = ""
            return at
        return at + 1

    def _outside(self, text: str, at: int) -> int:
        character = text[at]
        if text.startswith((_BASIC, _LITERAL), at):
            self._quote = text[at : at + 3]
            return at + 3
        if character in "\"'":
            return self._skip_string(text, at)
        if character == "#":
            return len(text)
        if character in "[{":
            self._depth += 1
        elif character in "]}":
            self._depth -= 1
        return at + 1

    @staticmethod
    def _skip_string(text: str, at: int) -> int:
        quote = text[at]
        at += 1
        while at < len(text) and text[at] != quote:
            at += 2 if text[at] == "\\" and quote == '"' else 1
        return at + 1
