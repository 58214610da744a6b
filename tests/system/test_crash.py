"""Nothing is lost and nothing is done twice when a worker, the triggerer or the service goes away."""

from __future__ import annotations

import collections
import pathlib
import time
from collections.abc import Iterator

import pytest
from held_starts import hold_starts
from real_airflow import RealAirflow
from tally import record

from connix_provider.client import Client
from connix_provider.emulator import Durations, Emulator, Fault, Limits

pytestmark = pytest.mark.slow

DAGS = pathlib.Path(__file__).with_name("dags")
#: Seconds for which agents stay on their way, until a test moves the emulator's clock.
HELD = 3600.0
DURATIONS = Durations(creating=HELD, starting=HELD, stopping=HELD, deleting=HELD, restarting_down=HELD)
#: Seconds for which the service is down: longer than any pause of the provider between two attempts.
OUTAGE = 60.0


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    # What is asked here is not how a budget is kept: 50 agents looked at every two seconds exceed any.
    with Emulator(durations=DURATIONS, limits=Limits.off()) as running:
        yield running


@pytest.fixture(scope="module")
def airflow(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealAirflow]:
    with RealAirflow(
        tmp_path_factory.mktemp("crash") / "home",
        DAGS,
        emulator,
        AIRFLOW__CORE__PARALLELISM="8",
        # A worker whose supervisor was killed is missed after this many seconds, not after five minutes.
        AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT="20",
        AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL="2",
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def clean(emulator: Emulator) -> None:
    emulator.faults.clear()
    emulator.journal.clear()


#: What holds a worker's request at the moment at which it is killed.
MOMENTS = {"before": Fault.hang(), "during": Fault.hang(executed=True), "after": None}


@pytest.mark.parametrize(
    ("moment", "supervisor"),
    [("before", False), ("during", False), ("after", False), ("during", True), ("after", True)],
)
def test_a_worker_is_killed(moment, supervisor, airflow, emulator):
    agents = {call: f"{call}-{moment}-{supervisor}" for call in ("create", "restart")}
    (restarted,) = emulator.seed(name=agents["restart"])
    runs = {}
    for call, agent in agents.items():
        if fault := MOMENTS[moment]:
            emulator.faults.add(fault, on=f"{call}_agent")
        runs[call] = airflow.run(f"crash_{call}", agent=agent)

    def waits(call: str, attempt: int) -> bool:
        return " s waited" in airflow.log(f"crash_{call}", runs[call], "task", attempt)

    reached = {
        "before": lambda call: emulator.journal.entries(f"{call}_agent"),
        "during": lambda call: emulator.journal.executed(f"{call}_agent"),
        "after": lambda call: waits(call, attempt=1),
    }[moment]
    for call, run_id in runs.items():
        airflow.until(f"the {call} has got there", lambda call=call: bool(reached(call)))
        airflow.kill_worker(f"crash_{call}", run_id, "task", supervisor=supervisor)
    airflow.until("the restart is executed", lambda: bool(emulator.journal.executed("restart_agent")))
    # Only its change shows that it was restarted.
    emulator.set_status(restarted, "updating")
    for call in runs:
        airflow.until(f"the {call} is tried again", lambda call=call: waits(call, attempt=2))
    emulator.set_status(restarted, "running")
    emulator.clock.advance(HELD)
    states = {call: airflow.until_ended(f"crash_{call}", run_id) for call, run_id in runs.items()}

    found = {call: _agents(emulator, agent) for call, agent in agents.items()}
    executed = {call: len(emulator.journal.executed(f"{call}_agent")) for call in agents}
    victim = "worker and supervisor" if supervisor else "worker"
    for call in runs:
        record(
            f"crash: {victim} killed {moment} the {call}",
            "succeeded" if states[call] == "success" else "failed",
            creates_lost=int(call == "create" and not found[call]),
            creates_doubled=max(0, len(found[call]) - 1),
            unsafe_repeats=max(0, executed[call] - 1),
        )
    for call, run_id in runs.items():
        assert states[call] == "success", airflow.log(f"crash_{call}", run_id, "task")
        assert executed[call] == 1, airflow.log(f"crash_{call}", run_id, "task")
        assert len(found[call]) == 1
        assert airflow.xcom(f"crash_{call}", run_id, "task") == found[call][0]
        (task,) = airflow.tasks(f"crash_{call}", run_id)
        assert task["try_number"] > 1, "the worker was not killed"
    assert found["restart"] == [restarted]
    changed = collections.Counter(
        entry.call for entry in emulator.journal.executed() if entry.method != "GET"
    )
    assert changed == {"create_agent": 1, "restart_agent": 1}


def test_the_triggerer_is_killed(airflow, emulator):
    for name, status in (("start", "stopped"), ("stop", "running"), ("delete", "running")):
        emulator.seed(13, status, f"{name}-{{n}}")
    watched = emulator.seed(11, "running", "sensor-{n}")
    run_id = airflow.run("crash_triggerer")
    airflow.until("all are started", lambda: len(hold_starts(emulator)) == 13)
    airflow.until_states("crash_triggerer", run_id, lambda states: states.count("deferred") == 50)
    airflow.kill("triggerer")
    for agent_id in watched:
        emulator.set_status(agent_id, "paused")
    emulator.clock.advance(HELD)
    for agent_id in hold_starts(emulator):
        emulator.set_status(agent_id, "running")
    airflow.start("triggerer")
    state = airflow.until_ended("crash_triggerer", run_id)

    sent = collections.Counter(entry.call for entry in emulator.journal.entries() if entry.method != "GET")
    wanted = {"start_agent": 13, "stop_agent": 13, "delete_agent": 13}
    record(
        "crash: triggerer killed under 50 waits",
        "succeeded" if state == "success" else "failed",
        unsafe_repeats=max(0, sent.total() - sum(wanted.values())),
        tried=50,
    )
    assert state == "success", airflow.states("crash_triggerer", run_id)
    assert list(airflow.states("crash_triggerer", run_id).values()) == ["success"] * 50
    assert sent == wanted


def test_the_service_is_down_for_a_minute(airflow, emulator):
    for name in ("stop-worker", "stop-deferred"):
        emulator.seed(name=name)
    (watched,) = emulator.seed(name="watched")
    run_id = airflow.run("crash_service")
    airflow.until_states(
        "crash_service", run_id, lambda states: states.count("deferred") == 3 == states.count("running")
    )
    airflow.until("all of them wait", lambda: _all_wait(emulator, watched))
    emulator.stop()
    emulator.set_status(watched, "paused")
    emulator.clock.advance(HELD)
    time.sleep(OUTAGE)
    during = airflow.states("crash_service", run_id)
    emulator.start()
    state = airflow.until_ended("crash_service", run_id)

    sent = collections.Counter(entry.call for entry in emulator.journal.entries() if entry.method != "GET")
    created = {where: _agents(emulator, f"outage-{where}") for where in ("worker", "deferred")}
    record(
        "crash: service down for a minute under 6 waits",
        "succeeded" if state == "success" else "failed",
        creates_lost=sum(not found for found in created.values()),
        creates_doubled=sum(max(0, len(found) - 1) for found in created.values()),
        unsafe_repeats=max(0, sent["create_agent"] - 2),
        tried=6,
    )
    assert sorted(during.values()) == ["deferred"] * 3 + ["running"] * 3
    assert state == "success", airflow.states("crash_service", run_id)
    assert sent == {"create_agent": 2, "stop_agent": 2}
    for where, found in created.items():
        assert found == [airflow.xcom("crash_service", run_id, f"create_{where}")]
    for task in during:
        assert "Connix responds again." in airflow.log("crash_service", run_id, task)


def _all_wait(emulator: Emulator, watched: str) -> bool:
    journal = emulator.journal
    acted = [*journal.executed("create_agent"), *journal.executed("stop_agent")]
    return len(acted) == 4 and len(journal.entries("get_agent", watched)) > 4


def _agents(emulator: Emulator, name: str) -> list[str]:
    with Client(emulator.api_key, base_url=emulator.url) as client:
        return [agent.id for agent in client.agents.iter(emulator.project_id) if agent.name == name]
