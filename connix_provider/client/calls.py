"""
Describe each call of the Agents API: what to send, which rate limit counts it, how to read the response.

Each function here checks its arguments and returns a :class:`~connix_provider.client.call.Call`; none does
I/O. The clients' methods are made from these functions, so a parameter, its check and its documentation are
written once for both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, TypedDict

from connix_provider.client.arguments import body, one_of, period, query, segment, text, whole
from connix_provider.client.call import Call, Proof
from connix_provider.client.errors import ConnixConflictError, ConnixError, ConnixNotFoundError
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
from connix_provider.client.replies import checked, read_agent, read_confirmation
from connix_provider.lifecycle import AgentStatus

SORT_ORDERS = ("created_at", "-created_at", "name", "-name")
LOG_LEVELS = ("debug", "info", "warn", "error")
INTERVALS = ("1m", "5m", "15m", "1h", "1d")
MAX_AGENTS_PER_PAGE = 100
MAX_LOGS_PER_PAGE = 1000
#: What the service puts on a page where nothing else is asked for.
USUAL_AGENTS_PER_PAGE = 20
USUAL_LOGS_PER_PAGE = 100


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

    :param project_id: the project
    :param status: only agents in this status; a new status of the service is passed on as it is
    :param limit: agents a page, 1 to 100; the service's default is 20
    :param offset: agents to pass over
    :param sort: ``created_at``, ``-created_at``, ``name`` or ``-name``
    :return: the page; iterating it gives the agents
    :raises ValueError: for an argument out of these bounds
    """
    parameters = query(
        status=text(status, "status"),
        limit=whole(limit, "limit", 1, MAX_AGENTS_PER_PAGE),
        offset=whole(offset, "offset", 0),
        sort=one_of(sort, "sort", SORT_ORDERS),
    )
    read = checked(partial(AgentPage.read, offset=offset or 0, limit=limit or USUAL_AGENTS_PER_PAGE))
    return Call("GET", _agents(project_id), Bucket.LIST, read, parameters, project_id=str(project_id))


def create_agent(project_id: str, agent: Mapping[str, Any]) -> Call[Agent]:
    """
    Create an agent (reference: "Create Agent").

    Create is sent once: when its answer is lost, the error's ``may_have_executed`` is true, and the agent
    is to be looked up by its name, which is unique in a project, before it is created again.

    :param project_id: the project
    :param agent: ``name``, ``description``, ``config``, ``metadata`` as in the reference
    :return: the agent, usually still ``creating``
    :raises ValueError: for a body that is not JSON or has no name
    """
    content = body(agent, "agent")
    name = agent.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"agent needs a name: a string that is not empty, not {name!r}")
    return Call(
        "POST",
        _agents(project_id),
        Bucket.CREATE,
        read_agent,
        body=content,
        repeatable=False,
        secrets=secrets_of(agent),
        project_id=str(project_id),
    )


def get_agent(project_id: str, agent_id: str) -> Call[Agent]:
    """
    Get an agent (reference: "Get Agent").

    :param project_id: the project
    :param agent_id: the agent
    :return: the agent with its ``stats`` and its whole ``config``
    :raises ValueError: for an empty id
    """
    return Call(
        "GET",
        _agent(project_id, agent_id),
        Bucket.GET,
        read_agent,
        **_named(project_id, agent_id),
    )


def update_agent(project_id: str, agent_id: str, changes: Mapping[str, Any]) -> Call[Agent]:
    """
    Change an agent's configuration (reference: "Update Agent").

    The service merges: send only what changes, never a whole agent that was read earlier. Where its good
    answer is empty, the agent is read; it is not changed again for that.

    :param project_id: the project
    :param agent_id: the agent
    :param changes: any of ``name``, ``description``, ``config``, ``metadata``
    :return: the agent, usually ``updating``
    :raises ValueError: for a body that is not JSON, or nothing to change
    """
    content = body(changes, "changes")
    if not changes:
        raise ValueError("changes is empty; name at least one of name, description, config, metadata")
    look = get_agent(project_id, agent_id)

    def settle(agent: Agent | None) -> Agent | None:
        return agent if agent and _holds(agent.model_dump(mode="json"), json.loads(content)) else None

    return Call(
        "PUT",
        look.path,
        Bucket.UPDATE,
        read_agent,
        body=content,
        proof=Proof(_is_conflict, look, settle),
        when_empty=look,
        secrets=secrets_of(changes),
        **_named(project_id, agent_id),
    )


def delete_agent(project_id: str, agent_id: str) -> Call[DeleteResult]:
    """
    Delete an agent and all its data (reference: "Delete Agent").

    :param project_id: the project
    :param agent_id: the agent
    :return: the service's confirmation
    :raises ValueError: for an empty id
    """

    def settle(_: Agent | None) -> DeleteResult:
        return DeleteResult(
            agent_id=agent_id, message="Agent was deleted by the request whose answer was lost"
        )

    return Call(
        "DELETE",
        _agent(project_id, agent_id),
        Bucket.DELETE,
        partial(read_confirmation, DeleteResult, str(agent_id)),
        proof=Proof(_is_gone, None, settle),
        **_named(project_id, agent_id),
    )


def start_agent(project_id: str, agent_id: str) -> Call[ActionResult]:
    """
    Start a paused or stopped agent (reference: "Start Agent").

    :param project_id: the project
    :param agent_id: the agent
    :return: the service's promise; the agent may not run yet
    :raises ValueError: for an empty id
    """
    return _action(project_id, agent_id, "start", {AgentStatus.RUNNING})


def pause_agent(project_id: str, agent_id: str) -> Call[ActionResult]:
    """
    Pause a running agent (reference: "Pause Agent").

    :param project_id: the project
    :param agent_id: the agent
    :return: the service's promise; the agent may still run
    :raises ValueError: for an empty id
    """
    return _action(project_id, agent_id, "pause", {AgentStatus.PAUSED})


def stop_agent(project_id: str, agent_id: str) -> Call[ActionResult]:
    """
    Stop a running agent (reference: "Stop Agent").

    :param project_id: the project
    :param agent_id: the agent
    :return: the service's promise; the agent may still run
    :raises ValueError: for an empty id
    """
    return _action(project_id, agent_id, "stop", {AgentStatus.STOPPED})


def restart_agent(project_id: str, agent_id: str) -> Call[ActionResult]:
    """
    Restart an agent: stop and start (reference: "Restart Agent").

    Restart is sent once: when its answer is lost, the error's ``may_have_executed`` is true, and the
    agent's ``updated_at`` tells whether it happened.

    :param project_id: the project
    :param agent_id: the agent
    :return: the service's promise; the agent may not have gone down yet
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

    :param project_id: the project
    :param agent_id: the agent
    :param level: ``debug``, ``info``, ``warn`` or ``error``
    :param start_time: ISO 8601 text or a datetime; without a zone it is UTC
    :param end_time: as ``start_time``, and not before it
    :param limit: lines a page, 1 to 1000; the service's default is 100
    :param offset: lines to pass over
    :return: the page; iterating it gives the lines in the service's order
    :raises ValueError: for an argument out of these bounds
    """
    parameters = query(
        level=one_of(level, "level", LOG_LEVELS),
        **period(start_time, end_time),
        limit=whole(limit, "limit", 1, MAX_LOGS_PER_PAGE),
        offset=whole(offset, "offset", 0),
    )
    path = f"{_agent(project_id, agent_id)}/logs"
    read = checked(partial(LogPage.read, offset=offset or 0, limit=limit or USUAL_LOGS_PER_PAGE))
    return Call("GET", path, Bucket.LOGS, read, parameters, **_named(project_id, agent_id))


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

    :param project_id: the project
    :param agent_id: the agent
    :param start_time: ISO 8601 text or a datetime; without a zone it is UTC
    :param end_time: as ``start_time``, and not before it
    :param interval: ``1m``, ``5m``, ``15m``, ``1h`` or ``1d``
    :return: the metrics and the period they cover
    :raises ValueError: for an argument out of these bounds
    """
    parameters = query(**period(start_time, end_time), interval=one_of(interval, "interval", INTERVALS))
    path = f"{_agent(project_id, agent_id)}/metrics"
    read = checked(AgentMetrics.model_validate_json)
    return Call("GET", path, Bucket.METRICS, read, parameters, **_named(project_id, agent_id))


def list_projects(*, limit: int | None = None) -> Call[ProjectPage]:
    """
    List the projects that a key can see; only the connection's test asks this.

    :param limit: projects a page
    :return: the first page
    """
    return Call("GET", "/projects", Bucket.PROJECTS, checked(ProjectPage.read), query(limit=limit))


def _action(
    project_id: str, agent_id: str, action: str, proven_by: set[AgentStatus] | None
) -> Call[ActionResult]:
    look = get_agent(project_id, agent_id)

    def settle(agent: Agent | None) -> ActionResult | None:
        if agent is None or proven_by is None or agent.status not in proven_by:
            return None
        message = f"The {action} whose answer was lost had been carried out"
        return ActionResult(agent_id=agent.id, status=agent.status, message=message)

    return Call(
        "POST",
        f"{look.path}/{action}",
        Bucket.ACTION,
        partial(read_confirmation, ActionResult, str(agent_id)),
        repeatable=proven_by is not None,
        proof=Proof(_is_conflict, look, settle) if proven_by else None,
        **_named(project_id, agent_id),
    )


class _Named(TypedDict):
    project_id: str
    agent_id: str


def _named(project_id: str, agent_id: str) -> _Named:
    """Return what the errors of a call name; checked as segments of its path already."""
    return {"project_id": str(project_id), "agent_id": str(agent_id)}


def _agents(project_id: str) -> str:
    return f"/projects/{segment(project_id, 'project_id')}/agents"


def _agent(project_id: str, agent_id: str) -> str:
    return f"{_agents(project_id)}/{segment(agent_id, 'agent_id')}"


def _is_gone(error: ConnixError) -> bool:
    return isinstance(error, ConnixNotFoundError) and error.is_of_an_agent


def _is_conflict(error: ConnixError) -> bool:
    return isinstance(error, ConnixConflictError)


def _holds(whole: Any, part: Any) -> bool:
    """Tell whether a merge of ``part`` would leave ``whole`` as it is."""
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(name in whole and _holds(whole[name], value) for name, value in part.items())
    return bool(whole == part)
