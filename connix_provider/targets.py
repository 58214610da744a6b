"""
Check what a task was told, and find the agent it means.

Template fields hold their values only when a task runs, so all of this happens in ``execute`` and before
anything is sent. Every complaint names the parameter, what it is and what it should be.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from connix_provider.client.errors import ConnixNotFoundError

if TYPE_CHECKING:
    from connix_provider.client import Agent, Client

__all__ = ["AgentNameNotFoundError", "check_seconds", "find_agents", "resolve_agent_id", "resolve_project_id"]

#: What Jinja leaves of a value that was not there.
_EMPTY_RENDERINGS = frozenset({"", "none", "null", "undefined", "nan"})


class AgentNameNotFoundError(ConnixNotFoundError):
    """
    Say that no agent of a project has the name that was asked for.

    :param name: the name
    :param project_id: the project
    """

    def __init__(self, name: str, project_id: str) -> None:
        super().__init__(404, "agent_not_found", f"project {project_id} has no agent named {name!r}")

    def __str__(self) -> str:
        # Connix did not say 404: the name is missing from its listing.
        return self.message


def resolve_project_id(given: Any, default: Any, connix_conn_id: str) -> str:
    """
    Decide which project is meant.

    :param given: the task's ``project_id``
    :param default: the connection's ``project_id``
    :param connix_conn_id: the Airflow connection
    :return: the project's id
    :raises ValueError: where neither names one
    """
    chosen = default if given is None else given
    if chosen is None:
        raise ValueError(
            "project_id is missing: give it to the task, or put it into the extra of the Airflow connection "
            f"{connix_conn_id!r}"
        )
    return _identifier(chosen, "project_id")


def resolve_agent_id(client: Client, project_id: str, agent_id: Any, agent_name: Any) -> str:
    """
    Decide which agent is meant.

    :param client: a client, for looking a name up
    :param project_id: the project
    :param agent_id: the task's ``agent_id``
    :param agent_name: the task's ``agent_name``
    :return: the agent's id
    :raises ValueError: for both or neither of the two, an empty one, or a name that two agents have
    :raises AgentNameNotFoundError: for a name that no agent has
    """
    if (agent_id is None) == (agent_name is None):
        got = "both" if agent_id is not None else "neither"
        raise ValueError(f"exactly one of agent_id and agent_name is needed; the task was given {got}")
    if agent_id is not None:
        return _identifier(agent_id, "agent_id")
    if not isinstance(agent_name, str) or agent_name.strip().lower() in _EMPTY_RENDERINGS:
        raise ValueError(_empty("agent_name", agent_name))
    found = find_agents(client, project_id, agent_name)
    if not found:
        raise AgentNameNotFoundError(agent_name, project_id)
    if len(found) > 1:
        ids = ", ".join(agent.id for agent in found)
        raise ValueError(
            f"agent_name {agent_name!r} is the name of {len(found)} agents ({ids}); give an agent_id"
        )
    return found[0].id


def find_agents(client: Client, project_id: str, name: str) -> list[Agent]:
    """
    Find the agents of a name; the service has no filter for it, so the whole listing is walked.

    :param client: the client
    :param project_id: the project
    :param name: the exact name
    :return: the agents, usually one or none; the newest first
    """
    return [agent for agent in client.agents.iter(project_id, sort="-created_at") if agent.name == name]


def check_seconds(name: str, value: Any, *, minimum: float = 0.0) -> float:
    """
    Check a length of time.

    :param name: the parameter's name
    :param value: seconds, or a timedelta
    :param minimum: the shortest allowed; 0 means anything above zero
    :return: seconds
    :raises ValueError: for anything else
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        raise ValueError(f"{name} must be a number of seconds or a timedelta, not {value!r}")
    if seconds < minimum or seconds <= 0:
        bound = f"at least {minimum:g} s" if minimum else "more than 0 s"
        raise ValueError(f"{name} must be {bound}, not {value!r}")
    return float(seconds)


def _identifier(value: Any, name: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or value.strip().lower() in _EMPTY_RENDERINGS:
        raise ValueError(_empty(name, value))
    return value.strip()


def _empty(name: str, value: Any) -> str:
    return (
        f"{name} must be a string that is not empty, not {value!r}; if it comes from a template or another "
        "task, that gave nothing"
    )
