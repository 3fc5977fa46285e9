"""The board's program: hardware, settings, node, and the loop that never ends."""

import gc
import json

from firmware.hal import BoardHal
from firmware.node import Node, NotProvisioned
from firmware.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BOARD_FILE = "board.json"
FAULTS_MAX = 10  # steps in a row that raise, before the board starts anew


def load_board() -> "dict[str, Any]":
    """board.json: pins, buses, sensors. Raises OSError with what to do when it is missing."""
    try:
        handle = open(BOARD_FILE)
    except OSError:
        raise OSError(2, "no board.json: install the firmware with osn-board")
    try:
        board: "dict[str, Any]" = json.load(handle)
    finally:
        handle.close()
    return board


def make_node() -> Node:
    """The node of this board, started."""
    hal = BoardHal(load_board())
    settings = Settings(hal.files)
    settings.load()
    node = Node(hal, hal.board, settings)
    node.start()
    hal.start_watchdog(settings["watchdog_s"] * 1000)
    return node


def run() -> None:
    """Run the node for ever; a board without identity waits at the prompt for the technician."""
    try:
        node = make_node()
    except NotProvisioned as fault:
        print(fault)
        return
    loop(node)


def loop(node: Node) -> None:
    """Step and sleep. A step that raises is counted; ten in a row start the board anew."""
    import sys

    faults = 0
    while True:
        try:
            wait = node.step()
            faults = 0
        except Exception as fault:
            faults += 1
            sys.print_exception(fault)
            gc.collect()
            if faults >= FAULTS_MAX:
                node.hal.reset()
            wait = 100
        node.hal.sleep_ms(wait)
