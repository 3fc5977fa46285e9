"""Write a tree as source, with every statement on the line that it had."""

import ast
from collections.abc import Iterator


def unparse(tree: ast.Module) -> str:
    """Source of tree; a statement of several lines goes to its first.

    Raises ValueError when a statement has no line left.
    """
    text = ast.unparse(ast.fix_missing_locations(tree))
    wanted = dict(zip(_each_line(ast.parse(text)), _each_line(tree), strict=True))
    placed: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        line_wanted = wanted.get(number, len(placed) + 1)
        if line_wanted <= len(placed):
            raise ValueError(f"no room on line {line_wanted} for: {line.strip()}")
        placed += [""] * (line_wanted - 1 - len(placed))
        placed.append(line)
    return "\n".join(placed) + "\n"


def _each_line(node: ast.AST) -> Iterator[int]:
    """Lines of statements, handlers and decorators, in the order of the text."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            for decorator in child.decorator_list:
                yield decorator.lineno
        if isinstance(child, ast.stmt | ast.ExceptHandler):
            yield child.lineno
            yield from _each_line(child)
