"""One project's agents in the orders that a listing can ask for."""

from bisect import bisect_left, insort
from collections.abc import Callable, Collection
from operator import attrgetter
from typing import Any, Final

from connix_provider.emulator.agent import Agent

_ORDERS: Final[dict[str, Callable[[Agent], Any]]] = {
    "created_at": attrgetter("age"),
    "name": attrgetter("name"),
}


class AgentIndex:
    """
    Keep a project's agents sorted, so that a page of a large fleet costs a slice and not a scan.

    Both sort keys are unique within a project, so each order is total and each agent is found by bisection.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, Agent] = {}
        self._sorted: dict[str, list[Agent]] = {order: [] for order in _ORDERS}
        self._by_status: dict[tuple[str, str], list[Agent]] = {}

    def add(self, agents: Collection[Agent]) -> None:
        """Add new agents: a single one by bisection, many by sorting."""
        self.by_name.update((agent.name, agent) for agent in agents)
        for order, key in _ORDERS.items():
            if len(agents) == 1:
                insort(self._sorted[order], next(iter(agents)), key=key)
            else:
                self._sorted[order].extend(agents)
                self._sorted[order].sort(key=key)
        self._by_status.clear()

    def remove(self, agent: Agent) -> None:
        """Remove one agent and free its name."""
        del self.by_name[agent.name]
        for order, key in _ORDERS.items():
            agents = self._sorted[order]
            del agents[bisect_left(agents, key(agent), key=key)]
        self._by_status.clear()

    def status_changed(self, before: str, after: str) -> None:
        """Drop the cached selections that an agent has left or joined."""
        for order in _ORDERS:
            for status in (before, after):
                self._by_status.pop((order, status), None)

    def page(self, sort: str, status: str | None, offset: int, limit: int) -> tuple[list[Agent], int]:
        """
        Return one page, and the total of the matching agents.

        :param sort: ``created_at`` or ``name``, with ``-`` in front for the reverse.
        """
        order = sort.removeprefix("-")
        agents = self._sorted[order]
        if status is not None:
            if (order, status) not in self._by_status:
                self._by_status[order, status] = [agent for agent in agents if agent.status == status]
            agents = self._by_status[order, status]
        total = len(agents)
        if not sort.startswith("-"):
            return agents[offset : offset + limit], total
        last = max(total - offset, 0)
        return agents[max(last - limit, 0) : last][::-1], total
