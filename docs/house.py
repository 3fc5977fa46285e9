"""The house as its imports make it: rooms, the floors in each, arrows, and those that lead back up.

    python -m docs.house

A room's parts are its folders and the modules that stand beside them. A part stands one floor
above the highest that it imports, types included. Parts that import each other, directly or
around, cannot stand on floors: each arrow among them leads back up. So does each arrow among
modules of one folder that import each other around. Exits with 1 when one does in a room that has
to be free of them.
"""

import ast
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("protocol", "firmware", "collector", "hardware", "simulator")
SETTLED = ("protocol", "collector")
"""Rooms in which no arrow may lead back up."""

LINE_CHARACTERS_MAX = 100


class Arrow(NamedTuple):
    """One module imports another."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Room:
    """A room's parts by floor, the ground first, and its arrows between modules of one part or two.

    `back_up` are the arrows between parts, and between modules of a part, that lie on a circle.
    """

    name: str
    modules: int
    floors: list[list[str]] = field(default_factory=list)
    arrows: Collection[Arrow] = ()
    back_up: Collection[Arrow] = ()


def survey(name: str, root: Path = ROOT) -> Room:
    """Reads every module of a room."""
    modules = dict(_modules(name, root))
    arrows = sorted({a for module, path in modules.items() for a in _arrows(module, path, modules)})
    between: dict[str, set[str]] = {_part(module): set() for module in modules}
    inside: dict[str, set[str]] = {module: set() for module in modules}
    for source, target in arrows:
        if _part(source) != _part(target):
            between[_part(source)].add(_part(target))
        else:
            inside[source].add(target)
    part_knot = knots(between)
    module_knot = knots(inside)
    back_up = [
        arrow
        for arrow in arrows
        if (
            part_knot[_part(arrow.source)] == part_knot[_part(arrow.target)]
            if _part(arrow.source) != _part(arrow.target)
            else module_knot[arrow.source] == module_knot[arrow.target]
        )
    ]
    return Room(name, len(modules), _floors(between, part_knot), arrows, back_up)


def knots(graph: Mapping[str, Collection[str]]) -> dict[str, int]:
    """Numbers the strongly connected components of a graph; Tarjan's, so a target's comes first."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    knot: dict[str, int] = {}
    path: list[str] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        path.append(node)
        for target in sorted(graph[node]):
            if target not in order:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target not in knot:
                low[node] = min(low[node], order[target])
        if low[node] == order[node]:
            number = len(set(knot.values()))
            while True:
                member = path.pop()
                knot[member] = number
                if member == node:
                    break

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return knot


def _floors(graph: Mapping[str, Collection[str]], knot: Mapping[str, int]) -> list[list[str]]:
    height: dict[int, int] = {}
    for part in sorted(graph, key=lambda part: knot[part]):
        below = [height[knot[t]] + 1 for t in graph[part] if knot[t] != knot[part]]
        height[knot[part]] = max([height.get(knot[part], 0), *below])
    floors: list[list[str]] = [[] for _ in range(max(height.values(), default=-1) + 1)]
    for part in sorted(graph):
        floors[height[knot[part]]].append(part)
    return floors


def _modules(room: str, root: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted((root / room).rglob("*.py")):
        if "shims" not in path.parts:
            parts = path.relative_to(root).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _part(module: str) -> str:
    """The folder or the module of a room that this one belongs to; the room's own name for it."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def _arrows(module: str, path: Path, modules: Mapping[str, Path]) -> Iterator[Arrow]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            targets = [name for name in inner if name in modules] or [node.module]
        yield from (Arrow(module, name) for name in targets if name in modules and name != module)


def _folded(floor: int, parts: list[str]) -> Iterator[str]:
    line = f"  {floor:2}"
    for part in parts:
        if len(line) + len(part) + 1 > LINE_CHARACTERS_MAX:
            yield line
            line = "    "
        line += f" {part}"
    yield line


def describe(room: Room) -> Iterator[str]:
    """A room for people: its floors from the top down, then the arrows that lead back up."""
    parts = sum(len(floor) for floor in room.floors)
    yield (
        f"{room.name}: {room.modules} modules in {parts} parts on {len(room.floors)} floors,"
        f" {len(room.arrows)} arrows, {len(room.back_up)} back up"
    )
    for number, floor in reversed(list(enumerate(room.floors))):
        yield from _folded(number, floor)
    for source, target in room.back_up:
        yield f"  back up: {source} -> {target}"


def main() -> int:
    """Prints every room; the last line is the sum."""
    rooms = [survey(name) for name in ROOMS]
    for room in rooms:
        print("\n".join([*describe(room), ""]))
    arrows = sum(len(room.arrows) for room in rooms)
    back_up = sum(len(room.back_up) for room in rooms)
    modules = sum(room.modules for room in rooms)
    print(f"house: {len(rooms)} rooms, {modules} modules, {arrows} arrows, {back_up} back up")
    return int(any(room.back_up for room in rooms if room.name in SETTLED))


if __name__ == "__main__":
    sys.exit(main())
