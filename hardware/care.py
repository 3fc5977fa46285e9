"""Small services for a board: blink, wipe."""

from hardware.install import SLOT
from hardware.provision import erase, provisioned_as
from hardware.session import Session

KEPT = ("/boot.py", "/main.py", "/board.json")
BLINK = """
import json, time
from machine import Pin
with open('board.json') as f:
 led = json.load(f).get('led')
pin = Pin(led, Pin.OUT)
for _ in range({times}):
 pin.value(not pin.value())
 time.sleep_ms(100)
"""


def blink(opened: Session, seconds: int) -> None:
    """Blink the LED of the board file ten times a second."""
    opened.run(BLINK.format(times=min(seconds, 9) * 10))
    for _ in range((seconds - 1) // 9):
        opened.run(BLINK.format(times=90))


def wipe(opened: Session) -> int:
    """Remove the identity and every file but the firmware; returns how many files went."""
    if provisioned_as(opened):
        erase(opened)
    base = str(opened.value("__import__('os').getcwd()")).rstrip("/")
    firmware = tuple(f"{base}/{slot}/" for slot in (SLOT, "b"))
    kept = {base + name for name in KEPT}
    removed = 0
    for path in opened.files(base or "/"):
        if path not in kept and not path.startswith(firmware):
            opened.remove(path)
            removed += 1
    return removed
