"""All projects and agents, and the changes that are planned for them."""

import heapq
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from threading import RLock
from typing import Any

from connix_provider.emulator.agent import Agent
from connix_provider.emulator.agent_index import AgentIndex
from connix_provider.emulator.clock import Clock
from connix_provider.emulator.transitions import Step


class AgentStore:
    """Keep projects and agents. Every use of it is within :meth:`transaction`."""

    def __init__(self, clock: Clock) -> None:
        self.projects: dict[str, str] = {}
        self.indexes: dict[str, AgentIndex] = {}
        self.histories: dict[str, list[tuple[int, str]]] = {}
        self._clock = clock
        self._lock = RLock()
        self._agents: dict[str, Agent] = {}
        # (due, tie-breaker, agent id, the plan that the step belongs to, status)
        self._steps: list[tuple[int, int, str, int, str | None]] = []
        self._numbers = count(1)

    @contextmanager
    def transaction(self) -> Iterator[int]:
        """Exclude other threads, and yield the time in microseconds; all changes due by then are made."""
        with self._lock:
            yield self._make_due_changes()
            # Changes of no duration, planned in this transaction, are seen by the next one.
            self._make_due_changes()

    def add_project(self, project_id: str, name: str) -> None:
        """Add an empty project."""
        if project_id in self.projects:
            raise ValueError(f"project {project_id!r} exists already")
        self.projects[project_id] = name
        self.indexes[project_id] = AgentIndex()

    def find(self, agent_id: str, project_id: str | None = None) -> Agent:
        """
        Return an agent.

        :param project_id: the project that it has to be in; any by default.
        :raises KeyError: there is no such agent.
        """
        agent = self._agents[agent_id]
        if project_id not in {None, agent.project_id}:
            raise KeyError(agent_id)
        return agent

    def add_agents(
        self,
        project_id: str,
        names: Iterable[str],
        status: str,
        created_at: int,
        status_since: int,
        *,
        description: str | None,
        config: dict[str, Any],
        metadata: dict[str, Any],
    ) -> list[Agent]:
        """Add an agent for each name; the names have to be free."""
        agents = [
            Agent(
                id=f"agent_{secrets.token_hex(8)}",
                number=next(self._numbers),
                name=name,
                description=description,
                project_id=project_id,
                status=status,
                config=config,
                metadata=metadata,
                created_at=created_at,
                updated_at=status_since,
                history=[(status_since, status)],
                goal=status,
            )
            for name in names
        ]
        self._agents.update((agent.id, agent) for agent in agents)
        self.histories.update((agent.id, agent.history) for agent in agents)
        self.indexes[project_id].add(agents)
        return agents

    def rename(self, agent: Agent, name: str) -> None:
        """Give an agent a name that is free in its project."""
        index = self.indexes[agent.project_id]
        index.remove(agent)
        agent.name = name
        index.add([agent])

    def plan(self, agent: Agent, now: int, steps: Sequence[Step]) -> None:
        """Plan changes in place of those planned before; the first step counts from now."""
        agent.plan += 1
        at = now
        for delay, status in steps:
            at += round(delay * 1_000_000)
            heapq.heappush(self._steps, (at, next(self._numbers), agent.id, agent.plan, status))
        last = steps[-1][1] if steps else agent.status
        agent.deleting = last is None
        agent.goal = agent.status if last is None else last

    def change_status(self, agent: Agent, at: int, status: str, move_updated_at: bool = True) -> None:
        """Put an agent into a status."""
        before, agent.status = agent.status, status
        if move_updated_at:
            # Two changes in one microsecond, or on a clock that stands still, still have two times.
            at = agent.updated_at = max(at, agent.updated_at + 1)
        agent.history.append((at, status))
        self.indexes[agent.project_id].status_changed(before, status)

    def remove(self, agent: Agent) -> None:
        """Remove an agent, but keep its history."""
        self.indexes[agent.project_id].remove(agent)
        del self._agents[agent.id]

    def _make_due_changes(self) -> int:
        now = self._clock.micros()
        while self._steps and self._steps[0][0] <= now:
            at, _, agent_id, plan, status = heapq.heappop(self._steps)
            agent = self._agents.get(agent_id)
            if agent is None or agent.plan != plan:
                continue
            if status is None:
                self.remove(agent)
            else:
                self.change_status(agent, at, status)
        return now
