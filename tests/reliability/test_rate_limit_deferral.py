"""A deferrable task that would sleep long for its budget gives its slot back, and loses nothing by it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from scenarios import Scenario, open_scenario

from connix_provider.client.errors import ConnixAuthenticationError, ConnixRateLimitError
from connix_provider.emulator import Clock, Emulator, Fault, Limits
from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixDeleteAgentOperator,
    ConnixRestartAgentOperator,
    ConnixStartAgentOperator,
    ConnixStopAgentOperator,
    ConnixUpdateAgentOperator,
)
from connix_provider.triggers.rate_limit import ConnixRateLimitTrigger

pytestmark = pytest.mark.heavy

ARGUMENTS = {"poll_interval": 5, "timeout": 600, "deferrable": True}


def _agent(scenario: Scenario, status: str) -> str:
    (agent_id,) = scenario.emulator.seed(status=status, project_id=scenario.project_id)
    scenario.warp.sleep(60)
    return agent_id


def test_a_limited_task_defers_and_resumes(scenario):
    agent_id = _agent(scenario, "stopped")
    scenario.emulator.faults.add(Fault.rate_limited(retry_after=50), on="start_agent", times=2)
    ran = scenario.task(ConnixStartAgentOperator, agent_id=agent_id, **ARGUMENTS).try_once()
    assert (ran.result, ran.error) == (agent_id, None)
    assert ran.deferrals == 3
    assert scenario.executed("start_agent") == 1


def test_a_short_rate_limit_defers_no_task(scenario):
    agent_id = _agent(scenario, "stopped")
    scenario.emulator.faults.add(Fault.rate_limited(retry_after=2), on="start_agent", times=2)
    ran = scenario.task(ConnixStartAgentOperator, agent_id=agent_id, **ARGUMENTS).try_once()
    assert (ran.result, ran.error, ran.deferrals) == (agent_id, None, 1)


def test_a_worker_task_never_defers(scenario):
    agent_id = _agent(scenario, "stopped")
    scenario.emulator.faults.add(Fault.rate_limited(retry_after=50), on="start_agent", times=2)
    arguments = {**ARGUMENTS, "deferrable": False}
    ran = scenario.task(ConnixStartAgentOperator, agent_id=agent_id, **arguments).try_once()
    assert (ran.result, ran.error, ran.deferrals) == (agent_id, None, 0)


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize(("hint", "timeout"), [(3600, 600), (120, 25)])
def test_no_429_is_final_before_the_deadline(scenario, deferrable, hint, timeout):
    agent_id = _agent(scenario, "stopped")
    scenario.emulator.faults.add(Fault.rate_limited(retry_after=hint), on="start_agent", times=None)
    arguments = {**ARGUMENTS, "timeout": timeout, "deferrable": deferrable}
    ran = scenario.task(ConnixStartAgentOperator, agent_id=agent_id, **arguments).try_once()
    assert isinstance(ran.error, ConnixRateLimitError)
    assert "start" in str(ran.error)
    assert scenario.warp.time() >= ran.deadline - 1
    tries = len(scenario.emulator.journal.entries("start_agent"))
    assert tries == (ran.deferrals if deferrable else tries)
    # A hint may be far off: a limit is full again within a minute as a rule.
    assert tries in range(timeout // 60, timeout // 60 + 2)


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_wrong_retry_after_costs_a_minute(scenario, deferrable):
    agent_id = _agent(scenario, "stopped")
    scenario.emulator.faults.add(Fault.rate_limited(retry_after=3600), on="start_agent")
    arguments = {**ARGUMENTS, "timeout": 80, "deferrable": deferrable}
    ran = scenario.task(ConnixStartAgentOperator, agent_id=agent_id, **arguments).try_once()
    assert (ran.result, ran.error) == (agent_id, None)


def test_deferral_does_not_extend_the_deadline(scenario):
    agent_id = _agent(scenario, "stopped")
    scenario.emulator.faults.add(Fault.rate_limited(retry_after=50), on="start_agent", times=6)
    arguments = {**ARGUMENTS, "timeout": 200}
    ran = scenario.task(ConnixStartAgentOperator, agent_id=agent_id, **arguments).try_once()
    assert isinstance(ran.error, ConnixRateLimitError)
    assert 1 <= ran.deferrals <= 4
    assert scenario.warp.time() == pytest.approx(ran.deadline, abs=1)
    assert not scenario.executed("start_agent")


@pytest.mark.parametrize("remembering", [False, True], ids=["Variable", "task_state_store"])
def test_a_lost_restart_is_not_sent_again(remembering, scenario, monkeypatch):
    if not remembering:
        pytest.importorskip("airflow.models.variable")
        _keep_variables(monkeypatch)
    agent_id = _agent(scenario, "running")
    scenario.emulator.faults.add(Fault.reset_after(), on="restart_agent", times=1)
    scenario.emulator.faults.add(Fault.rate_limited(retry_after=50), on="get_agent", after=1, times=1)
    ran = scenario.task(
        ConnixRestartAgentOperator, remembering=remembering, agent_id=agent_id, **ARGUMENTS
    ).try_once()
    assert (ran.result, ran.error) == (agent_id, None)
    assert scenario.executed("restart_agent") == 1


def test_a_lost_create_is_not_sent_again(scenario):
    scenario.emulator.faults.add(Fault.reset_after(), on="create_agent", times=1)
    scenario.emulator.faults.add(Fault.rate_limited(retry_after=50), on="list_agents", times=1)
    ran = scenario.task(ConnixCreateAgentOperator, remembering=True, name="new", **ARGUMENTS).try_once()
    assert ran.error is None
    assert scenario.executed("create_agent") == 1
    assert len(scenario.agents()) == 1


#: For each rate limit: the operator, its arguments besides the agent's name, and the limit's name.
LIMITED = {
    "create_agent": (ConnixCreateAgentOperator, {"name": "alpha"}, "Create Agent"),
    "list_agents": (ConnixStopAgentOperator, {"agent_name": "alpha"}, "List Agents"),
    "get_agent": (ConnixStopAgentOperator, {"agent_name": "alpha"}, "Get Agent"),
    "stop_agent": (ConnixStopAgentOperator, {"agent_name": "alpha"}, "Agent Actions"),
    "update_agent": (ConnixUpdateAgentOperator, {"agent_name": "alpha", "description": "x"}, "Update Agent"),
    "delete_agent": (ConnixDeleteAgentOperator, {"agent_name": "alpha"}, "Delete Agent"),
}


@pytest.mark.parametrize("call", LIMITED)
def test_a_limited_tasks_end_is_the_same(call, scenario):
    operator, arguments, limit = LIMITED[call]
    if call != "create_agent":
        scenario.emulator.seed(status="running", name="alpha", project_id=scenario.project_id)
    texts = []
    for deferrable in (False, True):
        scenario.warp.sleep(120)
        scenario.emulator.faults.clear()
        scenario.emulator.faults.add(Fault.rate_limited(retry_after=60), on=call, times=None)
        options = {**ARGUMENTS, "timeout": 100, "deferrable": deferrable, **arguments}
        error = scenario.task(operator, remembering=True, **options).try_once().error
        assert type(error) is ConnixRateLimitError
        says = (
            f"The rate limit on {limit} requests delayed the task by 100 s, and the time allowed is 100 s. "
        )
        assert says in str(error)
        assert "run fewer at a time, set a longer timeout, or use a key of its own" in str(error)
        assert error.link in str(error)
        assert (error.agent_name, error.project_id) == ("alpha", scenario.project_id)
        texts.append(str(error).replace(str(error.request_id), ""))
    assert texts[0] == texts[1]


def test_limited_tasks_resume_at_the_limits_pace(monkeypatch):
    with (
        Emulator(clock=Clock(frozen=True), limits=Limits(actions=5)) as emulator,
        open_scenario(emulator, monkeypatch) as scenario,
    ):
        agent_ids = emulator.seed(20, status="stopped", project_id=scenario.project_id)
        scenario.connect()
        began = scenario.warp.time()
        for agent_id in agent_ids:
            run = scenario.task(ConnixStartAgentOperator, agent_id=agent_id, **ARGUMENTS)
            assert run.try_once().result == agent_id
        assert not [entry for entry in emulator.journal.entries() if entry.status == 429]
        assert scenario.warp.time() - began < 5 * 60


def _keep_variables(monkeypatch):
    """Keep Airflow's Variables of this test in memory: there is no task runner to ask for them."""
    kept: dict[str, str] = {}
    path = "connix_provider.operators._base.task_state.Variable"
    monkeypatch.setattr(f"{path}.set", lambda name, value, description=None: kept.__setitem__(name, value))
    monkeypatch.setattr(f"{path}.get", lambda name, default=None: kept.get(name, default))
    monkeypatch.setattr(f"{path}.delete", lambda name: kept.pop(name, None))
    return kept


@pytest.mark.parametrize("is_last", [False, True], ids=["a retry follows", "the last try"])
def test_the_last_try_leaves_no_record(is_last, scenario, monkeypatch):
    kept = _keep_variables(monkeypatch)
    agent_id = _agent(scenario, "running")
    scenario.emulator.faults.add(Fault.status(401, code="unauthorized"), on="get_agent", after=1)
    task = ConnixRestartAgentOperator(task_id="task", agent_id=agent_id, project_id=scenario.project_id)
    ti = SimpleNamespace(
        dag_id="dag", run_id="run", task_id="task", map_index=-1, try_number=1 + is_last, max_tries=1
    )
    with pytest.raises(ConnixAuthenticationError):
        task.execute({"ti": ti})
    assert scenario.executed("restart_agent") == 1
    assert len(kept) == (not is_last)


@pytest.mark.parametrize("event", [None, "soon", {}, {"deadline": "soon"}, {"deadline": True}])
def test_a_foreign_event_is_refused(event):
    task = ConnixStartAgentOperator(task_id="task", agent_id="agent_1", **ARGUMENTS)
    with pytest.raises(ValueError, match="not with an event of its trigger"):
        task.resume_after_rate_limit({}, event)


async def test_a_trigger_leaves_missing_connections_to_the_task(scenario):
    trigger = ConnixRateLimitTrigger("action", 0.0, scenario.warp.time() + 60, "connix_of_nobody")
    (event,) = [event async for event in trigger.run()]
    assert event.payload == {"bucket": "action", "deadline": trigger.deadline, "resume_with": {}}


def test_trigger_arguments_are_json_without_secrets(scenario):
    agent_id = _agent(scenario, "stopped")
    scenario.emulator.faults.add(Fault.rate_limited(retry_after=50), on="start_agent")
    task = ConnixStartAgentOperator(
        task_id="task", agent_id=agent_id, project_id=scenario.project_id, **ARGUMENTS
    )
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({})
    path, arguments = deferred.value.trigger.serialize()
    assert path == "connix_provider.triggers.rate_limit.ConnixRateLimitTrigger"
    assert scenario.emulator.api_key not in json.dumps(arguments)
    assert ConnixRateLimitTrigger(**json.loads(json.dumps(arguments))).serialize() == (path, arguments)
