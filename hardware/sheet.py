"""The printable sheet of a board: what it is, its wiring, its test, and the label for its owner."""

import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from hardware.label import Label, qr_code

STYLE = """
body { font: 11pt/1.4 Helvetica, Arial, sans-serif; margin: 15mm; color: #1c2b39; }
h1 { font-size: 18pt; margin: 0 0 2mm; }
h2 { font-size: 12pt; margin: 6mm 0 1mm; }
table { border-collapse: collapse; }
td, th { border: 1px solid #94a7b8; padding: 1mm 3mm; text-align: left; }
.label { border: 1px dashed #33475b; padding: 4mm; display: inline-flex; gap: 5mm; }
.label svg { width: 32mm; height: 32mm; }
code { font-size: 10pt; }
.passed { color: #087f5b; }
.failed { color: #c92a2a; }
figure { margin: 0; }
figure svg { max-width: 100%; height: auto; }
@media print { .label { page-break-inside: avoid; } }
"""


def qr_svg(text: str) -> str:
    """A QR code as an SVG element, with error correction that survives a scratched label."""
    output = io.BytesIO()
    qr_code(text).save(output, kind="svg", scale=4, xmldecl=False, svgns=True, border=2)
    return output.getvalue().decode()


def sheet(
    board: str,
    name: str,
    label: Label,
    pins: Sequence[Mapping[str, str]],
    results: Sequence[Mapping[str, str]],
    wiring: Path | None,
) -> str:
    """The HTML page; it holds no key and no place. Everything is inside the file."""
    return _page(
        name,
        f"<p>Board <strong>{html.escape(board)}</strong></p>{_label(label)}"
        f"<h2>Acceptance</h2>{_table(results)}{_wiring(wiring)}<h2>Pins</h2>{_table(pins)}",
    )


def board_sheet(
    board: str,
    title: str,
    pins: Sequence[Mapping[str, str]],
    parts: Sequence[Mapping[str, str]],
    wiring: Path | None,
) -> str:
    """The HTML page of a type of board, for the bench."""
    return _page(
        f"{board}: {title}",
        f"{_wiring(wiring)}<h2>Pins</h2>{_table(pins)}<h2>Parts</h2>{_table(parts)}",
    )


def _page(title: str, body: str) -> str:
    name = html.escape(title)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>{name}</title>'
        f"<style>{STYLE}</style><h1>{name}</h1>{body}</html>\n"
    )


def _wiring(picture: Path | None) -> str:
    if picture is None or not picture.exists():
        return ""
    source = picture.read_text(encoding="utf-8")
    return f"<h2>Wiring</h2><figure>{source[source.index('<svg') :]}</figure>"


def _label(label: Label) -> str:
    return (
        f'<div class="label">{qr_svg(label.text)}<div>'
        f"<strong>{html.escape(label.join_address)}</strong><br>"
        f"Node <code>{html.escape(label.uuid)}</code><br>"
        f"Claim code <code>{html.escape(label.claim_code)}</code></div></div>"
    )


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    if not rows:
        return "<p>none</p>"
    heads = "".join(f"<th>{html.escape(head)}</th>" for head in rows[0])
    body = "".join(f"<tr>{''.join(_cell(value) for value in row.values())}</tr>" for row in rows)
    return f"<table><tr>{heads}</tr>{body}</table>"


def _cell(value: str) -> str:
    kind = f' class="{value}"' if value in ("passed", "failed") else ""
    return f"<td{kind}>{html.escape(value)}</td>"
