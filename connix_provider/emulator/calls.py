"""The endpoints of the Agents API: parameters in, the service's result out."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Path, Query, Security
from fastapi.security import APIKeyHeader, OAuth2AuthorizationCodeBearer
from pydantic.json_schema import SkipJsonSchema
from starlette.requests import Request
from starlette.responses import Response

from connix_provider.emulator import logs, metrics, schemas
from connix_provider.emulator.request_pipeline import ServiceRoute
from connix_provider.emulator.responses import AsciiJsonResponse
from connix_provider.emulator.service import AgentService
from connix_provider.emulator.transitions import ACTIONS
from connix_provider.emulator.validation import Digits, Instant

# For the OpenAPI document alone; the pipeline checks keys and tokens.
_KEY = APIKeyHeader(name="X-API-Key", scheme_name="Key", auto_error=False)
_OAUTH2 = OAuth2AuthorizationCodeBearer(
    authorizationUrl="https://console.connix.io/oauth2/authorize",
    tokenUrl="/oauth2/token",
    refreshUrl="/oauth2/token",
    scopes={"read": "GET", "write": "Everything else"},
    scheme_name="OAuth2",
    auto_error=False,
)


def _router(scope: str) -> APIRouter:
    return APIRouter(
        prefix="/api/v1",
        route_class=ServiceRoute,
        generate_unique_id_function=lambda route: route.name,
        dependencies=[Depends(_KEY), Security(_OAUTH2, scopes=[scope])],
        responses={"default": {"model": schemas.Error, "description": "The request fails"}},
    )


read = _router("read")
write = _router("write")

ProjectId = Annotated[str, Path(description="ID of the project")]
AgentId = Annotated[str, Path(description="ID of the agent")]
Offset = Annotated[int, Query(ge=0, description="Offset for pagination"), Digits]
# A parameter can be left out, but has no way to say null.
Absent = SkipJsonSchema[None]
OptionalInstant = Annotated[Instant | Absent, Query(description="ISO 8601")]

_PROJECT = "/projects/{project_id}/agents"
_AGENT = _PROJECT + "/{agent_id}"


@read.get("/projects", response_model=schemas.ProjectPage)
async def list_projects(
    request: Request,
    page: Annotated[int, Query(ge=1, description="Page, from 1"), Digits] = 1,
    limit: Annotated[int, Query(ge=1, le=100, description="Number of results"), Digits] = 20,
    search: Annotated[str | Absent, Query(description="Part of the name")] = None,
) -> Response:
    """List the projects that the key may see."""
    visible = request.state.caller.projects
    found = [
        {"id": project_id, "name": name}
        for project_id, name in _service(request).projects().items()
        if (visible is None or project_id in visible) and (search or "").lower() in name.lower()
    ]
    begin = (page - 1) * limit
    has_more = begin + limit < len(found)
    pagination = {"total": len(found), "page": page, "limit": limit, "has_more": has_more}
    return AsciiJsonResponse({"projects": found[begin : begin + limit], "pagination": pagination})


@read.get(_PROJECT, response_model=schemas.AgentPage)
async def list_agents(
    request: Request,
    project_id: ProjectId,
    status: Annotated[
        Literal["creating", "running", "paused", "stopped", "error", "updating"] | Absent,
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


@write.post(_PROJECT, status_code=201, response_model=schemas.Agent)
async def create_agent(
    request: Request, project_id: ProjectId, body: Annotated[schemas.AgentCreate, Body()]
) -> Response:
    """Create a new agent in a project."""
    # The body as sent; FastAPI has checked it, but may have changed how a number is written.
    sent = await request.json()
    state = request.state
    return AsciiJsonResponse(
        _service(request).create(project_id, sent, state.caller.user_id, state.fails), 201
    )


@read.get(_AGENT, response_model=schemas.AgentWithStats)
async def get_agent(request: Request, project_id: ProjectId, agent_id: AgentId) -> Response:
    """Retrieve details of a specific agent."""
    return AsciiJsonResponse(_service(request).get(project_id, agent_id))


@write.put(_AGENT, response_model=schemas.Agent)
async def update_agent(
    request: Request, project_id: ProjectId, agent_id: AgentId, body: Annotated[schemas.AgentChange, Body()]
) -> Response:
    """Merge changes into an agent."""
    sent = await request.json()
    return AsciiJsonResponse(_service(request).update(project_id, agent_id, sent, request.state.fails))


@write.delete(_AGENT, response_model=schemas.Deleted)
async def delete_agent(request: Request, project_id: ProjectId, agent_id: AgentId) -> Response:
    """Delete an agent and all associated data."""
    _service(request).delete(project_id, agent_id)
    return AsciiJsonResponse({"message": "Agent deleted successfully", "agent_id": agent_id})


@write.post(_AGENT + "/start", response_model=schemas.ActionResult)
async def start_agent(request: Request, project_id: ProjectId, agent_id: AgentId) -> Response:
    """Start a paused or stopped agent."""
    return _act(request, project_id, agent_id, "start")


@write.post(_AGENT + "/pause", response_model=schemas.ActionResult)
async def pause_agent(request: Request, project_id: ProjectId, agent_id: AgentId) -> Response:
    """Temporarily pause a running agent."""
    return _act(request, project_id, agent_id, "pause")


@write.post(_AGENT + "/stop", response_model=schemas.ActionResult)
async def stop_agent(request: Request, project_id: ProjectId, agent_id: AgentId) -> Response:
    """Stop an agent that is running, paused or in error."""
    return _act(request, project_id, agent_id, "stop")


@write.post(_AGENT + "/restart", response_model=schemas.ActionResult)
async def restart_agent(request: Request, project_id: ProjectId, agent_id: AgentId) -> Response:
    """Stop an agent and start it again."""
    return _act(request, project_id, agent_id, "restart")


@read.get(_AGENT + "/logs", response_model=schemas.LogPage)
async def get_logs(
    request: Request,
    project_id: ProjectId,
    agent_id: AgentId,
    level: Annotated[
        Literal["debug", "info", "warn", "error"] | Absent, Query(description="Only this log level")
    ] = None,
    start_time: OptionalInstant = None,
    end_time: OptionalInstant = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Number of log entries"), Digits] = 100,
    offset: Offset = 0,
) -> Response:
    """Retrieve an agent's log, newest lines first."""
    with _service(request).agent(project_id, agent_id) as (agent, now):
        lines, total = logs.page(agent, now, level, start_time, end_time, offset, limit)
    return _page("logs", lines, total, limit, offset)


@read.get(_AGENT + "/metrics", response_model=schemas.AgentMetrics)
async def get_metrics(
    request: Request,
    project_id: ProjectId,
    agent_id: AgentId,
    start_time: OptionalInstant = None,
    end_time: OptionalInstant = None,
    interval: Annotated[
        Literal["1m", "5m", "15m", "1h", "1d"], Query(description="Aggregation interval")
    ] = "1h",
) -> Response:
    """Retrieve an agent's performance metrics."""
    with _service(request).agent(project_id, agent_id) as (agent, now):
        return AsciiJsonResponse(metrics.metrics(agent, now, start_time, end_time, interval))


def _service(request: Request) -> AgentService:
    service: AgentService = request.state.emulator.service
    return service


def _act(request: Request, project_id: str, agent_id: str, verb: str) -> Response:
    _service(request).act(project_id, agent_id, verb, request.state.fails)
    action = ACTIONS[verb]
    message = f"Agent {action.done} successfully"
    return AsciiJsonResponse({"message": message, "agent_id": agent_id, "status": action.promised})


def _page(name: str, items: list[dict[str, Any]], total: int, limit: int, offset: int) -> Response:
    has_more = offset + limit < total
    pagination = {"total": total, "limit": limit, "offset": offset, "has_more": has_more}
    return AsciiJsonResponse({name: items, "pagination": pagination})
