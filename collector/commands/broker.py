"""broker-config: what mosquitto needs."""

import socket
from pathlib import Path

import click

from collector.commands.common import config_option, fail, load_config
from collector.commands.nodes import open_nodes


@click.command("broker-config")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--host", "hosts", multiple=True, help="Name or address that boards use; repeatable.")
@click.option("--tls-port", type=click.IntRange(1, 65_535), default=8883, show_default=True)
@click.option("--local-port", type=click.IntRange(1, 65_535), default=1883, show_default=True)
@config_option
def broker_config(
    folder: Path, hosts: tuple[str, ...], tls_port: int, local_port: int, config_file: Path
) -> None:
    """Write mosquitto's configuration, certificates, passwords and access list into FOLDER.

    Each node may publish on its own topics and read its own, the collector reads all, nobody else
    does anything. Run it again after nodes were imported, revoked or rotated; only what changed is
    written. Boards need FOLDER/ca.crt.

    \b
    Example:
      osn-collector broker-config /etc/osn-collector/broker --host osn.example
      systemctl reload mosquitto
    """
    try:
        from collector.operate.broker_config import BrokerPlan, write_broker_config
    except ImportError:
        fail("certificates need `cryptography`: install opencities-osn[backup]")
    config = load_config(config_file)
    registry, keys = open_nodes(config)
    name = socket.gethostname()
    names = hosts or (name, f"{name}.local", "127.0.0.1")
    prefix = config.mqtt[0].topic if config.mqtt else "osn"
    try:
        changed = write_broker_config(
            folder, BrokerPlan(names, tls_port, local_port, prefix), registry, keys
        )
    except (OSError, ValueError) as error:
        fail(str(error))
    for file in changed:
        click.echo(f"{folder / file} written")
    click.echo(f"{len(changed)} files changed" + ("; reload mosquitto" if changed else ""))
