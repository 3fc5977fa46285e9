"""The label's PDF: sound, whole, and with what its owner needs."""

import re
from pathlib import Path

import pytest

from hardware import papers
from hardware.faults import BenchError
from hardware.label import Label, claim_code, pdf, qr_code

LABEL = Label(
    "https://example.org/join", "6f9619ff-8b86-4d01-b42d-00cf4fc964ff", claim_code(bytes(32))
)


def test_every_object_is_where_the_table_says() -> None:
    content = pdf(LABEL, "Carrer Gran 7")
    start = int(content.rsplit(b"startxref\n", 1)[1].split()[0])
    assert content[start:].startswith(b"xref")
    places = [int(place) for place in re.findall(rb"(\d{10}) 00000 n", content)]
    assert [content[place:].split(b" ", 1)[0] for place in places] == [b"1", b"2", b"3", b"4"]
    length = int(re.findall(rb"/Length (\d+)", content)[0])
    body = content.split(b"stream\n", 1)[1]
    assert body[length:].startswith(b"\nendstream")


def test_it_has_as_much_black_as_its_code() -> None:
    squares = re.findall(rb"[\d.]+ [\d.]+ ([\d.]+) ([\d.]+) re", pdf(LABEL, "x"))
    dark = sum(round(float(width) / float(height)) for width, height in squares)
    assert dark == sum(value & 1 for row in qr_code(LABEL.text).matrix for value in row)


def test_odd_names_neither_break_it_nor_leave_it() -> None:
    content = pdf(LABEL, "a) Tj (\\ 東京 façana").decode("latin-1")
    assert r"(a\) Tj \(\\ ?? fa" in content


def test_the_claim_code_has_eighty_bits_in_groups() -> None:
    assert re.fullmatch(r"(?:[0-9a-f]{4}-){4}[0-9a-f]{4}", claim_code(bytes(32)))


def test_the_print_command_gets_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a label.pdf"
    file.write_bytes(b"pdf")
    papers.print_label(f"cp {{file}} {tmp_path}/out1", file)
    assert (tmp_path / "out1").read_bytes() == b"pdf"
    papers.print_label("test -s", file)
    for command in ("test -d", "no-such-printer"):
        with pytest.raises(BenchError, match=r"print .* by hand"):
            papers.print_label(command, file)
