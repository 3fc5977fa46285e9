"""The real esptool, through our wrapper, against the model of the ROM loader on a pty."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from hardware.faults import BenchError, Exit
from hardware.images import CHIP_IDS, FIRST_BYTE_AT, Image, read_image
from hardware.loader import Loader, explain
from simulator.rom_loader import CHIPS, RomLoader
from simulator.serial_line import SerialLine

BANNER = b"MicroPython v1.28.0 on 2026-04-01"


def write_image(folder: Path, chip: str, size_bytes: int = 60_000) -> Path:
    number = next(key for key, name in CHIP_IDS.items() if name == chip)
    content = bytearray(random.Random(chip).randbytes(size_bytes))
    content[:4] = b"\xe9\x03\x02\x20"
    content[12:14] = number.to_bytes(2, "little")
    content[2000 : 2000 + len(BANNER)] = BANNER
    path = folder / f"{chip}.bin"
    path.write_bytes(content)
    return path


@pytest.fixture
def image(tmp_path: Path) -> Callable[[str], Image]:
    return lambda chip: read_image(write_image(tmp_path, chip))


@pytest.mark.parametrize("chip", sorted(CHIPS))
def test_it_flashes_each_chip_and_starts_it(chip: str, image: Callable[[str], Image]) -> None:
    boots: list[int] = []
    rom = RomLoader(chip, booted=lambda: boots.append(1))
    wanted = image(chip)
    parts: list[float] = []
    with SerialLine(rom.feed) as line:
        loader = Loader(line.path)
        found = loader.identify()
        loader.write(wanted, parts.append)
        assert not boots
        loader.start_application()
    assert (found.chip, found.mac) == (chip, "a0:b1:c2:d3:e4:f5")
    start = FIRST_BYTE_AT[chip]
    assert bytes(rom.flash[start : start + wanted.size_bytes]) == wanted.path.read_bytes()
    assert parts[-1] == 1.0
    assert parts == sorted(parts)
    assert boots == [1]


def test_an_image_for_another_chip_is_refused(image: Callable[[str], Image]) -> None:
    rom = RomLoader("esp32c3")
    with SerialLine(rom.feed) as line, pytest.raises(BenchError) as failure:
        Loader(line.path).write(image("esp32s3"))
    assert failure.value.advice.code is Exit.WRONG_CHIP
    assert "ESP32-C3" in str(failure.value)
    assert rom.erased_sectors == 0


def test_a_board_that_is_not_in_boot_mode_is_named_so() -> None:
    with SerialLine(lambda data: b"") as line, pytest.raises(BenchError) as failure:
        Loader(line.path).identify()
    assert failure.value.advice.code is Exit.NOT_IN_BOOT_MODE
    assert "Hold BOOT" in str(failure.value)


def test_a_cable_pulled_in_the_middle_asks_for_the_same_command_again(
    image: Callable[[str], Image],
) -> None:
    rom = RomLoader("esp32s3")
    wanted = image("esp32s3")
    with SerialLine(rom.feed) as line:
        line.unplug_after_bytes = 45_000
        with pytest.raises(BenchError) as failure:
            Loader(line.path).write(wanted)
    assert failure.value.advice.code in (Exit.INTERRUPTED, Exit.NO_PORT)
    with SerialLine(rom.feed) as line:
        Loader(line.path).write(wanted)
    assert bytes(rom.flash[: wanted.size_bytes]) == wanted.path.read_bytes()


def test_a_flash_that_does_not_keep_its_bits_is_found(image: Callable[[str], Image]) -> None:
    rom = RomLoader("esp32c3")
    worn = rom.feed

    def feed(data: bytes) -> bytes:
        answer = worn(data)
        rom.flash[5000] = 0
        return answer

    wanted = image("esp32c3")
    with SerialLine(feed) as line, pytest.raises(BenchError) as failure:
        Loader(line.path).write(wanted)
    assert "differs from the image" in str(failure.value)


def test_noise_on_the_line_never_passes_for_success(image: Callable[[str], Image]) -> None:
    rom = RomLoader("esp32c3")
    wanted = image("esp32c3")
    with SerialLine(rom.feed, noise=0.02, seed=7) as line, pytest.raises(BenchError):
        Loader(line.path).write(wanted)


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("Could not open /dev/ttyUSB7, [Errno 2] No such file or directory", Exit.NO_PORT),
        ("Could not open /dev/ttyUSB0: [Errno 13] Permission denied: '/dev/ttyUSB0'", Exit.NO_PORT),
        ("[Errno 11] Could not exclusively lock port /dev/ttyUSB0", Exit.NO_PORT),
        ("A fatal error occurred: Failed to connect to ESP32: No serial data received.",
         Exit.NOT_IN_BOOT_MODE),
        ("This chip is ESP32-S3, not ESP32. Wrong chip argument?", Exit.WRONG_CHIP),
        ("A fatal error occurred: something new", Exit.FAILED),
    ],
)  # fmt: skip
def test_each_trouble_has_its_code_and_an_advice(output: str, code: Exit) -> None:
    advice = explain(output, "/dev/ttyUSB0").advice
    assert advice.code is code
    assert advice.to_do
