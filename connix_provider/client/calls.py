"""
Describe each call of the Agents API as data: what to send, which budget it spends, how to read the answer.

Each function here checks its arguments and returns a :class:`Call`; none does I/O. The clients' methods are
made from these functions, so a parameter, its check and its documentation are written once for both.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import pendulum

from connix_provider.client.budget import Bucket
from connix_provider.client.errors import ConnixAPIError, ConnixConflictError, ConnixNotFoundError
from connix_provider.client.models import (
    ActionResult,
    Agent,
    AgentMetrics,
    AgentPage,
    DeleteResult,
    LogPage,
    ProjectPage,
)
from connix_provider.client.secrets import secrets_of
from connix_provider.lifecycle import AgentStatus

T = TypeVar("T")

SORT_ORDERS = ("created_at", "-created_at", "name", "-name")
LOG_LEVELS = ("debug", "info", "warn", "error")
INTERVALS = ("1m", "5m", "15m", "1h", "1d")
MAX_AGENTS_PER_PAGE = 100
MAX_LOGS_PER_PAGE = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Proof(Generic[T]):
    """
    Say how to tell that a call whose answer was lost had been carried out, when its repeat is refused.

    :param refusal: the refusal that makes it worth looking
    :param look: the call that shows the agent, or ``None`` where the refusal says it all
    :param settle: reads the result off the agent, or returns ``None`` where it proves nothing
    """

    refusal: type[ConnixAPIError]
    look: Call[Agent] | None
    settle: Callable[[Agent | None], T | None]


@dataclasses.dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """
    Hold one call.

    :param method: HTTP method
    :param path: path below the base URL, quoted
    :param bucket: the budget that the call spends
    :param read: turns the body of a good answer into the result
    :param query: encoded query string, without the question mark
    :param body: JSON body
    :param repeatable: whether sending it again is safe when nobody knows if the first was carried out
    :param proof: how a refused repeat is checked against the agent
    :param secrets: values in the body that no message may show
    """

    method: str
    path: str
    bucket: Bucket
    read: Callable[[bytes], T]
    query: str = ""
    body: bytes | None = dataclasses.field(default=None, repr=False)
    repeatable: bool = True
    proof: Proof[T] | None = None
    secrets: tuple[str, ...] = dataclasses.field(default=(), repr=False)


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
    query = _query(
        status=_text(status, "status"),
        limit=_whole(limit, "limit", 1, MAX_AGENTS_PER_PAGE),
        offset=_whole(offset, "offset", 0),
        sort=_one_of(sort, "sort", SORT_ORDERS),
    )
    return Call("GET", _agents(project_id), Bucket.LIST, AgentPage.model_validate_json, query)


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
    body = _body(agent, "agent")
    name = agent.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"agent needs a name: a string that is not empty, not {name!r}")
    return Call(
        "POST",
        _agents(project_id),
        Bucket.CREATE,
        Agent.model_validate_json,
        body=body,
        repeatable=False,
        secrets=secrets_of(agent),
    )


def get_agent(project_id: str, agent_id: str) -> Call[Agent]:
    """
    Get an agent (reference: "Get Agent").

    :param project_id: the project
    :param agent_id: the agent
    :return: the agent with its ``stats`` and its whole ``config``
    :raises ValueError: for an empty id
    """
    return Call("GET", _agent(project_id, agent_id), Bucket.GET, Agent.model_validate_json)


def update_agent(project_id: str, agent_id: str, changes: Mapping[str, Any]) -> Call[Agent]:
    """
    Change an agent's configuration (reference: "Update Agent").

    The service merges: send only what changes, never a whole agent that was read earlier.

    :param project_id: the project
    :param agent_id: the agent
    :param changes: any of ``name``, ``description``, ``config``, ``metadata``
    :return: the agent, usually ``updating``
    :raises ValueError: for a body that is not JSON, or nothing to change
    """
    body = _body(changes, "changes")
    if not changes:
        raise ValueError("changes is empty; name at least one of name, description, config, metadata")
    look = get_agent(project_id, agent_id)

    def settle(agent: Agent | None) -> Agent | None:
        return agent if agent and _holds(agent.model_dump(mode="json"), json.loads(body)) else None

    return Call(
        "PUT",
        look.path,
        Bucket.UPDATE,
        Agent.model_validate_json,
        body=body,
        proof=Proof(ConnixConflictError, look, settle),
        secrets=secrets_of(changes),
    )


def delete_agent(project_id: str, agent_id: str) -> Call[DeleteResult]:
    """
    Delete an agent and all its data (reference: "Delete Agent").

    :param project_id: the project
    :param agent_id: the agent
    :return: the service's confirmation
    :raises ValueError: for an empty id
    """

    def read(body: bytes) -> DeleteResult:
        result = DeleteResult.model_validate_json(body) if body.strip() else DeleteResult()
        return result if result.agent_id else result.model_copy(update={"agent_id": str(agent_id)})

    def settle(_: Agent | None) -> DeleteResult:
        return DeleteResult(
            agent_id=agent_id, message="Agent was deleted by the request whose answer was lost"
        )

    return Call(
        "DELETE",
        _agent(project_id, agent_id),
        Bucket.DELETE,
        read,
        proof=Proof(ConnixNotFoundError, None, settle),
    )


def start_agent(project_id: str, agent_id: str) -> Call[ActionResult]:
    """
    Start a paused or stopped agent (reference: "Start Agent").

    :param project_id: the project
    :param agent_id: the agent
    :return: the service's promise; the agent may not run yet
    :raises ValueError: for an empty id
    """
    under_way = {AgentStatus.RUNNING, AgentStatus.CREATING, AgentStatus.UPDATING}
    return _action(project_id, agent_id, "start", under_way)


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
    query = _query(
        level=_one_of(level, "level", LOG_LEVELS),
        **_period(start_time, end_time),
        limit=_whole(limit, "limit", 1, MAX_LOGS_PER_PAGE),
        offset=_whole(offset, "offset", 0),
    )
    path = f"{_agent(project_id, agent_id)}/logs"
    return Call("GET", path, Bucket.LOGS, LogPage.model_validate_json, query)


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
    query = _query(**_period(start_time, end_time), interval=_one_of(interval, "interval", INTERVALS))
    path = f"{_agent(project_id, agent_id)}/metrics"
    return Call("GET", path, Bucket.METRICS, AgentMetrics.model_validate_json, query)


def list_projects(*, limit: int | None = None) -> Call[ProjectPage]:
    """
    List the projects that a key can see; only the connection's test asks this.

    :param limit: projects a page
    :return: the first page
    """
    return Call("GET", "/projects", Bucket.PROJECTS, ProjectPage.model_validate_json, _query(limit=limit))


def _action(
    project_id: str, agent_id: str, action: str, proven_by: set[AgentStatus] | None
) -> Call[ActionResult]:
    look = get_agent(project_id, agent_id)

    def read(body: bytes) -> ActionResult:
        result = ActionResult.model_validate_json(body) if body.strip() else ActionResult()
        return result if result.agent_id else result.model_copy(update={"agent_id": str(agent_id)})

    def settle(agent: Agent | None) -> ActionResult | None:
        if agent is None or proven_by is None or agent.status not in proven_by:
            return None
        message = f"The {action} whose answer was lost had been carried out"
        return ActionResult(agent_id=agent.id, status=agent.status, message=message)

    return Call(
        "POST",
        f"{look.path}/{action}",
        Bucket.ACTION,
        read,
        repeatable=proven_by is not None,
        proof=Proof(ConnixConflictError, look, settle) if proven_by else None,
    )


def _agents(project_id: str) -> str:
    return f"/projects/{_segment(project_id, 'project_id')}/agents"


def _agent(project_id: str, agent_id: str) -> str:
    return f"{_agents(project_id)}/{_segment(agent_id, 'agent_id')}"


def _segment(value: str, name: str) -> str:
    """Quote an id as one segment of a path; no id may walk to another path."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be a string that is not empty, not {value!r}")
    if value in {".", ".."}:
        # Quoting does not help here: servers read %2E%2E as a step up too.
        raise ValueError(f"{name} must be an id, not the path step {value!r}")
    return quote(_encodable(value, name), safe="")


def _query(**parameters: Any) -> str:
    return urlencode({name: value for name, value in parameters.items() if value is not None})


def _whole(value: int | None, name: str, low: int, high: int | None = None) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high and value > high):
        bounds = f"from {low} to {high}" if high else f"{low} or more"
        raise ValueError(f"{name} must be a whole number {bounds}, not {value!r}")
    return value


def _one_of(value: str | None, name: str, allowed: tuple[str, ...]) -> str | None:
    if value is not None and value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    return value


def _text(value: str | None, name: str) -> str | None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise ValueError(f"{name} must be a string that is not empty, not {value!r}")
    return value if value is None else _encodable(value, name)


def _encodable(value: str, name: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} holds half of a character: {value!r}") from None
    return value


def _period(start: str | datetime | None, end: str | datetime | None) -> dict[str, str | None]:
    since, until = _time(start, "start_time"), _time(end, "end_time")
    if since and until and since > until:
        raise ValueError(f"start_time {start} lies after end_time {end}")
    return {"start_time": _iso(since), "end_time": _iso(until)}


def _time(value: str | datetime | None, name: str) -> datetime | None:
    """Read a time; without a zone it is UTC, as everywhere in Airflow."""
    if value is None:
        return None
    moment: Any = value
    try:
        # exact: a time without a date is not silently taken for today's. pendulum takes "now", ISO 8601 not.
        if isinstance(value, str) and value != "now":
            moment = pendulum.parse(value, exact=True)
            if isinstance(moment, date) and not isinstance(moment, datetime):
                moment = datetime.combine(moment, time())
        if isinstance(moment, datetime):
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return aware.astimezone(UTC)
    except (ValueError, OverflowError):  # no time at all, or one that is in no year of UTC
        pass
    raise ValueError(f"{name} must be ISO 8601 text or a datetime, not {value!r}")


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None


def _body(value: Mapping[str, Any], name: str) -> bytes:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a mapping, not {type(value).__name__}")
    try:
        return json.dumps(dict(value), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        # The encoder's own message names a type or "out of range", never a value.
        raise ValueError(f"{name} cannot be sent as JSON: {error}") from None


def _holds(whole: Any, part: Any) -> bool:
    """Tell whether a merge of ``part`` would leave ``whole`` as it is."""
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(name in whole and _holds(whole[name], value) for name, value in part.items())
    return bool(whole == part)
