"""What commands share: the configuration option, opening files, errors in the operator's words."""

import errno
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn, TypeVar

import click

from collector.settings import Config
from collector.structure import ConfigError, Fault

DEFAULT_CONFIG = Path("/etc/osn-collector/collector.toml")
F = TypeVar("F", bound=Callable[..., Any])


def config_option(function: F) -> F:
    """Adds --config FILE, by default $OSN_COLLECTOR_CONFIG or the package's file."""
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path, dir_okay=False, readable=False),
        default=lambda: Path(os.environ.get("OSN_COLLECTOR_CONFIG", DEFAULT_CONFIG)),
        help=f"Configuration file.  [default: $OSN_COLLECTOR_CONFIG or {DEFAULT_CONFIG}]",
    )(function)


TEXT_BYTES_MAX = 100_000


class Number(click.FloatRange):
    """A number within bounds; "nan", which passes every comparison of click's own, is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; fails for what is none."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


def read_text(file: Path) -> str:
    """A small text file's content; ends the command when it is none."""
    with file.open("rb") as opened:
        raw = opened.read(TEXT_BYTES_MAX + 1)
    if len(raw) > TEXT_BYTES_MAX:
        fail(f"{file}: longer than {TEXT_BYTES_MAX} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        fail(f"{file}: not UTF-8 text")


def with_remedy(message: str) -> str:
    """The message; what an ordinary user is not allowed says who is."""
    refused = os.strerror(errno.EACCES) in message and os.geteuid() != 0
    return f"{message}; run this as the collector's user or root" if refused else message


def hint(name: str, known: Iterable[str]) -> str:
    """ "; did you mean ...?", or nothing when no known name is near."""
    import difflib

    close = difflib.get_close_matches(name.lower(), known, 1)
    return f"; did you mean {close[0]}?" if close else ""


def load_config(file: Path, code: int = 1) -> Config:
    """Loads a configuration or ends the command with every fault listed."""
    from collector.config import load

    try:
        return load(file)
    except ConfigError as error:
        fail_for(file, error.faults, code)
        raise


def fail_for(file: Path, faults: Sequence[Fault], code: int = 1) -> None:
    """Ends the command with every fault listed, when there are any."""
    if faults:
        for fault in faults:
            click.echo(with_remedy(str(fault)), err=True)
        fail(f"{file}: {len(faults)} fault{'s' if len(faults) != 1 else ''}", code)


class Failure(click.ClickException):
    """A message for the operator and an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self._exit_code = exit_code

    def show(self, file: IO[Any] | None = None) -> None:
        """Prints the message; called by click before it exits."""
        click.echo(with_remedy(f"Error: {self.message}"), file=file, err=True)
        sys.exit(self._exit_code)


def fail(message: str, code: int = 1) -> NoReturn:
    """Ends the command with a message and an exit code."""
    raise Failure(message, code)
