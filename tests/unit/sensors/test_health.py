"""Every check, met, missed and without data, has one outcome in every mode; so has every error."""

from __future__ import annotations

import logging

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from in_process import TaskRun

from connix_provider.client.errors import ConnixAuthenticationError
from connix_provider.emulator import Fault
from connix_provider.exceptions import (
    ConnixAgentGoneError,
    ConnixAgentUnhealthyError,
    ConnixSensorTimeoutError,
)
from connix_provider.health import HealthPolicy
from connix_provider.polling.worker_loop import PollingSession
from connix_provider.sensors import health_wait
from connix_provider.sensors.health import ConnixAgentHealthSensor

pytestmark = [pytest.mark.heavy, pytest.mark.one_airflow]

HOWS = {"poke": {"mode": "poke"}, "reschedule": {"mode": "reschedule"}, "deferred": {"deferrable": True}}
MODES = pytest.mark.parametrize("how", HOWS.values(), ids=HOWS)

#: For each check: a limit, metrics that keep it, metrics that break it, metrics without data.
METRICS = {
    "min_success_rate": (
        0.9,
        {"completed": 95, "failed": 5},
        {"completed": 80, "failed": 20},
        "success_rate",
    ),
    "min_completed_tasks": (50, {"completed": 50}, None, "completed"),
    "max_failed_tasks": (5, {"failed": 5}, {"failed": 6}, "failed"),
    "max_avg_response_time": (2, {"avg_response_time": 2}, {"avg_response_time": 2.1}, "avg_response_time"),
    "max_p95_response_time": (8, {"p95_response_time": 8}, {"p95_response_time": 9}, "p95_response_time"),
    "max_p99_response_time": (15, {"p99_response_time": 15}, {"p99_response_time": 16}, "p99_response_time"),
    "max_cpu_usage": (0.5, {"cpu_usage": 0.5}, {"cpu_usage": 0.51}, "cpu_usage"),
    "max_memory_usage": (0.5, {"memory_usage": 0.5}, {"memory_usage": 0.9}, "memory_usage"),
    "max_disk_usage": (0.5, {"disk_usage": 0.5}, {"disk_usage": 1}, "disk_usage"),
}


@pytest.fixture
def sense(connection, warp):
    """Run a sensor to its end."""

    def run(**arguments):
        arguments = {"poke_interval": 10, "timeout": 60, "deferrable": False, **arguments}
        return TaskRun(warp, ConnixAgentHealthSensor, remembering=True, **arguments).try_once()

    return run


@pytest.fixture
def agent_id(emulator):
    (agent_id,) = emulator.seed(name="gate")
    return agent_id


def fails(ran, error, *says):
    assert type(ran.error) is error, ran.error
    for words in says:
        assert words in str(ran.error)


@MODES
@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_met(name, how, sense, emulator, agent_id):
    limit, kept, _, _ = METRICS[name]
    emulator.set_metrics(agent_id, **kept)
    assert sense(agent_id=agent_id, health={name: limit}, **how).result == agent_id


@MODES
@pytest.mark.parametrize("name", [name for name in METRICS if METRICS[name][2]])
def test_a_metric_is_missed_until_it_is_met(name, how, sense, emulator, agent_id):
    limit, kept, broken, _ = METRICS[name]
    emulator.set_metrics(agent_id, **broken)
    ran = sense(agent_id=agent_id, health=HealthPolicy(**{name: limit}), **how)
    says = (
        f"Agent 'gate' ({agent_id}) was not healthy within the time allowed (60 s): it was last seen running"
    )
    fails(ran, ConnixSensorTimeoutError, says, "its last report: the", f"({name})")
    emulator.set_metrics(agent_id, after=25, **kept)
    assert sense(agent_id=agent_id, health={name: limit}, **how).result == agent_id


@MODES
@pytest.mark.parametrize("name", METRICS)
def test_a_metric_without_data_is_never_healthy(name, how, sense, emulator, agent_id):
    limit, _, _, field = METRICS[name]
    emulator.set_metrics(agent_id, **{field: None})
    health = {name: limit}
    ran = sense(agent_id=agent_id, health=health, **how)
    fails(ran, ConnixSensorTimeoutError, f"is missing ({name}=")
    ran = sense(agent_id=agent_id, health=health, on_unknown="fail", **how)
    fails(ran, ConnixAgentUnhealthyError, "is of unknown health", f"is missing ({name}=")
    assert ran.error.agent_id == agent_id
    assert ran.error.agent_name == "gate"
    assert ran.error.status == "running"


@MODES
def test_a_status_is_met_missed_and_unknown(how, sense, emulator, agent_id):
    health = {"statuses": "running"}
    assert sense(agent_name="gate", health=health, **how).result == agent_id
    emulator.set_status(agent_id, "error")
    fails(sense(agent_id=agent_id, health=health, **how), ConnixSensorTimeoutError, "the status is error")
    emulator.script(agent_id, [(25, "running")])
    assert sense(agent_id=agent_id, health=health, **how).result == agent_id
    emulator.set_status(agent_id, "hibernating")
    ran = sense(agent_id=agent_id, health=health, on_unknown="fail", **how)
    fails(ran, ConnixAgentUnhealthyError, "the status is 'hibernating', wanted running (statuses)")


@MODES
def test_silence_is_met_missed_and_unknown(how, sense, emulator):
    # A paused agent of the emulator logs nothing by itself.
    (agent_id,) = emulator.seed(status="paused")
    health = {"max_silence": 3600, "statuses": "paused"}
    ran = sense(agent_id=agent_id, health=health, on_unknown="fail", **how)
    fails(ran, ConnixAgentUnhealthyError, "the time since the last activity is missing (max_silence=3600)")
    emulator.add_logs(agent_id, 1, after=-3590)
    assert sense(agent_id=agent_id, health=health, **how).result == agent_id
    emulator.clock.advance(30)
    ran = sense(agent_id=agent_id, health=health, **how)
    fails(ran, ConnixSensorTimeoutError, "the time since the last activity is 36", "wanted at most 3600 s")


@MODES
def test_error_logs_are_met_and_missed_and_age(how, sense, emulator, agent_id):
    health = {"max_error_logs": 2, "window": 900}
    emulator.add_logs(agent_id, 2, "error")
    assert sense(agent_id=agent_id, health=health, **how).result == agent_id
    emulator.add_logs(agent_id, 2, "error")
    ran = sense(agent_id=agent_id, health=health, **how)
    fails(ran, ConnixSensorTimeoutError, "the number of error log lines is 4, wanted at most 2")
    assert sense(agent_id=agent_id, health=health, **how, timeout=1000).result == agent_id


@MODES
def test_healthy_for_wants_an_unbroken_time(how, sense, emulator, agent_id, warp):
    emulator.set_metrics(agent_id, cpu_usage=0.1)
    emulator.set_metrics(agent_id, after=15, cpu_usage=0.9)
    emulator.set_metrics(agent_id, after=45, cpu_usage=0.1)
    began = warp.time()
    ran = sense(agent_id=agent_id, health={"max_cpu_usage": 0.5}, healthy_for=30, timeout=300, **how)
    assert ran.result == agent_id
    # Healthy polls at 50, 60, 70 and 80 s.
    assert 75 <= warp.time() - began <= 85


@MODES
@pytest.mark.parametrize(
    ("at_least", "healthy", "is_enough"),
    [(None, 3, True), (None, 2, False), (2, 2, True), ("2", 1, False), ("60%", 2, True), ("67%", 2, False)],
)
def test_a_quorum_is_met_or_missed(at_least, healthy, is_enough, how, sense, emulator):
    agents = emulator.seed(3, name="team-{n}")
    emulator.seed(2, name="other-{n}", status="error")
    for agent_id in agents[healthy:]:
        emulator.set_status(agent_id, "error")
    ran = sense(agents={"name": "team-*"}, at_least=at_least, health={"statuses": "running"}, **how)
    if is_enough:
        assert ran.result == {
            "agents": 3,
            "healthy": healthy,
            "not_healthy": agents[healthy:],
            "not_measured": [],
        }
    else:
        says = f"{healthy} of 3 agents are healthy"
        named = f"Agent 'team-{healthy + 1}' ({agents[healthy]}): the status is error, wanted running"
        fails(ran, ConnixSensorTimeoutError, says, "within the time allowed (60 s)", named)
        assert (ran.error.agent_id, ran.error.status) == (agents[healthy], "error")


@MODES
@pytest.mark.parametrize("failing", [4, None], ids=["half a minute", "forever"])
def test_an_unseen_agent_counts_for_a_minute(failing, how, sense, emulator):
    (seen,), (late,) = emulator.seed(name="team-1"), emulator.seed(name="team-2", status="error")
    emulator.script(late, [(35 if failing else 150, "running")])
    emulator.faults.add(Fault.status(503), on="get_agent", agent_id=seen, after=2, times=failing)
    began = emulator.clock.timestamp()
    ran = sense(agents={"ids": [seen, late]}, health={"statuses": "running"}, timeout=300, **how)
    if failing:
        assert ran.result == {"agents": 2, "healthy": 2, "not_healthy": [], "not_measured": []}
        if how != HOWS["reschedule"]:
            # The poll of the first agent at 40 s fails. A rescheduled process knows only its own polls.
            assert emulator.clock.timestamp() - began < 45
    else:
        fails(ran, ConnixSensorTimeoutError, "1 of 2 agents are healthy", "Agent 'team-1'")
        assert ran.error.agent_id == seen


@MODES
def test_a_quorum_holds_at_the_same_time(how, sense, emulator):
    first, second = emulator.seed(2, name="team-{n}")
    emulator.script(first, [(15, "error"), (40, "running")])
    emulator.script(second, [(0.001, "error"), (20, "running"), (10, "error"), (60, "running")])
    ran = sense(agents={"ids": [first, second]}, health={"statuses": "running"}, timeout=300, **how)
    assert ran.result == {"agents": 2, "healthy": 2, "not_healthy": [], "not_measured": []}
    assert emulator.agent(first)["status"] == emulator.agent(second)["status"] == "running"


@MODES
def test_a_quorum_fails_once_it_cannot_be_met(how, sense, emulator):
    agents = emulator.seed(3, name="team-{n}", status="stopped")
    for agent_id in agents[:2]:
        emulator.script(agent_id, [(15, None)])
    health, selected = {"statuses": "running"}, {"name": "team-*"}
    ran = sense(agents=selected, at_least=2, health=health, timeout=300, **how)
    fails(
        ran,
        ConnixAgentGoneError,
        "0 of 3 agents are healthy, wanted 2; 2 cannot become healthy anymore. Agent 'team-1'",
    )


@MODES
def test_a_quorum_survives_a_loss_that_it_allows(how, sense, emulator):
    agents = emulator.seed(3, name="team-{n}", status="stopped")
    emulator.script(agents[0], [(15, None)])
    for agent_id in agents[1:]:
        emulator.script(agent_id, [(35, "running")])
    ran = sense(agents={"name": "team-*"}, at_least=2, health={"statuses": "running"}, timeout=300, **how)
    assert ran.result == {"agents": 3, "healthy": 2, "not_healthy": agents[:1], "not_measured": []}


@MODES
def test_the_selection_is_fixed_at_the_start(how, sense, emulator):
    (agent_id,) = emulator.seed(name="team-1", status="stopped")
    emulator.script(agent_id, [(35, "running")])
    late = emulator.seed(name="late", status="stopped", metadata={"team": "a"})
    emulator.script(late[0], [(15, "error")])
    ran = sense(agents={"statuses": "stopped", "names": ["team-1", "late"]}, at_least=1, timeout=300,
                health={"statuses": "running"}, **how)  # fmt: skip
    assert ran.result == {"agents": 2, "healthy": 1, "not_healthy": late, "not_measured": []}
    assert len([entry for entry in emulator.journal.entries() if entry.call == "list_agents"]) == 1 + (
        "deferrable" in how and len(emulator.journal.entries("list_agents")) - 1
    )


@MODES
@pytest.mark.parametrize("remembering", [True, False], ids=["store", "no store"])
def test_each_try_selects_its_own_agents(remembering, how, connection, warp, emulator):
    emulator.seed(name="team-1", status="stopped")
    arguments = {"poke_interval": 10, "timeout": 60, "deferrable": False, **how}
    selected = {"agents": {"name": "team-*"}, "health": {"statuses": "running"}, "at_least": 1}
    run = TaskRun(warp, ConnixAgentHealthSensor, remembering=remembering, **selected, **arguments)
    assert type(run.try_once().error) is ConnixSensorTimeoutError
    emulator.seed(name="team-2")
    ran = run.try_once()
    assert ran.result["agents"] == 2


@pytest.mark.parametrize("remembering", [True, False], ids=["store", "no store"])
def test_a_sensor_without_a_store_keeps_its_slot(remembering, connection, warp, emulator):
    (agent_id,) = emulator.seed(name="team-1", status="stopped")
    emulator.script(agent_id, [(35, "running")])
    arguments = {"poke_interval": 10, "timeout": 60, "deferrable": False, "mode": "reschedule"}
    selected = {"agents": {"name": "team-*"}, "health": {"statuses": "running"}}
    run = TaskRun(warp, ConnixAgentHealthSensor, remembering=remembering, **selected, **arguments)
    ran = run.try_once()
    assert ran.result["healthy"] == 1
    assert (ran.reschedules > 0) is remembering


@MODES
def test_an_empty_selection_is_refused_by_default(how, sense, emulator):
    selector = {"name": "absent-*"}
    ran = sense(agents=selector, health={"statuses": "running"}, **how)
    fails(ran, ValueError, "no agent of project", "give allow_empty=True")
    ran = sense(agents={**selector, "allow_empty": True}, health={"statuses": "running"}, **how)
    assert ran.result == {"agents": 0, "healthy": 0, "not_healthy": [], "not_measured": []}


TRANSIENT = {
    "503": Fault.status(503),
    "429": Fault.rate_limited(retry_after=5, hints="header"),
    "reset": Fault.reset_before(),
}


@MODES
@pytest.mark.parametrize("call", ["get_agent", "get_metrics", "get_logs"])
@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
def test_a_transient_error_ends_nothing(fault, call, how, sense, emulator, agent_id):
    emulator.set_metrics(agent_id)
    emulator.faults.add(fault, on=call, times=2)
    ran = sense(agent_id=agent_id, health={"max_cpu_usage": 1, "max_error_logs": 1}, timeout=300, **how)
    assert ran.result == agent_id


@MODES
@pytest.mark.parametrize("call", ["get_metrics", "get_logs"])
@pytest.mark.parametrize("code", ["agent_not_found", "metrics_not_found", None])
def test_a_404_of_data_is_no_missing_agent(code, call, how, sense, emulator, agent_id):
    emulator.set_metrics(agent_id)
    emulator.faults.add(Fault.status(404, code=code), on=call, times=3)
    ran = sense(agent_id=agent_id, health={"max_cpu_usage": 1, "max_error_logs": 1}, timeout=300, **how)
    assert ran.result == agent_id


@MODES
@pytest.mark.parametrize("call", ["get_agent", "get_metrics", "get_logs"])
def test_a_refused_key_ends_the_wait(call, how, sense, emulator, agent_id):
    emulator.faults.add(Fault.status(401, code="unauthorized"), on=call, times=None)
    ran = sense(agent_id=agent_id, health={"max_cpu_usage": 0.1, "max_error_logs": 0}, soft_fail=True, **how)
    fails(ran, ConnixAuthenticationError, f"Could not wait for agent {agent_id} to be healthy"[:20])


@MODES
def test_a_selection_reads_a_refused_key_again(how, sense, emulator, agent_id, connection, monkeypatch):
    select_with = health_wait.select_with

    def with_a_refused_key(*args):
        connection(password=emulator.add_key())
        emulator.revoke_key(emulator.api_key)
        return select_with(*args)

    monkeypatch.setattr(health_wait, "select_with", with_a_refused_key)
    ran = sense(agents={"name": "gate"}, health={"statuses": "running"}, **how)
    assert ran.error is None, ran.error
    assert len([entry for entry in emulator.journal.entries() if entry.status == 401]) == 1


@MODES
def test_a_selection_outlasts_a_missing_connection(how, sense, emulator, agent_id, connection, monkeypatch):
    reload_key, missing = PollingSession.reload_key, [AirflowNotFoundException("not defined")]

    def reload_later(session):
        if missing:
            raise missing.pop()
        return reload_key(session)

    monkeypatch.setattr(PollingSession, "reload_key", reload_later)
    emulator.faults.add(Fault.status(401, code="unauthorized"), on="list_agents", times=1)
    ran = sense(agents={"name": "gate"}, health={"statuses": "running"}, timeout=300, **how)
    assert ran.error is None, ran.error
    assert not missing


@MODES
def test_an_agent_that_is_gone_ends_the_wait(how, sense, emulator, agent_id):
    gone = Fault.status(404, code="agent_not_found")
    emulator.faults.add(gone, on="get_agent", times=None, after=1)
    emulator.set_metrics(agent_id, cpu_usage=0.9)
    ran = sense(agent_id=agent_id, health={"max_cpu_usage": 0.5}, timeout=300, **how)
    fails(ran, ConnixAgentGoneError, "waited for it to be healthy")


@MODES
def test_an_outage_times_out_with_the_last_report(how, sense, emulator, agent_id):
    emulator.set_metrics(agent_id, cpu_usage=0.9)
    emulator.faults.add(Fault.status(503), on="get_metrics", times=None, after=1)
    ran = sense(agent_id=agent_id, health={"max_cpu_usage": 0.5}, **how)
    fails(ran, ConnixSensorTimeoutError, "the last poll failed: ConnixServerError")
    if "mode" not in how or how["mode"] != "reschedule":
        # Each process of a rescheduled sensor logs the reports that it has.
        assert "the CPU usage is 0.9, wanted at most 0.5" in str(ran.error)


@MODES
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"health": {}}, "a health policy needs statuses or a limit"),
        ({"health": {"min_success_rate": 95}}, "from 0 to 1"),
        ({"health": {"max_silent": 1}}, "Did you mean 'max_silence'?"),
        ({"agent_name": "gate"}, "exactly one of agent_id, agent_name and agents"),
        ({"agents": {"name": "*"}}, "given agent_id and agents"),
        ({"agent_id": None}, "given none"),
        ({"at_least": 1}, "at_least goes with agents only"),
        ({"agent_id": None, "agents": {"name": "*"}, "at_least": "101%"}, "at_least must be a whole number"),
        ({"agent_id": None, "agents": {"name": "*"}, "at_least": 0}, "at_least must be more than 0"),
        ({"agent_id": None, "agents": {"nmae": "*"}}, "Did you mean 'name'?"),
        ({"healthy_for": -1}, "healthy_for must be"),
        ({"on_unknown": "skip"}, "on_unknown must be 'wait' or 'fail'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_sent(arguments, says, how, sense, emulator, agent_id):
    emulator.journal.clear()
    ran = sense(**{"agent_id": agent_id, "health": {"statuses": "running"}, **how, **arguments})
    fails(ran, ValueError, says)
    assert not emulator.journal.entries()


@MODES
def test_more_than_all_agents_cannot_be_wanted(how, sense, emulator):
    emulator.seed(2, name="team-{n}")
    ran = sense(agents={"name": "team-*"}, at_least=3, health={"statuses": "running"}, **how)
    fails(ran, ValueError, "at_least is 3, but only 2 agents were selected")


def test_each_change_is_logged_once(sense, emulator, agent_id, caplog, monkeypatch):
    # Where Airflow sends the lines of a task differs from version to version.
    monkeypatch.setattr(ConnixAgentHealthSensor, "log", logging.getLogger("connix_provider.sensors"))
    emulator.set_metrics(agent_id, cpu_usage=0.9)
    emulator.set_metrics(agent_id, after=25, cpu_usage=0.8)
    emulator.set_metrics(agent_id, after=45, cpu_usage=0.1)
    caplog.set_level("INFO")
    sense(agent_id=agent_id, health={"max_cpu_usage": 0.5}, timeout=300)
    lines = [line for line in caplog.messages if "is unhealthy" in line]
    assert len(lines) == 1
    assert f"Agent 'gate' ({agent_id}) is unhealthy: the CPU usage is 0.9, wanted at most 0.5" in lines[0]


def test_a_check_of_statuses_sends_one_get(sense, emulator, agent_id):
    sense(agent_id=agent_id, health={"statuses": "running"})
    assert [entry.call for entry in emulator.journal.entries()] == ["get_agent"]


def test_agents_beyond_the_metrics_limit_are_all_measured(sense, emulator):
    agents = emulator.seed(70, name="team-{n}")
    for agent_id in agents:
        emulator.set_metrics(agent_id)
    for how in HOWS.values():
        ran = sense(agents={"name": "team-*"}, health={"max_cpu_usage": 1}, timeout=600, **how)
        assert ran.error is None, (how, ran.error)
        assert ran.result["healthy"] == 70
        emulator.clock.advance(120)
    assert not [entry for entry in emulator.journal.entries() if entry.status == 429]
