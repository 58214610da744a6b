"""Test a connection with one request, and explain the result in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from connix_provider.client.endpoints import list_projects
from connix_provider.client.errors import ConnixError
from connix_provider.client.transport.addresses import is_sent_in_clear
from connix_provider.hooks.diagnosis import explain_connection_error
from connix_provider.hooks.settings import project_id, unknown_fields

if TYPE_CHECKING:
    from connix_provider.client import Client

__all__ = ["check_connection"]

#: Seconds, because a user waits at a form.
_TIMEOUT = 15.0


def check_connection(client: Client, extra: Mapping[str, Any]) -> tuple[bool, str]:
    """
    Send one request.

    :return: whether the connection works, and the sentences to show
    :raises ValueError: for an invalid ``project_id``
    """
    project = project_id(extra)
    notes = unknown_fields(extra)
    if is_sent_in_clear(client.base_url):
        notes.append("The address is an http:// one: the key is sent unencrypted; use https://.")
    if is_sent_in_clear(str(extra.get("token_url", ""))):
        notes.append("The token_url is an http:// one: credentials are sent unencrypted; use https://.")
    try:
        found = _list(client.with_options(max_attempts=1, total_timeout=_TIMEOUT), project)
    except ConnixError as error:
        explanation = explain_connection_error(error, project).rstrip(".")
        return False, " ".join([f"{explanation}.", *notes])
    return True, " ".join([f"Connix responds at {client.base_url}; {found}.", *notes])


def _list(client: Client, project: str | None) -> str:
    """Return what the response shows."""
    if project is None:
        client.perform(list_projects(limit=1))
        return "the connection names no project_id, so every operator must name one"
    total = client.agents.list(project, limit=1).pagination.total
    return f"project {project} can be listed" if total is None else f"project {project} has {total} agents"
