"""Parse a source without what only people and the type checker read."""

import ast

from hardware.lean.program import is_viper, parameters


def parse(source: str) -> ast.Module:
    """The tree without docstrings, annotations, assertions, __all__ and TYPE_CHECKING's half."""
    tree = ast.parse(source)
    _Strip().visit(tree)
    fill(tree)
    return tree


def fill(tree: ast.AST) -> None:
    """Put pass into blocks that became empty."""
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt | ast.ExceptHandler) and getattr(node, "body", None) == []:
            node.body = [ast.Pass(lineno=node.lineno + 1, col_offset=0)]  # type: ignore[union-attr]


class _Strip(ast.NodeTransformer):
    def visit_If(self, node: ast.If) -> "ast.AST | list[ast.stmt]":
        self.generic_visit(node)
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else node

    def visit_Assert(self, node: ast.Assert) -> None:
        return None

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        target = node.targets[0]
        named = target.id if isinstance(target, ast.Name) else ""
        return None if named in ("TYPE_CHECKING", "__all__") else node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return ast.copy_location(ast.Assign([node.target], node.value), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        if not is_viper(node):
            node.returns = None
            for argument in parameters(node):
                argument.annotation = None
        self.generic_visit(node)
        return node
