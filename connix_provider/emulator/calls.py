"""The service's calls on the wire: parameters in, the service's answer out."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from connix_provider.emulator import schemas
from connix_provider.emulator.document import described
from connix_provider.emulator.metrics import metrics
from connix_provider.emulator.request_pipeline import Route
from connix_provider.emulator.responses import AsciiJsonResponse
from connix_provider.emulator.service import AgentService
from connix_provider.emulator.telemetry import Timeline
from connix_provider.emulator.transitions import ACTIONS
from connix_provider.emulator.validation import Digits, Instant

api = APIRouter(prefix="/api/v1", route_class=Route, generate_unique_id_function=lambda route: route.name)

ProjectId = Annotated[str, Path(description="ID of the project")]
AgentId = Annotated[str, Path(description="ID of the agent")]
Offset = Annotated[int, Query(ge=0, description="Offset for pagination"), Digits]

_AGENTS = "/projects/{project_id}/agents"
_AGENT = _AGENTS + "/{agent_id}"


@api.get("/projects", **described("List projects", 200, schemas.ProjectPage, 400, 401, 403, 429))
async def list_projects(
    request: Request,
    page: Annotated[int, Query(ge=1, description="Page, from 1"), Digits] = 1,
    limit: Annotated[int, Query(ge=1, le=100, description="Number of results"), Digits] = 20,
    search: Annotated[str | None, Query(description="Part of the name")] = None,
) -> Response:
    """List the projects the key may see."""
    seen = request.state.caller.projects
    found = [
        {"id": project_id, "name": name}
        for project_id, name in _service(request).projects()
        if (seen is None or project_id in seen) and (search or "").lower() in name.lower()
    ]
    begin = (page - 1) * limit
    more = begin + limit < len(found)
    pagination = {"total": len(found), "page": page, "limit": limit, "has_more": more}
    return AsciiJsonResponse({"projects": found[begin : begin + limit], "pagination": pagination})


@api.get(_AGENTS, **described("List agents", 200, schemas.AgentPage, 400, 401, 403, 404, 429))
async def list_agents(
    request: Request,
    project_id: ProjectId,
    status: Annotated[
        Literal["creating", "running", "paused", "stopped", "error", "updating"] | None,
        Query(description="Filter by agent status"),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Number of results"), Digits] = 20,
    offset: Offset = 0,
    sort: Annotated[
        Literal["created_at", "-created_at", "name", "-name"], Query(description="Sort order")
    ] = "created_at",
) -> Response:
    """Retrieve all agents in a project, page by page."""
    agents, total = _service(request).page(project_id, sort, status, offset, limit)
    return _page("agents", agents, total, limit, offset)


@api.post(_AGENTS, **described("Create an agent", 201, schemas.Agent, 400, 401, 403, 404, 409, 429))
async def create_agent(
    request: Request, project_id: ProjectId, body: Annotated[schemas.AgentCreate, Body()]
) -> Response:
    """Create a new agent in a project."""
    # The body as it was sent: the model has only checked it, and may have changed how a number is written.
    sent = await request.json()
    state = request.state
    return AsciiJsonResponse(
        state.emulator.service.create(project_id, sent, state.caller.user_id, state.fails), 201
    )


@api.get(_AGENT, **described("Get an agent", 200, schemas.AgentWithStats, 401, 403, 404, 429))
async def get_agent(request: Request, project_id: ProjectId, agent_id: AgentId) -> Response:
    """Retrieve details of a specific agent."""
    return AsciiJsonResponse(_service(request).get(agent_id, project_id))


@api.put(_AGENT, **described("Update an agent", 200, schemas.Agent, 400, 401, 403, 404, 409, 429))
async def update_agent(
    request: Request, project_id: ProjectId, agent_id: AgentId, body: Annotated[schemas.AgentChange, Body()]
) -> Response:
    """Merge changes into an agent."""
    sent = await request.json()
    return AsciiJsonResponse(_service(request).update(project_id, agent_id, sent, request.state.fails))


@api.delete(_AGENT, **described("Delete an agent", 200, schemas.Deleted, 401, 403, 404, 429))
async def delete_agent(request: Request, project_id: ProjectId, agent_id: AgentId) -> Response:
    """Delete an agent and all associated data."""
    _service(request).delete(project_id, agent_id)
    return AsciiJsonResponse({"message": "Agent deleted successfully", "agent_id": agent_id})


@api.post(_AGENT + "/start", **described("Start an agent", 200, schemas.Acted, 401, 403, 404, 409, 429))
async def start_agent(request: Request, project_id: ProjectId, agent_id: AgentId) -> Response:
    """Start a paused or stopped agent."""
    return _act(request, project_id, agent_id, "start")


@api.post(_AGENT + "/pause", **described("Pause an agent", 200, schemas.Acted, 401, 403, 404, 409, 429))
async def pause_agent(request: Request, project_id: ProjectId, agent_id: AgentId) -> Response:
    """Temporarily pause a running agent."""
    return _act(request, project_id, agent_id, "pause")


@api.post(_AGENT + "/stop", **described("Stop an agent", 200, schemas.Acted, 401, 403, 404, 409, 429))
async def stop_agent(request: Request, project_id: ProjectId, agent_id: AgentId) -> Response:
    """Stop an agent that is running, paused or in error."""
    return _act(request, project_id, agent_id, "stop")


@api.post(_AGENT + "/restart", **described("Restart an agent", 200, schemas.Acted, 401, 403, 404, 409, 429))
async def restart_agent(request: Request, project_id: ProjectId, agent_id: AgentId) -> Response:
    """Stop an agent and start it again."""
    return _act(request, project_id, agent_id, "restart")


@api.get(_AGENT + "/logs", **described("Get an agent's log", 200, schemas.LogPage, 400, 401, 403, 404, 429))
async def get_logs(
    request: Request,
    project_id: ProjectId,
    agent_id: AgentId,
    level: Annotated[
        Literal["debug", "info", "warn", "error"] | None, Query(description="Just this log level")
    ] = None,
    start_time: Annotated[Instant | None, Query(description="Start time (ISO 8601 format)")] = None,
    end_time: Annotated[Instant | None, Query(description="End time (ISO 8601 format)")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Number of log entries"), Digits] = 100,
    offset: Offset = 0,
) -> Response:
    """Retrieve an agent's log, newest lines first."""
    with _service(request).life(project_id, agent_id) as (agent, now):
        lines, total = Timeline(agent, now).page(level, start_time, end_time, offset, limit)
    return _page("logs", lines, total, limit, offset)


@api.get(
    _AGENT + "/metrics",
    **described("Get an agent's metrics", 200, schemas.AgentMetrics, 400, 401, 403, 404, 429),
)
async def get_metrics(
    request: Request,
    project_id: ProjectId,
    agent_id: AgentId,
    start_time: Annotated[Instant | None, Query(description="Start time, ISO 8601")] = None,
    end_time: Annotated[Instant | None, Query(description="End time, ISO 8601")] = None,
    interval: Annotated[
        Literal["1m", "5m", "15m", "1h", "1d"], Query(description="Aggregation interval")
    ] = "1h",
) -> Response:
    """Retrieve an agent's performance metrics."""
    with _service(request).life(project_id, agent_id) as (agent, now):
        return AsciiJsonResponse(metrics(agent, now, start_time, end_time, interval))


def _service(request: Request) -> AgentService:
    service: AgentService = request.state.emulator.service
    return service


def _act(request: Request, project_id: str, agent_id: str, verb: str) -> Response:
    _service(request).act(project_id, agent_id, verb, request.state.fails)
    action = ACTIONS[verb]
    message = f"Agent {action.done} successfully"
    return AsciiJsonResponse({"message": message, "agent_id": agent_id, "status": action.promise})


def _page(what: str, items: list[dict[str, Any]], total: int, limit: int, offset: int) -> Response:
    more = offset + limit < total
    pagination = {"total": total, "limit": limit, "offset": offset, "has_more": more}
    return AsciiJsonResponse({what: items, "pagination": pagination})
