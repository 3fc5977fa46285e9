"""A secret that never shows itself: not in logs, dumps, tracebacks or comparisons."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

SECRET_CHARACTERS_MAX = 16_384


class Secret:
    """A password or token. `reveal()` is the only way to its text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not text or len(text) > SECRET_CHARACTERS_MAX:
            raise ValueError(f"a secret has 1 to {SECRET_CHARACTERS_MAX} characters")
        if any(ord(character) < 0x20 for character in text):
            raise ValueError("a secret has no control characters")
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> str:
        raise TypeError("a secret cannot be pickled")


def read_secret(
    value: object, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Secret:
    """The secret that a configuration value names.

    A text is the secret itself; {env = "NAME"} reads the environment, {file = "PATH"} the first
    line of a file (relative to `folder`), {credential = "NAME"} the same of a file that systemd
    hands over with LoadCredential=. Raises ValueError, which never holds the secret.
    """
    variables = os.environ if environment is None else environment
    if isinstance(value, Secret):
        return value
    if isinstance(value, str):
        return Secret(value)
    if isinstance(value, Mapping) and len(value) == 1:
        (kind, name), *_ = value.items()
        if not isinstance(name, str):
            raise ValueError(f"{kind} must be a text")
        if kind == "env":
            text = variables.get(name, "")
            if not text:
                raise ValueError(f"the environment variable {name} is not set")
            return Secret(text)
        if kind == "file":
            return _first_line(Path(name) if folder is None else folder / Path(name).expanduser())
        if kind == "credential":
            handed = variables.get("CREDENTIALS_DIRECTORY", "")
            if not handed:
                raise ValueError(f"credential {name}: no CREDENTIALS_DIRECTORY in the environment")
            return _first_line(Path(handed) / name)
    raise ValueError('give a text, { env = "NAME" }, { file = "PATH" } or { credential = "NAME" }')


def _first_line(path: Path) -> Secret:
    try:
        with path.open(encoding="utf-8") as file:
            line = file.readline(SECRET_CHARACTERS_MAX + 2).strip()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text") from None
    if not line:
        raise ValueError(f"{path}: the first line is empty")
    return Secret(line)
