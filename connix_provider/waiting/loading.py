"""Load what only a running trigger needs, without keeping its event loop waiting."""

from __future__ import annotations

import asyncio
import importlib
import sys

__all__ = ["load"]


async def load(name: str) -> None:
    """
    Import a module; the first time that takes a third of a second, which an event loop has not got.

    :param name: the module
    """
    if name not in sys.modules:
        await asyncio.to_thread(importlib.import_module, name)
