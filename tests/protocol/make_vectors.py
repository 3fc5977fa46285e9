"""Write tests/vectors/*.json: python -m tests.protocol.make_vectors.

What a frame means is the plain decoder's reading; a refused one has its expected reason.
"""

import json
from pathlib import Path
from typing import Any

from tests.protocol import good_frames, lines, plain_decoder, recipes, refusals, settlement_cases
from tests.protocol.encoding import encode

FOLDER = Path(__file__).resolve().parent.parent / "vectors"


def frames() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, frame, key in good_frames.all_frames():
        meaning = plain_decoder.decode(frame, key)
        found.append(
            {"name": name, "key": hexadecimal(key), "hex": frame.hex(), "meaning": meaning}
        )
    for name, reason, frame, key in refusals.all_refusals():
        found.append({"name": name, "key": hexadecimal(key), "hex": frame.hex(), "refused": reason})
    return found


def hexadecimal(key: bytes | None) -> str | None:
    return None if key is None else key.hex()


def samples() -> list[dict[str, Any]]:
    found = []
    for recipe in recipes.all_recipes():
        encoded = encode(recipe, good_frames.UP)
        meaning = [plain_decoder.decode(frame, good_frames.UP) for frame in encoded]
        shown = {"frames": [frame.hex() for frame in encoded], "meaning": meaning}
        found.append({**recipe, "key": good_frames.UP.hex(), **shown})
    return found


def streams() -> list[dict[str, Any]]:
    return [
        {"name": name, "hex": data.hex(), "items": items, "garbage": garbage}
        for name, data, items, garbage in lines.all_streams()
    ]


def text(head: str, entries: list[dict[str, Any]]) -> str:
    """JSON with a line for each entry, so that a change shows as the entries it changes."""
    body = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
    return f'{{"version": 1, "{head}": [\n{body}\n]}}\n'


def files() -> dict[str, str]:
    """Name and text of each file."""
    return {
        "frames.json": text("frames", frames()),
        "samples.json": text("recipes", samples()),
        "serial.json": text("streams", streams()),
        "settlement.json": text("cases", settlement_cases.CASES),
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, content in files().items():
        (FOLDER / name).write_text(content, encoding="utf-8")
