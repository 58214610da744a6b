"""Name the agent in an error of the client: what could not be done, to which agent, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from connix_provider.client.errors import ConnixError
from connix_provider.hooks.diagnosis import remedy

if TYPE_CHECKING:
    from connix_provider.hooks.connix import ConnixHook

__all__ = ["naming", "subject_of"]


def subject_of(verb: str, agent_id: object = None, agent_name: object = None) -> str:
    """
    Say what could not be done.

    :param verb: what the task does: ``create``, ``restart`` and so on
    :param agent_id: the agent, where it is known
    :param agent_name: its name, where it is known
    :return: the beginning of a message
    """
    from connix_provider.waiting.agent_ref import AgentRef

    agent = AgentRef(str(agent_id) if agent_id else None, str(agent_name) if agent_name else None)
    return f"Could not {verb} agent {agent}" if agent_id or agent_name else f"Could not {verb} the agent"


@contextmanager
def naming(hook: ConnixHook, project_id: str, named: Callable[[], dict[str, Any]]) -> Iterator[None]:
    """
    Complete each error of the client with the agent that it is about.

    :param hook: the connection
    :param project_id: the project
    :param named: tells ``verb``, and ``agent_id`` or ``agent_name`` as far as the task knows them
    """
    try:
        yield
    except ConnixError as error:
        if error.subject is None:
            known = named()
            error.project_id = project_id
            error.agent_id = error.agent_id or known.get("agent_id")
            error.agent_name = error.agent_name or known.get("agent_name")
            error.subject = subject_of(known["verb"], error.agent_id, error.agent_name)
            error.advice = remedy(error, hook.connix_conn_id)
            error.link = hook.agent_url(project_id, error.agent_id) if error.agent_id else hook.console_url
        raise
