"""Scenarios: short TOML files in simulator/scenarios that say what goes wrong, and how much.

Where a number may be, a list of two numbers means: drawn between them by the seed. A table's
`chance` says how probable it is that the table counts at all. Of several words for `writer` or
`sink_kind` one is drawn. `rare = true` says that a run costs
much: the swarm then takes others more often.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

WRITERS = ("inline", "late")
SINKS = 7 * ("reads_back",) + 2 * ("blind",) + ("idempotent",)
"""What a network can do, as often as it is drawn so."""

FOLDER = Path(__file__).parent / "scenarios"
KEYS = frozenset(
    (
        "title", "tells", "hours", "nodes", "node", "network", "power", "collector", "sink",
        "hostile", "latency_ms", "update", "city", "event", "flash", "rare", "writer",
        "sink_kind",
    )
)  # fmt: skip


class ScenarioError(ValueError):
    """A scenario that cannot be run; the message says which file and why."""


@dataclass(frozen=True)
class Scenario:
    """A scenario with all its numbers drawn."""

    name: str
    title: str
    hours: float
    nodes: int
    latency_ms: int
    node: dict[str, int]
    network: list[dict[str, Any]] = field(default_factory=list)
    power: list[dict[str, Any]] = field(default_factory=list)
    collector: list[dict[str, Any]] = field(default_factory=list)
    sink: dict[str, Any] = field(default_factory=dict)
    hostile: list[dict[str, Any]] = field(default_factory=list)
    update: list[dict[str, Any]] = field(default_factory=list)
    city: dict[str, Any] = field(default_factory=dict)
    event: list[dict[str, Any]] = field(default_factory=list)
    flash: list[dict[str, Any]] = field(default_factory=list)
    writer: str = "inline"
    """How the collector commits: "inline", each operation at once; "late", as its daemon does."""
    sink_kind: str = "reads_back"
    """What the network can do: be asked what it holds ("reads_back"), know a reading again
    ("idempotent"), or neither ("blind")."""


def names() -> list[str]:
    """All scenarios that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find(text: str) -> Path:
    """The file of a scenario given by name or path. Raises ScenarioError."""
    path = FOLDER / f"{text}.toml"
    if path.exists():
        return path
    if Path(text).is_file():
        return Path(text)
    raise ScenarioError(f"no scenario {text!r}; there are: {', '.join(names())}")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ScenarioError(f"{path}: {error}") from error


def is_rare(name: str) -> bool:
    """Whether a run of this scenario costs much. Raises ScenarioError."""
    return bool(_read(find(name)).get("rare", False))


def shortest_hours(name: str) -> float:
    """The fewest virtual hours that a scenario may take. Raises ScenarioError."""
    hours = _read(find(name)).get("hours", 0)
    return float(hours[0] if isinstance(hours, list) else hours)


def load(path: Path, random: Random) -> Scenario:
    """Read a file and draw its numbers. Raises ScenarioError."""
    document = _read(path)
    unknown = sorted(set(document) - KEYS)
    if unknown:
        raise ScenarioError(
            f"{path}: unknown key {unknown[0]!r}; known are {', '.join(sorted(KEYS))}"
        )
    for key in ("title", "hours", "nodes"):
        if key not in document:
            raise ScenarioError(f"{path}: {key} is missing")
    tables = {
        key: [drawn for table in document.get(key, ()) if (drawn := draw_table(table, random))]
        for key in ("network", "power", "collector", "hostile", "update", "event", "flash")
    }
    return Scenario(
        name=path.stem,
        title=document["title"],
        hours=float(draw(document["hours"], random)),
        nodes=int(draw(document["nodes"], random)),
        latency_ms=int(draw(document.get("latency_ms", 20), random)),
        node={key: int(draw(value, random)) for key, value in document.get("node", {}).items()},
        sink=draw_table(document.get("sink", {}), random),
        city=draw_table(document["city"], random) if "city" in document else {},
        **tables,
        writer=random.choice(_several(document.get("writer", WRITERS))),
        sink_kind=random.choice(_several(document.get("sink_kind", SINKS))),
    )


def _several(value: str | Sequence[str]) -> Sequence[str]:
    return (value,) if isinstance(value, str) else value


def draw(value: Any, random: Random) -> Any:
    """A value with its range drawn."""
    if isinstance(value, list) and len(value) == 2 and not isinstance(value[0], str):
        low, high = value
        if isinstance(low, int) and isinstance(high, int):
            return random.randint(low, high)
        return random.uniform(low, high)
    return value


def draw_table(table: Mapping[str, Any], random: Random) -> dict[str, Any]:
    """A table with all ranges drawn; empty when chance has decided against it."""
    counts = random.random() < table.get("chance", 1.0)
    drawn = {key: draw(value, random) for key, value in table.items() if key != "chance"}
    return drawn if counts else {}
