"""What goes with a tested board: acceptance record, sheet and label, and the label's print."""

import hashlib
import hmac
import json
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hardware import label, sheet
from hardware.boardfile import BoardFile
from hardware.faults import BenchError, Exit
from hardware.records import Identity
from hardware.selftest import Result

PRINT_S = 60


@dataclass(frozen=True, slots=True)
class Papers:
    """The files that belong to one board."""

    record: Path
    sheet: Path
    label: Path


def write(
    folder: Path,
    board: BoardFile,
    identity: Identity,
    name: str,
    join_address: str,
    results: Sequence[Result],
    facts: Mapping[str, Any],
) -> Papers:
    """Write the acceptance record (JSON), the sheet (HTML) and the label (PDF). Raises OSError."""
    papers = _paths(folder, identity)
    folder.mkdir(parents=True, exist_ok=True)
    record = acceptance(
        identity.address, identity.uuid, board.name, list(results), facts, identity.key
    )
    _write(papers.record, json.dumps(record, indent=1).encode())
    shown = label.Label(join_address, identity.uuid, label.claim_code(identity.key))
    page = sheet.sheet(
        board.name,
        name,
        shown,
        board.pin_rows(),
        [{"check": r.check, "result": r.state, "seen": r.detail} for r in results],
        board.wiring_picture(),
    )
    _write(papers.sheet, page.encode())
    _write(papers.label, label.pdf(shown, name))
    return papers


def write_label(folder: Path, identity: Identity, name: str, join_address: str) -> Path:
    """Write the label alone, for a node whose key has changed. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    target = _paths(folder, identity).label
    shown = label.Label(join_address, identity.uuid, label.claim_code(identity.key))
    _write(target, label.pdf(shown, name))
    return target


def print_label(command: str, file: Path) -> None:
    """Run the print command of the bench file; {file} stands for the label, else it comes last.

    Raises BenchError with the command's own words.
    """
    words = shlex.split(command)
    if "{file}" in command:
        words = [word.replace("{file}", str(file)) for word in words]
    else:
        words.append(str(file))
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PRINT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise _not_printed(file, command, str(fault)) from fault
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise _not_printed(file, command, said[-1] if said else f"it ended with {done.returncode}")


def _not_printed(file: Path, command: str, why: str) -> BenchError:
    return BenchError(
        Exit.FAILED,
        f"The label was not printed: `{command}`: {why}",
        f"The board itself is done; print {file} by hand, and mend print_command",
    )


def acceptance(
    node: str, uuid: str, board: str, results: list[Result], facts: Mapping[str, Any], key: bytes
) -> dict[str, Any]:
    """The acceptance record, authenticated with the node's key (HMAC-SHA256 over its JSON)."""
    record: dict[str, Any] = {
        "node": node,
        "uuid": uuid,
        "board": board,
        "tested": datetime.now(UTC).isoformat(timespec="seconds"),
        "facts": dict(facts),
        "passed": all(result.state != "failed" for result in results),
        "results": [asdict(result) for result in results],
    }
    record["tag"] = hmac.new(key, canonical(record), hashlib.sha256).hexdigest()
    return record


def authentic(record: Mapping[str, Any], key: bytes) -> bool:
    """Whether an acceptance record was made with this key and not altered since."""
    body = {name: value for name, value in record.items() if name != "tag"}
    expected = hmac.new(key, canonical(body), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, str(record.get("tag", "")))


def canonical(record: Mapping[str, Any]) -> bytes:
    """The bytes that are authenticated: JSON with sorted keys and no spaces."""
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode()


def _paths(folder: Path, identity: Identity) -> Papers:
    stem = folder / identity.address
    return Papers(
        stem.with_suffix(".json"), stem.with_suffix(".html"), stem.with_suffix(".label.pdf")
    )


def _write(path: Path, content: bytes) -> None:
    """The claim code on the papers is for their holder, so they are readable by nobody else."""
    partial = path.with_name(f"{path.name}.part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    partial.replace(path)
