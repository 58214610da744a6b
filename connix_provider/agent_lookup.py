"""Find the agent of a task by its name or id, and report a name that is missing or taken."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from connix_provider.client.errors import ConnixConflictError, ConnixNotFoundError
from connix_provider.params import check_id, check_name

if TYPE_CHECKING:
    from connix_provider.client import Agent, Client

__all__ = ["AgentNameNotFoundError", "name_conflict", "resolve_agent_id"]


class AgentNameNotFoundError(ConnixNotFoundError):
    """Raised when no agent of a project has the name."""

    def __init__(self, name: str, project_id: str) -> None:
        super().__init__(404, "agent_not_found", f"project {project_id} has no agent named {name!r}")
        self.has_response = False
        self.agent_name, self.project_id = name, project_id


def name_conflict(message: str, agent: Agent | None = None) -> ConnixConflictError:
    """
    Return the error for a name that another agent of the project has.

    :param message: which agent, and the remedy
    :param agent: that agent, if known
    """
    error = ConnixConflictError(409, "agent_conflict", message)
    error.has_response = False
    if agent is not None:
        error.agent_id, error.agent_name, error.status = agent.id, agent.name, agent.status
    return error


def resolve_agent_id(client: Client, project_id: str, agent_id: Any, agent_name: Any) -> str:
    """
    Return the agent of a task.

    :param client: a client that lists the agents to find a name
    :param agent_id: the task's ``agent_id``
    :param agent_name: the task's ``agent_name``
    :raises ValueError: for both or neither of the two, an empty one, or a name that two agents have
    :raises AgentNameNotFoundError: if no agent has the name
    """
    if (agent_id is None) == (agent_name is None):
        got = "both" if agent_id is not None else "neither"
        raise ValueError(f"exactly one of agent_id and agent_name is needed; the task was given {got}")
    if agent_id is not None:
        return check_id("agent_id", agent_id)
    agent_name = check_name("agent_name", agent_name)
    found = _find_agents(client, project_id, agent_name)
    if not found:
        raise AgentNameNotFoundError(agent_name, project_id)
    if len(found) > 1:
        ids = ", ".join(agent.id for agent in found)
        raise ValueError(
            f"agent_name {agent_name!r} is the name of {len(found)} agents ({ids}); give an agent_id"
        )
    return found[0].id


def _find_agents(client: Client, project_id: str, name: str) -> list[Agent]:
    """
    Find the agents of a name. This reads the whole listing, because the service has no filter for names.

    :param name: the exact name
    :return: the agents, usually one or none; the newest first
    :raises ConnixResponseError: if none is found, and entries of the listing cannot be read
    """
    # Here, because it imports the models, and parsing a DAG file needs none.
    from connix_provider.client.endpoints import MAX_AGENTS_PER_PAGE, list_agents
    from connix_provider.client.pagination import AgentPaginator

    page_of = partial(list_agents, project_id, limit=MAX_AGENTS_PER_PAGE, sort="-created_at")
    pages: AgentPaginator[Agent] = AgentPaginator(page_of)
    found: list[Agent] = []
    while pages.next_call is not None:
        found += [agent for agent in pages.take(client.perform(pages.next_call)) if agent.name == name]
    if not found:
        # An entry that cannot be read may be the agent.
        pages.check_complete()
    return found
