"""Every check of a policy: met, missed, without data; and what no policy can be."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta

import pytest

from connix_provider.client.models import Agent, AgentMetrics
from connix_provider.health import HealthPolicy, HealthReport, HealthState, evaluate

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC).timestamp()
GOOD = {
    "tasks": {"total": 100, "completed": 96, "failed": 4, "success_rate": 0.96},
    "performance": {"avg_response_time": 2.0, "p95_response_time": 8.0, "p99_response_time": 15.0},
    "resource_usage": {"cpu_usage": 0.45, "memory_usage": 0.67, "disk_usage": 0.23},
}
#: For each limit: its group and field in the metrics, a limit that is kept, one that is not.
METRIC_LIMITS = {
    "min_success_rate": ("tasks", "success_rate", 0.96, 0.97),
    "max_failed_tasks": ("tasks", "failed", 4, 3),
    "max_avg_response_time": ("performance", "avg_response_time", 2, 1.9),
    "max_p95_response_time": ("performance", "p95_response_time", timedelta(seconds=8), "7.5"),
    "max_p99_response_time": ("performance", "p99_response_time", 15.0, 0),
    "max_cpu_usage": ("resource_usage", "cpu_usage", 0.45, 0.44),
    "max_memory_usage": ("resource_usage", "memory_usage", 1, 0.5),
    "max_disk_usage": ("resource_usage", "disk_usage", "0.3", 0.2),
}
RESTS_ON_TASKS = [name for name, limit in METRIC_LIMITS.items() if limit[0] != "resource_usage"]


def agent(status="running", **fields):
    return Agent.model_validate({"id": "agent_1", "name": "Analyst", "status": status, **fields})


def metrics(**changes):
    groups = {group: {**fields, **changes.get(group, {})} for group, fields in GOOD.items()}
    return AgentMetrics.model_validate({"metrics": groups})


def report(policy, seen=None, found=None, errors=None) -> HealthReport:
    return evaluate(HealthPolicy.of(policy), seen or agent(), found or metrics(), errors, now=NOW)


def state(*args, **kwargs) -> str:
    return str(report(*args, **kwargs).state)


@pytest.mark.parametrize("name", METRIC_LIMITS)
def test_a_metric_is_met_missed_or_missing(name):
    group, field, kept, broken = METRIC_LIMITS[name]
    assert state({name: kept}) == "healthy"
    assert state({name: broken}) == "unhealthy"
    for missing in (None, "n/a", -1, float("nan"), 10**400, 1e300):
        assert state({name: kept}, found=metrics(**{group: {field: missing}})) == "unknown"
    assert state({name: kept}, found=AgentMetrics.model_validate({"metrics": {}})) == "unknown"


@pytest.mark.parametrize("name", METRIC_LIMITS)
def test_few_tasks_give_unknown_task_checks(name):
    limits = METRIC_LIMITS[name][2:]
    few = {"tasks": {"completed": 5, "failed": 4}}
    for limit in limits:
        report_of_few = report({name: limit, "min_completed_tasks": 10}, found=metrics(**few))
        check = next(check for check in report_of_few.checks if check.name == name)
        assert (check.state is HealthState.UNKNOWN) == (name in RESTS_ON_TASKS)
        assert report_of_few.state is not HealthState.HEALTHY


@pytest.mark.parametrize("name", RESTS_ON_TASKS)
def test_zeros_of_an_idle_agent_are_no_data(name):
    idle = metrics(tasks={"completed": 0, "failed": 0})
    assert state({name: METRIC_LIMITS[name][2]}, found=idle) == "unknown"
    assert state({name: METRIC_LIMITS[name][3], "min_completed_tasks": 0}, found=idle) != "unknown"


def test_an_agent_that_fails_every_task_is_unhealthy():
    failing = metrics(tasks={"completed": 0, "failed": 50, "success_rate": 0})
    assert state({"min_success_rate": 0.9}, found=failing) == "unhealthy"
    assert state({"min_success_rate": 0.9, "min_completed_tasks": 10}, found=failing) == "unhealthy"


def test_a_missing_task_count_spoils_no_other_metric():
    uncounted = metrics(tasks={"completed": None})
    assert state({"min_success_rate": 0.9}, found=uncounted) == "healthy"
    assert state({"min_success_rate": 0.9, "min_completed_tasks": 10}, found=uncounted) == "unknown"


@pytest.mark.parametrize(
    ("completed", "wanted"), [(10, "healthy"), (9, "unknown"), (0, "unknown"), (None, "unknown")]
)
def test_too_few_completed_tasks_are_never_healthy(completed, wanted):
    found = metrics(tasks={"completed": completed})
    assert state({"min_completed_tasks": 10}, found=found) == wanted


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        ("running", "healthy"),
        ("paused", "healthy"),
        ("error", "unhealthy"),
        ("updating", "unhealthy"),
        ("hibernating", "unknown"),
    ],
)
def test_a_status_is_met_missed_or_unknown(status, wanted):
    assert state({"statuses": ["running", "paused"]}, agent(status)) == wanted


@pytest.mark.parametrize(
    ("seconds_ago", "wanted"), [(3599, "healthy"), (3601, "unhealthy"), (-60, "healthy"), (None, "unknown")]
)
def test_silence_is_met_missed_or_unknown(seconds_ago, wanted):
    moment = None if seconds_ago is None else datetime.fromtimestamp(NOW - seconds_ago, UTC).isoformat()
    assert state({"max_silence": 3600}, agent(last_activity=moment)) == wanted


@pytest.mark.parametrize(
    ("errors", "wanted"), [(0, "healthy"), (3, "healthy"), (4, "unhealthy"), (None, "unknown")]
)
def test_error_logs_are_met_missed_or_unknown(errors, wanted):
    assert state({"max_error_logs": 3}, errors=errors) == wanted


def test_a_rate_above_one_is_no_data():
    assert state({"min_success_rate": 0.9}, found=metrics(tasks={"success_rate": 96.1})) == "unknown"


def test_unhealthy_outweighs_unknown_and_unknown_healthy():
    unknown, unhealthy = {"max_silence": 60}, {"max_cpu_usage": 0.1}
    healthy = {"statuses": "running"}
    assert state({**healthy, **unknown}) == "unknown"
    assert state({**healthy, **unknown, **unhealthy}) == "unhealthy"
    assert state(healthy) == "healthy"


def test_a_report_names_agent_checks_limits_and_values():
    policy = {"statuses": "running", "min_success_rate": 0.99, "max_silence": 60, "max_cpu_usage": 0.5}
    made = report(policy)
    assert made.message == (
        "Agent 'Analyst' (agent_1) is unhealthy: the success rate is 0.96, wanted at least 0.99 "
        "(min_success_rate); the time since the last activity is missing (max_silence=60)."
    )
    plain = json.loads(json.dumps(made.to_json()))
    assert plain["state"] == "unhealthy"
    assert plain["agent_id"] == "agent_1"
    assert plain["agent_name"] == "Analyst"
    assert plain["message"] == made.message
    assert plain["measured_at"] == "2026-01-15T12:00:00+00:00"
    assert {check["name"]: (check["state"], check["limit"], check["value"]) for check in plain["checks"]} == {
        "statuses": ("healthy", ["running"], "running"),
        "min_success_rate": ("unhealthy", 0.99, 0.96),
        "max_silence": ("unknown", 60, None),
        "max_cpu_usage": ("healthy", 0.5, 0.45),
    }


@pytest.mark.parametrize(
    ("policy", "needs_metrics", "needs_logs"),
    [
        ({"statuses": "running"}, False, False),
        ({"max_silence": 60}, False, False),
        ({"max_error_logs": 0}, False, True),
        *(({name: limit[2]}, True, False) for name, limit in METRIC_LIMITS.items()),
        ({"min_completed_tasks": 1}, True, False),
    ],
)
def test_a_policy_needs_only_its_checks_requests(policy, needs_metrics, needs_logs):
    made = HealthPolicy(**policy)
    assert (made.needs_metrics, made.needs_logs) == (needs_metrics, needs_logs)


def test_a_policy_survives_json():
    given = {"statuses": "running, paused", "window": timedelta(minutes=5), "max_error_logs": "3"}
    made = HealthPolicy(**given)
    stored = json.loads(json.dumps(made.to_json()))
    assert stored == {"statuses": ["paused", "running"], "window": 300.0, "max_error_logs": 3}
    assert HealthPolicy.of(stored) == HealthPolicy.of(made) == made


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ({}, "a health policy needs statuses or a limit"),
        ({"window": 60}, "a health policy needs statuses or a limit"),
        ({"statuses": []}, "statuses is empty; name at least one of: creating, running"),
        ({"statuses": "runing"}, "Did you mean 'running'"),
        ({"max_silent": 60}, "'max_silent' is unknown. Did you mean 'max_silence'?"),
        ({"success_rate": 0.9}, "Did you mean 'min_success_rate'?"),
        (
            {"min_success_rate": 95},
            "min_success_rate must be a number from 0 to 1, where 0.95 stands for 95 %",
        ),
        ({"min_success_rate": "95%"}, "min_success_rate must be"),
        ({"min_success_rate": True}, "min_success_rate must be"),
        ({"max_cpu_usage": -0.1}, "max_cpu_usage must be"),
        ({"max_error_logs": -1}, "max_error_logs must be a whole number, 0 or more, not -1"),
        ({"max_error_logs": 2.5}, "max_error_logs must be a whole number"),
        ({"max_error_logs": "inf"}, "max_error_logs must be a whole number"),
        ({"max_failed_tasks": timedelta(seconds=1)}, "max_failed_tasks must be"),
        ({"max_silence": "an hour"}, "max_silence must be a number of seconds"),
        ({"max_silence": float("nan")}, "max_silence must be"),
        ({"max_silence": timedelta(seconds=-1)}, "max_silence must be"),
        ({"max_silence": None}, "max_silence is None: leave it out"),
        ({"max_silence": "None"}, "max_silence is 'None': leave it out"),
        ({"statuses": "running", "window": 0}, "window must be more than 0"),
        ('{"statuses": "running"}', "a template gives a mapping with render_template_as_native_obj=True"),
        (["running"], "must be a HealthPolicy or a mapping"),
        (None, "must be a HealthPolicy or a mapping, not None"),
    ],
)
def test_a_wrong_policy_is_refused(policy, says):
    with pytest.raises(ValueError, match=r"^health: ") as refused:
        HealthPolicy.of(policy)
    assert says in str(refused.value)


def test_a_policy_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        HealthPolicy(statuses="running").window = 1  # type: ignore[misc]
