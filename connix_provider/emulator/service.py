"""What the service's calls do: the service without its wire."""

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
    steps_of_action,
)
from connix_provider.emulator.views import Detail, View, show


class AgentService:
    """
    Answer the calls; each is atomic.

    :param store: who is there.
    :param durations: how long changes take.
    """

    def __init__(self, store: AgentStore, durations: Durations) -> None:
        self._store = store
        self._durations = durations

    def projects(self) -> list[tuple[str, str]]:
        """Return id and name of every project, in the order they were added."""
        with self._store.moment():
            return list(self._store.projects.items())

    def has_project(self, project_id: str) -> bool:
        """
        Say whether there is such a project.

        :param project_id: the id asked for.
        """
        with self._store.moment():
            return project_id in self._store.projects

    def create(self, project_id: str, body: Mapping[str, Any], created_by: str, fails: bool = False) -> View:
        """
        Create an agent and return it as the reply shows it.

        :param project_id: an existing project.
        :param body: the valid request body.
        :param created_by: the user whose key it is.
        :param fails: let the agent end in error.
        """
        with self._store.moment() as now:
            self._name_is_free(project_id, body["name"])
            (agent,) = self._store.settle_in(
                project_id,
                [body["name"]],
                CREATING,
                now,
                description=body.get("description"),
                config=body.get("config", {}),
                metadata={"version": "1.0.0", **body.get("metadata", {}), "created_by": created_by},
            )
            self._plan(agent, now, [(self._durations.creating, RUNNING)], fails)
            return show(agent, now, Detail.REPLY)

    def get(self, agent_id: str, project_id: str | None = None) -> View:
        """
        Return one agent with everything.

        :param agent_id: its id.
        :param project_id: the project it has to be in; any by default.
        """
        with self._store.moment() as now:
            return show(self._store.find(agent_id, project_id), now, Detail.FULL)

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
        with self._store.moment() as now:
            agents, total = self._store.indexes[project_id].page(sort, status, offset, limit)
            return [show(agent, now, Detail.LISTED) for agent in agents], total

    def update(self, project_id: str, agent_id: str, body: Mapping[str, Any], fails: bool = False) -> View:
        """
        Merge changes into an agent and return it as the reply shows it.

        :param project_id: the project it has to be in.
        :param agent_id: its id.
        :param body: the valid request body: only what changes.
        :param fails: let the agent end in error.
        """
        with self._store.moment() as now:
            agent = self._store.find(agent_id, project_id)
            if agent.deleting or agent.status == CREATING:
                raise _not_now(agent, "updated")
            if (name := body.get("name", agent.name)) != agent.name:
                self._name_is_free(project_id, name)
                self._store.rename(agent, name)
            agent.description = body.get("description", agent.description)
            agent.config = agent.config | body.get("config", {})
            # Who created an agent is the service's to say, not the user's.
            created_by = {"created_by": agent.metadata["created_by"]}
            agent.metadata = agent.metadata | body.get("metadata", {}) | created_by
            # An action under way is not forgotten: its promise is kept after the update.
            goal = agent.goal
            self._store.change(agent, now, UPDATING)
            self._plan(agent, now, [(self._durations.updating, goal)], fails)
            return show(agent, now, Detail.REPLY)

    def delete(self, project_id: str, agent_id: str) -> None:
        """
        Begin to delete an agent; doing so again changes nothing.

        :param project_id: the project it has to be in.
        :param agent_id: its id.
        """
        with self._store.moment() as now:
            agent = self._store.find(agent_id, project_id)
            if not agent.deleting:
                self._plan(agent, now, [(self._durations.deleting, None)])

    def act(self, project_id: str, agent_id: str, verb: str, fails: bool = False) -> None:
        """
        Begin an action.

        :param project_id: the project the agent has to be in.
        :param agent_id: its id.
        :param verb: start, pause, stop or restart.
        :param fails: let the agent end in error.
        """
        with self._store.moment() as now:
            agent = self._store.find(agent_id, project_id)
            action = ACTIONS[verb]
            if agent.deleting or agent.status not in action.allowed_from:
                raise _not_now(agent, action.done)
            self._plan(agent, now, steps_of_action(verb, self._durations), fails)

    @contextmanager
    def life(self, project_id: str, agent_id: str) -> Iterator[tuple[Agent, int]]:
        """
        Hold an agent still, with the time, while something is computed from its life.

        :param project_id: the project it has to be in.
        :param agent_id: its id.
        """
        with self._store.moment() as now:
            yield self._store.find(agent_id, project_id), now

    def _plan(self, agent: Agent, now: int, steps: list[Step], fails: bool = False) -> None:
        self._store.plan(agent, now, ending_in_error(steps) if fails else steps)

    def _name_is_free(self, project_id: str, name: str) -> None:
        if name in self._store.indexes[project_id].by_name:
            raise errors.conflict("Agent name already exists in this project")


def _not_now(agent: Agent, done: str) -> errors.ApiError:
    state = "it is being deleted" if agent.deleting else f"its status is '{agent.status}'"
    return errors.conflict(f"Agent cannot be {done} while {state}")
