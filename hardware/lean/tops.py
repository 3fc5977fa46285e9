"""Short names for what modules hold at their top, and for that in every module that uses it.

What nobody can reach but by the program's own imports may be renamed. A name stays that code
outside uses, that a text spells, that something uses as an attribute of an object that may be a
module, or that an inner scope binds too. Classes stay whose names people read, as of exceptions.
"""

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice

from hardware.lean.program import (
    SCOPES,
    Module,
    Program,
    Scopes,
    aliases,
    bound_names,
    is_viper,
    own_nodes,
)
from hardware.lean.spare_words import short_names

Tops = Mapping[str, Mapping[str, str]]  # module -> its name -> the short one


def shorten_tops(program: Program, unchanged: Collection[str], spelled: Collection[str]) -> Tops:
    """Choose the short names; nothing is renamed yet."""
    uses = _Uses(program, unchanged)
    kept = set(spelled) | uses.attributes | _shown(program)
    return {
        module.name: _short(module, uses.members, kept, program.named())
        for path, module in program.modules.items()
        if path not in unchanged
    }


def rename_uses(module: Module, tops: Tops) -> None:
    """Let a module import and reach other modules' members by their short names."""
    _Reach(module, tops).visit(module.tree)
    own = tops.get(module.name, {})
    outer = set(map(id, own_nodes(module.tree)))
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom):
            _rename_import(node, tops.get(node.module or "", {}), own if id(node) in outer else {})


def _rename_import(node: ast.ImportFrom, theirs: Mapping[str, str], own: Mapping[str, str]) -> None:
    for alias in node.names:
        local = alias.asname or alias.name
        local = own.get(local, local)
        alias.name = theirs.get(alias.name, alias.name)
        alias.asname = local if local != alias.name else None


def _in_viper(module: Module) -> set[str]:
    return {
        inner.id
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef) and is_viper(node)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Name)
    }


def _imports(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, str]]:
    """(module of the member, or nothing for a module itself; the name that it gets)."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield "", alias.asname or alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.module or "", alias.asname or alias.name


def _short(
    module: Module,
    members: Collection[tuple[str, str]],
    kept: Collection[str],
    modules: Collection[str],
) -> dict[str, str]:
    imports = list(_imports(own_nodes(module.tree)))
    ours = {
        name for origin, name in imports if origin in modules and f"{origin}.{name}" not in modules
    }
    bound = bound_names(module.tree) | {name for _, name in imports}
    inner = {
        name
        for node in ast.walk(module.tree)
        if isinstance(node, SCOPES)
        for name in bound_names(node) | {name for _, name in _imports(own_nodes(node))}
    }
    caught = {node.name for node in ast.walk(module.tree) if isinstance(node, ast.ExceptHandler)}
    stays = inner | caught | set(kept) | _in_viper(module)
    wanted = {
        name
        for name in (bound_names(module.tree) | ours) - stays
        if len(name) > 1 and not name.startswith("__") and (module.name, name) not in members
    }
    loaded = {node.id for node in ast.walk(module.tree) if isinstance(node, ast.Name)}
    last_parts = {name.rpartition(".")[2] for name in modules}
    taken = (loaded | bound | inner | last_parts) - wanted
    given = islice(short_names(taken, turned=True), len(wanted))
    return dict(zip(sorted(wanted), given, strict=True))


class _Uses:
    """Members that code uses which is not renamed, and attributes of what may be a module."""

    def __init__(self, program: Program, unchanged: Collection[str]) -> None:
        modules = program.named()
        self.members = set(program.outside.members)
        self.attributes = set(program.outside.attributes)
        for path, module in program.modules.items():
            finder = _Attributes(module, modules)
            finder.visit(module.tree)
            self.attributes |= finder.unknown
            if path in unchanged:
                self.members |= finder.members | {
                    (node.module or "", alias.name)
                    for node in ast.walk(module.tree)
                    if isinstance(node, ast.ImportFrom)
                    for alias in node.names
                }


class _Aliased(Scopes):
    """Tells which attributes are members of the program's modules."""

    def __init__(self, module: Module, modules: Iterable[str]) -> None:
        super().__init__()
        self._aliases = aliases(module.tree, modules)

    def holder(self, node: ast.Attribute) -> str:
        """The module whose member it is, or nothing."""
        if not isinstance(node.value, ast.Name) or self.shadowed(node.value.id):
            return ""
        return self._aliases.get(node.value.id, "")


class _Attributes(_Aliased):
    def __init__(self, module: Module, modules: Iterable[str]) -> None:
        super().__init__(module, modules)
        self.members: set[tuple[str, str]] = set()
        self.unknown: set[str] = set()

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        holder = self.holder(node)
        if holder:
            self.members.add((holder, node.attr))
        elif not isinstance(node.value, ast.Name) or node.value.id != "self":
            self.unknown.add(node.attr)
        return self.generic_visit(node)


class _Reach(_Aliased):
    def __init__(self, module: Module, tops: Tops) -> None:
        super().__init__(module, tops)
        self._tops = tops

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        node.attr = self._tops.get(self.holder(node), {}).get(node.attr, node.attr)
        return self.generic_visit(node)


def _shown(program: Program) -> set[str]:
    found = {"Exception", *program.outside.shown}
    classes = [
        (node.name, {ast.unparse(base).rpartition(".")[2] for base in node.bases})
        for module in program.modules.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    ]
    known = 0
    while known < len(found):
        known = len(found)
        found |= {
            name
            for name, bases in classes
            if bases & found or any(base.endswith(("Error", "Exception")) for base in bases)
        }
    return found
