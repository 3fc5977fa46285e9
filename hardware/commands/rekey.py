"""osn-board rekey"""

import json
from pathlib import Path

import click

from hardware import papers, records, rekey
from hardware.commands import common
from hardware.faults import BenchError, Exit
from hardware.session import session


@click.command("rekey")
@click.argument("record", type=click.Path(path_type=Path, dir_okay=False))
@common.bench_option
@common.port_option
@common.json_option
def rekey_command(
    record: Path, bench_file: Path | None, named: tuple[str, ...], as_json: bool
) -> None:
    """Hand a board the next key, which `osn-collector nodes rotate` wrote to RECORD.

    The board must be the node of the record; it proves by its HELLO that it has the new key, and is
    restarted. What it has not sent yet stays, and passes under the old key. The claim code on its
    label follows from the key: with a bench file a new label is written, and the record is added to
    its records, so that `selftest` and `monitor` know the key. RECORD holds the key: delete it
    afterwards.

    \b
    Examples:
      osn-collector nodes rotate a1b2c3d4
      osn-board rekey a1b2c3d4.jsonl --port /dev/ttyUSB0 && shred -u a1b2c3d4.jsonl
      osn-board rekey a1b2c3d4.jsonl --bench bench.toml
    """
    with common.reported(as_json):
        entries = list(records.known(record))
        if len(entries) != 1:
            raise BenchError(
                Exit.USAGE,
                f"{record} holds {len(entries)} records; one is needed",
                "Name the file that `osn-collector nodes rotate` wrote",
            )
        wanted = records.identity_in(entries[0])
        port = common.one_port(named)
        with session(port, run_main=True) as opened:
            rekey.rekey(opened, wanted)
        label = _keep(bench_file, entries[0]) if bench_file is not None else None
    facts = {"node": wanted.address, "label": str(label) if label else None}
    if as_json:
        click.echo(json.dumps(facts))
        return
    click.echo(f"Node {wanted.address} has its new key and proved it; it is restarting.")
    click.echo(f"New label: {label}" if label else "Its label's claim code holds no longer.")
    click.echo(f"Delete {record}: it holds the key.")


def _keep(bench_file: Path, entry: dict[str, object]) -> Path:
    """Add the record to those of the bench, once, and write the label anew."""
    given = common.bench_facts(bench_file)
    identity = records.identity_in(entry)
    kept = records.newest(given.records, identity.address)
    if kept is None or kept.get("key") != entry["key"]:
        records.append(given.records, {**(kept or {}), **entry})
    return papers.write_label(
        given.sheets, identity, str(entry.get("name", "")), given.join_address
    )
