"""Frames out of a database's pages, without its tree: what salvage rests on.

Format: sqlite.org/fileformat2.html. A leaf page of a table holds whole rows; a row of `frame` is
recognised by its ten columns and proved by the header inside its own bytes.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from collector.archive import archive
from collector.archive.archive import StoredFrame
from collector.doctor.log_file import read_log
from collector.ledger import ledger_store
from collector.ranges import Ranges
from protocol.envelope import head_of
from protocol.wire import FrameError

_LEAF = 0x0D
_COLUMNS = 10
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}
_PAYLOAD_MAX = 8_192


def add_carved(saved: sqlite3.Connection, damaged: Path) -> int:
    """Adds frames that only the pages still show to a saved archive; returns how many."""
    before = saved.total_changes
    saved.execute("BEGIN IMMEDIATE")
    saved.executemany(
        "INSERT OR IGNORE INTO frame VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", carve(damaged)
    )
    saved.execute("COMMIT")
    return saved.total_changes - before


def mark_lost(saved: sqlite3.Connection) -> int:
    """Takes frames off the ledger's received that are not there any more; returns how many.

    They count as lost, and boards that still hold them are asked to send them again. An archive
    from which retention has removed frames cannot tell those apart, and is left as it is.
    """
    if int(archive.get_meta(saved, archive.REMOVED_KEY) or 0):
        return 0
    there: dict[tuple[int, int], Ranges] = {}
    for node, number, seq in saved.execute("SELECT node, boot, seq FROM frame ORDER BY id"):
        there.setdefault((node, number), Ranges()).add(seq)
    lost = 0
    rows = []
    for boot in ledger_store.boots(saved):
        present = there.get((boot.node, boot.boot), Ranges())
        gone = [part for run in boot.received for part in present.missing(*run)]
        for first, last in gone:
            boot.received.remove(first, last)
            boot.lost.add(first, last)
            lost += last - first + 1
        rows.append(ledger_store.boot_row(boot))
    saved.execute("BEGIN IMMEDIATE")
    ledger_store.put_boots(saved, rows)
    saved.execute("COMMIT")
    return lost


def page_images(path: Path) -> tuple[int, dict[int, bytes], list[tuple[int, bytes]]]:
    """(page size, every page by number with the log's commits on top, the log's stranded pages)."""
    raw = path.read_bytes()
    log = read_log(Path(f"{path}-wal"), keep_pages=True)
    size = int.from_bytes(raw[16:18], "big") if len(raw) >= 18 else 0
    size = 65_536 if size == 1 else size
    if size < 512 or size & (size - 1):
        size = log.page_bytes if log is not None and log.page_bytes else 4_096
    pages = {at // size + 1: raw[at : at + size] for at in range(0, len(raw), size)}
    if log is None or log.page_bytes != size:
        return size, pages, []
    return size, pages | log.pages, log.stranded


def carve(path: Path) -> Iterator[StoredFrame]:
    """Every frame that some page holds; the same frame may come more than once."""
    size, pages, stranded = page_images(path)
    behind = pages | dict(stranded)
    leaves = [(number, page, pages) for number, page in pages.items()]
    leaves += [(number, page, behind) for number, page in stranded]
    for number, page, others in leaves:
        start = 100 if number == 1 else 0
        if len(page) == size and page[start] == _LEAF:
            yield from _rows(page, start, size, others)


def _rows(page: bytes, start: int, size: int, pages: Mapping[int, bytes]) -> Iterator[StoredFrame]:
    cells = int.from_bytes(page[start + 3 : start + 5], "big")
    for index in range(min(cells, size // 4)):
        at = start + 8 + 2 * index
        pointer = int.from_bytes(page[at : at + 2], "big")
        try:
            frame = _row(page, pointer, size, pages)
        except (IndexError, ValueError, FrameError):
            continue
        if frame is not None:
            yield frame


def _row(page: bytes, at: int, size: int, pages: Mapping[int, bytes]) -> StoredFrame | None:
    length, at = _varint(page, at)
    rowid, at = _varint(page, at)
    if not 0 < length <= _PAYLOAD_MAX:
        return None
    payload = _payload(page, at, length, size, pages)
    head_bytes, position = _varint(payload, 0)
    types = []
    while position < head_bytes:
        kind, position = _varint(payload, position)
        types.append(kind)
    if len(types) != _COLUMNS or types[0] != 0 or types[-1] < 12 or types[-1] & 1:
        return None
    values = []
    for kind in types[1:-1]:
        width = _INTEGER_BYTES.get(kind, -1)
        if width < 0:
            return None
        number = int.from_bytes(payload[position : position + width], "big", signed=True)
        values.append(kind - 8 if kind >= 8 else number)
        position += width
    raw = payload[position : position + (types[-1] - 12) // 2]
    head = head_of(raw)
    if [head.node, head.boot, head.seq, head.type] != values[:4]:
        return None
    node, boot, seq, type_, state, received, first_ms, last_ms = values
    return StoredFrame(rowid, node, boot, seq, type_, state, received, first_ms, last_ms, raw)


def _payload(page: bytes, at: int, length: int, size: int, pages: Mapping[int, bytes]) -> bytes:
    """A cell's payload, with its overflow pages when it has any."""
    if length <= size - 35:
        return page[at : at + length]
    least = (size - 12) * 32 // 255 - 23
    local = least + (length - least) % (size - 4)
    local = local if local <= size - 35 else least
    parts = [page[at : at + local]]
    following = int.from_bytes(page[at + local : at + local + 4], "big")
    left = length - local
    while left > 0 and following in pages and len(parts) < 8:
        parts.append(pages[following][4 : 4 + left])
        left -= size - 4
        following = int.from_bytes(pages[following][:4], "big")
    return b"".join(parts)


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for _ in range(8):
        byte = raw[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at
    return value << 8 | raw[at], at + 1
