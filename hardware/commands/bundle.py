"""osn-board bundle"""

import json
from pathlib import Path

import click
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hardware.bundle import TEXT_BYTES_MAX, Bundle, compose, sign
from hardware.commands import common
from hardware.cross import write_names
from hardware.faults import BenchError, Exit
from hardware.images import ARCHITECTURES
from hardware.payload import payload
from hardware.records import write_private
from protocol.bundle import SIGNED


@click.command("bundle")
@click.argument("output", type=click.Path(path_type=Path, dir_okay=False))
@common.board_option
@click.option(
    "--sign", "key_file", required=True, type=click.Path(path_type=Path, dir_okay=False),
    help="Signing key (PEM, Ed25519); made when it is not there. Keep it off the Pi.",
)  # fmt: skip
@click.option("--version", "version_text", help="Version to announce; the package's by default.")
@common.json_option
def bundle_command(
    output: Path, board_name: str, key_file: Path, version_text: str | None, as_json: bool
) -> None:
    """Make a signed update for boards in the field; `osn-collector update` sends it.

    Beside it OUTPUT.names.json tells what the short names in a board's traceback stand for.

    \b
    Example:
      osn-board bundle street-1.2.0.osn --board street --sign ~/osn-update.pem
    """
    with common.reported(as_json):
        board = common.board(board_name)
        architecture = ARCHITECTURES[board.chip]
        key = _key(key_file)
        version = version_text or _version()
        if len(version.encode()) > TEXT_BYTES_MAX:
            raise BenchError(
                Exit.USAGE,
                f"A version of {len(version.encode())} bytes is too long",
                f"Take one of at most {TEXT_BYTES_MAX}, such as 1.2.0",
            )
        built = payload(architecture, board.drivers())
        content = compose(architecture, version, built.slot)
        made = sign(content, version, key)
        output.write_bytes(packed(made))
        names = output.with_suffix(".names.json")
        write_names(names, built.names)
    public = key.public_key().public_bytes_raw().hex()
    facts = {
        "file": str(output), "names": str(names), "version": version, "bytes": len(content),
        "sha256": made.sha256.hex(), "public_key": public,
    }  # fmt: skip
    if as_json:
        click.echo(json.dumps(facts))
    else:
        click.echo(f"{output}: version {version}, {len(content)} bytes, signed")
        click.echo(f"Boards check it with the public key {public}")


def packed(made: Bundle) -> bytes:
    """The file that `osn-collector update` takes: laid out as protocol/bundle.py says."""
    return made.content + SIGNED + made.signature


def _version() -> str:
    from importlib.metadata import version

    return version("opencities-osn")


def _key(path: Path) -> Ed25519PrivateKey:
    if not path.exists():
        key = Ed25519PrivateKey.generate()
        write_private(
            path,
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
        return key
    try:
        loaded = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as fault:
        raise BenchError(
            Exit.USAGE, f"{path} is no signing key: {fault}", "Name another file"
        ) from fault
    if not isinstance(loaded, Ed25519PrivateKey):
        raise BenchError(Exit.USAGE, f"{path} holds another kind of key", "It must be Ed25519")
    return loaded
