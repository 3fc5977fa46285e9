"""What can go wrong on the bench, in a technician's words, with what to do next."""

from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of osn-board; documented in docs/technician.md."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_PORT = 3
    NOT_IN_BOOT_MODE = 4
    WRONG_CHIP = 5
    WRONG_IMAGE = 6
    BOARD_SILENT = 7
    ALREADY_PROVISIONED = 8
    TEST_FAILED = 9
    INTERRUPTED = 10


@dataclass(frozen=True, slots=True)
class Advice:
    """What happened, and what to do next."""

    code: Exit
    happened: str
    to_do: str


class BenchError(Exception):
    """A step failed; str() is what the technician reads."""

    def __init__(self, code: Exit, happened: str, to_do: str) -> None:
        super().__init__(f"{happened}. {to_do}.")
        self.advice = Advice(code, happened, to_do)


def no_port(port: str) -> BenchError:
    """The serial port is not there."""
    return BenchError(
        Exit.NO_PORT,
        f"There is no serial port {port}",
        "Plug the board in with a cable that carries data (some only charge), "
        "and look at `osn-board list`",
    )


def no_permission(port: str) -> BenchError:
    """The user may not open the port."""
    return BenchError(
        Exit.NO_PORT,
        f"You may not open {port}",
        "Add yourself to the group that owns it: sudo usermod -a -G dialout $USER, "
        "then log out and in",
    )


def port_busy(port: str) -> BenchError:
    """Another program holds the port."""
    return BenchError(
        Exit.NO_PORT,
        f"{port} is in use by another program",
        "Close the other terminal or tool that has it open",
    )


def not_in_boot_mode(port: str) -> BenchError:
    """The ROM loader does not answer."""
    return BenchError(
        Exit.NOT_IN_BOOT_MODE,
        f"The chip on {port} does not answer as a boot loader",
        "Hold BOOT, press EN (or RST) once, release BOOT, and run the command again; "
        "if that does not help, try another cable",
    )


def wrong_chip(port: str, found: str, wanted: str, board: str) -> BenchError:
    """The chip is not the one of the board file."""
    return BenchError(
        Exit.WRONG_CHIP,
        f"{port} has an {found}, but board {board} is built on an {wanted}",
        "Choose the board that you have with --board, or plug in the right one",
    )


def connection_lost(port: str) -> BenchError:
    """The board went away in the middle of a step."""
    return BenchError(
        Exit.INTERRUPTED,
        f"The connection to {port} was lost",
        "Plug it in again and run the same command: it goes on where it stopped",
    )


def board_silent(port: str) -> BenchError:
    """No MicroPython prompt."""
    return BenchError(
        Exit.BOARD_SILENT,
        f"MicroPython does not answer on {port}",
        "Press EN (or RST) once and run the command again; if that does not help, "
        "flash the board anew with `osn-board flash`",
    )
