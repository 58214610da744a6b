"""Load what only a running trigger needs, without keeping its event loop waiting."""

from __future__ import annotations

import asyncio
import importlib
import sys
from contextlib import suppress

__all__ = ["load"]

#: Everything else is imported with these.
_NEEDED = (
    "connix_provider.client.client",
    "connix_provider.compat",
    "connix_provider.targets",
    "connix_provider.waiting.drive",
    "connix_provider.waiting.kill",
    "connix_provider.waiting.line",
    "connix_provider.waiting.undoing",
    # What httpx sends with in an event loop: it is imported with the first request, in the loop.
    "anyio._backends._asyncio",
)


async def load() -> None:
    """Import them; the first time that takes a third of a second, which an event loop has not got."""
    if missing := [name for name in _NEEDED if name not in sys.modules]:
        await asyncio.to_thread(_import, missing)


def _import(names: list[str]) -> None:
    for name in names:
        # Where an httpx of another time sends in another way, that one is imported in the loop.
        with suppress(ModuleNotFoundError):
            importlib.import_module(name)
