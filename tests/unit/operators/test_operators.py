"""What the table of cases does not show: retries, templates, Airflow's own clocks and switches."""

from __future__ import annotations

import itertools
import json
from datetime import timedelta
from types import SimpleNamespace
from urllib.parse import quote

import pendulum
import pytest
from airflow.providers.common.compat.sdk import DAG
from dag_store import airflow_version, store
from modes import MODES

from connix_provider.client.errors import ConnixAuthenticationError
from connix_provider.client.ratelimit import Bucket
from connix_provider.emulator import Durations, Emulator, Fault
from connix_provider.exceptions import ConnixAgentTimeoutError, ConnixSensorTimeoutError
from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators._base import identity
from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixPauseAgentOperator,
    ConnixRestartAgentOperator,
    ConnixStartAgentOperator,
    ConnixStopAgentOperator,
)
from connix_provider.operators.fleet import ConnixFleetOperator
from connix_provider.polling import worker_loop
from connix_provider.sensors.agent import ConnixAgentStatusSensor
from connix_provider.sensors.health import ConnixAgentHealthSensor
from connix_provider.triggers.agent import ConnixAgentStatusTrigger

pytestmark = pytest.mark.heavy

CREATE = {"name": "new", "config": {"model": "gpt-4"}, "poll_interval": 5}


@MODES
def test_a_retry_adopts_the_first_trys_agent(deferrable, emulator, run, warp):
    emulator.faults.add(Fault.status(401, code="unauthorized"), on="get_agent", times=1)
    ran = run(ConnixCreateAgentOperator, retries=1, deferrable=deferrable, **CREATE)
    assert (ran.state, ran.error) == ("success", None), ran.log
    assert len(emulator.journal.executed("create_agent")) == 1
    assert len(emulator.journal.entries("create_agent")) == 1
    assert emulator.agent(ran.result)["name"] == "new"


def test_two_runs_of_one_name_conflict(emulator, run, warp):
    first = run(ConnixCreateAgentOperator, **CREATE)
    second = run(ConnixCreateAgentOperator, **CREATE)
    assert (first.state, second.state) == ("success", "failed")
    assert emulator.agent(first.result)["metadata"]["airflow_task_run"] in str(second.error)


def test_an_agents_metadata_names_its_task_run(emulator, run, warp):
    ran = run(ConnixCreateAgentOperator, metadata={"team": "data"}, **CREATE)
    metadata = emulator.agent(ran.result)["metadata"]
    assert metadata["team"] == "data"
    deployment, dag_id, run_id, task_id, map_index = metadata["airflow_task_run"].split("/")
    assert deployment == quote(identity.deployment_id(), safe=":")
    assert dag_id.startswith("case_")
    assert run_id.startswith("manual__")
    assert (task_id, map_index) == ("task", "-1")


def test_the_key_names_every_part_of_a_run():
    one = {"dag_id": "dag", "run_id": "manual__1", "task_id": "task", "map_index": -1}
    others = {"dag_id": "another", "run_id": "manual__2", "task_id": "another", "map_index": 0}
    runs = [one, *({**one, part: other} for part, other in others.items())]
    keys = {identity.identity_key({"ti": SimpleNamespace(**run)}) for run in runs}
    assert len(keys) == 5


def test_mapped_creates_of_one_name_conflict(emulator, connection, warp):
    with DAG("mapped_namesakes", schedule=None, start_date=pendulum.datetime(2024, 1, 1)) as dag:
        ConnixCreateAgentOperator.partial(task_id="create", name="one", poll_interval=5).expand(
            description=["first", "second"]
        )
    store(dag)
    dag_run = dag.test()
    assert sorted(task.state for task in dag_run.get_task_instances()) == ["failed", "success"]
    assert len(emulator.journal.executed("create_agent")) == 1


@pytest.mark.parametrize(("ours", "outcome"), [(True, "success"), (False, "failed")])
def test_a_listing_without_metadata_hides_no_own_agent(ours, outcome, emulator, run, warp, monkeypatch):
    from connix_provider.client.agents import Agents

    iterate = Agents.iter

    def without_metadata(*args, **kwargs):
        return (agent.model_copy(update={"metadata": {}}) for agent in iterate(*args, **kwargs))

    monkeypatch.setattr(Agents, "iter", without_metadata)
    if ours:
        emulator.faults.add(Fault.reset_after(), on="create_agent")
    else:
        emulator.seed(name=CREATE["name"])
    assert run(ConnixCreateAgentOperator, **CREATE).state == outcome
    assert len(emulator.journal.executed("create_agent")) == ours


@MODES
def test_it_does_not_wait_where_told_not_to(deferrable, emulator, run, warp):
    ran = run(ConnixCreateAgentOperator, wait_for_completion=False, deferrable=deferrable, **CREATE)
    assert ran.state == "success"
    assert not emulator.journal.entries("get_agent")
    assert emulator.agent(ran.result)["status"] == "creating"


@MODES
def test_it_polls_at_its_interval(deferrable, emulator, run, warp, connection):
    with Emulator(clock=emulator.clock, durations=Durations(stopping=21)) as slow:
        connection(host=slow.url, password=slow.api_key, extra={"project_id": slow.project_id})
        (agent_id,) = slow.seed(status="running")
        ran = run(ConnixStopAgentOperator, agent_id=agent_id, poll_interval=5, deferrable=deferrable)
        looks = [entry.at.timestamp() for entry in slow.journal.entries("get_agent")]
    assert ran.state == "success"
    # One look before the stop, one right after it, then one each interval until 25 s have passed.
    gaps = [round(later - earlier) for earlier, later in itertools.pairwise(looks)]
    assert gaps == [0, 5, 5, 5, 5, 5]


def test_a_deferrable_task_defers(emulator, run, warp):
    (agent_id,) = emulator.seed(status="running")
    ran = run(ConnixStopAgentOperator, agent_id=agent_id, poll_interval=5, deferrable=True)
    assert "the triggerer continues the polls" in ran.log
    assert ran.result == agent_id


def test_a_task_near_its_end_does_not_defer(run, warp, connection):
    with Emulator(durations=Durations.instant()) as quick:
        connection(host=quick.url, password=quick.api_key, extra={"project_id": quick.project_id})
        (agent_id,) = quick.seed(status="running")
        ran = run(ConnixStopAgentOperator, agent_id=agent_id, deferrable=True)
    assert ran.state == "success"
    assert "the triggerer continues the polls" not in ran.log


def test_templates_are_rendered(emulator, run, warp):
    params = {"who": "templated", "where": emulator.project_id, "t": 0.5}
    ran = run(
        ConnixCreateAgentOperator,
        params=params,
        name="{{ params.who }}",
        project_id="{{ params.where }}",
        config={"model": "gpt-4", "system_prompt": "You are {{ params.who }}"},
        description="{{ task.task_id }}",
    )
    agent = emulator.agent(ran.result)
    assert agent["name"] == "templated"
    assert agent["description"] == "task"
    assert agent["config"]["system_prompt"] == "You are templated"


@MODES
def test_execution_timeout_ends_the_wait(deferrable, emulator, run, warp):
    (agent_id,) = emulator.seed(status="stopped")
    emulator.script(agent_id, [])
    emulator.faults.add(Fault.unknown_status("hibernating"), on="get_agent", after=1, times=None)
    ran = run(
        ConnixStartAgentOperator,
        agent_id=agent_id,
        poll_interval=5,
        deferrable=deferrable,
        execution_timeout=timedelta(seconds=30),
    )
    assert isinstance(ran.error, ConnixAgentTimeoutError), ran.log
    assert warp.slept < 60


def test_no_request_is_sent_after_the_deadline(emulator, run, warp):
    (agent_id,) = emulator.seed(status="running")
    emulator.faults.add(Fault.unknown_status("hibernating"), on="get_agent", after=1, times=None)
    began = emulator.clock.timestamp()
    ran = run(ConnixPauseAgentOperator, agent_id=agent_id, poll_interval=7, timeout=30)
    assert isinstance(ran.error, ConnixAgentTimeoutError)
    last = emulator.journal.entries()[-1].at.timestamp()
    assert last - began < 31


@MODES
def test_a_key_refused_before_the_action_is_final(deferrable, emulator, run, connection, warp):
    (agent_id,) = emulator.seed()
    connection(password="cx_" + "0" * 32)
    ran = run(ConnixStopAgentOperator, agent_id=agent_id, deferrable=deferrable)
    assert isinstance(ran.error, ConnixAuthenticationError)
    assert len(emulator.journal.entries()) == 1


@pytest.mark.parametrize("is_new", [True, False], ids=["another key", "the same key"])
def test_a_worker_reads_a_refused_key_again(is_new, emulator, run, connection, warp, monkeypatch):
    (agent_id,) = emulator.seed(status="running")
    poll_until_done, get_conn, opened = worker_loop.poll_until_done, ConnixHook.get_conn, []

    def keep(self):
        opened.append(get_conn(self))
        return opened[-1]

    def wait_with_a_refused_key(*args):
        if is_new:
            connection(password=emulator.add_key())
        emulator.revoke_key(emulator.api_key)
        return poll_until_done(*args)

    monkeypatch.setattr(worker_loop, "poll_until_done", wait_with_a_refused_key)
    monkeypatch.setattr(ConnixHook, "get_conn", keep)
    ran = run(ConnixStopAgentOperator, agent_id=agent_id, poll_interval=5)
    if is_new:
        assert (ran.state, ran.result) == ("success", agent_id), ran.log
    else:
        assert isinstance(ran.error, ConnixAuthenticationError)
    # The action was requested before.
    refused = [entry for entry in emulator.journal.entries("get_agent") if entry.status == 401]
    assert len(refused) == 1
    assert [client._http.is_closed for client in opened] == [True, True]


def test_worker_polls_leave_the_reserve_to_actions(emulator, run, warp):
    (agent_id,) = emulator.seed(status="running")
    with ConnixHook().get_conn() as client, client.limiter.permit(Bucket.GET) as permit:
        assert permit.try_acquire() == 0
        permit.on_response({"x-ratelimit-limit": "200", "x-ratelimit-remaining": "10"})
    ran = run(ConnixAgentStatusSensor, agent_id=agent_id, poke_interval=5, timeout=20)
    assert isinstance(ran.error, ConnixSensorTimeoutError), ran.log
    assert not emulator.journal.entries()


@pytest.mark.parametrize(
    ("operator", "which"),
    [
        (ConnixCreateAgentOperator, {"name": "new"}),
        (ConnixAgentStatusSensor, {"agent_id": "agent"}),
    ],
)
def test_deferrable_tasks_defer_before_a_delayed_first_poll(
    operator, which, emulator, run, warp, monkeypatch
):
    with ConnixHook().get_conn() as client, client.limiter.permit(Bucket.GET) as permit:
        assert permit.try_acquire() == 0
        permit.on_response({"x-ratelimit-limit": "200", "x-ratelimit-remaining": "0"})

    class DeferredError(Exception):
        pass

    def defer(self, **how):
        raise DeferredError

    monkeypatch.setattr(operator, "defer", defer)
    ran = run(operator, deferrable=True, **which)
    assert isinstance(ran.error, DeferredError), ran.log
    assert warp.slept <= 10
    assert not emulator.journal.entries("get_agent")


def test_a_restart_waits_for_the_next_whole_second(emulator, run, warp, monkeypatch):
    (agent_id,) = emulator.seed(status="running")
    from connix_provider.client.agents import Agents

    get = Agents.get

    def in_whole_seconds(self, *args):
        agent = get(self, *args)
        return agent.model_copy(update={"updated_at": agent.updated_at.replace(microsecond=0)})

    monkeypatch.setattr(Agents, "get", in_whole_seconds)
    ran = run(ConnixRestartAgentOperator, agent_id=agent_id, poll_interval=1)
    assert ran.state == "success"
    assert len(emulator.journal.executed("restart_agent")) == 1


def test_a_missing_triggerer_is_a_timeout():
    class TaskDeferralTimeout(Exception):  # noqa: N818 - Airflow's name
        pass

    def give_up(*_):
        raise TaskDeferralTimeout

    for operator, kind in (
        (ConnixStartAgentOperator(task_id="a", agent_id="x"), ConnixAgentTimeoutError),
        (ConnixAgentStatusSensor(task_id="b", agent_id="x"), ConnixSensorTimeoutError),
    ):
        operator.execute_complete = give_up
        with pytest.raises(kind, match=r"No triggerer ran the trigger .* capacity"):
            operator.resume_execution("execute_complete", None, {})


BAD_EVENTS = [
    None,
    "success",
    [],
    {},
    {"status": "success"},
    {"outcome": "finished", "agent_id": "agent_1", "message": ""},
    {"outcome": "done", "agent_id": "", "message": ""},
    {"outcome": "done", "agent_id": None, "message": ""},
    {"outcome": "done"},
]


@pytest.mark.parametrize("event", BAD_EVENTS, ids=str)
@pytest.mark.parametrize("kind", [ConnixStartAgentOperator, ConnixAgentStatusSensor])
def test_an_event_is_checked_before_it_is_believed(event, kind):
    task = kind(task_id="a", agent_id="agent_1")
    with pytest.raises(ValueError, match="the task was resumed with"):
        task.execute_complete({}, event)


def test_never_fail_skips_a_broken_trigger():
    sensor = ConnixAgentStatusSensor(task_id="b", agent_id="x", never_fail=True)
    from airflow.providers.common.compat.sdk import AirflowSkipException

    with pytest.raises(AirflowSkipException):
        sensor.resume_execution("execute_complete", {"event": None}, {})


def test_an_operators_trigger_arguments_are_json_without_secrets(emulator, connection):
    from airflow.providers.common.compat.sdk import TaskDeferred

    (agent_id,) = emulator.seed(status="stopped")
    task = ConnixStartAgentOperator(task_id="a", agent_id=agent_id, deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({})
    path, arguments = deferred.value.trigger.serialize()
    assert path == "connix_provider.triggers.agent.ConnixAgentStatusTrigger"
    assert emulator.api_key not in json.dumps(arguments)
    assert arguments["goal"] == "start"
    assert arguments["poll_state"]["before"]["status"] == "stopped"
    again = ConnixAgentStatusTrigger(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (path, arguments)
    assert deferred.value.timeout > timedelta(seconds=3600)


@pytest.mark.parametrize(
    ("make", "which"),
    [
        (ConnixAgentStatusSensor, {"agent_name": "new"}),
        (ConnixAgentHealthSensor, {"agent_name": "new", "health": {"statuses": "running"}}),
        (ConnixFleetOperator, {"agents": {"names": "new"}, "action": "restart"}),
    ],
)
def test_other_trigger_arguments_are_json_without_secrets(make, which, emulator, connection):
    from airflow.providers.common.compat.sdk import TaskDeferred

    secret = "canary of a prompt"
    emulator.seed(status="creating", name="new", config={"system_prompt": secret})
    with pytest.raises(TaskDeferred) as deferred:
        make(task_id="b", deferrable=True, **which).execute({})
    path, arguments = deferred.value.trigger.serialize()
    assert emulator.api_key not in json.dumps(arguments)
    assert secret not in json.dumps(arguments)
    again = type(deferred.value.trigger)(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (path, arguments)


@MODES
def test_a_retry_restarts_its_own_failed_agent(deferrable, emulator, run, warp):
    if deferrable and airflow_version() == (3, 0):
        pytest.skip("dag.test() of Airflow 3.0 resumes a deferred task once more instead of trying it again")
    emulator.faults.add(Fault.ends_in_error(), on="create_agent", times=1)
    ran = run(ConnixCreateAgentOperator, retries=1, deferrable=deferrable, **CREATE)
    assert (ran.state, len(emulator.journal.executed("create_agent"))) == ("success", 1), ran.log
    assert len(emulator.journal.executed("restart_agent")) == 1
    assert emulator.agent(ran.result)["status"] == "running"


def test_a_retry_waits_for_its_busy_agent(emulator, run, warp):
    emulator.faults.add(Fault.status(401, code="unauthorized"), on="get_agent", times=1)
    emulator.faults.add(Fault.reset_before(), on="start_agent", times=1)

    def stop(context):
        with ConnixHook().get_conn() as client:
            for agent in client.agents.list(emulator.project_id):
                emulator.set_status(agent.id, "stopped")
                # By another user, after the lost start and before its repeat.
                emulator.script(agent.id, [(0.1, "updating"), (30, "running")])

    ran = run(ConnixCreateAgentOperator, retries=1, on_execute_callback=stop, **CREATE)
    assert ran.state == "success", ran.log
    assert [entry.status for entry in emulator.journal.entries("start_agent")] == [None, 409]
    assert len(emulator.journal.executed("create_agent")) == 1


def test_a_retry_starts_its_own_stopped_agent(emulator, run, warp):
    emulator.faults.add(Fault.status(401, code="unauthorized"), on="get_agent", times=1)

    def stop(context):
        with ConnixHook().get_conn() as client:
            for agent in client.agents.list(emulator.project_id):
                emulator.set_status(agent.id, "stopped")

    ran = run(ConnixCreateAgentOperator, retries=1, on_execute_callback=stop, **CREATE)
    assert ran.state == "success", ran.log
    assert len(emulator.journal.executed("start_agent")) == 1


def test_an_unconfirmed_create_says_so(emulator, run, warp):
    emulator.faults.add(Fault.reset_after(), on="create_agent")
    emulator.faults.add(Fault.status(503), on="list_agents", times=None)
    ran = run(ConnixCreateAgentOperator, timeout=60, **CREATE)
    assert ran.state == "failed"
    assert "an agent named 'new' may exist" in str(ran.error)
    assert "A retry of this task looks for it first" in str(ran.error)
    assert len(emulator.journal.entries("list_agents")) > 4


def test_a_lost_create_sleeps_only_until_the_deadline(emulator, run, warp):
    emulator.faults.add(Fault.reset_before(), on="create_agent", times=None)
    ran = run(ConnixCreateAgentOperator, timeout=2, **CREATE)
    assert "an agent named 'new' may exist (the deadline passed)" in str(ran.error), ran.log
    assert warp.slept <= 2


def test_a_timeout_names_an_unconfirmed_restart(emulator, run, warp):
    (agent_id,) = emulator.seed()
    emulator.clock.advance(60)
    emulator.faults.add(Fault.reset_before(), on="restart_agent")
    ran = run(ConnixRestartAgentOperator, agent_id=agent_id, timeout=3, deferrable=False)
    assert type(ran.error).__name__ == "ConnixConnectionError"
    assert f"({agent_id}) was restarted is unknown: the deadline passed" in str(ran.error)
    assert ran.error.may_have_executed
    assert ran.error.__suppress_context__
