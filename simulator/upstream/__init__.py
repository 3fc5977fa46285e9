"""Fake networks, as strict and as odd as the real ones: one module each, found by its name."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.upstream.base import Upstream

_HELPERS = frozenset({"base", "front", "street"})


def names() -> list[str]:
    """Names of all fake networks."""
    return sorted(
        module.name
        for module in pkgutil.iter_modules(__path__)
        if module.name not in _HELPERS and not module.name.startswith("_")
    )


def build(name: str, faults: Mapping[str, float] | None = None, seed: int = 0) -> Upstream:
    """The fake network of that name. Raises ValueError when there is none."""
    if name not in names():
        raise ValueError(f"no fake network {name!r}; there are: {', '.join(names())}")
    upstream: Upstream = importlib.import_module(f"{__name__}.{name}").build(faults, seed)
    return upstream


async def serve(
    name: str,
    host: str = "127.0.0.1",
    port: int = 0,
    faults: Mapping[str, float] | None = None,
    seed: int = 0,
    ready: Callable[[str, Upstream], None] | None = None,
) -> None:
    """Serves a fake network until cancelled; `ready` gets its address and the network itself."""
    upstream = build(name, faults, seed)
    async with upstream.serving(host, port) as url:
        if ready:
            ready(url, upstream)
        await asyncio.Event().wait()
