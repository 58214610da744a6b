"""One project's agents in the orders a listing can ask for."""

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

    Both sort keys are unique within a project, which makes each order total and each place findable.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, Agent] = {}
        self._sorted: dict[str, list[Agent]] = {order: [] for order in _ORDERS}
        self._filtered: dict[tuple[str, str], list[Agent]] = {}

    def add(self, agents: Collection[Agent]) -> None:
        """
        Put agents in their places: one by looking for it, many by sorting.

        :param agents: none of them in the index yet.
        """
        self.by_name.update((agent.name, agent) for agent in agents)
        for order, key in _ORDERS.items():
            if len(agents) == 1:
                insort(self._sorted[order], next(iter(agents)), key=key)
            else:
                self._sorted[order].extend(agents)
                self._sorted[order].sort(key=key)
        self._filtered.clear()

    def remove(self, agent: Agent) -> None:
        """
        Take one agent away and free its name.

        :param agent: in the index.
        """
        del self.by_name[agent.name]
        for order, key in _ORDERS.items():
            agents = self._sorted[order]
            del agents[bisect_left(agents, key(agent), key=key)]
        self._filtered.clear()

    def status_moved(self, *statuses: str) -> None:
        """
        Forget the selections an agent has left or joined.

        :param statuses: the agent's old status and its new one.
        """
        for order in _ORDERS:
            for status in statuses:
                self._filtered.pop((order, status), None)

    def page(self, sort: str, status: str | None, offset: int, limit: int) -> tuple[list[Agent], int]:
        """
        Cut one page out of an order; return it with the number of agents in the whole selection.

        :param sort: ``created_at`` or ``name``, with ``-`` in front for the reverse.
        :param status: only agents in this status.
        :param offset: how many to pass over.
        :param limit: how many to return at most.
        """
        order = sort.removeprefix("-")
        agents = self._sorted[order]
        if status is not None:
            selected = self._filtered.get((order, status))
            if selected is None:
                selected = [agent for agent in agents if agent.status == status]
                self._filtered[order, status] = selected
            agents = selected
        total = len(agents)
        if not sort.startswith("-"):
            return agents[offset : offset + limit], total
        last = max(total - offset, 0)
        return agents[max(last - limit, 0) : last][::-1], total
