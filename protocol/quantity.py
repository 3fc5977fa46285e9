"""Quantities for the board, from the registry by python -m protocol.spec.generate."""

REVISION = 1

TIME_RESIDUAL = 0
PM10 = 1
PM2_5 = 2
PM1 = 3
PM4 = 4
COUNT_0_3 = 5
COUNT_0_5 = 6
COUNT_1 = 7
COUNT_2_5 = 8
COUNT_10 = 9
PM10_CF1 = 10
PM2_5_CF1 = 11
PM1_CF1 = 12
COUNT_5 = 13
PARTICLE_SIZE = 14
TEMPERATURE = 16
HUMIDITY = 17
PRESSURE = 18
NUMBER_0_5 = 19
NUMBER_1 = 20
NUMBER_2_5 = 21
NUMBER_4 = 22
NUMBER_10 = 23
CO2 = 24
VOC_INDEX = 25
NOX_INDEX = 26
VOC_RAW = 27
NOX_RAW = 28
LAEQ = 32
LAFMAX = 33
LAFMIN = 34
LA10 = 35
LA50 = 36
LA90 = 37
LCEQ = 38
LCPEAK = 39
BANDS_Z = 64
BANDS_A = 65
BANDS_Z_HALF = 66
BANDS_A_HALF = 67
LEVEL_HISTOGRAM = 72
VALID_TIME = 73
TIME_ABOVE = 74
BATTERY_VOLTAGE = 112
RSSI = 113
FREE_HEAP = 114
UPTIME = 115
RESET_CAUSE = 116
CHIP_TEMPERATURE = 117
QUEUE_DEPTH = 118
BUS_ERRORS = 119
AWAKE_TIME = 120
CHARGE = 121
CHECKSUM_ERRORS = 122
NATIVE_HEAP = 123
LINK_FAILURES = 124
LATITUDE = 128
LONGITUDE = 129
ALTITUDE = 130
HORIZONTAL_ACCURACY = 131

_EXPONENTS = (
    (
        0,
        b"\x00\x05\x06\x07\x08\x09\x0d\x12\x18\x19\x1a\x1b\x1c\x42\x43\x48\x49\x4a"
        b"\x70\x71\x72\x73\x74\x76\x77\x78\x79\x7a\x7b\x7c",
    ),
    (
        -1,
        b"\x01\x02\x03\x04\x0a\x0b\x0c\x13\x14\x15\x16\x17\x20\x21\x22\x23\x24\x25"
        b"\x26\x27\x40\x41\x75\x82\x83",
    ),
    (-2, b"\x0e\x10\x11"),
    (-5, b"\x80\x81"),
)


def exponent(quantity: int) -> int:
    """The registry's power of ten for a quantity; raises KeyError for an unknown one."""
    if quantity >= 192:
        raise KeyError(quantity)
    for power, members in _EXPONENTS:
        if quantity in members:
            return power
    raise KeyError(quantity)
