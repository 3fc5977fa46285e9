"""Each network's page: its configurations load and build a sink, its table of names is true."""

import os
import re
import tomllib
from pathlib import Path
from uuid import UUID

import pytest

from collector.config import parse
from collector.forward.provisioning import explain
from collector.readings.observation import Place, PublicNode
from collector.sinks import build_sink, kinds
from collector.sinks.base import MemoryIds, Sink

PAGES = Path(__file__).parents[3] / "docs/sinks"
NODE = PublicNode(
    0xA1B2C3D4, UUID("6f1c7a52-3b0e-4d52-9a57-0c1b2d3e4f50"), "street 1", "street", Place(41.4, 2.2)
)
_TABLE = re.compile(r"<!-- names -->\n(.*?)<!-- end -->\n", re.DOTALL)


def names_table(sink: Sink, node: PublicNode) -> str:
    """Markdown: what each quantity of the registry is called there, and what cannot be sent."""
    rows = explain(sink, [node])
    sent = [f"| {row.channel} | {row.upstream} |" for row in rows if row.upstream is not None]
    unsent = ", ".join(row.channel for row in rows if row.upstream is None)
    table = "\n".join(["| quantity | there |", "| --- | --- |", *sent])
    return f"{table}\n\nCannot be sent: {unsent or 'nothing'}.\n"


def configurations(page: Path) -> list[str]:
    blocks = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [block for block in blocks if "[[sink]]" in block]


@pytest.mark.parametrize("kind", kinds())
def test_the_configurations_of_a_page_work(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = PAGES / f"{kind}.md"
    found = configurations(page)
    assert found, "the page shows a working configuration"
    for text in found:
        for name in re.findall(r'file = "([a-z-]+)" }', text):
            (tmp_path / name).write_text("secret\n")
        for name in re.findall(r'env = "(\w+)"', text):
            monkeypatch.setenv(name, "secret")
        config = parse(tomllib.loads(text), tmp_path / "collector.toml", text)
        (entry,) = config.sinks
        assert entry.kind == kind
        assert "secret" not in repr(entry), "a secret shows in the configuration"
        sink = build_sink(entry.kind, entry.name, entry.config, MemoryIds())
        assert sink.name == entry.name


@pytest.mark.parametrize("kind", kinds())
def test_the_names_of_a_page_are_true(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = PAGES / f"{kind}.md"
    text = page.read_text(encoding="utf-8")
    shown = _TABLE.search(text)
    if "<!-- names -->" not in text:
        assert "Every quantity can be sent" in text or "every reading" in text or "channel" in text
        return
    block = configurations(page)[0]
    for name in re.findall(r'file = "([a-z-]+)" }', block):
        (tmp_path / name).write_text("secret\n")
    for name in re.findall(r'env = "(\w+)"', block):
        monkeypatch.setenv(name, "secret")
    (entry,) = parse(tomllib.loads(block), tmp_path / "collector.toml", block).sinks
    table = names_table(build_sink(kind, kind, entry.config, MemoryIds()), NODE)
    if os.environ.get("OSN_WRITE_PAGES"):
        bare = _TABLE.sub("<!-- names -->\n", text)
        page.write_text(
            bare.replace("<!-- names -->\n", f"<!-- names -->\n{table}<!-- end -->\n"),
            encoding="utf-8",
        )
        return
    assert shown, "run this test with OSN_WRITE_PAGES=1 to write the table"
    assert shown[1] == table, "run this test with OSN_WRITE_PAGES=1 to write the table anew"


def test_every_page_is_in_the_index() -> None:
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    for kind in kinds():
        assert f"[{kind}]({kind}.md)" in index
