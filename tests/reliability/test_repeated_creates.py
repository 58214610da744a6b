"""A create leaves one agent, and brings an existing agent to its parameters."""

from __future__ import annotations

import itertools

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout
from modes import MODES, STORES
from scenarios import CREATE, FORBIDDEN

from connix_provider.client.errors import ConnixConflictError
from connix_provider.emulator import Fault
from connix_provider.exceptions import ConnixAgentFailedError
from connix_provider.operators.agent import ConnixCreateAgentOperator

pytestmark = pytest.mark.heavy
NUMBERS = itertools.count()


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
    agent_id = scenario.seed(status, name="alpha", config={"model": "gpt-3"})
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
    agent_id = run.try_once().result if is_own else scenario.seed(**CREATE)
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
    agent_id = scenario.seed(status, name="alpha")
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
    agent_id = scenario.seed(name="alpha", metadata={"airflow_task_run": "prod/dag/run/task/-1"})
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
    scenario.seed("error", name="alpha")
    run = task(ConnixCreateAgentOperator, on_failure="delete", if_exists="adopt", **CREATE)
    assert isinstance(run.try_once().error, ConnixAgentFailedError)
    assert len(scenario.agents()) == 1


@pytest.mark.parametrize(
    ("ends_in", "left"), [(AirflowTaskTimeout, 0), (KeyboardInterrupt, 1), (SystemExit, 1)]
)
def test_on_failure_deletes_after_execution_timeout_alone(ends_in, left, scenario, task, monkeypatch):
    def end(*_: object, **__: object) -> None:
        raise ends_in

    monkeypatch.setattr(ConnixCreateAgentOperator, "make_poller", end)
    with pytest.raises(ends_in):
        task(ConnixCreateAgentOperator, on_failure="delete", **CREATE).try_once()
    assert scenario.executed("create_agent") == 1
    assert len(scenario.agents()) == left


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
