"""Put numbers and short texts in the place of the names of constants, across modules."""

import ast
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from hardware.lean.program import Module, Program, Scopes, aliases, own_nodes

Constant = int | float | str | bytes
TEXT_MAX = 12  # a longer text would be kept anew by each module that names it
_OPERATORS: dict[type[ast.AST], Callable[..., int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.BitXor: operator.xor,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.Invert: operator.invert,
    ast.UAdd: operator.pos,
}


def inline(program: Program, modules: Iterable[Module]) -> None:
    """Find the program's constants and put them into these modules."""
    if not program.constants:
        _find(program)
    for module in modules:
        _Inline(program, module).visit(module.tree)


def _find(program: Program) -> None:
    """A constant is bound once, at the top of its module, to a value that can be computed."""
    program.constants.update({name: {} for name in program.named()})
    known = -1
    while known < sum(map(len, program.constants.values())):
        known = sum(map(len, program.constants.values()))
        for module in program.modules.values():
            _find_in(program, module)


def _find_in(program: Program, module: Module) -> None:
    found = program.constants[module.name]
    inner = [node for node in ast.walk(module.tree) if isinstance(node, ast.Global)]
    changed = {name for node in inner for name in node.names}
    bound = Counter(
        node.id
        for node in own_nodes(module.tree)
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
    )
    view = _View(program, module)
    for name, expression in _bindings(module.tree):
        if bound[name] > 1 or name in changed or name in view.imported:
            continue
        value = view.value(expression)
        if value is not None:
            found[name] = value


def _bindings(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Names bound at a module's top, alone or in a row of as many values."""
    for node in tree.body:
        if not isinstance(node, ast.Assign) or len(node.targets) > 1:
            continue
        targets, values = [node.targets[0]], [node.value]
        if isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
            targets, values = node.targets[0].elts, node.value.elts
        if len(targets) == len(values):
            for target, value in zip(targets, values, strict=True):
                if isinstance(target, ast.Name):
                    yield target.id, value


class _View:
    """The constants as a module sees them: its own, imported ones, and those of its modules."""

    def __init__(self, program: Program, module: Module) -> None:
        self._constants = program.constants
        self._own: Mapping[str, object] = program.constants.get(module.name, {})
        self._modules = aliases(module.tree, program.named())
        sources = [
            (alias.asname or alias.name, node.module or "", alias.name)
            for node in ast.walk(module.tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        ]
        often = Counter(name for name, _, _ in set(sources))
        self.imported = {
            name: self._constants.get(origin, {}).get(original)
            for name, origin, original in sources
            if often[name] == 1
        }

    def named(self, name: str) -> object:
        """The value of a name of the module's top, or None."""
        return self._own.get(name) if name not in self.imported else self.imported[name]

    def member(self, node: ast.Attribute) -> object:
        """The value of module.NAME, or None."""
        if not isinstance(node.value, ast.Name):
            return None
        return self._constants.get(self._modules.get(node.value.id, ""), {}).get(node.attr)

    def value(self, node: ast.expr) -> object:
        """What an expression of constants is, or None; texts only as they stand."""
        if isinstance(node, ast.Constant):
            return node.value if _fits(node.value) else None
        if isinstance(node, ast.Call) and is_const(node):
            return self.value(node.args[0])
        if isinstance(node, ast.Name):
            return self.named(node.id)
        if isinstance(node, ast.Attribute):
            return self.member(node)
        if isinstance(node, ast.UnaryOp):
            return _computed(node.op, self.value(node.operand))
        if isinstance(node, ast.BinOp):
            return _computed(node.op, self.value(node.left), self.value(node.right))
        return None


def _computed(sign: ast.AST, *operands: object) -> int | None:
    operation = _OPERATORS.get(type(sign))
    if operation is None or not all(type(operand) is int for operand in operands):
        return None
    return operation(*operands)


def is_const(node: ast.Call) -> bool:
    """Whether it is MicroPython's const(value)."""
    return isinstance(node.func, ast.Name) and node.func.id == "const" and len(node.args) == 1


def _fits(value: object) -> bool:
    if isinstance(value, str | bytes):
        return len(value) <= TEXT_MAX
    return type(value) in (int, float)


class _Inline(Scopes):
    def __init__(self, program: Program, module: Module) -> None:
        super().__init__()
        self._view = _View(program, module)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        return node.args[0] if is_const(node) else node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if isinstance(node.ctx, ast.Load) and not self.shadowed(node.id):
            return _literal(self._view.named(node.id), node)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        holder = node.value.id if isinstance(node.value, ast.Name) else ""
        if isinstance(node.ctx, ast.Load) and holder and not self.shadowed(holder):
            return _literal(self._view.member(node), node)
        self.generic_visit(node)
        return node


def _literal(value: object, node: ast.AST) -> ast.AST:
    if not isinstance(value, Constant):
        return node
    new: ast.expr = ast.Constant(value)
    if isinstance(value, int | float) and value < 0:
        new = ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.copy_location(new, node)
