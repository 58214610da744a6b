"""Tell the HTTP provider's trigger when to end: it wants a module for that, and loads it at each look."""

from __future__ import annotations

from typing import Any


async def is_running(response: Any) -> bool:
    """
    Read an agent's status.

    :param response: the answer to a Get
    :return: whether it runs
    """
    return bool(response.json()["status"] == "running")
