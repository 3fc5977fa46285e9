"""The shims offer nothing that the ESP32 does not have: compared with the published stubs."""

import ast
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from simulator.vm import ROOT, SHIMS

STUBS = ROOT / ".venv" / "micropython-stubs"
MODULES = ("machine", "network", "esp32", "time")


@dataclass
class Api:
    """What a source file or stub defines: signatures (all overloads) and constants."""

    functions: dict[str, list[ast.arguments]] = field(default_factory=dict)
    classes: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    constants: dict[str, int] = field(default_factory=dict)


def read(path: Path) -> Api:
    api = Api()
    collect(ast.parse(path.read_text(encoding="utf-8")).body, "", api)
    return api


def collect(body: list[ast.stmt], prefix: str, api: Api) -> None:
    for node in body:
        if isinstance(node, ast.If):
            collect([*node.body, *node.orelse], prefix, api)
        elif isinstance(node, ast.FunctionDef):
            api.functions.setdefault(prefix + node.name, []).append(node.args)
        elif isinstance(node, ast.ClassDef):
            api.classes.add(prefix + node.name)
            collect(node.body, f"{prefix}{node.name}.", api)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name):
                api.names.add(prefix + target.id)
                if isinstance(node.value, ast.Constant) and isinstance(node.value.value, int):
                    api.constants[prefix + target.id] = node.value.value


def public(name: str) -> bool:
    return not any(
        part.startswith("_") and part not in ("__init__", "__call__") for part in name.split(".")
    )


def by_keyword(arguments: ast.arguments) -> set[str]:
    return {a.arg for a in [*arguments.args, *arguments.kwonlyargs]} - {"self", "cls"}


def positions(arguments: ast.arguments) -> int:
    return len(arguments.posonlyargs) + len(arguments.args)


def required(arguments: ast.arguments) -> int:
    by_name = sum(default is None for default in arguments.kw_defaults)
    return positions(arguments) - len(arguments.defaults) + by_name


def invented(ours: ast.arguments, theirs: list[ast.arguments]) -> str | None:
    """What a shim's signature has that no overload of the stub has; None when it is honest.

    MicroPython has no positional-only parameters, so a shim may give those by name.
    """
    if not any(other.kwarg for other in theirs):
        known = set().union(*(by_keyword(o) | {a.arg for a in o.posonlyargs} for o in theirs))
        strange = by_keyword(ours) - known
        if strange:
            return f"keywords {sorted(strange)}"
    if not any(other.vararg for other in theirs) and positions(ours) > max(map(positions, theirs)):
        return "more positional parameters"
    if not any(other.vararg or other.kwarg for other in theirs) and required(ours) > max(
        map(required, theirs)
    ):
        return "more required parameters"
    return None


def stub_file(module: str) -> Path:
    path = STUBS / f"{module}.pyi"
    if not path.exists():
        pytest.skip(f"no ESP32 stubs in {STUBS}: make develop fetches them")
    return path


@pytest.mark.parametrize("module", MODULES)
def test_a_shim_invents_no_name(module: str) -> None:
    ours, theirs = read(SHIMS / f"{module}.py"), read(stub_file(module))
    assert {n for n in ours.classes if public(n)} <= theirs.classes
    assert {n for n in ours.functions if public(n)} <= set(theirs.functions)
    defined = theirs.names | theirs.classes
    assert {n for n in ours.names if public(n)} <= defined


@pytest.mark.parametrize("module", MODULES)
def test_a_shim_invents_no_parameter(module: str) -> None:
    ours, theirs = read(SHIMS / f"{module}.py"), read(stub_file(module))
    wrong = [
        f"{module}.{name}: {fault}"
        for name, signatures in ours.functions.items()
        if public(name)
        for signature in signatures
        if (fault := invented(signature, theirs.functions[name]))
    ]
    assert not wrong


@pytest.mark.parametrize("module", MODULES)
def test_constants_have_the_values_of_the_chip(module: str) -> None:
    ours, theirs = read(SHIMS / f"{module}.py"), read(stub_file(module))
    wrong = {
        name: (value, theirs.constants[name])
        for name, value in ours.constants.items()
        if public(name) and theirs.constants.get(name, value) != value
    }
    assert not wrong


def test_the_comparison_notices_an_invented_parameter() -> None:
    stub = ast.parse("def f(a, /, *, b): ...").body[0]
    shim = ast.parse("def f(a, /, *, b, c=0): ...").body[0]
    assert isinstance(stub, ast.FunctionDef)
    assert isinstance(shim, ast.FunctionDef)
    assert invented(shim.args, [stub.args]) == "keywords ['c']"
    assert invented(stub.args, [stub.args]) is None
