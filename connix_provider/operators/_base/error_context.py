"""Complete errors of the client with what could not be done, to which agent, and the remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from connix_provider.client.errors import (
    ConnixAuthenticationError,
    ConnixConflictError,
    ConnixError,
    ConnixPermissionError,
)
from connix_provider.hooks.diagnosis import remedy
from connix_provider.polling.agent_ref import AgentRef

if TYPE_CHECKING:
    from connix_provider.hooks.connix import ConnixHook

__all__ = ["add_agent", "complete_error", "completing_errors", "concerns_all_agents", "error_subject"]


def error_subject(
    verb: str = "", agent_id: object = None, agent_name: object = None, subject: str | None = None
) -> str:
    """
    Return the beginning of an error's message: what could not be done.

    :param verb: the task's action: ``create``, ``restart`` and so on
    :param agent_id: the agent, if known
    :param agent_name: its name, if known
    :param subject: the beginning for a task that is not on one agent
    :return: such as ``Could not restart agent agent_1``
    """
    if subject:
        return subject
    agent = AgentRef(str(agent_id) if agent_id else None, str(agent_name) if agent_name else None)
    return f"Could not {verb} agent {agent}" if agent_id or agent_name else f"Could not {verb} the agent"


@contextmanager
def completing_errors(
    hook: ConnixHook, project_id: str, error_fields: Callable[[], dict[str, Any]]
) -> Iterator[None]:
    """
    Complete an error of the client with subject, remedy and link.

    :param error_fields: returns ``verb``, and ``agent_id`` or ``agent_name`` if the task knows them; or
        ``subject``, for a request that is not on one agent
    """
    try:
        yield
    except ConnixError as error:
        complete_error(error, hook, project_id, error_fields)
        raise


def complete_error(
    error: ConnixError, hook: ConnixHook, project_id: str, error_fields: Callable[[], dict[str, Any]]
) -> None:
    """
    Complete an error with subject, remedy and link, unless it has them.

    :param error_fields: as for :func:`completing_errors`
    """
    if error.subject is not None:
        return
    known = error_fields()
    error.project_id = project_id
    add_agent(error, known)
    if not _is_name_conflict(error):
        known = {**known, "agent_id": error.agent_id, "agent_name": error.agent_name}
    error.subject = error_subject(**known)
    error.advice = error.advice or remedy(error, hook.connix_conn_id)
    error.link = hook.agent_url(project_id, error.agent_id) if error.agent_id else hook.console_url


def add_agent(error: ConnixError, error_fields: Mapping[str, Any]) -> None:
    """Add id and name of the task's agent to an error that has none."""
    error.agent_id = error.agent_id or error_fields.get("agent_id")
    error.agent_name = error.agent_name or error_fields.get("agent_name")


def _is_name_conflict(error: ConnixError) -> bool:
    """Return whether the error's agent is another one, which has the name of the task's agent."""
    return isinstance(error, ConnixConflictError) and not error.has_response


def concerns_all_agents(error: Exception) -> bool:
    """
    Return whether the error of one agent ends a task on several, because Connix would refuse the others, too.

    The reference's 403 is about one agent. A 403 to a request that names no agent, or without Connix's error
    body, is about the key or a gateway.

    :return: true for a refused key, and for any error that is not of the client
    """
    if isinstance(error, ConnixPermissionError):
        return not error.has_error_body or error.agent_id is None
    return isinstance(error, ConnixAuthenticationError) or not isinstance(error, ConnixError)
