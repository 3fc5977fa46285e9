"""Passwords and tokens of the configuration: read late, shown never.

In the configuration a secret is a string, or says where it lies:
`{ file = "mqtt.password" }`, `{ env = "OSN_TOKEN" }` or `{ credential = "token" }`, the last in the
folder that systemd hands over with LoadCredential=.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

SECRET_BYTES_MAX = 16_384


class SecretError(ValueError):
    """A secret that cannot be read; the message says where it was looked for."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that repr, str and the configuration dump hide; `reveal` reads it."""

    text: str | None = field(default=None, repr=False)
    file: Path | None = None
    env: str | None = None
    credential: str | None = None

    def __post_init__(self) -> None:
        given = [v for v in (self.text, self.file, self.env, self.credential) if v is not None]
        if len(given) != 1:
            raise ValueError("give one of: a string, file, env, credential")

    def __str__(self) -> str:
        return "********"

    def reveal(self) -> str:
        """Returns the secret, without a trailing line end; SecretError when it cannot be had."""
        if self.text is not None:
            return self.text
        if self.env is not None:
            value = os.environ.get(self.env)
            if value is None:
                raise SecretError(f"environment variable {self.env} is not set")
            return value
        return _read(self._path())

    def _path(self) -> Path:
        if self.file is not None:
            return self.file
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if folder is None:
            raise SecretError(
                f"credential {self.credential}: no CREDENTIALS_DIRECTORY; "
                "systemd sets it for units with LoadCredential="
            )
        return Path(folder) / str(self.credential)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise SecretError(f"{path}: {error.strerror}") from error
    if len(raw) > SECRET_BYTES_MAX:
        raise SecretError(f"{path}: longer than {SECRET_BYTES_MAX} bytes, not a secret")
    try:
        return raw.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise SecretError(f"{path}: not UTF-8 text") from error
