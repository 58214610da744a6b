"""Import what only a running trigger needs, without blocking its event loop."""

from __future__ import annotations

import asyncio
import importlib
import sys
from contextlib import suppress

__all__ = ["preload"]

#: Everything else is imported with these.
_NEEDED = (
    "connix_provider.client.client",
    "connix_provider.compat",
    "connix_provider.params",
    "connix_provider.polling.session",
    "connix_provider.polling.task_kill",
    "connix_provider.polling.shared_client",
    "connix_provider.polling.cancel_action",
    # What httpx sends with in an event loop: it is imported with the first request, in the loop.
    "anyio._backends._asyncio",
)


async def preload() -> None:
    """Import them in a thread, because the first import takes a third of a second."""
    if missing := [name for name in _NEEDED if name not in sys.modules]:
        await asyncio.to_thread(_import, missing)


def _import(names: list[str]) -> None:
    for name in names:
        # Another version of httpx may send in another way; then that is imported in the loop.
        with suppress(ModuleNotFoundError):
            importlib.import_module(name)
