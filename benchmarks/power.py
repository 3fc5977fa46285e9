"""The table of docs/power.md: mean current and days per battery, by board and interval.

    python -m benchmarks.power

Sensors: currents of hardware/parts.toml. Those whose driver has a duty cycle (option warm_up_s, or
single shots) are on for WARM_S before a sample and asleep otherwise; the others are always on.
Board: [power] of its file, else the estimate of firmware/power.py; awake while its sensors warm up.
"""

from firmware.power import AWAKE_MA, LINK_MA, SLEEP_UA, START_MS
from hardware import boardfile
from hardware.parts import parts

INTERVALS_S = (60, 600, 1800)
ROWS = 6
ON_LINE_S = 4.0
ANSWER_S = 1.0
WARM_S = {"pms5003": 30, "pms7003": 30, "sds011": 30, "sps30": 30, "sps30_uart": 30, "scd41": 5}
BATTERY_MAH = 2000.0
USABLE = 0.85


def currents_ma(name: str, interval_s: int) -> tuple[float, float]:
    """(the board's own, its sensors') mean current in mA at 5 V."""
    board = boardfile.load(name)
    own = board.power or boardfile.Power(AWAKE_MA, LINK_MA, SLEEP_UA)
    drivers = [placed.driver for placed in board.sensors]
    warm_s = max(WARM_S.get(driver, 0) for driver in drivers)
    awake_s = min(interval_s, START_MS / 1000 + ANSWER_S + warm_s)
    report_s = ON_LINE_S / ROWS
    asleep_s = max(0.0, interval_s - awake_s - report_s)
    charge = awake_s * own.awake_ma + report_s * own.link_ma + asleep_s * own.sleep_ua / 1000
    sensors = 0.0
    for driver in drivers:
        part = parts()[driver]
        on = min(1.0, (WARM_S[driver] + ANSWER_S) / interval_s) if driver in WARM_S else 1.0
        sensors += part.average_ma * on + part.sleep_ma * (1 - on)
    return charge / interval_s, sensors


def main() -> None:
    """Print the table."""
    print("| board | interval | board | sensors | days on 10 Wh |")
    print("|---|---|---|---|---|")
    for name in ("mobile", "indoor", "classic"):
        for interval_s in INTERVALS_S:
            board, sensors = currents_ma(name, interval_s)
            days = BATTERY_MAH * USABLE / (board + sensors) / 24
            print(f"| {name} | {interval_s} s | {board:.1f} mA | {sensors:.1f} mA | {days:.1f} |")


if __name__ == "__main__":
    main()
