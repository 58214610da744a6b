"""
Call Connix over HTTP, without Airflow.

::

    from connix_provider.client import Client

    with Client("cx_your_api_key_here") as client:
        for agent in client.agents.iter("proj_1234567890abcdef", status="running"):
            print(agent.name)

The names below are loaded when they are first used: importing an exception or a model does not import an
HTTP client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from connix_provider.client.client import AsyncClient, Client
    from connix_provider.client.errors import (
        ConnixAPIError,
        ConnixAuthenticationError,
        ConnixConflictError,
        ConnixConnectionError,
        ConnixError,
        ConnixNotFoundError,
        ConnixPermissionError,
        ConnixRateLimitError,
        ConnixResponseError,
        ConnixServerError,
        ConnixTimeoutError,
        ConnixValidationError,
    )
    from connix_provider.client.models import (
        ActionResult,
        Agent,
        AgentConfig,
        AgentMetrics,
        AgentPage,
        AgentStats,
        AgentStatus,
        DeleteResult,
        LogEntry,
        LogPage,
        Pagination,
    )

__all__ = [
    "ActionResult",
    "Agent",
    "AgentConfig",
    "AgentMetrics",
    "AgentPage",
    "AgentStats",
    "AgentStatus",
    "AsyncClient",
    "Client",
    "ConnixAPIError",
    "ConnixAuthenticationError",
    "ConnixConflictError",
    "ConnixConnectionError",
    "ConnixError",
    "ConnixNotFoundError",
    "ConnixPermissionError",
    "ConnixRateLimitError",
    "ConnixResponseError",
    "ConnixServerError",
    "ConnixTimeoutError",
    "ConnixValidationError",
    "DeleteResult",
    "LogEntry",
    "LogPage",
    "Pagination",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "client" if name.endswith("Client") else "errors" if name.startswith("Connix") else "models"
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
