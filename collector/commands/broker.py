"""broker-config: what mosquitto needs."""

from pathlib import Path

import click

from collector.commands.common import config_option, fail, load_config
from collector.commands.nodes import open_nodes

MOSQUITTO = Path("/etc/mosquitto/conf.d")
COPY = "osn.conf"
PORT = click.IntRange(1, 65_535)


@click.command("broker-config")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--host", "hosts", multiple=True, help="Name or address that boards use; repeatable.")
@click.option("--tls-port", type=PORT, help="For boards.  [as before, at first 8883]")
@click.option(
    "--local-port", type=PORT, help="For us, on this machine.  [as before, at first 1883]"
)
@config_option
def broker_config(
    folder: Path,
    hosts: tuple[str, ...],
    tls_port: int | None,
    local_port: int | None,
    config_file: Path,
) -> None:
    """Write mosquitto's configuration, certificates, passwords and access list into FOLDER.

    Each node may publish on its own topics and read its own, the collector reads all, nobody else
    does anything. Run it again after nodes were imported, revoked or rotated; only what changed is
    written. Boards need FOLDER/ca.crt. Names of the certificate stay when others come: remove
    FOLDER/server.crt to begin anew with the names given.

    \b
    Example:
      osn-collector broker-config /etc/osn-collector/broker --host osn.example
      systemctl reload mosquitto
    """
    try:
        from collector.operate.broker_config import (
            CONFIGURATION,
            plan_for,
            refresh_copy,
            write_broker_config,
        )
    except ImportError:
        fail("certificates need `cryptography`: install opencities-osn[backup]")
    config = load_config(config_file)
    registry, keys = open_nodes(config)
    prefix = config.mqtt[0].topic if config.mqtt else "osn"
    try:
        plan = plan_for(folder, hosts, tls_port, local_port, prefix)
        changed = write_broker_config(folder, plan, registry, keys)
        copied = refresh_copy(folder, MOSQUITTO / COPY)
    except ValueError as error:
        fail(str(error))
    for file in changed:
        click.echo(f"{folder / file} written")
    if copied:
        click.echo(f"{MOSQUITTO / COPY} brought up to date")
    click.echo(f"the certificate is for {', '.join(plan.hosts)}")
    again = "restart" if copied or CONFIGURATION in changed else "reload"
    click.echo(f"{len(changed)} files changed" + (f"; {again} mosquitto" if changed else ""))
