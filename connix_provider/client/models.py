"""
Models of Connix's responses, after the reference's "Agent Object" and examples.

Invariants:

- Unknown fields are kept and unknown statuses accepted, because the service may add them.
- Only ``id`` and ``status`` of an agent are required. A field of an undocumented type never makes the
  response unreadable: it is passed on as it came, or counts as missing if no use can be made of it
  (:mod:`connix_provider.client.modeling.fields`).
- Times are aware, or ``None`` if they cannot be read.
- No ``repr`` shows ``environment_variables`` or ``system_prompt``, because they hold secrets.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AliasPath, Field, PrivateAttr, ValidationError

from connix_provider.client.modeling.fields import (
    ConnixModel,
    Count,
    Id,
    JsonObject,
    Number,
    OrElse,
    OrRaw,
    Status,
    Text,
    Timestamp,
)
from connix_provider.client.modeling.page import Page, Pagination
from connix_provider.client.redaction import secrets_of
from connix_provider.digest import digest
from connix_provider.poll_state import Snapshot
from connix_provider.statuses import AgentStatus
from connix_provider.values import agent_label

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

#: Characters of a status or an unreadable time in a snapshot, which Airflow stores.
_LONGEST = 200


class AgentConfig(ConnixModel):
    """An agent's configuration; a listing may leave out ``system_prompt`` and ``environment_variables``."""

    model: Annotated[str | None, OrRaw] = None
    temperature: Annotated[float | None, OrRaw] = None
    max_tokens: Annotated[int | None, OrRaw] = None
    tools: Annotated[list[str] | None, OrRaw] = None
    system_prompt: Annotated[str | None, OrRaw] = None
    environment_variables: Annotated[dict[str, Any] | None, OrRaw] = None


class AgentStats(ConnixModel):
    """
    Counters of an agent since its creation; only Get Agent returns them.

    ``success_rate`` is between 0 and 1, ``avg_response_time`` is in seconds.
    """

    total_tasks: Count = None
    completed_tasks: Count = None
    failed_tasks: Count = None
    success_rate: Number = None
    avg_response_time: Number = None


class Agent(ConnixModel):
    """An agent (reference: "Agent Object")."""

    id: Id
    status: Status
    name: Text = ""
    description: Annotated[str | None, OrRaw] = None
    project_id: Annotated[Id | None, OrRaw] = None
    config: Annotated[AgentConfig, OrElse(lambda _: AgentConfig())] = Field(default_factory=AgentConfig)
    metadata: JsonObject = Field(default_factory=dict)
    created_at: Timestamp = None
    updated_at: Timestamp = None
    last_activity: Timestamp = None
    stats: Annotated[AgentStats | None, OrElse(lambda _: None)] = None
    #: ``updated_at`` as the service wrote it, because a time that cannot be read can still be compared.
    updated_at_raw: Annotated[Any, OrRaw] = Field(
        default=None, validation_alias=AliasPath("updated_at"), exclude=True, repr=False
    )
    _is_listed: bool = PrivateAttr(default=False)
    _digest_key: bytes = PrivateAttr(default=b"")

    @property
    def is_listed(self) -> bool:
        """Whether a listing showed the agent, which may leave parts out."""
        return self._is_listed

    @property
    def label(self) -> str:
        """The agent's name and id, or its id alone if it has no name, for messages."""
        return agent_label(self.id, self.name)

    def secrets(self) -> tuple[str, ...]:
        """Return the values of the agent that no message may quote."""
        return secrets_of(self.model_dump(mode="json"))

    def snapshot(self) -> Snapshot:
        """
        Return what a verdict needs of the agent.

        :return: status, time of the last change, and digests of what an update can change
        """
        raw = self.updated_at_raw if self.updated_at is None else None
        config = self.config.model_dump(mode="json", exclude_unset=True)
        public = {name: value for name, value in config.items() if name not in ConnixModel.hidden}
        # A listing may leave out metadata, and the parts of the configuration that hold secrets.
        full = None if self._is_listed else digest(self._digest_key, config, self.metadata)
        return Snapshot(
            str(self.status)[:_LONGEST],
            self.updated_at,
            None if raw is None else str(raw)[:_LONGEST],
            (digest(b"", self.name, self.description, public), full),
        )

    def set_digest_key(self, key: bytes) -> None:
        """Set the key of the digests in a snapshot, which the client of the agent has."""
        self._digest_key = key


class AgentPage(Page[Agent]):
    """One page of a project's agents (reference: "List Agents")."""

    listed: ClassVar[str] = "agents"
    kind: ClassVar[type[ConnixModel]] = Agent

    agents: list[Agent]

    def model_post_init(self, context: Any) -> None:
        """Mark the agents as listed, because a listing may leave out parts of them."""
        super().model_post_init(context)
        for agent in self.agents:
            agent._is_listed = True  # noqa: SLF001 - a class of this module

    @property
    def items(self) -> list[Agent]:
        """Return the agents."""
        return self.agents


class ActionResult(ConnixModel):
    """
    The response to Start, Pause, Stop or Restart.

    ``status`` is where the action leads. The agent may not have reached it yet, so poll the agent.
    """

    agent_id: Annotated[Id, OrElse(lambda _: "")] = ""
    message: Text = ""
    status: Annotated[Status | None, OrElse(lambda _: None)] = None


class DeleteResult(ConnixModel):
    """The response to Delete."""

    agent_id: Annotated[Id, OrElse(lambda _: "")] = ""
    message: Text = ""


class LogEntry(ConnixModel):
    """An entry of an agent's log; ``timestamp`` is ``None`` if it is missing or cannot be read."""

    timestamp: Timestamp = None
    level: Text = ""
    message: Text = ""
    context: Annotated[dict[str, Any], OrElse(lambda value: {} if value is None else value)] = Field(
        default_factory=dict
    )


class LogPage(Page[LogEntry]):
    """One page of an agent's log, in the service's order (newest first in the reference)."""

    listed: ClassVar[str] = "logs"
    kind: ClassVar[type[ConnixModel]] = LogEntry

    logs: list[LogEntry]

    @property
    def items(self) -> list[LogEntry]:
        """Return the log entries."""
        return self.logs


class TaskMetrics(ConnixModel):
    """Counts of an agent's tasks in a period; ``success_rate`` is between 0 and 1."""

    total: Count = None
    completed: Count = None
    failed: Count = None
    in_progress: Count = None
    success_rate: Number = None


class PerformanceMetrics(ConnixModel):
    """Response times, in seconds, and rates of an agent in a period."""

    avg_response_time: Number = None
    p95_response_time: Number = None
    p99_response_time: Number = None
    tokens_per_minute: Number = None
    requests_per_minute: Number = None


class ResourceMetrics(ConnixModel):
    """Usage of resources: between 0 and 1, but bytes for the network."""

    cpu_usage: Number = None
    memory_usage: Number = None
    disk_usage: Number = None
    network_in: Number = None
    network_out: Number = None


class MetricsPoint(ConnixModel):
    """
    One interval of a time series; ``timestamp`` is ``None`` if it cannot be read.

    ``avg_response_time`` is in seconds, usages are between 0 and 1.
    """

    timestamp: Timestamp = None
    tasks_completed: Count = None
    avg_response_time: Number = None
    cpu_usage: Number = None
    memory_usage: Number = None


def _points(value: Any) -> list[MetricsPoint]:
    """Return the readable points of a time series that has others, too."""
    points = []
    for point in value if isinstance(value, list) else ():
        try:
            points.append(MetricsPoint.model_validate(point))
        except ValidationError:
            continue
    return points


class Metrics(ConnixModel):
    """The four groups of an agent's metrics."""

    tasks: Annotated[TaskMetrics, OrElse(lambda _: TaskMetrics())] = Field(default_factory=TaskMetrics)
    performance: Annotated[PerformanceMetrics, OrElse(lambda _: PerformanceMetrics())] = Field(
        default_factory=PerformanceMetrics
    )
    resource_usage: Annotated[ResourceMetrics, OrElse(lambda _: ResourceMetrics())] = Field(
        default_factory=ResourceMetrics
    )
    time_series: Annotated[list[MetricsPoint], OrElse(_points)] = Field(default_factory=list)


class MetricsPeriod(ConnixModel):
    """The period that metrics cover, and the interval of their aggregation."""

    start_time: Timestamp = None
    end_time: Timestamp = None
    interval: Annotated[str | None, OrRaw] = None


class AgentMetrics(ConnixModel):
    """
    An agent's metrics (reference: "Get Agent Metrics").

    ``metrics.tasks`` is short for ``metrics.metrics.tasks``; so are the other groups.
    """

    metrics: Metrics
    period: Annotated[MetricsPeriod, OrElse(lambda _: MetricsPeriod())] = Field(default_factory=MetricsPeriod)

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
        """Return the usage of resources."""
        return self.metrics.resource_usage

    @property
    def time_series(self) -> list[MetricsPoint]:
        """Return the points of the time series."""
        return self.metrics.time_series


class Project(ConnixModel):
    """A project, as List Projects shows it."""

    id: Id
    name: Text = ""


class ProjectPage(Page[Project]):
    """One page of the projects of an API key."""

    listed: ClassVar[str] = "projects"
    kind: ClassVar[type[ConnixModel]] = Project

    projects: list[Project]

    @property
    def items(self) -> list[Project]:
        """Return the projects."""
        return self.projects
