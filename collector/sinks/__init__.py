"""Networks that readings go to: one module each, found by its name.

A module has `Config`, a frozen dataclass, and `build(config, name, ids)`, which makes the Sink.
"""

import importlib
import pkgutil
from typing import Any

from collector.sinks.base import IdStore, Sink

_HELPERS = frozenset({"base"})


def kinds() -> list[str]:
    """Names of all kinds of sinks that can be configured."""
    return sorted(
        module.name
        for module in pkgutil.iter_modules(__path__)
        if module.name not in _HELPERS and not module.name.startswith("_")
    )


def config_class(kind: str) -> type[Any]:
    """The Config dataclass of a kind; imports that module only."""
    found: type[Any] = importlib.import_module(f"{__name__}.{kind}").Config
    return found


def build_sink(kind: str, name: str, config: Any, ids: IdStore) -> Sink:
    """The sink of a configuration entry."""
    sink: Sink = importlib.import_module(f"{__name__}.{kind}").build(config, name, ids)
    return sink
