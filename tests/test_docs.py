"""What the documents name exists: commands with their options, make targets, modules, files."""

import importlib
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from docs import generate

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [*(p for p in ROOT.glob("*.md") if p.name != "CHANGELOG.md"), *(ROOT / "docs").rglob("*.md")]
)
PROGRAMS = {
    "osn-collector": "collector.cli",
    "osn-board": "hardware.cli",
    "osn-simulator": "simulator.cli",
}
FENCED = re.compile(r"^ *```\w*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^ {4}(.*)$", re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
PATHS = re.compile(
    r"(?<![\w/-])(?:protocol|firmware|collector|hardware|simulator|tests|benchmarks|docs|packaging)"
    r"/[\w./-]*\w\.(?:py|toml|md|svg|json)\b"
)


def code_of(page: Path) -> Iterator[str]:
    """Every line of code of a page, with continued lines joined."""
    text = page.read_text(encoding="utf-8")
    for block in FENCED.findall(text):
        yield from block.replace("\\\n", " ").splitlines()
    prose = FENCED.sub("", text)
    yield from "\n".join(INDENTED.findall(prose)).replace("\\\n", " ").splitlines()
    yield from INLINE.findall(prose)


def found(pattern: str) -> list[tuple[str, str]]:
    """(page, match) of a pattern in code, each once."""
    places = {
        (str(page.relative_to(ROOT)), match)
        for page in PAGES
        for line in code_of(page)
        for match in re.findall(pattern, line)
    }
    return sorted(places)


def words_of(line: str) -> list[str]:
    """A command's words, without a shell's comment, pipe or second command."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.commenters = "#"
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if word in ("&&", "|", ";", ">", "<", "(", ")"):
            break
        words.append(word)
    return words


def resolve(words: list[str]) -> tuple[click.Command, list[str]]:
    """The click command that the words name, and what is left for it."""
    command: click.Command = importlib.import_module(PROGRAMS[words[0]]).main
    rest = words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        context = click.Context(command)
        child = command.get_command(context, rest[0])
        assert child is not None, f"no such command: {rest[0]}"
        command, rest = child, rest[1:]
    return command, rest


def check(words: list[str]) -> None:
    command, rest = resolve(words)
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    known |= {"-h", "--help", "--version"}
    for word in rest:
        if word.startswith("--"):
            option = word.partition("=")[0]
            assert option in known, f"{' '.join(words)}: no option {option}"


COMMANDS = found(r"^(?:\s*\$ |\s*sudo |\s*)((?:osn-collector|osn-board|osn-simulator) [a-z].*)")


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_every_command_exists_with_its_options(page: str, line: str) -> None:
    words = words_of(line)
    alternatives = [word.split("|") for word in words[1:2]] or [[]]
    for name in alternatives[0]:
        check([words[0], name, *words[2:]])


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+(?: [a-z0-9-]+)*):", makefile, re.MULTILINE))
    known = {name for group in targets for name in group.split()}
    for page, target in found(r"(?:^|[ $])make ([a-z][a-z0-9-]*)"):
        assert target in known, f"{page}: make {target}"


def test_every_module_exists() -> None:
    ours = "protocol|firmware|collector|hardware|simulator|tests|benchmarks|docs"
    for page, module in found(rf"python -m ((?:{ours})[\w.]*)"):
        assert importlib.util.find_spec(module), f"{page}: python -m {module}"
    for page, line in found(rf"^(from (?:{ours})[\w.]* import \w+)"):
        _, module, _, name = line.split()
        assert hasattr(importlib.import_module(module), name), f"{page}: {line}"


def test_every_file_exists() -> None:
    for page in PAGES:
        for path in PATHS.findall(page.read_text(encoding="utf-8")):
            if "NNN" in path or "NAME" in path:
                continue
            near = (page.parent / path).exists()
            assert near or (ROOT / path).exists(), f"{page.relative_to(ROOT)}: {path}"


def test_the_page_of_forwarding_has_the_table_of_the_code() -> None:
    assert generate.FORWARDING_PAGE.read_text(encoding="utf-8") == generate.forwarding_page()
