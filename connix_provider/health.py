"""
Judge an agent's health by its status, metrics and log.

A *policy* holds limits. :func:`evaluate` compares them with a measurement and returns a *report*::

    policy = HealthPolicy(statuses="running", min_success_rate=0.95, min_completed_tasks=20)
    report = evaluate(policy, agent, metrics, now=time.time())
    report.state  # healthy, unhealthy or unknown

Three rules make the report's state:

- **No data is never healthy.** A check is ``unknown`` if its metric is missing.
- **Few tasks are no data.** A check of tasks that rests on fewer than ``min_completed_tasks`` is
  ``unknown``.
- A report is ``unhealthy`` if any check is, else ``unknown`` if any is, else ``healthy``.

Invariants:

- No other module gives a metric a meaning, so operators, sensors and triggers agree in every mode.
- There is no I/O and no clock. The policy says which reads its checks need
  (:attr:`HealthPolicy.needs_metrics`, :attr:`HealthPolicy.needs_logs`), and
  :func:`connix_provider.polling.measurement.measure` sends no others.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from connix_provider.health_report import HealthCheck, HealthReport, HealthState
from connix_provider.lifecycle import Goal, Verdict, judge
from connix_provider.statuses import KNOWN, AgentStatus, parse_statuses, status_phrase
from connix_provider.values import check_number, from_mapping, quoted

if TYPE_CHECKING:
    from connix_provider.client.models import Agent, AgentMetrics

__all__ = ["HealthCheck", "HealthPolicy", "HealthReport", "HealthState", "evaluate"]

#: The default of ``min_completed_tasks`` for the checks of tasks: the zeros of an idle agent are no data.
_FEWEST_TASKS = 1


@dataclasses.dataclass(frozen=True, slots=True)
class _Limit:
    """
    One limit of a policy.

    :param words: what is compared with it
    :param kind: ``rate`` (0 to 1), ``seconds`` or ``count``
    :param metric: group and field of the metrics that it is for
    :param is_minimum: whether lower values are unhealthy, and not higher ones
    :param rests_on_tasks: whether the value means nothing without tasks
    """

    words: str
    kind: str
    metric: tuple[str, str] | None = None
    is_minimum: bool = False
    rests_on_tasks: bool = False


#: The limits by name; their order is that of a report.
_LIMITS = {
    "max_silence": _Limit("time since the last activity", "seconds"),
    "min_completed_tasks": _Limit(
        "number of completed tasks", "count", ("tasks", "completed"), is_minimum=True
    ),
    "min_success_rate": _Limit(
        "success rate", "rate", ("tasks", "success_rate"), is_minimum=True, rests_on_tasks=True
    ),
    "max_failed_tasks": _Limit("number of failed tasks", "count", ("tasks", "failed"), rests_on_tasks=True),
    "max_avg_response_time": _Limit(
        "average response time", "seconds", ("performance", "avg_response_time"), rests_on_tasks=True
    ),
    "max_p95_response_time": _Limit(
        "p95 response time", "seconds", ("performance", "p95_response_time"), rests_on_tasks=True
    ),
    "max_p99_response_time": _Limit(
        "p99 response time", "seconds", ("performance", "p99_response_time"), rests_on_tasks=True
    ),
    "max_cpu_usage": _Limit("CPU usage", "rate", ("resource_usage", "cpu_usage")),
    "max_memory_usage": _Limit("memory usage", "rate", ("resource_usage", "memory_usage")),
    "max_disk_usage": _Limit("disk usage", "rate", ("resource_usage", "disk_usage")),
    "max_error_logs": _Limit("number of error log lines", "count"),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HealthPolicy:
    """
    The limits within which an agent is healthy.

    Only limits that are given are checked; at least one of them, or ``statuses``, is needed. Numbers may be
    given as text, because templates give text. Times are seconds or a ``timedelta``. Where a policy is taken,
    a mapping with the same names does as well.

    :param statuses: the status or statuses of a healthy agent
    :param window: seconds until now that metrics and log lines are taken from; default 900
    :param min_success_rate: the lowest rate of completed tasks, 0 to 1
    :param min_completed_tasks: the fewest completed tasks in the window. With fewer the agent is ``unknown``,
        and so is each check of tasks and response times, unless as many tasks failed. Without this limit one
        task is enough; 0 takes an idle agent's zeros for data
    :param max_failed_tasks: the most failed tasks in the window
    :param max_avg_response_time: seconds
    :param max_p95_response_time: seconds
    :param max_p99_response_time: seconds
    :param max_error_logs: the most log lines of level ``error`` in the window
    :param max_silence: seconds since the agent's last activity
    :param max_cpu_usage: 0 to 1
    :param max_memory_usage: 0 to 1
    :param max_disk_usage: 0 to 1
    :raises ValueError: for a value that is no limit of its kind, or a policy without any check
    """

    statuses: str | Collection[str] | None = None
    window: float | timedelta = 900.0
    min_success_rate: float | None = None
    min_completed_tasks: int | None = None
    max_failed_tasks: int | None = None
    max_avg_response_time: float | timedelta | None = None
    max_p95_response_time: float | timedelta | None = None
    max_p99_response_time: float | timedelta | None = None
    max_error_logs: int | None = None
    max_silence: float | timedelta | None = None
    max_cpu_usage: float | None = None
    max_memory_usage: float | None = None
    max_disk_usage: float | None = None

    def __post_init__(self) -> None:
        """Check and normalize the values."""
        statuses = None if self.statuses is None else parse_statuses(self.statuses, "statuses")
        if statuses is not None and not statuses:
            # Otherwise a template that renders to nothing would silently drop the check.
            raise ValueError(f"statuses is empty; name at least one of: {', '.join(AgentStatus)}")
        checked: dict[str, Any] = {"statuses": tuple(sorted(map(str, statuses))) if statuses else None}
        checked["window"] = check_number("window", self.window, "seconds")
        if not checked["window"] > 0:
            raise ValueError(f"window must be more than 0 seconds, not {quoted(self.window)}")
        for name, limit in _LIMITS.items():
            value = getattr(self, name)
            checked[name] = None if value is None else check_number(name, value, limit.kind)
        for name, value in checked.items():
            # The class is frozen for everything else.
            object.__setattr__(self, name, value)
        if not self.checks:
            raise ValueError(
                f"a health policy needs statuses or a limit; the limits are {', '.join(sorted(_LIMITS))}"
            )

    @classmethod
    def of(cls, value: Any, parameter: str = "health") -> HealthPolicy:
        """
        Read a policy.

        :param value: a policy, or a mapping with the names of its parameters
        :param parameter: the name of the task's parameter, for messages
        :return: the policy
        :raises ValueError: for any other value, an unknown name, or a value of ``None``
        """
        return from_mapping(cls, value, parameter)

    @property
    def checks(self) -> tuple[str, ...]:
        """The names of the parameters that are checked."""
        given = [name for name in _LIMITS if getattr(self, name) is not None]
        return ("statuses", *given) if self.statuses else tuple(given)

    @property
    def needs_metrics(self) -> bool:
        """Whether a check needs the agent's metrics of the window."""
        return any(name != "statuses" and _LIMITS[name].metric for name in self.checks)

    @property
    def needs_logs(self) -> bool:
        """Whether a check needs the number of error log lines in the window."""
        return self.max_error_logs is not None

    def to_json(self) -> dict[str, Any]:
        """
        Serialize the policy.

        :return: plain JSON that :meth:`of` reads; only what is given
        """
        given = {name: getattr(self, name) for name in (*self.checks, "window")}
        return {name: list(value) if name == "statuses" else value for name, value in given.items()}


def evaluate(
    policy: HealthPolicy,
    agent: Agent,
    metrics: AgentMetrics | None = None,
    error_logs: int | None = None,
    *,
    now: float,
    project_id: str | None = None,
) -> HealthReport:
    """
    Compare an agent with a policy.

    :param policy: the limits
    :param agent: the agent, from Get Agent or from a listing
    :param metrics: its metrics of the window, if the policy needs them
    :param error_logs: the number of error log lines in the window, if the policy needs it; ``None`` if it
        could not be counted
    :param now: epoch seconds at the end of the window, by the service's clock
    :param project_id: the project; default the agent's
    :return: the report
    """
    return HealthReport(
        agent_id=agent.id,
        agent_name=agent.name or None,
        project_id=project_id or agent.project_id,
        status=agent.snapshot().status,
        measured_at=datetime.fromtimestamp(now, UTC),
        window=_seconds(policy.window),
        checks=tuple(_check(name, policy, agent, metrics, error_logs, now) for name in policy.checks),
    )


def _check(
    name: str,
    policy: HealthPolicy,
    agent: Agent,
    metrics: AgentMetrics | None,
    error_logs: int | None,
    now: float,
) -> HealthCheck:
    if name == "statuses":
        return _check_status(policy, agent)
    limit, bound = _LIMITS[name], getattr(policy, name)
    value: Any = error_logs if name == "max_error_logs" else None
    if name == "max_silence" and agent.last_activity is not None:
        value = max(0.0, round(now - agent.last_activity.timestamp(), 1))
    elif limit.metric and metrics is not None:
        value = getattr(getattr(metrics, limit.metric[0]), limit.metric[1])
    if value is None or not 0 <= value < math.inf or (name == "min_success_rate" and value > 1):
        # A rate above 1 is invalid, so it must not count as good.
        problem = "is missing" if value is None else f"is {value:g}, which is not a valid {limit.kind}"
        return HealthCheck(
            name, HealthState.UNKNOWN, bound, None, f"the {limit.words} {problem} ({name}={bound:g})"
        )
    if limit.rests_on_tasks and (few := _too_few_tasks(policy, metrics)):
        return HealthCheck(
            name, HealthState.UNKNOWN, bound, value, f"the {limit.words} rests on {few} ({name}={bound:g})"
        )
    is_kept = value >= bound if limit.is_minimum else value <= bound
    state = HealthState.HEALTHY if is_kept else HealthState.UNHEALTHY
    if name == "min_completed_tasks" and not is_kept:
        # Few tasks are no fault of the agent's.
        state = HealthState.UNKNOWN
    unit = " s" if limit.kind == "seconds" else ""
    bounds = "at least" if limit.is_minimum else "at most"
    reason = f"the {limit.words} is {value:.6g}{unit}, wanted {bounds} {bound:.6g}{unit} ({name})"
    return HealthCheck(name, state, bound, value, reason)


def _check_status(policy: HealthPolicy, agent: Agent) -> HealthCheck:
    wanted = frozenset(policy.statuses or ())
    verdict = judge(Goal("sensor", done=wanted, failed=KNOWN - wanted), agent.snapshot()).verdict
    # The lifecycle knows no meaning of a new status, so the agent may be well or not.
    states = {Verdict.DONE: HealthState.HEALTHY, Verdict.FAILED: HealthState.UNHEALTHY}
    status, names = agent.snapshot().status, sorted(wanted)
    shown = status if status in KNOWN else status_phrase(status)
    reason = f"the status is {shown}, wanted {' or '.join(names)} (statuses)"
    return HealthCheck("statuses", states.get(verdict, HealthState.UNKNOWN), names, status, reason)


def _too_few_tasks(policy: HealthPolicy, metrics: AgentMetrics | None) -> str | None:
    """Return how few tasks the metrics rest on, or ``None`` if they are enough."""
    completed = None if metrics is None else metrics.tasks.completed
    failed = None if metrics is None else metrics.tasks.failed
    needed = policy.min_completed_tasks
    if completed is None and needed is None:
        # The value itself is data.
        return None
    least = _FEWEST_TASKS if needed is None else needed
    # An agent that fails every task completes none.
    if max(completed or 0, failed or 0) >= least:
        return None
    if completed is None:
        return "an unknown number of completed tasks"
    return f"{completed:g} completed tasks, fewer than {least}"


def _seconds(value: float | timedelta) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value)
