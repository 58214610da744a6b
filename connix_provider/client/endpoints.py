"""
The endpoints of the Agents API: each function makes a call, which holds the request and reads its response.

The functions check their arguments and return a :class:`~connix_provider.client.calls.call.Call`, without
I/O. The methods of both clients are made from these functions, so parameters, checks and documentation are
written once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, TypedDict

from connix_provider.client.calls.arguments import (
    body,
    check_choice,
    check_int,
    check_text,
    path_segment,
    period,
    query,
)
from connix_provider.client.calls.call import Call
from connix_provider.client.calls.repeat_checks import action_check, delete_check, update_check
from connix_provider.client.models import (
    ActionResult,
    Agent,
    AgentMetrics,
    AgentPage,
    DeleteResult,
    LogPage,
    ProjectPage,
)
from connix_provider.client.ratelimit import Bucket
from connix_provider.client.redaction import secrets_of
from connix_provider.client.responses.results import read_agent, read_confirmation, rejecting_error_bodies
from connix_provider.statuses import AgentStatus
from connix_provider.values import quoted

SORT_ORDERS = ("created_at", "-created_at", "name", "-name")
LOG_LEVELS = ("debug", "info", "warn", "error")
INTERVALS = ("1m", "5m", "15m", "1h", "1d")
MAX_AGENTS_PER_PAGE = 100
MAX_LOGS_PER_PAGE = 1000
#: Page sizes of a request without ``limit``.
DEFAULT_AGENTS_PER_PAGE = 20
DEFAULT_LOGS_PER_PAGE = 100


def list_agents(
    project_id: str,
    *,
    status: str | None = None,
    limit: int | None = None,
    offset: int | None = None,
    sort: str | None = None,
) -> Call[AgentPage]:
    """
    List one page of a project's agents (reference: "List Agents").

    :param status: only agents in this status; a status that the reference does not have is allowed
    :param limit: agents in a page, 1 to 100; the service's default is 20
    :param offset: agents to skip
    :param sort: ``created_at``, ``-created_at``, ``name`` or ``-name``
    :return: the page; iterate it for the agents
    :raises ValueError: for an argument out of bounds
    """
    parameters = query(
        status=check_text(status, "status"),
        limit=check_int(limit, "limit", 1, MAX_AGENTS_PER_PAGE),
        offset=check_int(offset, "offset", 0),
        sort=check_choice(sort, "sort", SORT_ORDERS),
    )
    read = rejecting_error_bodies(
        partial(AgentPage.read, offset=offset or 0, limit=limit or DEFAULT_AGENTS_PER_PAGE)
    )
    return Call("GET", _agents(project_id), Bucket.LIST, read, parameters, project_id=str(project_id))


def create_agent(project_id: str, agent: Mapping[str, Any]) -> Call[Agent]:
    """
    Create an agent (reference: "Create Agent").

    The request is not idempotent and is sent once. After a lost response the error has ``may_have_executed``.
    Then look the agent up by its name, which is unique in a project, before you create it again.

    :param agent: ``name``, ``description``, ``config``, ``metadata`` as in the reference
    :return: the agent, usually ``creating``
    :raises ValueError: for a body without a name, or one that cannot be written as JSON
    """
    content = body(agent, "agent")
    name = agent.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"agent needs a name: a non-empty string, not {quoted(name)}")
    return Call(
        "POST",
        _agents(project_id),
        Bucket.CREATE,
        partial(read_agent, name=name),
        body=content,
        idempotent=False,
        secrets=secrets_of(agent),
        project_id=str(project_id),
    )


def get_agent(project_id: str, agent_id: str) -> Call[Agent]:
    """
    Get an agent (reference: "Get Agent").

    :return: the agent with its ``stats`` and its complete ``config``
    :raises ValueError: for an empty id
    """
    return Call(
        "GET",
        _agent(project_id, agent_id),
        Bucket.GET,
        partial(read_agent, agent_id=str(agent_id)),
        **_ids(project_id, agent_id),
    )


def update_agent(project_id: str, agent_id: str, changes: Mapping[str, Any]) -> Call[Agent]:
    """
    Update an agent (reference: "Update Agent").

    The service merges the fields that are sent into the agent, so send only those that change. If a
    successful response has no body, the agent is read; the update is not repeated.

    :param changes: any of ``name``, ``description``, ``config``, ``metadata``
    :return: the agent, usually ``updating``
    :raises ValueError: for an empty body, or one that cannot be written as JSON
    """
    content = body(changes, "changes")
    if not changes:
        raise ValueError("changes is empty; name at least one of name, description, config, metadata")
    get = get_agent(project_id, agent_id)
    return Call(
        "PUT",
        get.path,
        Bucket.UPDATE,
        get.read,
        body=content,
        repeat_check=update_check(get, json.loads(content)),
        when_empty=get,
        secrets=secrets_of(changes),
        **_ids(project_id, agent_id),
    )


def delete_agent(project_id: str, agent_id: str) -> Call[DeleteResult]:
    """
    Delete an agent and all its data (reference: "Delete Agent").

    :return: the service's confirmation; the agent may still exist for a while
    :raises ValueError: for an empty id
    """
    return Call(
        "DELETE",
        _agent(project_id, agent_id),
        Bucket.DELETE,
        partial(read_confirmation, DeleteResult, str(agent_id)),
        repeat_check=delete_check(str(agent_id)),
        **_ids(project_id, agent_id),
    )


def start_agent(project_id: str, agent_id: str) -> Call[ActionResult]:
    """
    Start a paused or stopped agent (reference: "Start Agent").

    :return: the service's confirmation; the agent may not run yet
    :raises ValueError: for an empty id
    """
    return _action(project_id, agent_id, "start", AgentStatus.RUNNING)


def pause_agent(project_id: str, agent_id: str) -> Call[ActionResult]:
    """
    Pause a running agent (reference: "Pause Agent").

    :return: the service's confirmation; the agent may still run
    :raises ValueError: for an empty id
    """
    return _action(project_id, agent_id, "pause", AgentStatus.PAUSED)


def stop_agent(project_id: str, agent_id: str) -> Call[ActionResult]:
    """
    Stop a running agent (reference: "Stop Agent").

    :return: the service's confirmation; the agent may still run
    :raises ValueError: for an empty id
    """
    return _action(project_id, agent_id, "stop", AgentStatus.STOPPED)


def restart_agent(project_id: str, agent_id: str) -> Call[ActionResult]:
    """
    Restart an agent: stop and start (reference: "Restart Agent").

    The request is not idempotent and is sent once. After a lost response the error has ``may_have_executed``.
    Then compare the agent's ``updated_at`` with the one from before.

    :return: the service's confirmation; the agent may not have stopped yet
    :raises ValueError: for an empty id
    """
    return _action(project_id, agent_id, "restart", None)


def get_logs(
    project_id: str,
    agent_id: str,
    *,
    level: str | None = None,
    start_time: str | datetime | None = None,
    end_time: str | datetime | None = None,
    limit: int | None = None,
    offset: int | None = None,
) -> Call[LogPage]:
    """
    Get one page of an agent's log (reference: "Get Agent Logs").

    :param level: ``debug``, ``info``, ``warn`` or ``error``
    :param start_time: ISO 8601 text or a datetime; without a zone it is UTC
    :param end_time: as ``start_time``, and not before it
    :param limit: entries in a page, 1 to 1000; the service's default is 100
    :param offset: entries to skip
    :return: the page; iterate it for the entries, in the service's order
    :raises ValueError: for an argument out of bounds
    """
    parameters = query(
        level=check_choice(level, "level", LOG_LEVELS),
        **period(start_time, end_time),
        limit=check_int(limit, "limit", 1, MAX_LOGS_PER_PAGE),
        offset=check_int(offset, "offset", 0),
    )
    path = f"{_agent(project_id, agent_id)}/logs"
    read = rejecting_error_bodies(
        partial(LogPage.read, offset=offset or 0, limit=limit or DEFAULT_LOGS_PER_PAGE)
    )
    return Call("GET", path, Bucket.LOGS, read, parameters, **_ids(project_id, agent_id))


def get_metrics(
    project_id: str,
    agent_id: str,
    *,
    start_time: str | datetime | None = None,
    end_time: str | datetime | None = None,
    interval: str | None = None,
) -> Call[AgentMetrics]:
    """
    Get an agent's metrics (reference: "Get Agent Metrics").

    :param start_time: ISO 8601 text or a datetime; without a zone it is UTC
    :param end_time: as ``start_time``, and not before it
    :param interval: ``1m``, ``5m``, ``15m``, ``1h`` or ``1d``
    :raises ValueError: for an argument out of bounds
    """
    parameters = query(**period(start_time, end_time), interval=check_choice(interval, "interval", INTERVALS))
    path = f"{_agent(project_id, agent_id)}/metrics"
    read = rejecting_error_bodies(AgentMetrics.model_validate_json)
    return Call("GET", path, Bucket.METRICS, read, parameters, **_ids(project_id, agent_id))


def list_projects(*, limit: int | None = None) -> Call[ProjectPage]:
    """
    List the first page of the projects of an API key; only the connection test sends this.

    :param limit: projects in a page
    """
    return Call(
        "GET", "/projects", Bucket.PROJECTS, rejecting_error_bodies(ProjectPage.read), query(limit=limit)
    )


def _action(project_id: str, agent_id: str, action: str, proven_by: AgentStatus | None) -> Call[ActionResult]:
    """Return an action. It is idempotent if a status proves it, because then only that status counts."""
    get = get_agent(project_id, agent_id)
    return Call(
        "POST",
        f"{get.path}/{action}",
        Bucket.ACTION,
        partial(read_confirmation, ActionResult, str(agent_id)),
        idempotent=proven_by is not None,
        repeat_check=action_check(get, action, proven_by) if proven_by else None,
        **_ids(project_id, agent_id),
    )


class _Ids(TypedDict):
    project_id: str
    agent_id: str


def _ids(project_id: str, agent_id: str) -> _Ids:
    """Return the ids that errors of a call name. The path's check has checked them."""
    return {"project_id": str(project_id), "agent_id": str(agent_id)}


def _agents(project_id: str) -> str:
    return f"/projects/{path_segment(project_id, 'project_id')}/agents"


def _agent(project_id: str, agent_id: str) -> str:
    return f"{_agents(project_id)}/{path_segment(agent_id, 'agent_id')}"
