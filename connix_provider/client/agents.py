"""
``client.agents``: the calls as methods, synchronous and asynchronous.

The methods are made from functions that return a call or a paginator, and have the parameters, checks and
documentation of those.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from connix_provider.client import endpoints
from connix_provider.client.calls.call import Call
from connix_provider.client.modeling.page import Page
from connix_provider.client.models import Agent, LogEntry
from connix_provider.client.pagination import AgentPaginator, LogPaginator, Paginator

__all__ = ["Agents", "AsyncAgents"]

P = ParamSpec("P")
T = TypeVar("T")
ItemT = TypeVar("ItemT")
PageT = TypeVar("PageT", bound=Page[Any])
ClientT = TypeVar("ClientT")
MethodT = TypeVar("MethodT", bound=Callable[..., Any])


def agent_pages(
    project_id: str,
    *,
    status: str | None = None,
    sort: str | None = None,
    limit: int = endpoints.MAX_AGENTS_PER_PAGE,
    offset: int = 0,
) -> AgentPaginator[Agent]:
    """
    Iterate over all agents of a project, each once, although pages may shift meanwhile.

    :param project_id: the project
    :param status: only agents in this status
    :param sort: as for :meth:`list`
    :param limit: agents in a page, 1 to 100
    :param offset: agents to skip
    :return: the agents; a page is fetched once its first agent is wanted
    :raises ValueError: for an argument out of bounds, before any request
    """
    # At least two, because pages of one cannot overlap.
    size = 2 if type(limit) is int and limit == 1 else limit
    page = functools.partial(endpoints.list_agents, project_id, status=status, sort=sort, limit=size)
    return AgentPaginator(page, offset)


def log_pages(
    project_id: str,
    agent_id: str,
    *,
    level: str | None = None,
    start_time: str | datetime | None = None,
    end_time: str | datetime | None = None,
    limit: int = endpoints.MAX_LOGS_PER_PAGE,
    offset: int = 0,
) -> LogPaginator[LogEntry]:
    """
    Iterate over an agent's log in the service's order: newest first in the reference.

    :param project_id: the project
    :param agent_id: the agent
    :param level: as for :meth:`logs`
    :param start_time: as for :meth:`logs`
    :param end_time: as for :meth:`logs`
    :param limit: entries in a page, 1 to 1000
    :param offset: entries to skip
    :return: the entries, some twice if the log grows meanwhile; a page is fetched once its first entry is
        wanted
    :raises ValueError: for an argument out of bounds, before any request
    """
    page = functools.partial(
        endpoints.get_logs,
        project_id,
        agent_id,
        level=level,
        start_time=start_time,
        end_time=end_time,
        limit=limit,
    )
    return LogPaginator(page, offset)


class _Client(Protocol):
    """A synchronous client."""

    def perform(self, call: Call[T]) -> T: ...


class _AsyncClient(Protocol):
    """An asynchronous client."""

    async def perform(self, call: Call[T]) -> T: ...


class _Resource(Generic[ClientT]):
    """Methods of one client."""

    def __init_subclass__(cls) -> None:
        # update_wrapper() took the name of the call's function; a method has the name of its attribute.
        for name, method in vars(cls).items():
            if hasattr(method, "__signature__"):
                method.__name__, method.__qualname__ = name, f"{cls.__name__}.{name}"

    def __init__(self, client: ClientT) -> None:
        self._client = client


def _method(make: Callable[P, Call[T]]) -> Callable[Concatenate[Agents, P], T]:
    """Make a method of the synchronous client from the function of a call."""

    def method(self: Agents, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._client.perform(make(*args, **kwargs))

    return _signed(method, make, _type_argument(make))


def _async_method(make: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncAgents, P], Awaitable[T]]:
    """Make a method of the asynchronous client from the function of a call."""

    async def method(self: AsyncAgents, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._client.perform(make(*args, **kwargs))

    return _signed(method, make, _type_argument(make))


def _iterator(
    make: Callable[P, Paginator[PageT, ItemT]],
) -> Callable[Concatenate[Agents, P], Iterator[ItemT]]:
    """Make a method of the synchronous client from the function of a paginator."""

    def iterate(client: _Client, pages: Paginator[PageT, ItemT]) -> Iterator[ItemT]:
        while pages.next_call is not None:
            yield from pages.take(client.perform(pages.next_call))

    def method(self: Agents, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[ItemT]:
        return iterate(self._client, make(*args, **kwargs))

    return _signed(method, make, f"Iterator[{_type_argument(make)}]")


def _async_iterator(
    make: Callable[P, Paginator[PageT, ItemT]],
) -> Callable[Concatenate[AsyncAgents, P], AsyncIterator[ItemT]]:
    """Make a method of the asynchronous client from the function of a paginator."""

    async def iterate(client: _AsyncClient, pages: Paginator[PageT, ItemT]) -> AsyncIterator[ItemT]:
        while pages.next_call is not None:
            for item in pages.take(await client.perform(pages.next_call)):
                yield item

    def method(self: AsyncAgents, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[ItemT]:
        return iterate(self._client, make(*args, **kwargs))

    return _signed(method, make, f"AsyncIterator[{_type_argument(make)}]")


def _signed(method: MethodT, make: Callable[..., Any], returns: str) -> MethodT:
    """Give a method the documentation and the parameters of the function that it is made from."""
    functools.update_wrapper(method, make)
    signature = inspect.signature(make)
    first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    vars(method)["__signature__"] = signature.replace(
        parameters=[first, *signature.parameters.values()], return_annotation=returns
    )
    return method


def _type_argument(make: Callable[..., Any]) -> str:
    """Return ``Agent`` for a function that returns ``Call[Agent]`` or ``AgentPaginator[Agent]``."""
    return str(inspect.signature(make).return_annotation).partition("[")[2].removesuffix("]")


class Agents(_Resource[_Client]):
    """The eleven calls, and iterators over all pages."""

    list = _method(endpoints.list_agents)
    create = _method(endpoints.create_agent)
    get = _method(endpoints.get_agent)
    update = _method(endpoints.update_agent)
    delete = _method(endpoints.delete_agent)
    start = _method(endpoints.start_agent)
    pause = _method(endpoints.pause_agent)
    stop = _method(endpoints.stop_agent)
    restart = _method(endpoints.restart_agent)
    logs = _method(endpoints.get_logs)
    metrics = _method(endpoints.get_metrics)
    iter = _iterator(agent_pages)
    iter_logs = _iterator(log_pages)


class AsyncAgents(_Resource[_AsyncClient]):
    """The eleven calls, and iterators over all pages, asynchronous."""

    list = _async_method(endpoints.list_agents)
    create = _async_method(endpoints.create_agent)
    get = _async_method(endpoints.get_agent)
    update = _async_method(endpoints.update_agent)
    delete = _async_method(endpoints.delete_agent)
    start = _async_method(endpoints.start_agent)
    pause = _async_method(endpoints.pause_agent)
    stop = _async_method(endpoints.stop_agent)
    restart = _async_method(endpoints.restart_agent)
    logs = _async_method(endpoints.get_logs)
    metrics = _async_method(endpoints.get_metrics)
    iter = _async_iterator(agent_pages)
    iter_logs = _async_iterator(log_pages)
