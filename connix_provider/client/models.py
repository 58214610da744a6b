"""
Describe what Connix answers, as the reference's "Agent Object" and examples show it.

Unknown fields are kept and unknown statuses accepted: a service that grows breaks nobody. Of all fields
only an agent's ``id`` and ``status`` must be there; a wait rests on nothing else. What another field holds
against the reference is handed on as it came; a time that cannot be read is ``None``, and what is to be an
object and is none is empty. Times are always aware. ``environment_variables`` and ``system_prompt`` hold
secrets, so no ``repr`` shows them.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, ClassVar

from pydantic import AliasPath, Field, PrivateAttr, ValidationError

from connix_provider.client.fields import (
    ConnixModel,
    Count,
    Id,
    JsonObject,
    Moment,
    Number,
    OrElse,
    OrRaw,
    Status,
    Text,
)
from connix_provider.client.listing import Page, Pagination
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


class AgentConfig(ConnixModel):
    """Hold an agent's configuration; ``system_prompt`` and ``environment_variables`` come only with Get."""

    model: Annotated[str | None, OrRaw] = None
    temperature: Annotated[float | None, OrRaw] = None
    max_tokens: Annotated[int | None, OrRaw] = None
    tools: Annotated[list[str] | None, OrRaw] = None
    system_prompt: Annotated[str | None, OrRaw] = None
    environment_variables: Annotated[dict[str, Any] | None, OrRaw] = None


class AgentStats(ConnixModel):
    """
    Hold an agent's counters since it was created; they come only with Get.

    ``success_rate`` is a share from 0 to 1, ``avg_response_time`` is in seconds.
    """

    total_tasks: Count = None
    completed_tasks: Count = None
    failed_tasks: Count = None
    success_rate: Number = None
    avg_response_time: Number = None


class Agent(ConnixModel):
    """Hold an agent (reference: "Agent Object")."""

    id: Id
    status: Status
    name: Text = ""
    description: Annotated[str | None, OrRaw] = None
    project_id: Annotated[Id | None, OrRaw] = None
    config: Annotated[AgentConfig, OrElse(lambda _: AgentConfig())] = Field(default_factory=AgentConfig)
    metadata: JsonObject = Field(default_factory=dict)
    created_at: Moment = None
    updated_at: Moment = None
    last_activity: Moment = None
    stats: Annotated[AgentStats | None, OrElse(lambda _: None)] = None
    #: ``updated_at`` as the service wrote it: a time that cannot be read can still be compared.
    updated_at_raw: Annotated[Any, OrRaw] = Field(
        default=None, validation_alias=AliasPath("updated_at"), exclude=True, repr=False
    )
    _is_listed: bool = PrivateAttr(default=False)

    def snapshot(self) -> Snapshot:
        """
        Reduce the agent to what a verdict rests on.

        :return: status, time of the last change, and digests of what an update can change
        """
        raw = self.updated_at_raw if self.updated_at is None else None
        config = self.config.model_dump(mode="json", exclude_unset=True)
        public = {name: value for name, value in config.items() if name not in ConnixModel.hidden}
        # A listing may leave out metadata, and those parts of the configuration that hold secrets.
        whole = None if self._is_listed else _digest(config, self.metadata)
        return Snapshot(
            str(self.status),
            self.updated_at,
            None if raw is None else str(raw),
            (_digest(self.name, self.description, public), whole),
        )


def _digest(*values: Any) -> str:
    """Shorten JSON to what tells a change; too short to tell a secret."""
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()


class AgentPage(Page[Agent]):
    """Hold one page of a project's agents (reference: "List Agents")."""

    listed: ClassVar[str] = "agents"
    kind: ClassVar[type[ConnixModel]] = Agent

    agents: list[Agent]

    def model_post_init(self, context: Any) -> None:
        """Mark the agents as read from a listing, which may leave parts of them out."""
        super().model_post_init(context)
        for agent in self.agents:
            agent._is_listed = True  # noqa: SLF001 - a class of this module

    @property
    def items(self) -> list[Agent]:
        """Return the agents."""
        return self.agents


class ActionResult(ConnixModel):
    """
    Hold the reply to Start, Pause, Stop or Restart.

    Its ``status`` is a promise, not an observation: the agent may not be there yet, or not have left.
    """

    agent_id: Annotated[Id, OrElse(lambda _: "")] = ""
    message: Text = ""
    status: Annotated[Status | None, OrElse(lambda _: None)] = None


class DeleteResult(ConnixModel):
    """Hold the reply to Delete."""

    agent_id: Annotated[Id, OrElse(lambda _: "")] = ""
    message: Text = ""


class LogEntry(ConnixModel):
    """Hold one line of an agent's log; ``timestamp`` is ``None`` where the line has none that can be read."""

    timestamp: Moment = None
    level: Text = ""
    message: Text = ""
    context: Annotated[dict[str, Any], OrElse(lambda value: {} if value is None else value)] = Field(
        default_factory=dict
    )


class LogPage(Page[LogEntry]):
    """Hold one page of an agent's log, in the service's order (newest first in the reference)."""

    listed: ClassVar[str] = "logs"
    kind: ClassVar[type[ConnixModel]] = LogEntry

    logs: list[LogEntry]

    @property
    def items(self) -> list[LogEntry]:
        """Return the log entries."""
        return self.logs


class TaskMetrics(ConnixModel):
    """Count an agent's tasks over a period; ``success_rate`` is a share from 0 to 1."""

    total: Count = None
    completed: Count = None
    failed: Count = None
    in_progress: Count = None
    success_rate: Number = None


class PerformanceMetrics(ConnixModel):
    """Measure an agent's speed over a period; response times in seconds."""

    avg_response_time: Number = None
    p95_response_time: Number = None
    p99_response_time: Number = None
    tokens_per_minute: Number = None
    requests_per_minute: Number = None


class ResourceMetrics(ConnixModel):
    """Measure what an agent used: shares from 0 to 1, and bytes for the network."""

    cpu_usage: Number = None
    memory_usage: Number = None
    disk_usage: Number = None
    network_in: Number = None
    network_out: Number = None


class MetricsPoint(ConnixModel):
    """
    Hold one interval of a time series; ``timestamp`` is ``None`` where it cannot be read.

    ``avg_response_time`` is in seconds, usages are shares from 0 to 1.
    """

    timestamp: Moment = None
    tasks_completed: Count = None
    avg_response_time: Number = None
    cpu_usage: Number = None
    memory_usage: Number = None


def _points(value: Any) -> list[MetricsPoint]:
    """Keep the points of a time series that are some, where not all are."""
    points = []
    for point in value if isinstance(value, list) else ():
        try:
            points.append(MetricsPoint.model_validate(point))
        except ValidationError:
            continue
    return points


class Metrics(ConnixModel):
    """Hold the four families of metrics."""

    tasks: Annotated[TaskMetrics, OrElse(lambda _: TaskMetrics())] = Field(default_factory=TaskMetrics)
    performance: Annotated[PerformanceMetrics, OrElse(lambda _: PerformanceMetrics())] = Field(
        default_factory=PerformanceMetrics
    )
    resource_usage: Annotated[ResourceMetrics, OrElse(lambda _: ResourceMetrics())] = Field(
        default_factory=ResourceMetrics
    )
    time_series: Annotated[list[MetricsPoint], OrElse(_points)] = Field(default_factory=list)


class MetricsPeriod(ConnixModel):
    """Say which time the metrics cover and how they were aggregated."""

    start_time: Moment = None
    end_time: Moment = None
    interval: Annotated[str | None, OrRaw] = None


class AgentMetrics(ConnixModel):
    """
    Hold an agent's metrics (reference: "Get Agent Metrics").

    The families can be read directly: ``metrics.tasks`` is short for ``metrics.metrics.tasks``.
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
        """Return what the agent used."""
        return self.metrics.resource_usage

    @property
    def time_series(self) -> list[MetricsPoint]:
        """Return the points of the time series."""
        return self.metrics.time_series


class Project(ConnixModel):
    """Hold a project as the projects page lists it."""

    id: Id
    name: Text = ""


class ProjectPage(Page[Project]):
    """Hold one page of the projects that a key can see."""

    listed: ClassVar[str] = "projects"
    kind: ClassVar[type[ConnixModel]] = Project

    projects: list[Project]

    @property
    def items(self) -> list[Project]:
        """Return the projects."""
        return self.projects
