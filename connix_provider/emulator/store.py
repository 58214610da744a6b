"""All projects and agents, and the passing of time among them."""

import heapq
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from threading import RLock
from typing import Any

from connix_provider.emulator import errors
from connix_provider.emulator.agent import Agent
from connix_provider.emulator.agent_index import AgentIndex
from connix_provider.emulator.clock import Clock
from connix_provider.emulator.transitions import Step


class AgentStore:
    """
    Keep projects and agents, and let each agent change when its time has come.

    Every use of it is within :meth:`moment`.

    :param clock: tells the time.
    """

    def __init__(self, clock: Clock) -> None:
        self.projects: dict[str, str] = {}
        self.indexes: dict[str, AgentIndex] = {}
        self.histories: dict[str, list[tuple[int, str]]] = {}
        self._clock = clock
        self._lock = RLock()
        self._agents: dict[str, Agent] = {}
        # (due, tie-breaker, agent id, the plan the step belongs to, status)
        self._due: list[tuple[int, int, str, int, str | None]] = []
        self._numbers = count(1)

    @contextmanager
    def moment(self) -> Iterator[int]:
        """Hold everybody else off; yield the time in microseconds, with all done that was due by then."""
        with self._lock:
            yield self._settle()
            # What takes no time has happened before anybody looks again.
            self._settle()

    def find(self, agent_id: str, project_id: str | None = None) -> Agent:
        """
        Return an agent, or refuse.

        :param agent_id: its id.
        :param project_id: the project it has to be in; any by default.
        """
        agent = self._agents.get(agent_id)
        if agent is None or project_id not in {None, agent.project_id}:
            raise errors.agent_not_found(agent_id)
        return agent

    def settle_in(
        self,
        project_id: str,
        names: Iterable[str],
        status: str,
        born: int,
        *,
        changed_at: int | None = None,
        description: str | None,
        config: dict[str, Any],
        metadata: dict[str, Any],
    ) -> list[Agent]:
        """
        Add new agents.

        :param project_id: an existing project.
        :param names: a free name for each.
        :param status: their first.
        :param born: when, in microseconds.
        :param changed_at: when they came to their status; default when they were created.
        :param description: of all of them.
        :param config: of all of them.
        :param metadata: of all of them.
        """
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
                created_at=born,
                updated_at=changed_at or born,
                history=[(changed_at or born, status)],
                goal=status,
            )
            for name in names
        ]
        self._agents.update((agent.id, agent) for agent in agents)
        self.histories.update((agent.id, agent.history) for agent in agents)
        self.indexes[project_id].add(agents)
        return agents

    def rename(self, agent: Agent, name: str) -> None:
        """
        Give an agent another name.

        :param agent: the agent.
        :param name: free in its project.
        """
        index = self.indexes[agent.project_id]
        index.remove(agent)
        agent.name = name
        index.add([agent])

    def plan(self, agent: Agent, now: int, steps: Sequence[Step]) -> None:
        """
        Plan what becomes of an agent, in place of what was planned.

        :param agent: the agent.
        :param now: the time in microseconds, from which the first step counts.
        :param steps: the statuses to come.
        """
        agent.plan += 1
        at = now
        for delay, status in steps:
            at += round(delay * 1_000_000)
            heapq.heappush(self._due, (at, next(self._numbers), agent.id, agent.plan, status))
        last = steps[-1][1] if steps else agent.status
        agent.deleting = last is None
        agent.goal = agent.status if last is None else last

    def change(self, agent: Agent, at: int, status: str, move_updated_at: bool = True) -> None:
        """
        Put an agent into a status.

        :param agent: the agent.
        :param at: when, in microseconds.
        :param status: any string.
        :param move_updated_at: whether ``updated_at`` shows it.
        """
        before, agent.status = agent.status, status
        if move_updated_at:
            # Two changes within one microsecond, or on a clock that stands still, are still two moments.
            at = agent.updated_at = max(at, agent.updated_at + 1)
        agent.history.append((at, status))
        self.indexes[agent.project_id].status_moved(before, status)

    def remove(self, agent: Agent) -> None:
        """
        Let an agent go; its history stays.

        :param agent: the agent.
        """
        self.indexes[agent.project_id].remove(agent)
        del self._agents[agent.id]

    def _settle(self) -> int:
        now = self._clock.micros()
        while self._due and self._due[0][0] <= now:
            at, _, agent_id, plan, status = heapq.heappop(self._due)
            agent = self._agents.get(agent_id)
            if agent is None or agent.plan != plan:
                continue
            if status is None:
                self.remove(agent)
            else:
                self.change(agent, at, status)
        return now
