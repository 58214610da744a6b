"""What the service does, apart from HTTP. Each method is atomic, and refuses by raising :class:`ApiError`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from connix_provider.emulator import errors
from connix_provider.emulator.agent import Agent
from connix_provider.emulator.store import AgentStore
from connix_provider.emulator.transitions import (
    ACTIONS,
    CREATING,
    RUNNING,
    UPDATING,
    Durations,
    Step,
    ending_in_error,
)
from connix_provider.emulator.views import Detail, View, show


class AgentService:
    """
    Carry out the calls on a store.

    ``fails`` of a method lets the agent end in ``error`` instead of its goal.
    """

    def __init__(self, store: AgentStore, durations: Durations) -> None:
        self._store = store
        self._durations = durations

    def projects(self) -> dict[str, str]:
        """Return the name of each project by its id, in the order in which they were added."""
        with self._store.transaction():
            return dict(self._store.projects)

    def create(self, project_id: str, body: Mapping[str, Any], created_by: str, fails: bool) -> View:
        """Create an agent in an existing project from a valid request body."""
        with self._store.transaction() as now:
            self._check_name_is_free(project_id, body["name"])
            (agent,) = self._store.add_agents(
                project_id,
                [body["name"]],
                CREATING,
                now,
                now,
                description=body.get("description"),
                config=body.get("config", {}),
                metadata={"version": "1.0.0", **body.get("metadata", {}), "created_by": created_by},
            )
            self._plan(agent, now, [(self._durations.creating, RUNNING)], fails)
            return show(agent, now, Detail.CHANGED)

    def get(self, project_id: str, agent_id: str) -> View:
        """Return one agent with all details."""
        with self.agent(project_id, agent_id) as (agent, now):
            return show(agent, now, Detail.FULL)

    def page(
        self, project_id: str, sort: str, status: str | None, offset: int, limit: int
    ) -> tuple[list[View], int]:
        """Return one page of an existing project's agents, and the total of the matching agents."""
        with self._store.transaction() as now:
            agents, total = self._store.indexes[project_id].page(sort, status, offset, limit)
            return [show(agent, now, Detail.LISTED) for agent in agents], total

    def update(self, project_id: str, agent_id: str, body: Mapping[str, Any], fails: bool) -> View:
        """Merge a valid request body into an agent."""
        with self.agent(project_id, agent_id) as (agent, now):
            if agent.deleting or agent.status == CREATING:
                raise _state_conflict(agent, "updated")
            if (name := body.get("name", agent.name)) != agent.name:
                self._check_name_is_free(project_id, name)
                self._store.rename(agent, name)
            agent.description = body.get("description", agent.description)
            agent.config = agent.config | body.get("config", {})
            # The service sets created_by; a value in the request is ignored.
            created_by = {"created_by": agent.metadata["created_by"]}
            agent.metadata = agent.metadata | body.get("metadata", {}) | created_by
            # An action under way continues: its goal is reached after the update.
            goal = agent.goal
            self._store.change_status(agent, now, UPDATING)
            self._plan(agent, now, [(self._durations.updating, goal)], fails)
            return show(agent, now, Detail.CHANGED)

    def delete(self, project_id: str, agent_id: str) -> None:
        """Begin to delete an agent; a second delete changes nothing."""
        with self.agent(project_id, agent_id) as (agent, now):
            if not agent.deleting:
                self._plan(agent, now, [(self._durations.deleting, None)])

    def act(self, project_id: str, agent_id: str, verb: str, fails: bool) -> None:
        """Begin to start, pause, stop or restart an agent."""
        with self.agent(project_id, agent_id) as (agent, now):
            action = ACTIONS[verb]
            if agent.deleting or agent.status not in action.allowed_from:
                raise _state_conflict(agent, action.done)
            self._plan(agent, now, action.steps(self._durations), fails)

    @contextmanager
    def agent(self, project_id: str, agent_id: str) -> Iterator[tuple[Agent, int]]:
        """Yield an agent of a project and the time in microseconds, within a transaction."""
        with self._store.transaction() as now:
            try:
                agent = self._store.find(agent_id, project_id)
            except KeyError:
                raise errors.agent_not_found(agent_id) from None
            yield agent, now

    def _plan(self, agent: Agent, now: int, steps: list[Step], fails: bool = False) -> None:
        self._store.plan(agent, now, ending_in_error(steps) if fails else steps)

    def _check_name_is_free(self, project_id: str, name: str) -> None:
        if name in self._store.indexes[project_id].by_name:
            raise errors.agent_conflict("Agent name already exists in this project")


def _state_conflict(agent: Agent, done: str) -> errors.ApiError:
    state = "it is being deleted" if agent.deleting else f"its status is '{agent.status}'"
    return errors.agent_conflict(f"Agent cannot be {done} while {state}")
