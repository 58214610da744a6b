"""
Describe what Connix answers, as the reference's "Agent Object" and examples show it.

Unknown fields are kept and unknown statuses accepted: a service that grows breaks nobody. Of all fields
only an agent's ``id`` and ``status`` must be there; a wait rests on nothing else. Times are always aware.
``environment_variables`` and ``system_prompt`` hold secrets, so no ``repr`` shows them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from connix_provider.lifecycle import AgentStatus, Snapshot

__all__ = [
    "ActionResult",
    "Agent",
    "AgentConfig",
    "AgentMetrics",
    "AgentPage",
    "AgentStats",
    "AgentStatus",
    "DeleteResult",
    "LogEntry",
    "LogPage",
    "MetricsPeriod",
    "MetricsPoint",
    "Pagination",
    "PerformanceMetrics",
    "Project",
    "ProjectPage",
    "ResourceMetrics",
    "TaskMetrics",
]

ItemT = TypeVar("ItemT")


def _aware(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _opaque(value: Any) -> Any:
    # The projects page shows integers where the reference shows strings: an id is opaque to us.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _absent(value: Any) -> Any:
    return {} if value is None else value


Id = Annotated[str, BeforeValidator(_opaque)]
Time = Annotated[datetime, AfterValidator(_aware)]
JsonObject = Annotated[dict[str, Any], BeforeValidator(_absent)]
#: A status of the reference, or the service's own word where it is a new one.
Status = Annotated[AgentStatus | str, Field(union_mode="left_to_right")]


class ConnixModel(BaseModel):
    """Keep what the service sends, known or not, and show no secret when printed."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    #: Fields that no repr shows, wherever the service sends them.
    hidden: ClassVar[frozenset[str]] = frozenset({"system_prompt", "environment_variables"})

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, "***" if name in self.hidden and value is not None else value


class AgentConfig(ConnixModel):
    """Hold an agent's configuration; ``system_prompt`` and ``environment_variables`` come only with Get."""

    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    tools: list[str] | None = None
    system_prompt: str | None = None
    environment_variables: dict[str, Any] | None = None


class AgentStats(ConnixModel):
    """Hold an agent's counters since it was created; they come only with Get."""

    total_tasks: int | None = None
    completed_tasks: int | None = None
    failed_tasks: int | None = None
    success_rate: float | None = None
    avg_response_time: float | None = None


class Agent(ConnixModel):
    """Hold an agent (reference: "Agent Object")."""

    id: Id
    status: Status
    name: str = ""
    description: str | None = None
    project_id: Id | None = None
    config: Annotated[AgentConfig, BeforeValidator(_absent)] = Field(default_factory=AgentConfig)
    metadata: JsonObject = Field(default_factory=dict)
    created_at: Time | None = None
    updated_at: Time | None = None
    last_activity: Time | None = None
    stats: AgentStats | None = None

    def snapshot(self) -> Snapshot:
        """
        Reduce the agent to what a verdict rests on.

        :return: status and time of the last change
        """
        return Snapshot(str(self.status), self.updated_at)


class Pagination(ConnixModel):
    """Say where a page stands in the whole."""

    total: int | None = None
    limit: int | None = None
    offset: int | None = None
    has_more: bool = False


class Page(ConnixModel, Generic[ItemT]):
    """Hold one page of a listing; iterating, ``len`` and indexing go to its items."""

    pagination: Annotated[Pagination, BeforeValidator(_absent)] = Field(default_factory=Pagination)

    @property
    def items(self) -> list[ItemT]:
        """Return the page's items, whatever the service calls them."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[ItemT]:  # type: ignore[override]  # a page is read as its items, not as its fields
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> ItemT:
        return self.items[index]


class AgentPage(Page[Agent]):
    """Hold one page of a project's agents (reference: "List Agents")."""

    agents: list[Agent]

    @property
    def items(self) -> list[Agent]:
        """Return the agents."""
        return self.agents


class ActionResult(ConnixModel):
    """
    Hold the reply to Start, Pause, Stop or Restart.

    Its ``status`` is a promise, not an observation: the agent may not be there yet, or not have left.
    """

    agent_id: Id = ""
    message: str = ""
    status: Status | None = None


class DeleteResult(ConnixModel):
    """Hold the reply to Delete."""

    agent_id: Id = ""
    message: str = ""


class LogEntry(ConnixModel):
    """Hold one line of an agent's log."""

    timestamp: Time
    level: str = ""
    message: str = ""
    context: JsonObject = Field(default_factory=dict)


class LogPage(Page[LogEntry]):
    """Hold one page of an agent's log, in the service's order (newest first in the reference)."""

    logs: list[LogEntry]

    @property
    def items(self) -> list[LogEntry]:
        """Return the log entries."""
        return self.logs


class TaskMetrics(ConnixModel):
    """Count an agent's tasks over a period; ``success_rate`` is a share from 0 to 1."""

    total: int | None = None
    completed: int | None = None
    failed: int | None = None
    in_progress: int | None = None
    success_rate: float | None = None


class PerformanceMetrics(ConnixModel):
    """Measure an agent's speed over a period; response times in seconds."""

    avg_response_time: float | None = None
    p95_response_time: float | None = None
    p99_response_time: float | None = None
    tokens_per_minute: float | None = None
    requests_per_minute: float | None = None


class ResourceMetrics(ConnixModel):
    """Measure what an agent used: shares from 0 to 1, and bytes for the network."""

    cpu_usage: float | None = None
    memory_usage: float | None = None
    disk_usage: float | None = None
    network_in: float | None = None
    network_out: float | None = None


class MetricsPoint(ConnixModel):
    """Hold one interval of a time series."""

    timestamp: Time
    tasks_completed: int | None = None
    avg_response_time: float | None = None
    cpu_usage: float | None = None
    memory_usage: float | None = None


class Metrics(ConnixModel):
    """Hold the four families of metrics."""

    tasks: Annotated[TaskMetrics, BeforeValidator(_absent)] = Field(default_factory=TaskMetrics)
    performance: Annotated[PerformanceMetrics, BeforeValidator(_absent)] = Field(
        default_factory=PerformanceMetrics
    )
    resource_usage: Annotated[ResourceMetrics, BeforeValidator(_absent)] = Field(
        default_factory=ResourceMetrics
    )
    time_series: list[MetricsPoint] = Field(default_factory=list)


class MetricsPeriod(ConnixModel):
    """Say which time the metrics cover and how they were aggregated."""

    start_time: Time | None = None
    end_time: Time | None = None
    interval: str | None = None


class AgentMetrics(ConnixModel):
    """
    Hold an agent's metrics (reference: "Get Agent Metrics").

    The families can be read directly: ``metrics.tasks`` is short for ``metrics.metrics.tasks``.
    """

    metrics: Metrics
    period: Annotated[MetricsPeriod, BeforeValidator(_absent)] = Field(default_factory=MetricsPeriod)

    @property
    def tasks(self) -> TaskMetrics:
        """Return the counts of tasks."""
        return self.metrics.tasks

    @property
    def performance(self) -> PerformanceMetrics:
        """Return the response times and rates."""
        return self.metrics.performance

    @property
    def resource_usage(self) -> ResourceMetrics:
        """Return what the agent used."""
        return self.metrics.resource_usage

    @property
    def time_series(self) -> list[MetricsPoint]:
        """Return the points of the time series."""
        return self.metrics.time_series


class Project(ConnixModel):
    """Hold a project as the projects page lists it."""

    id: Id
    name: str = ""


class ProjectPage(Page[Project]):
    """Hold one page of the projects that a key can see."""

    projects: list[Project] = Field(default_factory=list)

    @property
    def items(self) -> list[Project]:
        """Return the projects."""
        return self.projects
