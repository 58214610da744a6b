"""Name the agent in an error of the client: what could not be done, to which agent, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from connix_provider.client.errors import (
    ConnixAuthenticationError,
    ConnixConflictError,
    ConnixError,
    ConnixNotFoundError,
    ConnixPermissionError,
)

if TYPE_CHECKING:
    from connix_provider.hooks.connix import ConnixHook

__all__ = ["naming"]


@contextmanager
def naming(
    hook: ConnixHook, project_id: str, verb: str, *, agent_id: object = None, agent_name: object = None
) -> Iterator[None]:
    """
    Complete each error of the client with the agent that it is about.

    :param hook: the connection
    :param project_id: the project
    :param verb: what the task does: ``create``, ``restart`` and so on
    :param agent_id: the agent, as given to the task
    :param agent_name: the agent's name, as given to the task
    """
    try:
        yield
    except ConnixError as error:
        if error.subject is None:
            error.project_id = project_id
            error.agent_id = error.agent_id or (str(agent_id) if agent_id else None)
            error.agent_name = error.agent_name or (str(agent_name) if agent_name else None)
            error.subject = f"Could not {verb} agent {_reference(error)} of project {project_id}"
            error.advice = _advice(error, hook, project_id)
        raise


def _reference(error: ConnixError) -> str:
    if error.agent_name and error.agent_id:
        return f"{error.agent_name!r} ({error.agent_id})"
    return repr(error.agent_name) if error.agent_name else str(error.agent_id)


def _advice(error: ConnixError, hook: ConnixHook, project_id: str) -> str:
    """Say what to do, and where the agent and the connection are found."""
    conn = f"Airflow connection {hook.connix_conn_id!r}"
    where = hook.agent_url(project_id, error.agent_id) if error.agent_id else hook.console_url
    match error:
        case ConnixAuthenticationError():
            return f"Enter a valid key or token in the {conn}"
        case ConnixPermissionError():
            return f"Give the key of the {conn} the right to do this, or use another key"
        case ConnixNotFoundError() if not error.is_of_an_agent:
            return f"Check project_id and the host of the {conn}"
        case ConnixNotFoundError():
            return f"Check agent_id or agent_name, and the project ({conn}). Agents: {hook.console_url}"
        case ConnixConflictError():
            return f"Its present state, or another agent, does not allow it. See {where} ({conn})"
        case _:
            return f"See {where} ({conn})"
