"""backup and restore: a collector in one file."""

from pathlib import Path

import click

from collector.commands.common import config_option, fail, load_config, read_text
from collector.commands.tables import progress_bar
from collector.operate.times import show_time

NEEDS = "backups need `cryptography`: install opencities-osn[backup]"


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Its first line seals keys and configuration; asked for without echo when left out.",
)
@config_option
def backup(file: Path, passphrase_file: Path | None, config_file: Path) -> None:
    """Write archive, nodes, keys and configuration into FILE, while the collector runs.

    Keys, nodes and configuration are sealed with a passphrase; without it they are lost. Readings
    are not encrypted.

    \b
    Example:
      osn-collector backup /media/usb/osn-$(date +%F).backup
    """
    try:
        from collector.operate.backup import BackupError, make_backup
        from collector.operate.sealing import PASSPHRASE_CHARACTERS_MIN
    except ImportError:
        fail(NEEDS)
    config = load_config(config_file)
    passphrase = _passphrase(passphrase_file, confirm=True)
    if len(passphrase) < PASSPHRASE_CHARACTERS_MIN:
        fail(f"a passphrase needs {PASSPHRASE_CHARACTERS_MIN} characters at least")
    try:
        with progress_bar("copying the archive") as advance:
            size = make_backup(config, file, passphrase, advance)
    except BackupError as error:
        fail(str(error))
    click.echo(f"{file}: {size / 1e6:.1f} MB")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--passphrase-file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--replace", is_flag=True, help="Set aside what is there under other names.")
@config_option
def restore(file: Path, passphrase_file: Path | None, replace: bool, config_file: Path) -> None:
    """Put a backup in place, on this machine or a new one; the collector must be stopped.

    The archive takes a new collector id, so boards send again what they still hold; what they had
    already freed is shown on the ledger as lost by the restore.

    \b
    Example:
      systemctl stop osn-collector
      osn-collector restore /media/usb/osn-2026-03-01.backup --replace
      systemctl start osn-collector
    """
    try:
        from collector.operate.backup import BackupError, restore_backup
    except ImportError:
        fail(NEEDS)
    passphrase = _passphrase(passphrase_file, confirm=False)
    try:
        found = restore_backup(file, config_file, passphrase, replace=replace)
    except BackupError as error:
        fail(str(error))
    for path in found.files:
        click.echo(str(path))
    click.echo(f"{found.frames} frames and {found.nodes} nodes as of {show_time(found.made_ms)}")


def _passphrase(file: Path | None, *, confirm: bool) -> str:
    if file is not None:
        return (read_text(file).splitlines() or [""])[0]
    return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm))
