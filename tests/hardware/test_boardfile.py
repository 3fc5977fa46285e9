"""Board files: what is checked, and the board.json that comes of them."""

from pathlib import Path

import pytest

from firmware import sensors
from hardware import boardfile
from hardware.boardfile import BoardError
from hardware.chips import CHIPS
from hardware.parts import Part, parts
from protocol.registry import REGISTRY
from simulator import devices
from simulator.devices.base import Steady
from simulator.devices.bench import Bench

GOOD = """
name = "x"
title = "A board"
chip = "esp32"
module = "Module"
led = 4
chip_rail = "3V3"
bill = []
rails.5V = { volt = 5.0, limit_ma = 1500, source = "USB" }
rails.3V3 = { volt = 3.3, limit_ma = 800, source = "5V" }
uart.dust = { id = 1, tx = 17, rx = 16, baud = 9600 }
i2c.main = { id = 0, sda = 21, scl = 22 }
sensors = [
  { driver = "sds011", bus = "uart:dust", rail = "5V" },
  { driver = "bme280", bus = "i2c:main", rail = "3V3" },
]
"""


def read(folder: Path, text: str) -> boardfile.BoardFile:
    path = folder / "x.toml"
    path.write_text(text, encoding="utf-8")
    return boardfile.read(path)


def test_a_good_board(tmp_path: Path) -> None:
    board = read(tmp_path, GOOD)
    assert board.board_json() == {
        "board": "x",
        "chip": "esp32",
        "uart": {"dust": {"id": 1, "tx": 17, "rx": 16, "baud": 9600}},
        "i2c": {"main": {"id": 0, "sda": 21, "scl": 22, "hz": 100_000}},
        "i2s": {},
        "sensors": [
            {"driver": "sds011", "bus": "uart:dust", "instance": 0, "options": {}},
            {"driver": "bme280", "bus": "i2c:main", "instance": 0, "options": {}},
        ],
        "led": 4,
    }
    assert board.load_ma("3V3") == 500.75
    assert board.load_ma("5V") == 600.75


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("tx = 17", "tx = 21", r"GPIO 21 is used 2 times: uart:dust tx, i2c:main sda"),
        ("tx = 17", "tx = 24", r"ESP32 has no GPIO 24"),
        ("tx = 17", "tx = 9", r"GPIO 9 belongs to the flash"),
        ("tx = 17", "tx = 34", r"GPIO 34 is input only"),
        ("tx = 17", "tx = 12", r"GPIO 12 is a strapping pin"),
        ("tx = 17", "tx = 1", r"GPIO 1 is the console's"),
        ("led = 4", "led = 39", r"led led: GPIO 39 is input only"),
        ("id = 1, tx", "id = 3, tx", r"uart unit 3: ESP32 has 3"),
        ("baud = 9600", "baud = 115200", r"sds011 speaks at 9600 baud"),
        ('"uart:dust"', '"i2c:main"', r"sds011 is a sensor for uart"),
        ('"uart:dust"', '"uart:gone"', r"there is no bus 'uart:gone'"),
        ('rail = "5V" }', 'rail = "3V3" }', r"sds011 needs 4.7 to 5.3 V, rail 3V3 has 3.3"),
        ('rail = "5V" }', 'rail = "12V" }', r"there is no rail '12V'"),
        ("limit_ma = 800", "limit_ma = 500", r"rail 3V3: 500.75 mA at worst, it gives 500"),
        ("limit_ma = 1500", "limit_ma = 600", r"rail 5V: 600.75 mA"),
        ('source = "USB"', 'source = "3V3"', r"feeds itself"),
        ('chip_rail = "3V3"', 'chip_rail = "2V"', r"there is no rail '2V'"),
        ('"bme280"', '"bme281"', r"no part 'bme281' in parts.toml; there are: bme280"),
        ('chip = "esp32"', 'chip = "esp8266"', r"chip 'esp8266' is none of esp32, esp32s3"),
        ('name = "x"', 'name = "y"', r"its name is 'y'; it must be the file's"),
        ('title = "A board"', 'titel = "A board"', r"titel"),
        ("volt = 5.0", 'volt = "five"', r"volt"),
        ("bill = []", "bill = [", r"x.toml: "),
        ("bill = []", 'bill = []\nallow = { 5 = "no reason" }', r"allow: GPIO 5 is not used"),
        (
            'rail = "3V3" },',
            'rail = "3V3", options = { address = 0x44 } },',
            r"bme280 cannot have the address 0x44",
        ),
        (
            "]\n",
            '  { driver = "bmp280", bus = "i2c:main", rail = "3V3", instance = 1 },\n]\n',
            r"bmp280 and bme280 are both at i2c:main 0x76",
        ),
        (
            "]\n",
            '  { driver = "sht41", bus = "i2c:main", rail = "3V3" },\n]\n',
            r"sht41 and bme280 both give temperature as instance 0",
        ),
        ("scl = 22", "scl = 22, hz = 4000000", r"bme280 stands 3400000 Hz"),
    ],
)
def test_every_fault_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    at = GOOD.rindex(old) if old == "]\n" else GOOD.index(old)
    with pytest.raises(BoardError, match=words):
        read(tmp_path, GOOD[:at] + new + GOOD[at + len(old) :])


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("tx = 17", "tx = 9").replace("sda = 21", "sda = 36")
    with pytest.raises(BoardError) as caught:
        read(tmp_path, text)
    assert len(str(caught.value).splitlines()) == 2


def test_a_strapping_pin_may_be_used_for_a_reason(tmp_path: Path) -> None:
    text = GOOD.replace("led = 4", 'led = 2\nallow = { 2 = "LED of the module" }')
    assert read(tmp_path, text).led == 2


def test_an_unknown_board_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(BoardError, match="classic, indoor, mobile, noise, street"):
        boardfile.load("steret")


@pytest.mark.parametrize("name", boardfile.names())
def test_the_boards_are_right(name: str) -> None:
    board = boardfile.load(name)
    assert board.faults() == []
    assert {row["GPIO"] for row in board.pin_rows()} == {str(pin) for pin, _, _ in board.uses()}
    assert any(item.number == board.module for item in board.bill)
    picture = board.wiring_picture()
    assert picture is not None
    drawing = picture.read_text(encoding="utf-8")
    for placed in board.sensors:
        assert placed.driver.upper() in drawing


def test_the_boards_of_the_plan() -> None:
    def carried(name: str) -> tuple[str, list[str]]:
        board = boardfile.load(name)
        return board.chip, [placed.driver for placed in board.sensors]

    assert carried("street") == ("esp32", ["pms5003", "bme280", "sht41", "ics43434"])
    assert carried("indoor") == ("esp32s3", ["sht41", "scd41", "sgp41"])
    assert carried("noise") == ("esp32s3", ["ics43434"])
    assert carried("mobile") == ("esp32c3", ["neo6m", "sps30"])
    assert carried("classic") == ("esp32", ["sds011", "bme280"])
    assert boardfile.load("mobile").mobile


def test_every_part_has_its_driver_and_the_other_way_round() -> None:
    assert set(parts()) == set(sensors.names()) == set(devices.names())


MODELLED = [
    name
    for name in devices.names()
    if issubclass(devices.model(name), devices.UartDevice | devices.I2cDevice)
]


@pytest.mark.parametrize("name", MODELLED)
def test_a_part_measures_what_its_driver_gives(name: str) -> None:
    bench = Bench(name, Steady())
    given = tuple(REGISTRY[number].name for number, _ in bench.sensor.CHANNELS)
    assert set(given) == set(parts()[name].measures)
    kind = "uart" if isinstance(bench.device, devices.UartDevice) else "i2c"
    assert parts()[name].bus == kind
    if isinstance(bench.device, devices.I2cDevice):
        assert bench.device.address == parts()[name].addresses[0]


def test_a_part_without_what_its_bus_needs_is_refused() -> None:
    part = Part("P", (), "uart", (5, 5), 1, 1, 1, "", (("1", "V", "supply"), ("2", "X", "sky")))
    assert part.faults() == [
        "pin role 'sky' is unknown",
        "no pin has the role 'ground'",
        "no pin has the role 'rx'",
        "no pin has the role 'tx'",
        "a UART sensor needs baud",
    ]
    odd = Part("P", (), "spi", (5, 5), 1, 1, 1, "", ())
    assert odd.faults() == ["bus 'spi' is none of uart, i2c, i2s"]


@pytest.mark.parametrize("chip", CHIPS.values(), ids=lambda chip: chip.name)
def test_chips_hang_together(chip: object) -> None:
    for group in ("flash", "strapping", "input_only", "console"):
        assert getattr(chip, group) <= chip.pins
    assert not chip.flash & (chip.strapping | chip.console)
