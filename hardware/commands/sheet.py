"""osn-board sheet, osn-board boards"""

import json
from pathlib import Path

import click

from hardware import boardfile, sheet
from hardware.commands import common


@click.command("sheet")
@click.argument("board_name", metavar="BOARD")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write; BOARD.html."
)
@common.json_option
def sheet_command(board_name: str, output: Path | None, as_json: bool) -> None:
    """Write the wiring, pins and parts of a type of board as a page to print.

    \b
    Example:
      osn-board sheet street
    """
    with common.reported(as_json):
        board = common.board(board_name)
        target = output or Path(f"{board.name}.html")
        parts = [
            {
                "part": item.what,
                "maker": item.maker,
                "number": item.number,
                "count": f"{item.count}",
            }
            for item in board.bill
        ]
        page = sheet.board_sheet(
            board.name, board.title, board.pin_rows(), parts, board.wiring_picture()
        )
        target.write_text(page, encoding="utf-8")
    click.echo(json.dumps({"file": str(target)}) if as_json else f"{target}: print it")


@click.command("boards")
@common.json_option
def boards_command(as_json: bool) -> None:
    """List the types of boards.

    \b
    Example:
      osn-board boards
    """
    with common.reported(as_json):
        found = [common.board(name) for name in boardfile.names()]
    if as_json:
        for board in found:
            click.echo(json.dumps(board.board_json()))
        return
    common.table(
        [
            {
                "board": board.name,
                "chip": board.chip,
                "what": board.title,
                "sensors": ", ".join(placed.driver for placed in board.sensors),
            }
            for board in found
        ]
    )
