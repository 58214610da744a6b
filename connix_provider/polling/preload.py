"""Import what only a running trigger needs, without blocking its event loop."""

from __future__ import annotations

import asyncio
import importlib
from contextlib import suppress

__all__ = ["preload"]

#: Everything else is imported with these.
_NEEDED = (
    "connix_provider.client.client",
    "connix_provider.compat",
    "connix_provider.params",
    "connix_provider.polling.fleet_wait",
    "connix_provider.polling.health_loop",
    "connix_provider.polling.trigger_loop",
    "connix_provider.polling.task_kill",
    "connix_provider.polling.watching.shared_client",
    "connix_provider.polling.cancel_action",
)
#: httpx imports this backend with the first request, inside the event loop. Other versions may use another.
_HTTP_BACKEND = "anyio._backends._asyncio"


_is_complete = False


async def preload() -> None:
    """
    Import the modules above in a thread, because the first import takes a third of a second.

    Each trigger waits until the import is complete, because a module that is still being imported would block
    the event loop.
    """
    if not _is_complete:
        await asyncio.to_thread(_import)


def _import() -> None:
    global _is_complete
    for name in _NEEDED:
        importlib.import_module(name)
    with suppress(ModuleNotFoundError):
        importlib.import_module(_HTTP_BACKEND)
    _is_complete = True
