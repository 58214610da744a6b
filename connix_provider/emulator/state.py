"""Projects, agents and what becomes of them: the service without its wire."""

import heapq
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import count, islice
from threading import RLock
from typing import Any

from connix_provider.emulator import refusals
from connix_provider.emulator.clock import Clock, micros_of
from connix_provider.emulator.shelf import Agent, Shelf
from connix_provider.emulator.transitions import (
    ACTIONS,
    CREATING,
    UPDATING,
    Durations,
    Step,
    ending_in_error,
    steps_of_action,
)
from connix_provider.emulator.views import Detail, View, show

_SEEDED_BY = "user_" + 16 * "0"


class World:
    """
    Keep every project and agent. Each method is atomic, and first lets happen what has fallen due.

    :param clock: tells the time.
    :param durations: how long changes take.
    """

    def __init__(self, clock: Clock, durations: Durations) -> None:
        self._clock = clock
        self._durations = durations
        self._lock = RLock()
        self._projects: dict[str, str] = {}
        self._shelves: dict[str, Shelf] = {}
        self._agents: dict[str, Agent] = {}
        self._histories: dict[str, list[tuple[int, str]]] = {}
        # (due, tie-breaker, agent id, the plan the step belongs to, status)
        self._due: list[tuple[int, int, str, int, str | None]] = []
        self._numbers = count(1)

    # Projects

    def add_project(self, project_id: str, name: str) -> None:
        """
        Add an empty project.

        :param project_id: its id, not in use yet.
        :param name: what a listing shows.
        """
        with self._lock:
            if project_id in self._projects:
                raise ValueError(f"project {project_id!r} exists already")
            self._projects[project_id] = name
            self._shelves[project_id] = Shelf()

    def projects(self) -> list[tuple[str, str]]:
        """Return id and name of every project, in the order they were added."""
        with self._lock:
            return list(self._projects.items())

    def has_project(self, project_id: str) -> bool:
        """
        Say whether there is such a project.

        :param project_id: the id asked for.
        """
        with self._lock:
            return project_id in self._projects

    # What the eleven calls do

    def create(self, project_id: str, body: Mapping[str, Any], created_by: str, fails: bool = False) -> View:
        """
        Create an agent and return it as the reply shows it.

        :param project_id: an existing project.
        :param body: the valid request body.
        :param created_by: the user whose key it is.
        :param fails: let the agent end in error.
        """
        with self._lock:
            now = self._settle()
            self._name_is_free(project_id, body["name"])
            metadata = {"version": "1.0.0", **body.get("metadata", {}), "created_by": created_by}
            agent = self._new(
                project_id,
                body["name"],
                body.get("description"),
                CREATING,
                body.get("config", {}),
                metadata,
                now,
            )
            self._shelves[project_id].add(agent)
            self._follow(agent, now, [(self._durations.creating, "running")], fails)
            reply = show(agent, now, Detail.REPLY)
            self._settle()
            return reply

    def get(self, project_id: str | None, agent_id: str) -> View:
        """
        Return one agent with everything.

        :param project_id: the project it has to be in; ``None``: any.
        :param agent_id: its id.
        """
        with self._lock:
            now = self._settle()
            return show(self._find(project_id, agent_id), now, Detail.FULL)

    def page(
        self, project_id: str, sort: str, status: str | None, offset: int, limit: int
    ) -> tuple[list[View], int]:
        """
        Return one page of a project's agents, and how many there are in all.

        :param project_id: an existing project.
        :param sort: ``created_at`` or ``name``, with ``-`` in front for the reverse.
        :param status: only agents in this status.
        :param offset: how many to pass over.
        :param limit: how many to return at most.
        """
        with self._lock:
            now = self._settle()
            agents, total = self._shelves[project_id].page(sort, status, offset, limit)
            return [show(agent, now, Detail.LISTED) for agent in agents], total

    def update(self, project_id: str, agent_id: str, body: Mapping[str, Any], fails: bool = False) -> View:
        """
        Merge changes into an agent and return it as the reply shows it.

        :param project_id: the project it has to be in.
        :param agent_id: its id.
        :param body: the valid request body: only what changes.
        :param fails: let the agent end in error.
        """
        with self._lock:
            now = self._settle()
            agent = self._find(project_id, agent_id)
            if agent.deleting or agent.status == CREATING:
                raise self._not_now(agent, "updated")
            if (name := body.get("name", agent.name)) != agent.name:
                self._name_is_free(project_id, name)
                shelf = self._shelves[project_id]
                shelf.remove(agent)
                agent.name = name
                shelf.add(agent)
            agent.description = body.get("description", agent.description)
            agent.config = agent.config | body.get("config", {})
            # Who created an agent is the service's to say, not the user's.
            agent.metadata = agent.metadata | body.get("metadata", {}) | _created_by(agent)
            goal = agent.goal
            self._change(agent, now, UPDATING)
            self._follow(agent, now, [(self._durations.updating, goal)], fails)
            reply = show(agent, now, Detail.REPLY)
            self._settle()
            return reply

    def delete(self, project_id: str, agent_id: str) -> None:
        """
        Begin to delete an agent; doing so again changes nothing.

        :param project_id: the project it has to be in.
        :param agent_id: its id.
        """
        with self._lock:
            now = self._settle()
            agent = self._find(project_id, agent_id)
            if not agent.deleting:
                self._follow(agent, now, [(self._durations.deleting, None)])
                self._settle()

    def act(self, project_id: str, agent_id: str, verb: str, fails: bool = False) -> None:
        """
        Begin an action.

        :param project_id: the project the agent has to be in.
        :param agent_id: its id.
        :param verb: start, pause, stop or restart.
        :param fails: let the agent end in error.
        """
        with self._lock:
            now = self._settle()
            agent = self._find(project_id, agent_id)
            action = ACTIONS[verb]
            if agent.deleting or agent.status not in action.allowed_from:
                raise self._not_now(agent, action.done)
            self._follow(agent, now, steps_of_action(verb, self._durations), fails)
            self._settle()

    @contextmanager
    def life(self, project_id: str, agent_id: str) -> Iterator[tuple[Agent, int]]:
        """
        Hold an agent still, with the time, while something is computed from its life.

        :param project_id: the project it has to be in.
        :param agent_id: its id.
        """
        with self._lock:
            now = self._settle()
            yield self._find(project_id, agent_id), now

    # What only a test can do

    def seed(
        self,
        project_id: str,
        name: str,
        wanted: int,
        status: str,
        *,
        description: str | None,
        config: dict[str, Any],
        metadata: dict[str, Any],
        created_at: datetime | None,
    ) -> list[str]:
        """
        Put agents there that have this status; return their ids.

        :param project_id: an existing project.
        :param name: ``{n}`` in it becomes 1, 2, 3 and so on, passing over names in use.
        :param wanted: how many agents.
        :param status: any string.
        :param description: of all of them.
        :param config: of all of them.
        :param metadata: of all of them.
        :param created_at: when they were created, and have had the status since; ``None``: now.
        """
        facts = {"version": "1.0.0", "created_by": _SEEDED_BY, **metadata}
        with self._lock:
            now = self._settle()
            born = now if created_at is None else micros_of(created_at)
            taken = self._shelves[project_id].by_name
            if "{n}" in name:
                free = (new for n in count(1) if (new := name.replace("{n}", str(n))) not in taken)
                names = list(islice(free, wanted))
            elif wanted == 1 and name not in taken:
                names = [name]
            else:
                raise ValueError(f"agent names are unique in a project: {name!r} is not, without {{n}} in it")
            agents = [self._new(project_id, new, description, status, config, facts, born) for new in names]
            self._shelves[project_id].add_many(agents)
            return [agent.id for agent in agents]

    def set_status(self, agent_id: str, status: str, move_updated_at: bool = True) -> None:
        """
        Put an agent into a status at once and drop whatever was planned for it, its deletion too.

        :param agent_id: its id.
        :param status: any string.
        :param move_updated_at: whether ``updated_at`` shows it.
        """
        with self._lock:
            now = self._settle()
            agent = self._find(None, agent_id)
            self._follow(agent, now, [])
            self._change(agent, now, status, move_updated_at)
            agent.goal = status

    def script(self, agent_id: str, steps: Sequence[Step]) -> None:
        """
        Plan an agent's statuses in place of whatever was planned for it.

        :param agent_id: its id.
        :param steps: seconds after the step before, and the status then.
        """
        with self._lock:
            now = self._settle()
            self._follow(self._find(None, agent_id), now, steps)
            self._settle()

    def remove(self, agent_id: str) -> None:
        """
        Make an agent disappear at once.

        :param agent_id: its id.
        """
        with self._lock:
            self._settle()
            self._vanish(self._find(None, agent_id))

    def history(self, agent_id: str) -> list[tuple[int, str]]:
        """
        Return every status an agent has had with its beginning; an agent that is gone keeps its history.

        :param agent_id: its id.
        """
        with self._lock:
            self._settle()
            return list(self._histories[agent_id])

    def add_logs(self, agent_id: str, lines: int, level: str) -> None:
        """
        Let an agent log many lines now.

        :param agent_id: its id.
        :param lines: how many.
        :param level: of all of them.
        """
        with self._lock:
            now = self._settle()
            self._find(None, agent_id).extra_logs.append((now, lines, level))

    # How it is done

    def _find(self, project_id: str | None, agent_id: str) -> Agent:
        agent = self._agents.get(agent_id)
        if agent is None or project_id not in {None, agent.project_id}:
            raise refusals.agent_not_found(agent_id)
        return agent

    def _name_is_free(self, project_id: str, name: str) -> None:
        if name in self._shelves[project_id].by_name:
            raise refusals.conflict("Agent name already exists in this project")

    def _not_now(self, agent: Agent, done: str) -> refusals.RefusedError:
        state = "it is being deleted" if agent.deleting else f"its status is '{agent.status}'"
        return refusals.conflict(f"Agent cannot be {done} while {state}")

    def _new(
        self,
        project_id: str,
        name: str,
        description: str | None,
        status: str,
        config: dict[str, Any],
        metadata: dict[str, Any],
        born: int,
    ) -> Agent:
        agent = Agent(
            id=f"agent_{secrets.token_hex(8)}",
            number=next(self._numbers),
            name=name,
            description=description,
            project_id=project_id,
            status=status,
            config=config,
            metadata=metadata,
            created_at=born,
            updated_at=born,
            history=[(born, status)],
            goal=status,
        )
        self._agents[agent.id] = agent
        self._histories[agent.id] = agent.history
        return agent

    def _follow(self, agent: Agent, now: int, steps: Sequence[Step], fails: bool = False) -> None:
        agent.plan += 1
        planned = ending_in_error(steps) if fails else steps
        at = now
        for delay, status in planned:
            at += round(delay * 1_000_000)
            heapq.heappush(self._due, (at, next(self._numbers), agent.id, agent.plan, status))
        last = planned[-1][1] if planned else agent.status
        agent.deleting = last is None
        agent.goal = agent.status if last is None else last

    def _settle(self) -> int:
        now = self._clock.micros()
        while self._due and self._due[0][0] <= now:
            at, _, agent_id, plan, status = heapq.heappop(self._due)
            agent = self._agents.get(agent_id)
            if agent is None or agent.plan != plan:
                continue
            if status is None:
                self._vanish(agent)
            else:
                self._change(agent, at, status)
        return now

    def _change(self, agent: Agent, at: int, status: str, move_updated_at: bool = True) -> None:
        before, agent.status = agent.status, status
        if move_updated_at:
            # Two changes within one microsecond, or on a clock that stands still, are still two moments.
            at = agent.updated_at = max(at, agent.updated_at + 1)
        agent.history.append((at, status))
        self._shelves[agent.project_id].status_moved(before, status)

    def _vanish(self, agent: Agent) -> None:
        self._shelves[agent.project_id].remove(agent)
        del self._agents[agent.id]


def _created_by(agent: Agent) -> dict[str, Any]:
    return {"created_by": agent.metadata["created_by"]}
