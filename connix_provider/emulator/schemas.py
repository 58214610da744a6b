"""The shapes on the wire: what bodies must be, and what the OpenAPI document says of the answers."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.json_schema import WithJsonSchema
from typing_extensions import TypedDict

Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]


def _whole(value: Any) -> Any:
    # To JSON, 5.0 is an integer.
    return int(value) if isinstance(value, float) and value.is_integer() else value


Name = Annotated[str, Field(min_length=1, max_length=255)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


# What clients send are dictionaries and not models: a field that is not sent has no value then, not even a
# default. Unknown fields are accepted, and no types guessed.
_AS_SENT = ConfigDict(strict=True, extra="allow")


class AgentConfig(TypedDict, total=False):
    """An agent's configuration: these fields and any others."""

    __pydantic_config__ = _AS_SENT  # type: ignore[misc]  # pydantic's way to configure a TypedDict

    model: Annotated[str, Field(examples=["gpt-4"])]
    temperature: Annotated[float, Field(ge=0, le=2)]
    max_tokens: Annotated[int, Field(gt=0), BeforeValidator(_whole)]
    tools: list[str]
    system_prompt: str
    environment_variables: dict[str, str]


class _Described(TypedDict, total=False):
    __pydantic_config__ = _AS_SENT  # type: ignore[misc]  # pydantic's way to configure a TypedDict

    description: str | None
    config: AgentConfig
    metadata: dict[str, Any]


class AgentChange(_Described, total=False):
    """What changes: fields that are not sent stay, and so do keys of config and metadata."""

    name: Name


class AgentCreate(_Described):
    """A new agent."""

    name: Name


class Answer(BaseModel):
    """Document an answer; the emulator writes answers itself."""


class Agent(Answer):
    """An agent as a list shows it, and without statistics as a reply does."""

    id: str
    name: Name
    description: str | None
    project_id: str
    status: str = Field(description="One of the documented statuses; a client has to bear others.")
    config: dict[str, Any]
    metadata: dict[str, Any]
    created_at: Moment
    updated_at: Moment
    last_activity: Moment | None


class Stats(Answer):
    """An agent's work so far."""

    total_tasks: Count
    completed_tasks: Count
    failed_tasks: Count
    success_rate: Fraction
    avg_response_time: float = Field(description="Seconds.")


class AgentWithStats(Agent):
    """An agent as Get shows it."""

    stats: Stats


class Pagination(Answer):
    """Where a page stands."""

    total: Count
    limit: Count
    offset: Count
    has_more: bool


class AgentPage(Answer):
    """A page of agents."""

    agents: list[Agent]
    pagination: Pagination


class Deleted(Answer):
    """The reply to a deletion."""

    message: str
    agent_id: str


class Acted(Answer):
    """The reply to an action: its status is a promise."""

    message: str
    agent_id: str
    status: str


class LogLine(Answer):
    """A line of an agent's log."""

    timestamp: Moment
    level: str = Field(json_schema_extra={"enum": ["debug", "info", "warn", "error"]})
    message: str
    context: dict[str, Any]


class LogPage(Answer):
    """A page of lines, newest first."""

    logs: list[LogLine]
    pagination: Pagination


class Tasks(Answer):
    """Tasks within the period."""

    total: Count
    completed: Count
    failed: Count
    in_progress: Count
    success_rate: Fraction


class Performance(Answer):
    """Times in seconds."""

    avg_response_time: float
    p95_response_time: float
    p99_response_time: float
    tokens_per_minute: float
    requests_per_minute: float


class ResourceUsage(Answer):
    """Fractions, and bytes of network traffic."""

    cpu_usage: Fraction
    memory_usage: Fraction
    disk_usage: Fraction
    network_in: Count
    network_out: Count


class Point(Answer):
    """One interval."""

    timestamp: Moment
    tasks_completed: Count
    avg_response_time: float
    cpu_usage: Fraction
    memory_usage: Fraction


class Metrics(Answer):
    """An agent's metrics."""

    tasks: Tasks
    performance: Performance
    resource_usage: ResourceUsage
    time_series: list[Point]


class Period(Answer):
    """What the metrics cover."""

    start_time: Moment
    end_time: Moment
    interval: str


class AgentMetrics(Answer):
    """The answer to Agent Metrics."""

    metrics: Metrics
    period: Period


class Project(Answer):
    """A project."""

    id: str
    name: str


class ProjectPagination(Answer):
    """Where a page of projects stands."""

    total: Count
    page: Count
    limit: Count
    has_more: bool


class ProjectPage(Answer):
    """A page of projects."""

    projects: list[Project]
    pagination: ProjectPagination


class ErrorDetail(Answer):
    """What is wrong with one field."""

    field: str
    message: str


class ErrorBody(Answer):
    """What went wrong."""

    code: str
    message: str
    request_id: str
    timestamp: Moment


class Error(Answer):
    """Every refusal."""

    error: ErrorBody


class InvalidBody(ErrorBody):
    """What is wrong with the request."""

    details: list[ErrorDetail]


class Invalid(Answer):
    """A refusal of values."""

    error: InvalidBody


class TooManyBody(ErrorBody):
    """When to come again."""

    retry_after: Annotated[int, Field(ge=1, description="Seconds.")]


class TooMany(Answer):
    """A refusal for want of budget."""

    error: TooManyBody


class TokenIssued(Answer):
    """RFC 6749 section 5.1."""

    access_token: str
    token_type: str
    expires_in: int
    refresh_token: str
    scope: str


class TokenError(Answer):
    """RFC 6749 section 5.2."""

    error: str
    error_description: str
