"""A value of a wrong type, a place that cannot be written and a plan that is none are refused at once."""

from __future__ import annotations

import pytest
from in_process import TaskRun

from connix_provider.operators.agent import ConnixCreateAgentOperator, ConnixStopAgentOperator
from connix_provider.operators.apply import ConnixApplyAgentsOperator
from connix_provider.operators.export import ConnixExportAgentLogsOperator, ConnixExportAgentMetricsOperator
from connix_provider.operators.fleet import ConnixDeleteOrphanedAgentsOperator, ConnixFleetOperator
from connix_provider.operators.health import ConnixCheckAgentHealthOperator
from connix_provider.sensors.agent import ConnixAgentStatusSensor
from connix_provider.sensors.health import ConnixAgentHealthSensor

pytestmark = [pytest.mark.heavy, pytest.mark.one_airflow]

ALL = {"name": "*"}
FLEET = {"action": "restart", "agents": ALL}
HEALTH = {"health": {"statuses": "running"}, "agent_id": "agent_1"}
DAY = {"start_time": "2026-01-01", "end_time": "2026-01-02", "agents": ALL}
SPEC = {"spec": [{"name": "a"}], "owner": "team"}
CHANGE = {"name": "a", "action": "create", "seen": None}
PLAN = {"owner": "team", "project_id": "p", "prune": False, "spec": "s", "changes": [], "unchanged": []}
LOGS, METRICS, APPLY = (
    ConnixExportAgentLogsOperator,
    ConnixExportAgentMetricsOperator,
    ConnixApplyAgentsOperator,
)

CASES = [
    *(
        (operator, {**arguments, name: value}, f"{name} must be")
        for operator, arguments, name in (
            (ConnixFleetOperator, FLEET, "action"),
            (ConnixFleetOperator, FLEET, "order"),
            (ConnixCheckAgentHealthOperator, HEALTH, "fail_on"),
            (ConnixAgentHealthSensor, HEALTH, "on_unknown"),
            (ConnixDeleteOrphanedAgentsOperator, {}, "on_missing_run"),
            (APPLY, SPEC, "owner"),
        )
        for value in (["restart"], {"restart": 1})
    ),
    *(
        (APPLY, {**SPEC, "spec": value}, "spec must be a declaration or the path")
        for value in (None, 5, b"a")
    ),
    *(
        (operator, {**DAY, "path": value}, says)
        for operator in (LOGS, METRICS)
        for value, says in (
            (None, "path must be text or a path, not NoneType"),
            (5, "path must be text or a path, not int"),
            (["a.jsonl"], "path must be text or a path, not list"),
            ("nowhere://bucket/a.jsonl", "which cannot be written"),
            ("/tmp", "which is a folder"),
        )
    ),
    *(
        (APPLY, {**SPEC, "plan": value}, "plan must be what a task with dry_run=True returned")
        for value in (
            5,
            "{}",
            {},
            {**PLAN, "changes": None},
            {**PLAN, "changes": [5]},
            {**PLAN, "changes": [{}]},
            {**PLAN, "changes": [{**CHANGE, "name": ["a"]}]},
        )
    ),
]


@pytest.mark.parametrize(("operator", "arguments", "says"), CASES)
def test_a_wrong_value_is_refused_before_any_request(operator, arguments, says, connection, warp, emulator):
    emulator.seed(name="a")
    ran = TaskRun(warp, operator, **{"timeout": 600, **arguments}).try_once()
    assert type(ran.error) is ValueError
    assert says in str(ran.error)
    assert not emulator.journal.entries()


AGENT = {
    "id": "agent_1",
    "status": "running",
    "config": {
        "system_prompt": "canary prompt",
        "environment_variables": {"URL": "canary-url", "PIN": 77889911},
    },
}
#: A parameter that another task's whole agent reached, in the forms in which it may arrive.
WHOLE_AGENTS = [
    (operator, {**arguments, name: value})
    for operator, arguments, names in (
        (
            ConnixStopAgentOperator,
            {"agent_id": "a"},
            ("agent_id", "agent_name", "project_id", "wait_for_completion"),
        ),
        (ConnixCreateAgentOperator, {"name": "a"}, ("name", "if_exists", "on_failure")),
        (ConnixAgentStatusSensor, {"agent_id": "a"}, ("target_statuses", "failure_statuses", "agent_id")),
        (ConnixFleetOperator, FLEET, ("action", "agents", "order", "max_unavailable", "health")),
        (ConnixCheckAgentHealthOperator, HEALTH, ("agent_id", "health", "fail_on")),
        (ConnixAgentHealthSensor, HEALTH, ("at_least", "on_unknown")),
        (ConnixDeleteOrphanedAgentsOperator, {}, ("on_missing_run", "older_than", "agents", "dry_run")),
        (LOGS, {**DAY, "path": "/tmp/x.jsonl"}, ("agents", "level", "start_time")),
        (APPLY, SPEC, ("plan", "prune")),
    )
    for name in names
    for value in (AGENT, [AGENT], str(AGENT), [str(AGENT)], str([AGENT]))
]


@pytest.mark.parametrize(("operator", "arguments"), WHOLE_AGENTS)
def test_no_message_quotes_a_whole_agent(operator, arguments, connection, warp, emulator):
    given = {"target_statuses": "running"} if operator is ConnixAgentStatusSensor else {}
    error = TaskRun(warp, operator, **{"timeout": 600, **given, **arguments}).try_once().error
    assert type(error) is ValueError
    assert "canary" not in str(error)
    assert "77889911" not in str(error)
    assert not emulator.journal.entries()
