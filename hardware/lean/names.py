"""Short names where nobody outside sees the long ones.

A board keeps each name that it meets once, so the same few serve everywhere: at the top of
modules, for private attributes of a family of classes, and for parameters and variables. A name
that a text of the program spells stays, for getattr() may mean it.
"""

import ast
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from itertools import islice

from hardware.lean.program import (
    Program,
    bound_names,
    inner_nodes,
    own_nodes,
    parameters,
    strings,
)
from hardware.lean.spare_words import short_names
from hardware.lean.tops import Tops, rename_uses, shorten_tops


def shorten(
    program: Program, unchanged: Collection[str] = ()
) -> tuple[dict[str, dict[str, str]], Tops]:
    """Rename in place.

    Gives for each path what its short names stand for ("Class._name" or "name"), and for each
    module the short names of its top.
    """
    modules = {path: each for path, each in program.modules.items() if path not in unchanged}
    spelled = {text for each in program.modules.values() for text in strings(each.tree)}
    spelled |= program.outside.attributes
    families = _Families(each.tree for each in program.modules.values())
    members, elsewhere, public = _members(program, families)
    spelled |= elsewhere
    taken = public | spelled | _in_class_bodies(program)
    attributes = {family: _given(found - spelled, taken) for family, found in members.items()}
    keywords = set(program.outside.keywords) | {
        node.arg
        for each in program.modules.values()
        for node in ast.walk(each.tree)
        if isinstance(node, ast.keyword) and node.arg
    }
    tops = shorten_tops(program, unchanged, spelled)
    given = {}
    for path, module in modules.items():
        rename_uses(module, tops)
        own = tops[module.name]
        renamer = _Rename(families, attributes, own)
        renamer.visit(module.tree)
        _rename_locals(module.tree, keywords)
        given[path] = {short: long for long, short in own.items()} | renamer.given
    return given, tops


def private(name: str) -> bool:
    """Whether a name is for its owner alone: one underscore first, and more than that."""
    return name.startswith("_") and not name.startswith("__") and len(name) > 1


class _Families:
    """Classes that share an object, by inheritance; classes of one name count as one."""

    def __init__(self, trees: Iterable[ast.Module]) -> None:
        self._parents: dict[str, str] = {}
        for tree in trees:
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    for base in node.bases:
                        name = base.attr if isinstance(base, ast.Attribute) else ast.unparse(base)
                        self._parents[self.of(node.name)] = self.of(name)

    def of(self, name: str) -> str:
        """The class that stands for the family of this one."""
        while self._parents.get(name, name) != name:
            name = self._parents[name]
        return name


def _given(names: Collection[str], taken: Collection[str]) -> dict[str, str]:
    return dict(zip(sorted(names), islice(short_names(taken), len(names)), strict=True))


def _in_class_bodies(program: Program) -> set[str]:
    """Names that the bodies of classes use, where a member of that name would hide them."""
    return {
        inner.id
        for module in program.modules.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        for inner in own_nodes(node)
        if isinstance(inner, ast.Name)
    }


def _members(
    program: Program, families: _Families
) -> tuple[dict[str, set[str]], set[str], set[str]]:
    """Private members of each family, private attributes of anything else, public attributes."""
    members: dict[str, set[str]] = defaultdict(set)
    elsewhere: set[str] = set()
    public: set[str] = set()
    for module in program.modules.values():
        finder = _Members(families)
        finder.visit(module.tree)
        for family, found in finder.members.items():
            members[family] |= found
        elsewhere |= finder.elsewhere
        public |= finder.public
    return members, elsewhere, public


class _InClass(ast.NodeVisitor):
    """Follows the class around each node and whether the node is in the class's own body."""

    def __init__(self, families: _Families) -> None:
        self._families = families
        self._class = ""
        self._family = ""
        self._body = False

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        outer = self._class, self._family, self._body
        for around in (*node.decorator_list, *node.bases):
            self.visit(around)
        self._class, self._family, self._body = node.name, self._families.of(node.name), True
        self.class_body(node)
        for inner in node.body:
            self.visit(inner)
        self._class, self._family, self._body = outer

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.function(node)
        for decorator in node.decorator_list:
            self.visit(decorator)
        outer, self._body = self._body, False
        for inner in ast.iter_child_nodes(node):
            if inner not in node.decorator_list:
                self.visit(inner)
        self._body = outer

    def class_body(self, node: ast.ClassDef) -> None:
        """Called once a class."""

    def function(self, node: ast.FunctionDef) -> None:
        """Called once a function, with what is around it."""


class _Members(_InClass):
    """Private names that a module uses as self._name in a class, and elsewhere."""

    def __init__(self, families: _Families) -> None:
        super().__init__(families)
        self.members: dict[str, set[str]] = defaultdict(set)
        self.elsewhere: set[str] = set()
        self.public: set[str] = set()

    def class_body(self, node: ast.ClassDef) -> None:
        self.members[self._family] |= set(filter(private, bound_names(node)))
        self.public |= {name for name in bound_names(node) if not private(name)}

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if not private(node.attr):
            self.public.add(node.attr)
        elif self._family and isinstance(node.value, ast.Name) and node.value.id == "self":
            self.members[self._family].add(node.attr)
        else:
            self.elsewhere.add(node.attr)
        self.visit(node.value)


class _Rename(_InClass):
    def __init__(
        self,
        families: _Families,
        attributes: Mapping[str, Mapping[str, str]],
        tops: Mapping[str, str],
    ) -> None:
        super().__init__(families)
        self._attributes = attributes
        self._tops = tops
        self.given: dict[str, str] = {}

    def _member(self, name: str) -> str:
        short = self._attributes.get(self._family, {}).get(name, name)
        if short != name:
            self.given[f"{self._class}.{short}"] = name
        return short

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.visit(node.value)
        if self._family and isinstance(node.value, ast.Name) and node.value.id == "self":
            node.attr = self._member(node.attr)

    def visit_Name(self, node: ast.Name) -> None:
        if self._body and node.id in self._attributes.get(self._family, {}):
            node.id = self._member(node.id)
        else:
            node.id = self._tops.get(node.id, node.id)

    def visit_Global(self, node: ast.Global) -> None:
        node.names = [self._tops.get(name, name) for name in node.names]

    def function(self, node: ast.FunctionDef) -> None:
        known = self._attributes.get(self._family, {}) if self._body else self._tops
        if node.name in known:
            node.name = self._member(node.name) if self._body else self._tops[node.name]

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        super().visit_ClassDef(node)
        node.name = self._tops.get(node.name, node.name)


def _rename_locals(tree: ast.AST, keywords: Collection[str]) -> None:
    """Short names for parameters that no call names and for variables, inner functions first."""
    for node in ast.iter_child_nodes(tree):
        _rename_locals(node, keywords)
    if isinstance(tree, ast.FunctionDef | ast.Lambda):
        _shorten_locals(tree, keywords)


def _shorten_locals(function: ast.FunctionDef | ast.Lambda, keywords: Collection[str]) -> None:
    kept = {name for node in ast.walk(function) for name in _names_given(node)} | set(keywords)
    taken = kept | {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    taken |= {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}
    ordered = [argument.arg for argument in parameters(function)]
    ordered += sorted(bound_names(function) - set(ordered))
    wanted = [name for name in ordered if name not in kept]
    renamed = dict(zip(wanted, islice(short_names(taken), len(wanted)), strict=True))
    for argument in parameters(function):
        argument.arg = renamed.get(argument.arg, argument.arg)
    for node in inner_nodes(function):
        _replace(node, renamed)


def _names_given(node: ast.AST) -> list[str]:
    """Names that a statement binds by its text, not by a Name."""
    if isinstance(node, ast.alias):
        return [(node.asname or node.name).split(".")[0]]
    if isinstance(node, ast.ExceptHandler):
        return [node.name] if node.name else []
    if isinstance(node, ast.ClassDef):
        return [node.name, *bound_names(node)]
    if isinstance(node, ast.FunctionDef):
        return [node.name]
    return list(node.names) if isinstance(node, ast.Global | ast.Nonlocal) else []


def _replace(node: ast.AST, renamed: Mapping[str, str]) -> None:
    if isinstance(node, ast.Name):
        node.id = renamed.get(node.id, node.id)
        return
    for child in ast.iter_child_nodes(node):
        _replace(child, renamed)
