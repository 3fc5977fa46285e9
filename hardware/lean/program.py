"""A program's modules, and who uses which of their names."""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

_FROM_IMPORT = re.compile(r"^\s*from ((?:firmware|protocol)[\w.]*) import ([\w, ]+)", re.MULTILINE)
_ATTRIBUTE = re.compile(r"\.([A-Za-z_]\w*)")
_KEYWORD = re.compile(r"\b([A-Za-z_]\w*)=(?!=)")


@dataclass(slots=True)
class Module:
    """A module's dotted name and its tree, which the steps change in place."""

    name: str
    tree: ast.Module


@dataclass(frozen=True, slots=True)
class Outside:
    """Names that code beside the program uses: members of modules, attributes, keywords.

    shown are classes whose names people read, as they do those of exceptions, and their heirs'.
    """

    members: frozenset[tuple[str, str]] = frozenset()
    attributes: frozenset[str] = frozenset()
    keywords: frozenset[str] = frozenset()
    shown: frozenset[str] = frozenset()

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Outside":
        """What snippets of code use; they may hold placeholders, so they are not parsed."""
        members: set[tuple[str, str]] = set()
        attributes: set[str] = set()
        keywords: set[str] = set()
        for text in texts:
            for module, listed in _FROM_IMPORT.findall(text):
                members |= {(module, name.split()[0]) for name in listed.split(",") if name.strip()}
            attributes |= set(_ATTRIBUTE.findall(text))
            keywords |= set(_KEYWORD.findall(text))
        return cls(frozenset(members), frozenset(attributes), frozenset(keywords))


@dataclass(slots=True)
class Program:
    """All modules by path, and what is known about them."""

    modules: Mapping[str, Module]
    outside: Outside
    constants: dict[str, dict[str, object]] = field(default_factory=dict)

    def named(self) -> set[str]:
        """Dotted names of all modules."""
        return {module.name for module in self.modules.values()}


def dotted(path: str) -> str:
    """The name under which a source is imported."""
    parts = path.removesuffix(".py").split("/")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def bound_names(scope: ast.AST) -> set[str]:
    """Names that a function, lambda, comprehension or class body binds, but for its imports."""
    found: set[str] = set()
    if isinstance(scope, ast.FunctionDef | ast.Lambda):
        found |= {argument.arg for argument in parameters(scope)}
    for node in own_nodes(scope):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.ExceptHandler):
            found |= {node.name} if node.name else set()
    changed = {
        name for node in own_nodes(scope) if isinstance(node, ast.Global) for name in node.names
    }
    return found - changed


def parameters(function: ast.FunctionDef | ast.Lambda) -> list[ast.arg]:
    """All parameters of a function, in order."""
    arguments = function.args
    listed = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [*listed, *(extra for extra in (arguments.vararg, arguments.kwarg) if extra)]


def is_viper(function: ast.FunctionDef) -> bool:
    """Whether it becomes machine code, whose types are the names in annotations and casts."""
    return any("viper" in ast.unparse(each) for each in function.decorator_list)


SCOPES = (
    ast.FunctionDef, ast.Lambda, ast.ClassDef, ast.ListComp, ast.SetComp, ast.DictComp,
    ast.GeneratorExp,
)  # fmt: skip


def own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """Nodes inside a scope, down to inner scopes, which are given but not entered."""
    waiting = inner_nodes(scope)
    while waiting:
        node = waiting.pop(0)
        yield node
        if isinstance(node, SCOPES):
            waiting += outer_nodes(node)
        else:
            waiting += list(ast.iter_child_nodes(node))


class Scopes(ast.NodeTransformer):
    """Follows the scopes around each node, so that an inner name is told from an outer one."""

    def __init__(self) -> None:
        self._scopes: list[tuple[bool, set[str]]] = []

    def visit(self, node: ast.AST) -> ast.AST:
        if not isinstance(node, SCOPES):
            result: ast.AST = super().visit(node)
            return result
        self._scopes.append((isinstance(node, ast.ClassDef), bound_names(node)))
        super().visit(node)
        self._scopes.pop()
        return node

    def shadowed(self, name: str) -> bool:
        """Whether an inner scope binds a name; a class's names are not seen by its functions."""
        inner = len(self._scopes) - 1
        return any(
            name in bound and (depth == inner or not is_class)
            for depth, (is_class, bound) in enumerate(self._scopes)
        )


def inner_nodes(scope: ast.AST) -> list[ast.AST]:
    """What of a scope's node belongs to the scope itself."""
    outer = set(map(id, outer_nodes(scope)))
    found = []
    for node in ast.iter_child_nodes(scope):
        if id(node) in outer:
            continue
        if isinstance(node, ast.arguments):
            found += [node_ for node_ in ast.iter_child_nodes(node) if id(node_) not in outer]
        else:
            found.append(node)
    return found


def outer_nodes(scope: ast.AST) -> list[ast.AST]:
    """What of a scope's node is evaluated around it: decorators, defaults, bases."""
    if isinstance(scope, ast.FunctionDef):
        arguments = scope.args
        defaults = [*arguments.defaults, *(each for each in arguments.kw_defaults if each)]
        notes = [argument.annotation for argument in parameters(scope) if argument.annotation]
        returns = [scope.returns] if scope.returns else []
        return [*scope.decorator_list, *defaults, *notes, *returns]
    if isinstance(scope, ast.Lambda):
        return [*scope.args.defaults, *(each for each in scope.args.kw_defaults if each)]
    if isinstance(scope, ast.ClassDef):
        return [*scope.decorator_list, *scope.bases, *scope.keywords]
    return []


def aliases(tree: ast.AST, modules: Iterable[str]) -> dict[str, str]:
    """Names in a module that stand for one of these modules, wherever they are imported."""
    known = set(modules)
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname and alias.name in known:
                    found[alias.asname] = alias.name
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if f"{node.module}.{alias.name}" in known:
                    found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def strings(tree: ast.AST) -> set[str]:
    """All texts of a module: getattr() and the like may name something by them."""
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
