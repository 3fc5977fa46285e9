"""Drop what no module of a program uses any more: imports, constants, functions, classes."""

import ast
from collections.abc import Collection

from hardware.lean.program import Module, Program, aliases, strings
from hardware.lean.strip import fill


def sweep(program: Program, unchanged: Collection[str] = ()) -> None:
    """Drop from all modules, but for the unchanged, until nothing more can go."""
    while True:
        users = _Users(program)
        gone = 0
        for path, module in program.modules.items():
            if path not in unchanged:
                dropper = _Drop(users, module)
                module.tree = dropper.visit(module.tree)
                gone += dropper.gone
        if not gone:
            break
    for module in program.modules.values():
        fill(module.tree)


def sweep_client(program: Program, module: Module) -> None:
    """Drop from a module beside the program the imports that it does not need any more."""
    module.tree = _Drop(_Users(program), module, imports_only=True).visit(module.tree)
    fill(module.tree)


class _Users:
    """Which names are used, and from where."""

    def __init__(self, program: Program) -> None:
        self.modules = program.named()
        self.members = set(program.outside.members)
        self.attributes = set(program.outside.attributes)
        for module in program.modules.values():
            self.attributes |= strings(module.tree)
            known = aliases(module.tree, self.modules)
            for node in ast.walk(module.tree):
                if isinstance(node, ast.ImportFrom) and node.module:
                    self.members |= {(node.module, alias.name) for alias in node.names}
                elif isinstance(node, ast.Attribute):
                    holder = node.value.id if isinstance(node.value, ast.Name) else ""
                    if holder in known:
                        self.members.add((known[holder], node.attr))
                    elif holder != "self":
                        self.attributes.add(node.attr)


class _Drop(ast.NodeTransformer):
    """Only the top of a module is looked at, and imports everywhere."""

    def __init__(self, users: _Users, module: Module, imports_only: bool = False) -> None:
        self._users = users
        self._module = module
        self._top = set() if imports_only else set(map(id, module.tree.body))
        self._loaded = {
            node.id
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        }
        self.gone = 0

    def visit_Import(self, node: ast.Import) -> ast.AST | None:
        return self._imports(node, [alias.name in self._users.modules for alias in node.names])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        ours = node.module in self._users.modules
        return self._imports(node, [ours or alias.name == "const" for alias in node.names])

    def _imports(self, node: ast.Import | ast.ImportFrom, ours: list[bool]) -> ast.AST | None:
        kept = [
            alias
            for alias, own in zip(node.names, ours, strict=True)
            if not own or self._imported(alias)
        ]
        self.gone += len(node.names) - len(kept)
        node.names = kept
        return node if kept else None

    def _imported(self, alias: ast.alias) -> bool:
        name = alias.asname or alias.name
        return name in self._loaded or (self._module.name, name) in self._users.members

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST | None:
        self.generic_visit(node)
        return self._unless_used(node, node.name)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST | None:
        self.generic_visit(node)
        return self._unless_used(node, node.name)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        target = node.targets[0]
        targets = target.elts if isinstance(target, ast.Tuple) else [target]
        names = [each.id for each in targets if isinstance(each, ast.Name)]
        if len(node.targets) > 1 or len(names) < len(targets) or not _pure(node.value):
            return node
        return self._unless_used(node, *names)

    def _unless_used(self, node: ast.stmt, *names: str) -> ast.AST | None:
        if id(node) not in self._top or any(map(self._used, names)):
            return node
        self.gone += 1
        return None

    def _used(self, name: str) -> bool:
        return (
            name in self._loaded
            or (self._module.name, name) in self._users.members
            or name in self._users.attributes
        )


def _pure(node: ast.expr) -> bool:
    return all(
        isinstance(
            inner,
            ast.Constant | ast.Tuple | ast.List | ast.Dict | ast.UnaryOp | ast.BinOp | ast.operator
            | ast.unaryop | ast.expr_context,
        )
        for inner in ast.walk(node)
    )  # fmt: skip
