"""One project's agents in the orders a listing can ask for."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final


@dataclass(slots=True)
class Agent:
    """
    Hold one agent. ``config`` and ``metadata`` are replaced on change, never altered: agents may share them.

    :param number: counts agents in the order they were made; decides between equal times.
    :param history: each status so far with the microsecond at which it began.
    :param plan: counts the plans made for the agent, so that an outdated step is recognised.
    :param goal: the status its plan ends in; its own status when nothing is planned.
    :param deleting: the plan ends with the agent gone.
    :param extra_logs: lines added in bulk: when, how many, at which level.
    """

    id: str
    number: int
    name: str
    description: str | None
    project_id: str
    status: str
    config: dict[str, Any]
    metadata: dict[str, Any]
    created_at: int
    updated_at: int
    history: list[tuple[int, str]]
    goal: str
    plan: int = 0
    deleting: bool = False
    extra_logs: list[tuple[int, int, str]] = field(default_factory=list)

    @property
    def age(self) -> tuple[int, int]:
        """Return what orders agents by creation."""
        return self.created_at, self.number


_ORDERS: Final[dict[str, Callable[[Agent], Any]]] = {
    "created_at": attrgetter("age"),
    "name": attrgetter("name"),
}


class Shelf:
    """
    Keep a project's agents sorted, so that a page of a large fleet costs a slice and not a scan.

    Both sort keys are unique within a project, which makes each order total and each place findable.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, Agent] = {}
        self._sorted: dict[str, list[Agent]] = {order: [] for order in _ORDERS}
        self._filtered: dict[tuple[str, str], list[Agent]] = {}

    def add(self, agent: Agent) -> None:
        """
        Put one agent in its places.

        :param agent: not on the shelf yet.
        """
        self.by_name[agent.name] = agent
        for order, key in _ORDERS.items():
            insort(self._sorted[order], agent, key=key)
        self._filtered.clear()

    def add_many(self, agents: Iterable[Agent]) -> None:
        """
        Put many agents in their places with one sort.

        :param agents: none of them on the shelf yet.
        """
        new = list(agents)
        self.by_name.update((agent.name, agent) for agent in new)
        for order, key in _ORDERS.items():
            self._sorted[order].extend(new)
            self._sorted[order].sort(key=key)
        self._filtered.clear()

    def remove(self, agent: Agent) -> None:
        """
        Take one agent away and free its name.

        :param agent: on the shelf.
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
