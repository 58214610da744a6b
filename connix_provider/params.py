"""
Check the parameters of a task, and find its project and agent.

Template fields have their values only when a task runs, so the checks are made in ``execute``, before any
request. Each error names the parameter, its value and the allowed values.
"""

from __future__ import annotations

import math
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from connix_provider.client.errors import ConnixConflictError, ConnixNotFoundError
from connix_provider.values import check_flag, gave_nothing, looks_like_a_key, looks_like_json, quoted

if TYPE_CHECKING:
    from connix_provider.client import Agent, Client

__all__ = [
    "AgentNameNotFoundError",
    "check_flag",
    "check_name",
    "check_seconds",
    "find_agents",
    "gave_nothing",
    "name_conflict",
    "nothing_given",
    "resolve_agent_id",
    "resolve_project_id",
]

#: Seconds. A datetime of much more would overflow.
_MAX_SECONDS = 300 * 365 * 86400.0
_PERHAPS = "if it comes from a template or another task,"
#: What parameters hold that are not text.
_KINDS = {
    "config": "a mapping",
    "metadata": "a mapping",
    "config.environment_variables": "a mapping",
    "config.tools": "a list",
    "config.temperature": "a number",
    "config.max_tokens": "a whole number",
}


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


def resolve_project_id(given: Any, default: Any, connix_conn_id: str) -> str:
    """
    Return the project of a task.

    :param given: the task's ``project_id``
    :param default: the connection's ``project_id``
    :raises ValueError: if both are missing, or the id is invalid
    """
    chosen = default if given is None else given
    if chosen is None:
        raise ValueError(
            "project_id is missing: give it to the task, or set it in the extra of the Airflow connection "
            f"{connix_conn_id!r}"
        )
    return _identifier(chosen, "project_id")


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
        return _identifier(agent_id, "agent_id")
    agent_name = check_name("agent_name", agent_name)
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


def check_seconds(name: str, value: Any, *, minimum: float = 0.0) -> float:
    """
    Check a duration.

    :param value: seconds, or a timedelta
    :param minimum: the shortest allowed duration; 0 allows any above zero
    :return: seconds
    :raises ValueError: for any other value
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or (isinstance(seconds, float) and not math.isfinite(seconds)):
        raise ValueError(f"{name} must be a number of seconds or a timedelta, not {quoted(value)}")
    if seconds > _MAX_SECONDS:
        raise ValueError(f"{name} must be less than 300 years, not {quoted(value)}")
    if seconds < minimum or seconds <= 0:
        bound = f"at least {minimum:g} s" if minimum else "more than 0 s"
        raise ValueError(f"{name} must be {bound}, not {quoted(value)}")
    return float(seconds)


def check_name(parameter: str, value: Any) -> str:
    """
    Check the name of an agent.

    :param value: the name; ``agent_name`` may also be an integer
    :raises ValueError: for a value that is missing or not a name
    """
    if parameter == "agent_name" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{parameter} must be a string, not {type(value).__name__}")
    if gave_nothing(value):
        raise ValueError(nothing_given(parameter, value))
    _refuse_json(str(value), parameter)
    return str(value)


def _identifier(value: Any, name: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is not None and not isinstance(value, str):
        hint = "; use expand() for several" if isinstance(value, list | tuple) else ""
        raise ValueError(f"{name} must be a string, not {quoted(value)}{hint}")
    if value is None or gave_nothing(value):
        raise ValueError(nothing_given(name, value))
    _refuse_json(value, name)
    if looks_like_a_key(value):
        raise ValueError(f"{name} looks like an API key; the key belongs in the password of the connection")
    return value.strip()


def _refuse_json(text: str, name: str) -> None:
    """Raise for the text of a mapping, because another task returned more than its template takes."""
    if looks_like_json(text):
        raise ValueError(f"{name} must be one value, not a mapping as text; take one of its fields")


def nothing_given(parameter: str, value: Any, *, by_a_template: bool = False) -> str:
    """
    Return the message for a parameter with a missing value.

    :param by_a_template: whether it certainly came from a template or another task
    """
    origin = "it came from a template or another task" if by_a_template else _PERHAPS
    kind = _KINDS.get(parameter, "a non-empty string")
    message = f"{parameter} must be {kind}, not {quoted(value)}; {origin} that returned no value"
    has_text = isinstance(value, str) and bool(value.strip())
    if has_text and parameter == "agent_name":
        return f"{message}. An agent that is really called {value!r} can be given by its agent_id"
    if has_text and parameter == "name":
        return f"{message}. No agent gets this name, because templates write it for a missing value"
    return message
