"""
The shapes of request and response bodies.

FastAPI checks requests against theirs. Those of responses are for the OpenAPI document alone: the emulator
writes its responses itself.
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.json_schema import WithJsonSchema
from typing_extensions import TypedDict

Timestamp = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Name = Annotated[str, Field(min_length=1, max_length=255)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


def _integer(value: Any) -> Any:
    # To JSON, 5.0 is an integer.
    return int(value) if isinstance(value, float) and value.is_integer() else value


# Requests are dictionaries and not models, because a field that is not sent must have no value, not even a
# default. Unknown fields are accepted, and no value is converted to another type.
_REQUEST = ConfigDict(strict=True, extra="allow")


class AgentConfig(TypedDict, total=False):
    """An agent's configuration: these fields and any others."""

    __pydantic_config__ = _REQUEST  # type: ignore[misc]  # pydantic's way to configure a TypedDict

    model: Annotated[str, Field(examples=["gpt-4"])]
    temperature: Annotated[float, Field(ge=0, le=2)]
    max_tokens: Annotated[int, Field(gt=0), BeforeValidator(_integer)]
    tools: list[str]
    system_prompt: str
    environment_variables: dict[str, str]


class _Optional(TypedDict, total=False):
    __pydantic_config__ = _REQUEST  # type: ignore[misc]  # pydantic's way to configure a TypedDict

    description: str | None
    config: AgentConfig
    metadata: dict[str, Any]


class AgentChange(_Optional, total=False):
    """The changes of an update; fields and keys of config and metadata that are not sent stay."""

    name: Name


class AgentCreate(_Optional):
    """A new agent."""

    name: Name


class Agent(BaseModel):
    """An agent in a listing, and in the response to create and update."""

    id: str
    name: Name
    description: str | None
    project_id: str
    status: str = Field(description="One of the documented statuses; others may be added.")
    config: dict[str, Any]
    metadata: dict[str, Any]
    created_at: Timestamp
    updated_at: Timestamp
    last_activity: Timestamp | None


class Stats(BaseModel):
    """An agent's statistics."""

    total_tasks: Count
    completed_tasks: Count
    failed_tasks: Count
    success_rate: Fraction
    avg_response_time: float = Field(description="Seconds.")


class AgentWithStats(Agent):
    """An agent in the response to Get Agent."""

    stats: Stats


class Pagination(BaseModel):
    """The place of a page."""

    total: Count
    limit: Count
    offset: Count
    has_more: bool


class AgentPage(BaseModel):
    """A page of agents."""

    agents: list[Agent]
    pagination: Pagination


class Deleted(BaseModel):
    """The response to a deletion."""

    message: str
    agent_id: str


class ActionResult(Deleted):
    """The response to an action; the agent has yet to reach the status."""

    status: str


class LogEntry(BaseModel):
    """A line of an agent's log."""

    timestamp: Timestamp
    level: str = Field(json_schema_extra={"enum": ["debug", "info", "warn", "error"]})
    message: str
    context: dict[str, Any]


class LogPage(BaseModel):
    """A page of log lines, newest first."""

    logs: list[LogEntry]
    pagination: Pagination


class Tasks(BaseModel):
    """The tasks of the period."""

    total: Count
    completed: Count
    failed: Count
    in_progress: Count
    success_rate: Fraction


class Performance(BaseModel):
    """Response times in seconds, and rates."""

    avg_response_time: float
    p95_response_time: float
    p99_response_time: float
    tokens_per_minute: float
    requests_per_minute: float


class ResourceUsage(BaseModel):
    """Fractions, and bytes of network traffic."""

    cpu_usage: Fraction
    memory_usage: Fraction
    disk_usage: Fraction
    network_in: Count
    network_out: Count


class Point(BaseModel):
    """One interval."""

    timestamp: Timestamp
    tasks_completed: Count
    avg_response_time: float
    cpu_usage: Fraction
    memory_usage: Fraction


class Metrics(BaseModel):
    """An agent's metrics."""

    tasks: Tasks
    performance: Performance
    resource_usage: ResourceUsage
    time_series: list[Point]


class Period(BaseModel):
    """The time that the metrics cover."""

    start_time: Timestamp
    end_time: Timestamp
    interval: str


class AgentMetrics(BaseModel):
    """The response to Agent Metrics."""

    metrics: Metrics
    period: Period


class Project(BaseModel):
    """A project."""

    id: str
    name: str


class ProjectPagination(BaseModel):
    """The place of a page of projects."""

    total: Count
    page: Count
    limit: Count
    has_more: bool


class ProjectPage(BaseModel):
    """A page of projects."""

    projects: list[Project]
    pagination: ProjectPagination


class ErrorDetail(BaseModel):
    """One field that is wrong."""

    field: str
    message: str


class ErrorBody(BaseModel):
    """An error: ``details`` with 400, ``retry_after`` with 429."""

    code: str
    message: str
    details: list[ErrorDetail] = []
    retry_after: int = Field(0, description="Seconds.")
    request_id: str
    timestamp: Timestamp


class Error(BaseModel):
    """The response to a request that fails."""

    error: ErrorBody


class TokenResponse(BaseModel):
    """New tokens, RFC 6749 section 5.1."""

    access_token: str
    token_type: str
    expires_in: int
    refresh_token: str
    scope: str


class TokenErrorResponse(BaseModel):
    """A refusal, RFC 6749 section 5.2."""

    error: str
    error_description: str
