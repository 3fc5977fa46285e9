"""Run esptool, as a program of its own, and put its troubles into a technician's words."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware import faults
from hardware.faults import BenchError, Exit
from hardware.images import Image

Progress = Callable[[float], None]
TIMEOUT_S = 600
FAST_BAUD = 460_800
CONNECT_ATTEMPTS = 3

_CHIP = re.compile(r"(?:Connected to|Chip type:\s+|Chip is|Detecting chip type\.*)\s*(ESP32[\w-]*)")
_MAC = re.compile(r"MAC:\s+([0-9a-f:]{17})", re.IGNORECASE)
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?)\s*%")


@dataclass(frozen=True, slots=True)
class ChipFound:
    """What the ROM loader tells: chip as in board files ("esp32", "esp32s3"), MAC as text."""

    chip: str
    mac: str


def has_modem_lines(port: str) -> bool:
    """Whether DTR and RTS can reset the chip: a pseudo-terminal has none."""
    return not Path(port).resolve().as_posix().startswith("/dev/pts/")


def chip_family(name: str) -> str:
    """esptool's chip name as board files spell it: "ESP32-S3" and "ESP32-D0WD" differ."""
    folded = name.lower().replace("-", "")
    for family in ("esp32s3", "esp32s2", "esp32c3", "esp32c6", "esp32h2", "esp32c2"):
        if folded.startswith(family):
            return family
    return "esp32"


class Loader:
    """esptool on one port. Every method raises BenchError when the step fails."""

    def __init__(self, port: str, baud: int = FAST_BAUD) -> None:
        self.port = port
        self._baud = baud
        self._lines = has_modem_lines(port)

    def identify(self) -> ChipFound:
        """Chip and MAC."""
        output = self._run(["read-mac"], "no-reset")
        chip, mac = _CHIP.search(output), _MAC.search(output)
        if not chip or not mac:
            raise faults.not_in_boot_mode(self.port)
        return ChipFound(chip_family(chip.group(1)), mac.group(1))

    def write(self, image: Image, progress: Progress = lambda part: None) -> None:
        """Erase the whole flash and write an image; esptool verifies it by its hash."""
        arguments = ["write-flash", "--erase-all", hex(image.offset), str(image.path)]
        self._run(arguments, "no-reset", ["--chip", image.chip], progress)

    def start_application(self) -> None:
        """Leave the loader and run what is in flash."""
        if self._lines:
            self._run(["read-mac"], "hard-reset")
        else:
            self._run(["run"], "no-reset", ["--no-stub"])

    def _run(
        self,
        arguments: Sequence[str],
        after: str,
        options: Sequence[str] = (),
        progress: Progress = lambda part: None,
    ) -> str:
        before = "default-reset" if self._lines else "no-reset"
        command = [sys.executable, "-m", "esptool", "--port", self.port]
        command += ["--baud", str(self._baud), "--before", before, "--after", after]
        command += ["--connect-attempts", str(CONNECT_ATTEMPTS)]
        command += [*options, *arguments]
        return run_program(command, self.port, progress)


def run_program(command: Sequence[str], port: str, progress: Progress) -> str:
    """Run to the end and return all output; report progress from its percentages."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        output = bytearray()
        try:
            while chunk := os.read(process.stdout.fileno(), 4096):
                output += chunk
                found = _PERCENT.findall(chunk.decode("utf-8", "replace"))
                if found:
                    progress(min(float(found[-1]) / 100, 1.0))
            status = process.wait(TIMEOUT_S)
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            process.kill()
            raise
    text = output.decode("utf-8", "replace")
    if status:
        raise explain(text, port)
    return text


def explain(output: str, port: str) -> BenchError:
    """The technician's error for what esptool printed before it failed."""
    folded = output.lower()
    if "no such file or directory" in folded or ("doesn't exist" in folded and "errno 2" in folded):
        return faults.no_port(port)
    if "permission denied" in folded:
        return faults.no_permission(port)
    if "busy" in folded or "exclusively lock" in folded:
        return faults.port_busy(port)
    wrong = re.search(r"This chip is (ESP32[\w-]*), not (ESP32[\w-]*)", output)
    if wrong:
        return BenchError(
            Exit.WRONG_CHIP,
            f"{port} has an {wrong.group(1)}, and the image is for an {wrong.group(2)}",
            "Take the image for this chip",
        )
    if "unsupported image" in folded or "not an esp32" in folded or "image is for" in folded:
        return BenchError(
            Exit.WRONG_IMAGE, "esptool refuses the image", "Take the image for this chip"
        )
    if "failed to connect" in folded or "no serial data received" in folded:
        return faults.not_in_boot_mode(port)
    if "md5" in folded or ("hash" in folded and "not match" in folded):
        return BenchError(
            Exit.FAILED,
            f"What {port} has in flash differs from the image",
            "Run the command again at --baud 115200 with a shorter cable; "
            "if it differs again, the flash chip is worn out",
        )
    lost = (
        "disconnected",
        "input/output error",
        "stopped responding",
        "no more data",
        "timed out",
        "originates from pyserial",
    )
    if any(word in folded for word in lost):
        return faults.connection_lost(port)
    return BenchError(
        Exit.FAILED, f"esptool failed on {port}: {_reason(output)}", "Run the command again"
    )


def _reason(output: str) -> str:
    """The line that names the fault, else the last one that is not an address to read at."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    named = [line for line in lines if "error" in line.lower()]
    plain = [line for line in lines if "://" not in line]
    return (named or plain or ["no output"])[-1]
