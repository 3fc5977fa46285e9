"""Hand a board its next key, which `osn-collector nodes rotate` made.

Frames that lie in the board's spool keep the tag of the key that they were built with; the
collector takes them under the old key for every (boot, seq) below the first that it sees under the
new one. So the new key begins with a new boot: the board is restarted, which counts it up. Its
HELLO names the boot that was the old key's last, so the collector need not guess.
"""

import uuid

from hardware import faults
from hardware.faults import BenchError, Exit
from hardware.install import SLOT
from hardware.provision import PREPARE, board_path, provisioned_as, put_settings, verify
from hardware.records import Identity
from hardware.session import Session

BOARD = "import json\nwith open('board.json') as f:\n print(json.load(f)['board'])"
NEXT_KEY = (
    PREPARE
    + """
from binascii import unhexlify
i = identity.load(nvs)
if i.uuid != unhexlify({uuid!r}):
 print('other')
else:
 if i.key != unhexlify({key!r}):
  from struct import pack
  nvs.set_blob('switch', pack('<II', i.boot, 0xFFFFFFFF))
  i.key = unhexlify({key!r})
  identity.save(nvs, i)
 print('done')
"""
)


def rekey(opened: Session, wanted: Identity, slot: str = SLOT) -> None:
    """Give the board the key of a record, and check that its HELLO holds under it.

    Address, UUID, boot number, settings and spool stay. The same record twice is harmless, so after
    an interruption the same command finishes the job. Raises BenchError for another node's record.
    """
    present = provisioned_as(opened)
    if present != wanted.address:
        raise faults.other_node(opened.port, present, wanted.address)
    code = NEXT_KEY.format(
        slot=board_path(opened, slot), uuid=uuid.UUID(wanted.uuid).hex, key=wanted.key.hex()
    )
    if opened.run(code).strip() != "done":
        raise BenchError(
            Exit.FAILED,
            f"The board on {opened.port} has the address {wanted.address}, but another UUID",
            "This record is not for this board: compare it with the board's label",
        )
    put_settings(opened, wanted, {}, slot)
    verify(opened, wanted, opened.run(BOARD).strip(), slot)
