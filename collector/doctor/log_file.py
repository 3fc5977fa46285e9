"""SQLite's write-ahead log as a file: which of its pages belong to a commit.

Format and checksum: sqlite.org/fileformat2.html, "WAL Frame Format".
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path

_HEAD_BYTES = 32
_FRAME_HEAD_BYTES = 24
_BIG_ENDIAN_SUMS = 1
_MAGIC = 0x377F0682


@dataclass(slots=True)
class Log:
    """Newest committed image of each page, how many frames there are, and bytes after them.

    `stranded` are pages of this log that lie behind a damaged or torn frame: SQLite ignores them,
    though some may have been committed; `stranded_commits` of them end a commit.
    """

    page_bytes: int = 0
    frames: int = 0
    torn_bytes: int = 0
    pages: dict[int, bytes] = field(default_factory=dict)
    stranded: list[tuple[int, bytes]] = field(default_factory=list)
    stranded_commits: int = 0


def read_log(path: Path, keep_pages: bool = False) -> Log | None:
    """Reads a log; None when there is none or it is empty. A damaged head means no commit."""
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    if not raw:
        return None
    log = Log(torn_bytes=len(raw))
    if len(raw) < _HEAD_BYTES:
        return log
    magic, _, page_bytes, _, salt1, salt2, sum1, sum2 = struct.unpack_from(">8I", raw)
    if magic & ~_BIG_ENDIAN_SUMS != _MAGIC or not 512 <= page_bytes <= 65_536:
        return log
    order = ">" if magic & _BIG_ENDIAN_SUMS else "<"
    sums = _checksum(raw[: _HEAD_BYTES - 8], (0, 0), order)
    if sums != (sum1, sum2):
        return log
    log.page_bytes = page_bytes
    position = _HEAD_BYTES
    waiting: dict[int, bytes] = {}
    frames = 0
    while position + _FRAME_HEAD_BYTES + page_bytes <= len(raw):
        head = struct.unpack_from(">6I", raw, position)
        begin = position + _FRAME_HEAD_BYTES
        page = raw[begin : begin + page_bytes]
        sums = _checksum(raw[position : position + 8] + page, sums, order)
        if head[2:4] != (salt1, salt2) or head[4:6] != sums:
            break
        frames += 1
        waiting[head[0]] = page if keep_pages else b""
        position = begin + page_bytes
        if head[1]:
            log.pages |= waiting
            waiting = {}
            log.frames = frames
            log.torn_bytes = len(raw) - position
    _add_stranded(log, raw, position, (salt1, salt2), keep_pages)
    return log


def _add_stranded(
    log: Log, raw: bytes, position: int, salts: tuple[int, int], keep_pages: bool
) -> None:
    """Frames behind the first bad one; those of an earlier round of the log have other salts."""
    step = _FRAME_HEAD_BYTES + log.page_bytes
    for at in range(position + step, len(raw) - step + 1, step):
        number, commit, salt1, salt2 = struct.unpack_from(">4I", raw, at)
        if (salt1, salt2) != salts or not number:
            continue
        page = raw[at + _FRAME_HEAD_BYTES : at + step] if keep_pages else b""
        log.stranded.append((number, page))
        log.stranded_commits += commit > 0


def _checksum(data: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for i in range(0, len(words), 2):
        first = (first + words[i] + second) & 0xFFFFFFFF
        second = (second + words[i + 1] + first) & 0xFFFFFFFF
    return first, second
