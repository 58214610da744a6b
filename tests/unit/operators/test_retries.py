"""What a retry of a task finds: neither a restart nor a delete of an earlier try is done twice."""

from __future__ import annotations

from contextlib import suppress

import pytest
from dag_store import airflow_version
from in_process import TaskRun
from modes import MODES

from connix_provider.client.errors import ConnixNotFoundError
from connix_provider.emulator import Emulator, Fault
from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixDeleteAgentOperator,
    ConnixRestartAgentOperator,
)

pytestmark = pytest.mark.heavy
#: What ends a try before the action's end is known.
REFUSED = Fault.status(401, code="unauthorized")


def _agent(emulator: Emulator) -> str:
    (agent_id,) = emulator.seed(status="running", name="scenario")
    emulator.clock.advance(60)
    return agent_id


def _unless_3_0(deferrable):
    if deferrable and airflow_version() == (3, 0):
        pytest.skip("dag.test() of Airflow 3.0 resumes a deferred task once more instead of trying it again")


@MODES
def test_a_retry_waits_for_an_earlier_restart(deferrable, emulator, run, warp):
    _unless_3_0(deferrable)
    agent_id = _agent(emulator)
    emulator.faults.add(REFUSED, on="get_agent", after=1, times=1)
    ran = run(ConnixRestartAgentOperator, retries=1, deferrable=deferrable, agent_id=agent_id)
    assert (ran.state, ran.result) == ("success", agent_id), ran.log
    assert len(emulator.journal.entries("restart_agent")) == 1
    assert "An earlier try of this task restarted agent" in ran.log


def test_a_retry_sends_a_restart_refused_before(emulator, run, warp):
    agent_id = _agent(emulator)
    emulator.faults.add(REFUSED, on="restart_agent", times=1)
    ran = run(ConnixRestartAgentOperator, retries=1, agent_id=agent_id)
    assert ran.state == "success", ran.log
    assert len(emulator.journal.executed("restart_agent")) == 1


@pytest.mark.parametrize(
    ("fault", "executed"), [(Fault.reset_before(), 1), (Fault.reset_after(), 1), (Fault.status(503), 1)]
)
def test_a_retry_checks_a_lost_restart(fault, executed, emulator, run, warp):
    agent_id = _agent(emulator)
    emulator.faults.add(fault, on="restart_agent", times=1)
    emulator.faults.add(REFUSED, on="get_agent", after=1, times=1)
    ran = run(ConnixRestartAgentOperator, retries=1, agent_id=agent_id)
    assert ran.state == "success", ran.log
    assert len(emulator.journal.executed("restart_agent")) == executed


@MODES
def test_a_restart_that_failed_is_sent_again(deferrable, emulator, run, warp):
    _unless_3_0(deferrable)
    agent_id = _agent(emulator)
    emulator.faults.add(Fault.ends_in_error(), on="restart_agent", times=1)
    ran = run(ConnixRestartAgentOperator, retries=1, deferrable=deferrable, agent_id=agent_id)
    assert ran.state == "success", ran.log
    assert len(emulator.journal.executed("restart_agent")) == 2


def test_a_retry_repeats_a_failed_restart_once(emulator, run, warp):
    agent_id = _agent(emulator)
    emulator.faults.add(Fault.ends_in_error(), on="restart_agent", times=1)
    emulator.faults.add(REFUSED, on="get_agent", after=1, times=1)

    def later(context):
        emulator.clock.advance(60)

    ran = run(ConnixRestartAgentOperator, retries=1, on_retry_callback=later, agent_id=agent_id)
    assert ran.state == "success", ran.log
    assert len(emulator.journal.executed("restart_agent")) == 2
    assert "ended in error after an earlier try" in ran.log


@MODES
@pytest.mark.parametrize("by", ["agent_id", "agent_name"])
def test_a_retry_accepts_an_earlier_trys_delete(by, deferrable, emulator, run, warp):
    _unless_3_0(deferrable)
    agent_id = _agent(emulator)
    which = {"agent_id": agent_id} if by == "agent_id" else {"agent_name": "scenario"}
    emulator.faults.add(REFUSED, on="get_agent", times=1)

    ran = run(
        ConnixDeleteAgentOperator,
        retries=1,
        deferrable=deferrable,
        on_retry_callback=lambda context: emulator.clock.advance(60),
        **which,
    )
    assert (ran.state, ran.result) == ("success", agent_id), ran.log
    assert len(emulator.journal.executed("delete_agent")) == 1
    assert "An earlier try of this task deleted agent" in ran.log


def test_a_retry_of_a_delete_spares_a_namesake(emulator, run, warp):
    deleted, namesakes = _agent(emulator), []
    emulator.faults.add(REFUSED, on="get_agent", times=1)

    def replace(context):
        emulator.clock.advance(60)
        namesakes.extend(emulator.seed(status="running", name="scenario"))

    ran = run(ConnixDeleteAgentOperator, retries=1, on_retry_callback=replace, agent_name="scenario")
    assert (ran.state, ran.result) == ("success", deleted), ran.log
    assert emulator.agent(namesakes[0])["status"] == "running"


@pytest.mark.parametrize("by", ["agent_id", "agent_name"])
def test_a_refused_repeat_keeps_a_deletes_record(by, emulator, run, warp):
    deleted, namesakes = _agent(emulator), []
    which = {"agent_id": f" {deleted}\n"} if by == "agent_id" else {"agent_name": "scenario"}
    emulator.faults.add(REFUSED, on="get_agent", times=1)
    emulator.faults.add(REFUSED, on="delete_agent", after=1, times=1)

    def replace(context):
        emulator.clock.advance(60)
        if not namesakes:
            namesakes.extend(emulator.seed(status="running", name="scenario"))

    ran = run(ConnixDeleteAgentOperator, retries=2, on_retry_callback=replace, **which)
    assert (ran.state, ran.result) == ("success", deleted), ran.log
    assert [entry.status for entry in emulator.journal.entries("delete_agent")] == [200, 401, 404]
    assert emulator.agent(namesakes[0])["status"] == "running"


def test_a_retry_believes_only_the_agents_own_404(emulator, run, warp):
    agent_id = _agent(emulator)
    emulator.faults.add(Fault.status(503), on="delete_agent", times=5)
    emulator.faults.add(Fault.status(404, code="project_not_found"), on="delete_agent", times=None)
    ran = run(ConnixDeleteAgentOperator, retries=1, agent_id=agent_id)
    assert isinstance(ran.error, ConnixNotFoundError), ran.log
    assert len(emulator.journal.entries("delete_agent")) == 6
    assert emulator.agent(agent_id)["status"] == "running"


@MODES
def test_a_lost_restart_explains_a_refused_repeat(deferrable, emulator, run, warp):
    agent_id = _agent(emulator)
    # The service executes it long after the last check.
    emulator.script(agent_id, [(25, "updating"), (5, "running")])
    emulator.faults.add(Fault.reset_before(), on="restart_agent", times=1)
    emulator.faults.add(Fault.status(409, code="agent_conflict"), on="restart_agent", times=1)
    ran = run(ConnixRestartAgentOperator, agent_id=agent_id, deferrable=deferrable)
    assert (ran.state, ran.error) == ("success", None), ran.log
    assert len(emulator.journal.entries("restart_agent")) == 2
    assert not emulator.journal.executed("restart_agent")


def test_a_retry_checks_after_a_refused_repeat(emulator, run, warp):
    agent_id = _agent(emulator)
    emulator.script(agent_id, [(25, "updating"), (5, "running")])
    emulator.faults.add(Fault.reset_before(), on="restart_agent", times=1)
    emulator.faults.add(REFUSED, on="restart_agent", times=1)

    ran = run(
        ConnixRestartAgentOperator,
        retries=1,
        on_retry_callback=lambda context: emulator.clock.advance(60),
        agent_id=agent_id,
    )
    assert (ran.state, ran.result) == ("success", agent_id), ran.log
    assert len(emulator.journal.entries("restart_agent")) == 2
    assert "An earlier try of this task restarted agent" in ran.log


def test_a_wrong_id_stays_wrong_in_every_try(emulator, run, warp):
    ran = run(ConnixDeleteAgentOperator, retries=2, agent_id="agent_of_nobody")
    assert ran.state == "failed"
    assert isinstance(ran.error, ConnixNotFoundError)
    assert len(emulator.journal.entries("delete_agent")) == 3


@pytest.mark.skipif(airflow_version() >= (3, 3), reason="Airflow 3.3 and later keep it with the task")
def test_nothing_is_left_behind(emulator, run, warp):
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session

    assert run(ConnixRestartAgentOperator, agent_id=_agent(emulator)).state == "success"
    with create_session() as session:
        assert not session.query(Variable).filter(Variable.key.like("connix%")).count()


@MODES
@pytest.mark.parametrize("fault", [Fault.reset_after(), REFUSED], ids=["lost", "killed"])
@pytest.mark.parametrize("same_try", [False, True], ids=["next try", "same try"])
def test_a_second_start_finds_a_renamed_create(
    same_try, fault, deferrable, emulator, connection, warp, monkeypatch
):
    def killed(*arguments, **options):
        raise KeyboardInterrupt

    arguments = {"config": {"model": "gpt-4"}, "deferrable": deferrable, "timeout": 60, "remembering": True}
    task = TaskRun(warp, ConnixCreateAgentOperator, name="run-1", **arguments)
    with monkeypatch.context() as patched:
        if fault is REFUSED:
            patched.setattr(ConnixCreateAgentOperator, "on_sent", killed)
        else:
            emulator.faults.add(fault, on="create_agent")
            emulator.faults.add(Fault.status(403), on="list_agents", times=None)
        with suppress(KeyboardInterrupt):
            task.try_once()
    emulator.faults.clear()
    warp.sleep(20)
    ran = task.try_once(same_try=same_try, name="run-2")
    assert ran.error is None, ran.error
    assert len(emulator.journal.executed("create_agent")) == 1
    assert emulator.agent(ran.result)["name"] == "run-2"
