"""A retry continues and a clear begins anew, in both modes and wherever Airflow keeps the record."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout
from in_process import TaskRun

from connix_provider.client import Client
from connix_provider.client.errors import ConnixConflictError, ConnixNotFoundError, ConnixServerError
from connix_provider.emulator import Fault
from connix_provider.exceptions import ConnixAgentFailedError, ConnixAgentTimeoutError
from connix_provider.operators._base import task_state
from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixDeleteAgentOperator,
    ConnixPauseAgentOperator,
    ConnixRestartAgentOperator,
    ConnixStartAgentOperator,
    ConnixStopAgentOperator,
    ConnixUpdateAgentOperator,
)

pytestmark = pytest.mark.heavy

MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
STORES = pytest.mark.parametrize("remembering", [False, True], ids=["Variable", "task_state_store"])
CREATE: dict[str, Any] = {"name": "alpha", "config": {"model": "gpt-4", "temperature": 0.3}}
UNAVAILABLE = Fault.status(503, code="service_unavailable", message="try later")
NUMBERS = itertools.count()
CONFLICT = Fault.status(409, code="agent_conflict", message="not now")
FORBIDDEN = Fault.status(403, code="insufficient_permissions", message="no")


@pytest.fixture
def variables(monkeypatch) -> dict[str, str]:
    """Keep Airflow's Variables in memory: there is no task runner to ask for them."""
    kept: dict[str, str] = {}

    class Variables:
        get = staticmethod(lambda name, default=None: kept.get(name, default))
        set = staticmethod(lambda name, value, description=None: kept.__setitem__(name, value))
        delete = staticmethod(lambda name: kept.pop(name, None))

    monkeypatch.setattr(task_state, "Variable", Variables)
    return kept


@pytest.fixture
def task(scenario, variables):
    """Make a run of a task."""

    def make(operator, *, remembering=True, **arguments):
        common = {"project_id": scenario.project_id, "poll_interval": 5, "timeout": 300}
        options = {
            name: arguments.pop(name) for name in ("retries", "map_index", "dag_id") if name in arguments
        }
        return TaskRun(scenario.warp, operator, remembering=remembering, **options, **{**common, **arguments})

    return make


def seed(scenario, status="running", **fields):
    (agent_id,) = scenario.emulator.seed(status=status, project_id=scenario.project_id, **fields)
    scenario.emulator.clock.advance(60)
    return agent_id


def foreign_update(scenario, agent_id):
    with Client(scenario.emulator.api_key, scenario.emulator.url) as client:
        client.agents.update(scenario.project_id, agent_id, {"description": "by others"})
    scenario.emulator.clock.advance(30)


@STORES
@MODES
@pytest.mark.parametrize("again", ["retry", "clear"])
def test_a_foreign_update_is_not_the_restart(again, deferrable, remembering, scenario, task):
    agent_id = seed(scenario)
    run = task(ConnixRestartAgentOperator, remembering=remembering, agent_id=agent_id, deferrable=deferrable)
    scenario.emulator.faults.add(UNAVAILABLE, on="restart_agent", times=None)
    assert isinstance(run.try_once().error, ConnixServerError)
    assert scenario.executed("restart_agent") == 0
    scenario.emulator.faults.clear()
    foreign_update(scenario, agent_id)
    if again == "clear":
        run.clear()
    ran = run.try_once()
    assert (ran.result, ran.error) == (agent_id, None)
    assert scenario.executed("restart_agent") == 1


@STORES
@MODES
@pytest.mark.parametrize(("again", "executed"), [("retry", 1), ("same try", 1), ("clear", 2)])
def test_a_restart_without_a_known_end(again, executed, deferrable, remembering, scenario, task):
    agent_id = seed(scenario)
    run = task(ConnixRestartAgentOperator, remembering=remembering, agent_id=agent_id, deferrable=deferrable)
    scenario.emulator.faults.add(FORBIDDEN, on="get_agent", after=1, times=1)
    assert run.try_once().error is not None
    if again == "clear":
        run.clear()
    ran = run.try_once(same_try=again == "same try")
    assert (ran.result, ran.error) == (agent_id, None)
    assert scenario.executed("restart_agent") == executed


@STORES
@MODES
def test_a_retry_waits_for_an_updating_agent(deferrable, remembering, scenario, task):
    agent_id = seed(scenario)
    run = task(ConnixRestartAgentOperator, remembering=remembering, agent_id=agent_id, deferrable=deferrable)
    scenario.emulator.faults.add(Fault.reset_after(), on="restart_agent", times=1)
    scenario.emulator.faults.add(FORBIDDEN, on="get_agent", after=1, times=1)
    assert run.try_once().error is not None
    scenario.emulator.script(agent_id, [(1, "updating"), (60, "running")])
    scenario.emulator.clock.advance(2)
    ran = run.try_once()
    assert (ran.result, ran.error) == (agent_id, None)
    assert scenario.executed("restart_agent") == 1


#: When a worker died of its restart: before the service executed it, before the response, after the response.
DIED = {"before": Fault.reset_before(), "during": Fault.reset_after(), "after": None}


@STORES
@MODES
@pytest.mark.parametrize("died", DIED)
def test_a_retry_with_a_stuck_agent_times_out(died, deferrable, remembering, scenario, task):
    agent_id = seed(scenario, name="alpha")
    run = task(ConnixRestartAgentOperator, remembering=remembering, agent_id=agent_id, deferrable=deferrable)
    if fault := DIED[died]:
        scenario.emulator.faults.add(fault, on="restart_agent", times=1)
    scenario.emulator.faults.add(FORBIDDEN, on="get_agent", after=1, times=1)
    assert run.try_once().error is not None
    scenario.emulator.script(agent_id, [(1, "updating")])
    scenario.emulator.clock.advance(2)
    ran = run.try_once()
    assert isinstance(ran.error, ConnixAgentTimeoutError), repr(ran.error)
    message = str(ran.error)
    for word in ("alpha", agent_id, "updating", "restarted", "300 s"):
        assert word in message
    assert "responded 409" not in message
    assert abs(scenario.warp.time() - ran.deadline) < 1
    assert scenario.executed("restart_agent") == (died != "before")


#: Statuses before and after an action.
ACTIONS = {"start": ("stopped", "running"), "pause": ("running", "paused"), "stop": ("running", "stopped")}


@MODES
@pytest.mark.parametrize("waits", [True, False], ids=["waits", "accepts"])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_retry_waits_for_the_earlier_action(action, waits, deferrable, scenario, task):
    before, after = ACTIONS[action]
    agent_id = seed(scenario, before)
    operators = {
        "start": ConnixStartAgentOperator,
        "pause": ConnixPauseAgentOperator,
        "stop": ConnixStopAgentOperator,
    }
    run = task(operators[action], agent_id=agent_id, deferrable=deferrable)
    scenario.emulator.faults.add(FORBIDDEN, on="get_agent", after=1, times=1)
    assert run.try_once().error is not None
    # The service shows the status from before, and refuses what it is doing already.
    scenario.emulator.script(agent_id, [(0, before), (40, after)])
    scenario.emulator.faults.add(CONFLICT, on=f"{action}_agent", times=None)
    ran = run.try_once(wait_for_completion=waits)
    assert (ran.result, ran.error) == (agent_id, None)
    assert scenario.emulator.agent(agent_id)["status"] == after


@MODES
def test_a_lost_start_after_an_update_is_awaited(deferrable, scenario, task):
    agent_id = seed(scenario, "stopped", name="alpha", config={"model": "gpt-4", "temperature": 0.3})
    run = task(ConnixCreateAgentOperator, if_exists="update", deferrable=deferrable, **CREATE)
    scenario.emulator.faults.add(Fault.reset_before(), on="start_agent", times=1)
    scenario.emulator.faults.add(CONFLICT, on="start_agent", times=None)
    scenario.emulator.script(agent_id, [(40, "running")])
    ran = run.try_once()
    assert (ran.result, ran.error) == (agent_id, None)


@MODES
def test_an_update_explains_a_refused_start(deferrable, scenario, task):
    agent_id = seed(scenario, "stopped", name="alpha", config={"model": "gpt-4", "temperature": 0.9})
    run = task(ConnixCreateAgentOperator, if_exists="update", deferrable=deferrable, **CREATE)
    # The service is still updating the agent, and does not show it.
    shown = Fault.unknown_status("stopped")
    scenario.emulator.faults.add(shown, on=["get_agent", "list_agents"], times=8)
    scenario.emulator.faults.add(CONFLICT, on="start_agent", times=2)
    ran = run.try_once()
    assert (ran.result, ran.error) == (agent_id, None)
    assert scenario.executed("start_agent") == 1


@MODES
@pytest.mark.parametrize(("again", "executed"), [("retry", 1), ("same try", 1), ("clear", 2)])
def test_a_restart_that_is_done(again, executed, deferrable, scenario, task):
    agent_id = seed(scenario)
    run = task(ConnixRestartAgentOperator, agent_id=agent_id, deferrable=deferrable)
    assert run.try_once().result == agent_id
    if again == "clear":
        run.clear()
    assert run.try_once(same_try=again == "same try").result == agent_id
    assert scenario.executed("restart_agent") == executed


@MODES
def test_a_restart_that_timed_out_is_awaited(deferrable, scenario, task):
    agent_id = seed(scenario)
    run = task(ConnixRestartAgentOperator, agent_id=agent_id, deferrable=deferrable, timeout=60)
    scenario.emulator.faults.add(Fault.unknown_status(), on="get_agent", after=1, times=None)
    assert isinstance(run.try_once().error, ConnixAgentTimeoutError)
    scenario.emulator.faults.clear()
    assert run.try_once().result == agent_id
    assert scenario.executed("restart_agent") == 1


@MODES
def test_a_restart_that_stayed_down_is_repeated(deferrable, scenario, task):
    agent_id = seed(scenario)
    run = task(ConnixRestartAgentOperator, agent_id=agent_id, deferrable=deferrable)
    scenario.emulator.faults.add(Fault.unknown_status("stopped"), on="get_agent", after=1, times=None)
    assert isinstance(run.try_once().error, ConnixAgentFailedError)
    scenario.emulator.faults.clear()
    assert run.try_once().result == agent_id
    assert scenario.executed("restart_agent") == 2


@MODES
def test_a_done_restart_ignores_a_later_error(deferrable, scenario, task):
    agent_id = seed(scenario)
    run = task(ConnixRestartAgentOperator, agent_id=agent_id, deferrable=deferrable)
    assert run.try_once().result == agent_id
    scenario.emulator.set_status(agent_id, "error")
    assert run.try_once(same_try=True).result == agent_id
    assert scenario.executed("restart_agent") == 1


@MODES
def test_a_record_counts_for_its_agent_alone(deferrable, scenario, task):
    first, second = seed(scenario, name="alpha"), seed(scenario, name="beta")
    run = task(ConnixRestartAgentOperator, agent_id=first, deferrable=deferrable)
    assert run.try_once().result == first
    assert run.try_once(same_try=True, agent_id=second).result == second
    assert [entry.agent_id for entry in scenario.emulator.journal.executed("restart_agent")] == [
        first,
        second,
    ]


@STORES
@MODES
def test_a_cleared_delete_by_name_deletes_new_agent(deferrable, remembering, scenario, task):
    first = seed(scenario, name="alpha")
    run = task(ConnixDeleteAgentOperator, remembering=remembering, agent_name="alpha", deferrable=deferrable)
    scenario.emulator.faults.add(FORBIDDEN, on="get_agent", times=1)
    assert run.try_once().error is not None
    scenario.emulator.clock.advance(60)
    second = seed(scenario, name="alpha")
    run.clear()
    ran = run.try_once()
    assert (ran.result, ran.error) == (second, None)
    assert first != second
    assert scenario.agents() == []


@STORES
@MODES
@pytest.mark.parametrize("again", ["retry", "same try"])
def test_a_retried_delete_leaves_a_namesake_alone(again, deferrable, remembering, scenario, task):
    first = seed(scenario, name="alpha")
    run = task(ConnixDeleteAgentOperator, remembering=remembering, agent_name="alpha", deferrable=deferrable)
    scenario.emulator.faults.add(FORBIDDEN, on="get_agent", times=1)
    assert run.try_once().error is not None
    scenario.emulator.clock.advance(60)
    second = seed(scenario, name="alpha")
    assert run.try_once(same_try=again == "same try").result == first
    assert [agent["id"] for agent in scenario.agents()] == [second]


@MODES
def test_a_delete_waits_while_its_agent_is_updating(deferrable, scenario, task):
    agent_id = seed(scenario, "updating")
    scenario.emulator.script(agent_id, [(40, "running")])
    ran = task(ConnixDeleteAgentOperator, agent_id=agent_id, deferrable=deferrable).try_once()
    assert (ran.result, ran.error) == (agent_id, None)
    assert scenario.agents() == []


@MODES
@pytest.mark.parametrize("again", ["retry", "clear"])
def test_an_own_agent_gets_the_present_parameters(again, deferrable, scenario, task):
    run = task(ConnixCreateAgentOperator, deferrable=deferrable, **CREATE)
    agent_id = run.try_once().result
    if again == "clear":
        run.clear()
    changed = {"name": "beta", "config": {"model": "gpt-4", "temperature": 0.5}}
    assert run.try_once(**changed).result == agent_id
    (agent,) = scenario.agents()
    assert (agent["name"], agent["config"]["temperature"]) == ("beta", 0.5)
    assert scenario.executed("update_agent") == 1


@MODES
def test_an_own_equal_agent_is_not_updated(deferrable, scenario, task):
    run = task(ConnixCreateAgentOperator, deferrable=deferrable, **CREATE)
    agent_id = run.try_once().result
    run.clear()
    assert run.try_once().result == agent_id
    assert scenario.executed("update_agent") == 0


#: Names of a mapped create before and after a clear, and what each index ends with: its name, or the error.
MAPPED = [
    pytest.param(["a", "b"], ["b", "a"], [ConnixConflictError] * 2, id="swapped"),
    pytest.param(["a", "b"], ["a", "b", "c"], ["a", "b", "c"], id="appended"),
    pytest.param(["a", "b"], ["c", "b"], ["c", "b"], id="renamed"),
    pytest.param(["a", "b"], ["c", "a", "b"], ["c", "a", "b"], id="inserted first"),
    pytest.param(["a", "b"], ["a", "c", "b"], ["a", "c", "b"], id="inserted"),
]


@pytest.mark.parametrize(("before", "after", "ends"), MAPPED)
@MODES
def test_a_mapped_create_matches_key_and_name(before, after, ends, deferrable, scenario, task):
    dag_id = f"mapped_{next(NUMBERS)}"
    runs = [
        task(
            ConnixCreateAgentOperator,
            dag_id=dag_id,
            map_index=index,
            deferrable=deferrable,
            config={"model": "gpt-4"},
            name=name,
        )
        for index, name in enumerate([*before, *[None] * (len(after) - len(before))])
    ]
    ids = [run.try_once().result for run in runs[: len(before)]]
    for run in runs:
        run.clear()
    by_name = {agent["name"]: agent["id"] for agent in scenario.agents()}
    assert [by_name[name] for name in before] == ids
    for run, name, end in zip(runs, after, ends, strict=True):
        ran = run.try_once(name=name)
        if isinstance(end, str):
            assert ran.error is None
            now = {agent["id"]: agent["name"] for agent in scenario.agents()}
            assert now[ran.result] == name == end
        else:
            assert isinstance(ran.error, end)
            assert repr(name) in str(ran.error)


@pytest.mark.parametrize("status", ["running", "paused", "stopped", "error"])
@MODES
def test_if_exists_update_leaves_it_described_and_running(status, deferrable, scenario, task):
    agent_id = seed(scenario, status, name="alpha", config={"model": "gpt-3"})
    run = task(ConnixCreateAgentOperator, if_exists="update", deferrable=deferrable, **CREATE)
    assert run.try_once().result == agent_id
    (agent,) = scenario.agents()
    assert agent["status"] == "running"
    assert agent["config"]["model"] == "gpt-4"
    assert scenario.executed("restart_agent") == (status == "error")
    assert scenario.executed("start_agent") == (status in {"paused", "stopped"})


@STORES
@MODES
@pytest.mark.parametrize("is_own", [True, False], ids=["own agent", "if_exists=update"])
@pytest.mark.parametrize(("again", "executed"), [("retry", 1), ("same try", 1), ("clear", 2)])
def test_a_create_restarts_its_agent_in_error_once(
    again, executed, is_own, deferrable, remembering, scenario, task
):
    arguments = {"if_exists": "update", "deferrable": deferrable, **CREATE}
    run = task(ConnixCreateAgentOperator, remembering=remembering, **arguments)
    agent_id = run.try_once().result if is_own else seed(scenario, **CREATE)
    scenario.emulator.set_status(agent_id, "error")
    scenario.emulator.clock.advance(60)
    # The task ends after its restart was accepted, and before the agent shows it.
    scenario.emulator.faults.add(FORBIDDEN, on="get_agent", after=1, times=1)
    assert run.try_once().error is not None
    assert scenario.executed("restart_agent") == 1
    scenario.emulator.script(agent_id, [(4, "stopped"), (5, "running")])
    if again == "clear":
        run.clear()
    ran = run.try_once(same_try=again == "same try")
    assert (ran.result, ran.error) == (agent_id, None)
    assert scenario.executed("restart_agent") == executed


@pytest.mark.parametrize("status", ["running", "creating", "paused", "stopped", "error"])
@MODES
def test_if_exists_adopt_changes_nothing(status, deferrable, scenario, task):
    agent_id = seed(scenario, status, name="alpha")
    if status == "creating":
        scenario.emulator.script(agent_id, [(20, "running")])
    ran = task(ConnixCreateAgentOperator, if_exists="adopt", deferrable=deferrable, **CREATE).try_once()
    if status in {"running", "creating"}:
        assert ran.result == agent_id
    else:
        assert isinstance(ran.error, ConnixAgentFailedError)
        assert status in str(ran.error)
    changed = [entry for entry in scenario.emulator.journal.executed() if entry.method != "GET"]
    assert changed == []


@pytest.mark.parametrize("if_exists", ["fail", "adopt", "update"])
def test_each_if_exists_choice_gives_the_same_reason(if_exists, scenario, task, caplog):
    caplog.set_level("INFO")
    agent_id = seed(scenario, name="alpha", metadata={"airflow_task_run": "prod/dag/run/task/-1"})
    ran = task(ConnixCreateAgentOperator, if_exists=if_exists, **CREATE).try_once()
    said = f"gent 'alpha' ({agent_id}) exists, is running, and was created by "
    assert said in (str(ran.error) if if_exists == "fail" else caplog.text)
    assert "created by the Airflow task run prod/dag/run/task/-1, not by this" in (
        str(ran.error) + caplog.text
    )


def test_another_deployment_has_another_key(scenario, task, monkeypatch):
    options = {"dag_id": "in_two_deployments", **CREATE}
    monkeypatch.setenv("AIRFLOW__CONNIX__DEPLOYMENT_ID", "prod")
    assert task(ConnixCreateAgentOperator, **options).try_once().error is None
    monkeypatch.setenv("AIRFLOW__CONNIX__DEPLOYMENT_ID", "dev")
    ran = task(ConnixCreateAgentOperator, **options).try_once()
    assert isinstance(ran.error, ConnixConflictError)
    assert "prod/in_two_deployments/run/task/-1" in str(ran.error)
    assert scenario.executed("create_agent") == 1


@pytest.mark.parametrize(("on_failure", "left"), [("keep", 1), ("delete", 0)])
@pytest.mark.parametrize("fault", [Fault.ends_in_error(), Fault.unknown_status("hibernating")])
@MODES
def test_on_failure_keeps_or_deletes_the_agent(fault, deferrable, on_failure, left, scenario, task):
    on = "create_agent" if fault == Fault.ends_in_error() else "get_agent"
    scenario.emulator.faults.add(fault, on=on, times=None)
    run = task(ConnixCreateAgentOperator, on_failure=on_failure, deferrable=deferrable, **CREATE)
    assert run.try_once().error is not None
    assert len(scenario.agents()) == left


def test_on_failure_leaves_an_adopted_agent_alone(scenario, task):
    seed(scenario, "error", name="alpha")
    run = task(ConnixCreateAgentOperator, on_failure="delete", if_exists="adopt", **CREATE)
    assert isinstance(run.try_once().error, ConnixAgentFailedError)
    assert len(scenario.agents()) == 1


@pytest.mark.parametrize(
    ("ends_in", "left"), [(AirflowTaskTimeout, 0), (KeyboardInterrupt, 1), (SystemExit, 1)]
)
def test_on_failure_deletes_after_execution_timeout_alone(ends_in, left, scenario, task, monkeypatch):
    def end(*_: object, **__: object) -> None:
        raise ends_in

    monkeypatch.setattr(ConnixCreateAgentOperator, "wait_for", end)
    with pytest.raises(ends_in):
        task(ConnixCreateAgentOperator, on_failure="delete", **CREATE).try_once()
    assert scenario.executed("create_agent") == 1
    assert len(scenario.agents()) == left


@MODES
def test_an_update_that_differs_in_nothing_sends_nothing(deferrable, scenario, task):
    agent_id = seed(scenario, "paused", description="same", config={"temperature": 0.5, "tools": ["a"]})
    same = {"description": "same", "config": {"temperature": 0.5, "tools": ["a"]}}
    run = task(ConnixUpdateAgentOperator, agent_id=agent_id, deferrable=deferrable, **same)
    assert run.try_once().result == agent_id
    assert scenario.executed("update_agent") == 0


@MODES
def test_a_breaking_update_fails_in_every_try(deferrable, scenario, task):
    agent_id = seed(scenario)
    scenario.emulator.faults.add(Fault.ends_in_error(), on="update_agent", times=None)
    run = task(ConnixUpdateAgentOperator, agent_id=agent_id, description="new", deferrable=deferrable)
    for _ in range(2):
        assert isinstance(run.try_once().error, ConnixAgentFailedError)
    assert scenario.executed("update_agent") == 1


@MODES
def test_a_renaming_update_finds_its_agent_again(deferrable, scenario, task):
    agent_id = seed(scenario, name="alpha")
    scenario.emulator.faults.add(FORBIDDEN, on="get_agent", after=1, times=1)
    run = task(ConnixUpdateAgentOperator, agent_name="alpha", name="beta", deferrable=deferrable)
    assert run.try_once().error is not None
    assert run.try_once().result == agent_id
    assert scenario.executed("update_agent") == 1


@pytest.mark.parametrize("ends_in", [AirflowTaskTimeout, KeyboardInterrupt, SystemExit])
def test_the_last_try_leaves_no_variable(ends_in, scenario, task, variables, monkeypatch):
    agent_id = seed(scenario)

    def end(*_: object) -> None:
        raise ends_in

    monkeypatch.setattr(ConnixRestartAgentOperator, "wait_for", end)
    run = task(ConnixRestartAgentOperator, remembering=False, retries=0, agent_id=agent_id)
    with pytest.raises(ends_in):
        run.try_once()
    assert scenario.executed("restart_agent") == 1
    assert variables == {}


def test_a_success_leaves_no_variable(scenario, task, variables):
    run = task(ConnixRestartAgentOperator, remembering=False, agent_id=seed(scenario))
    assert run.try_once().error is None
    assert variables == {}


def test_a_conflict_without_an_agent_is_retried(scenario, task):
    conflict = Fault.status(409, code="agent_conflict", message="Agent name already exists in this project")
    scenario.emulator.faults.add(conflict, on="create_agent", times=4)
    ran = task(ConnixCreateAgentOperator, **CREATE).try_once()
    assert ran.error is None
    assert scenario.executed("create_agent") == 1


def test_a_create_lost_among_conflicts_may_have_happened(scenario, task):
    conflict = Fault.status(409, code="agent_conflict", message="Agent name already exists in this project")
    scenario.emulator.faults.add(conflict, on="create_agent", times=6)
    scenario.emulator.faults.add(Fault.reset_before(), on="create_agent", times=1)
    ran = task(ConnixCreateAgentOperator, **CREATE).try_once()
    assert "The create may have been executed" in str(ran.error)
    assert ran.error.may_have_executed
    assert scenario.executed("create_agent") == 0


@pytest.mark.parametrize("timeout", [5, 300])
def test_a_lasting_conflict_is_the_final_error(timeout, scenario, task):
    limit = Fault.status(409, code="agent_limit", message="agent limit reached")
    scenario.emulator.faults.add(limit, on="create_agent", times=None)
    began = scenario.warp.time()
    ran = task(ConnixCreateAgentOperator, timeout=timeout, **CREATE).try_once()
    assert isinstance(ran.error, ConnixConflictError)
    assert "agent limit reached" in str(ran.error)
    assert scenario.warp.time() - began <= min(timeout, 40)


@pytest.mark.parametrize("operator", [ConnixCreateAgentOperator, ConnixRestartAgentOperator])
def test_a_permanent_500_fails_after_five_attempts(operator, scenario, task):
    what = CREATE if operator is ConnixCreateAgentOperator else {"agent_id": seed(scenario)}
    call = "create_agent" if operator is ConnixCreateAgentOperator else "restart_agent"
    broken = Fault.status(500, code="internal_error", message="broken inside")
    scenario.emulator.faults.add(broken, on=call, times=None)
    ran = task(operator, timeout=600, **what).try_once()
    assert isinstance(ran.error, ConnixServerError)
    assert "broken inside" in str(ran.error)
    assert len(scenario.emulator.journal.entries(call)) == 5
    assert len(scenario.emulator.journal.entries("list_agents")) <= 6


@MODES
@pytest.mark.parametrize("hint", [3, 40, 3600])
@pytest.mark.parametrize("operator", [ConnixCreateAgentOperator, ConnixRestartAgentOperator])
def test_retry_after_delays_the_retry_of_lost_requests(operator, hint, deferrable, scenario, task):
    what = CREATE if operator is ConnixCreateAgentOperator else {"agent_id": seed(scenario)}
    call = "create_agent" if operator is ConnixCreateAgentOperator else "restart_agent"
    later = Fault.status(503, code="service_unavailable", headers={"Retry-After": str(hint)})
    scenario.emulator.faults.add(later, on=call, times=1)
    began = scenario.warp.time()
    ran = task(operator, deferrable=deferrable, **what).try_once()
    if hint == 3600:
        # The task has no such time.
        assert isinstance(ran.error, ConnixServerError)
        assert len(scenario.emulator.journal.entries(call)) == 1
    else:
        assert ran.error is None
        assert scenario.warp.time() - began >= hint


@MODES
@pytest.mark.parametrize("is_executed", [False, True])
@pytest.mark.parametrize("operator", [ConnixCreateAgentOperator, ConnixRestartAgentOperator])
def test_a_501_is_sent_once(operator, is_executed, deferrable, scenario, task):
    what = CREATE if operator is ConnixCreateAgentOperator else {"agent_id": seed(scenario)}
    call = "create_agent" if operator is ConnixCreateAgentOperator else "restart_agent"
    fault = Fault.status(501, code="not_implemented", message="no such thing", executed=is_executed)
    scenario.emulator.faults.add(fault, on=call, times=None)
    ran = task(operator, deferrable=deferrable, **what).try_once()
    if is_executed:
        assert ran.error is None
    else:
        assert isinstance(ran.error, ConnixServerError)
        assert "no such thing" in str(ran.error)
    assert len(scenario.emulator.journal.entries(call)) == 1


def test_deleting_a_missing_agent_is_an_error(scenario, task):
    ran = task(ConnixDeleteAgentOperator, agent_id="agent_none").try_once()
    assert isinstance(ran.error, ConnixNotFoundError)
