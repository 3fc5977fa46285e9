"""The label of a node as a PDF of one page, for a label printer: QR code, where to go, claim code.

PDF 1.4 by ISO 32000-1, with rectangles for the code and the viewer's own Helvetica for the text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import segno

from protocol.mac import derive

CLAIM_BYTES = 10
POINTS_PER_MM = 72 / 25.4
WIDTH_MM = 62.0
HEIGHT_MM = 29.0
MARGIN_MM = 1.5
QUIET_MODULES = 2
FONT_POINTS = 7.0
SMALL_POINTS = 6.0
LETTER_EM = 0.56
"""Width of Helvetica's usual letter or digit, rounded up, as part of the font's size."""


@dataclass(frozen=True, slots=True)
class Label:
    """What the citizen who will own the node gets: where to go, which node, and proof of it."""

    join_address: str
    uuid: str
    claim_code: str

    @property
    def text(self) -> str:
        """The content of the QR code."""
        return f"{self.join_address}?node={self.uuid}&claim={self.claim_code}"


def claim_code(key: bytes) -> str:
    """The first 80 bits of HMAC-SHA256(key, "claim"), in hexadecimal groups of four."""
    digits = derive(key, b"claim")[:CLAIM_BYTES].hex()
    return "-".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def qr_code(text: str) -> segno.QRCode:
    """A QR code with error correction that survives a scratched label."""
    return segno.make(text, error="q", micro=False)


def pdf(label: Label, name: str) -> bytes:
    """The label as PDF, 62 x 29 mm; letters that Latin-1 lacks become question marks."""
    content = "\n".join([*_squares(label.text), *_lines(label, name)]).encode("latin-1", "replace")
    size = f"{WIDTH_MM * POINTS_PER_MM:.2f} {HEIGHT_MM * POINTS_PER_MM:.2f}"
    fonts = "".join(
        f"/{key} << /Type /Font /Subtype /Type1 /BaseFont /{font} /Encoding /WinAnsiEncoding >> "
        for key, font in (("F1", "Helvetica"), ("F2", "Helvetica-Bold"), ("F3", "Courier-Bold"))
    )
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {size}] /Contents 4 0 R "
        f"/Resources << /Font << {fonts}>> >> >>".encode(),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
    ]
    return _file(objects)


def _file(objects: list[bytes]) -> bytes:
    """Header, numbered objects, cross-reference table and trailer."""
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for place in places:
        out += b"%010d 00000 n \n" % place
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\n" % (len(objects) + 1)
    out += b"startxref\n%d\n%%%%EOF\n" % table
    return bytes(out)


def _squares(text: str) -> Iterator[str]:
    """The dark modules, a rectangle for each run in a row; the origin is at the lower left."""
    rows = [list(row) for row in qr_code(text).matrix_iter(border=QUIET_MODULES)]
    side = (HEIGHT_MM - 2 * MARGIN_MM) * POINTS_PER_MM
    module = side / len(rows)
    top = (HEIGHT_MM - MARGIN_MM) * POINTS_PER_MM
    left = MARGIN_MM * POINTS_PER_MM
    yield "0 g"
    for number, row in enumerate(rows):
        dark = "".join("1" if value else "0" for value in row)
        for run in re.finditer("1+", dark):
            yield (
                f"{left + run.start() * module:.3f} {top - (number + 1) * module:.3f} "
                f"{len(run.group()) * module:.3f} {module:.3f} re"
            )
    yield "f"


def _lines(label: Label, name: str) -> Iterator[str]:
    """Name, address, identity and claim code, beside the code."""
    left_mm = HEIGHT_MM + MARGIN_MM / 2
    room = (WIDTH_MM - MARGIN_MM - left_mm) * POINTS_PER_MM
    address = re.sub(r"^https?://", "", label.join_address)
    code = label.claim_code.split("-")
    lines = [
        *(("F2", FONT_POINTS, part) for part in _folded(name, FONT_POINTS, room)[:2]),
        *(("F1", SMALL_POINTS, part) for part in _folded(address, SMALL_POINTS, room)[:3]),
        ("F1", SMALL_POINTS, "node"),
        *(("F1", SMALL_POINTS, part) for part in (label.uuid[:19], label.uuid[19:])),
        ("F1", SMALL_POINTS, "claim code"),
        ("F3", FONT_POINTS, "-".join(code[:3])),
        ("F3", FONT_POINTS, "-".join(code[3:])),
    ]
    yield "BT"
    yield f"{left_mm * POINTS_PER_MM:.2f} {(HEIGHT_MM - MARGIN_MM) * POINTS_PER_MM:.2f} Td"
    for font, points, text in lines:
        escaped = re.sub(r"([\\()])", r"\\\1", text)
        yield f"/{font} {points} Tf 0 {-points * 1.1:.2f} Td ({escaped}) Tj"
    yield "ET"


def _folded(text: str, points: float, room: float) -> list[str]:
    """The text in lines that fit, cut anywhere."""
    width = max(1, int(room / (points * LETTER_EM)))
    return [text[at : at + width] for at in range(0, len(text), width)]
