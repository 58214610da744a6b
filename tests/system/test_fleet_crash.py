"""No agent of a fleet is acted on twice, and no health gate opens early, although processes are killed."""

from __future__ import annotations

import collections
import itertools
import pathlib
from collections.abc import Callable, Iterator, Sequence

import pytest
from real_airflow import RealAirflow
from tally import record

from connix_provider.emulator import Durations, Emulator, Fault, Limits

pytestmark = pytest.mark.slow

DAGS = pathlib.Path(__file__).with_name("dags")
MODES = ("worker", "deferred")
#: Agents of a fleet, and those of them that may be unavailable, as in the DAG.
FLEET, MAX_UNAVAILABLE = 16, 3
SUCCESS_RATES = {"healthy": 1.0, "unhealthy": 0.5}


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    # An agent is down from its restart on, so that its history shows when it was acted on.
    with Emulator(
        durations=Durations(restarting_down=0.0, restarting_up=0.5), limits=Limits.off()
    ) as running:
        yield running


@pytest.fixture(scope="module")
def airflow(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealAirflow]:
    with RealAirflow(
        tmp_path_factory.mktemp("fleet") / "home",
        DAGS,
        emulator,
        AIRFLOW__CORE__PARALLELISM="8",
        # A worker whose supervisor was killed is missed after this many seconds, not after five minutes.
        AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT="15",
        AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL="2",
        AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME="0.3",
        AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC="2",
        AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD="6",
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def clean(emulator: Emulator) -> None:
    emulator.faults.clear()
    emulator.journal.clear()


@pytest.fixture
def fleets(emulator: Emulator, request: pytest.FixtureRequest) -> dict[str, list[str]]:
    """Seed a fleet for each mode, and return their agents."""
    name = request.node.name.replace("_", "-")
    return {mode: emulator.seed(FLEET, name=f"{name}-{mode}-{{n}}") for mode in MODES}


@pytest.fixture
def start(airflow: RealAirflow, request: pytest.FixtureRequest) -> Callable[..., str]:
    """Return what starts a DAG for the fleet of a mode."""
    name = request.node.name.replace("_", "-")
    return lambda dag_id, mode, **conf: airflow.run(dag_id, fleet=f"{name}-{mode}", **conf)


def test_a_killed_restart_goes_on_with_the_rest(airflow, emulator, fleets, start):
    for agents in fleets.values():
        # The first kill comes when the restart is executed but its response is lost, ...
        emulator.faults.add(Fault.hang(executed=True), on="restart_agent", agent_id=agents[5])
    # ... the second one before the restart is executed.
    emulator.faults.add(Fault.hang(), on="restart_agent", agent_id=fleets["worker"][9])
    runs = {mode: start(f"fleet_{mode}", mode) for mode in MODES}

    half_way = {}
    for mode in reversed(MODES):
        kill_in_restart(airflow, emulator, f"fleet_{mode}", runs[mode], fleets[mode][5])
        half_way[mode] = sum(restarts(emulator, fleets[mode]).values())
    airflow.until(
        "the deferred fleet is deferred again, with more agents restarted",
        lambda: (
            sum(restarts(emulator, fleets["deferred"]).values()) > half_way["deferred"]
            and airflow.states("fleet_deferred", runs["deferred"]) == {"task": "deferred"}
        ),
    )
    airflow.kill("triggerer")
    at_kill = sum(restarts(emulator, fleets["deferred"]).values())
    kill_in_restart(airflow, emulator, "fleet_worker", runs["worker"], fleets["worker"][9], supervisor=True)
    airflow.start("triggerer")
    states = {mode: airflow.until_ended(f"fleet_{mode}", run_id) for mode, run_id in runs.items()}

    tally("worker, supervisor and triggerer killed", emulator, fleets, states)
    assert half_way == {"worker": 6, "deferred": 6}
    assert 6 < at_kill < FLEET, "the triggerer was not killed half-way"
    for mode, agents in fleets.items():
        log = airflow.log(f"fleet_{mode}", runs[mode], "task")
        assert states[mode] == "success", log
        assert restarts(emulator, agents) == dict.fromkeys(agents, 1), log
        assert 1 < most_unavailable(emulator, agents) <= MAX_UNAVAILABLE, log
        assert tries(airflow, f"fleet_{mode}", runs[mode]) > (2 if mode == "worker" else 1)
        assert airflow.xcom(f"fleet_{mode}", runs[mode], "task")["summary"] == {
            "done": FLEET,
            "failed": 0,
            "not_touched": 0,
        }


def test_a_run_killed_after_its_last_agent_succeeds(airflow, emulator, fleets, start, tmp_path):
    few = {mode: agents[:4] for mode, agents in fleets.items()}
    for agents in fleets.values():
        for agent_id in agents[4:]:
            emulator.remove(agent_id)
    held = {mode: tmp_path / mode for mode in MODES}
    runs = {mode: start(f"fleet_{mode}", mode, held=str(held[mode])) for mode in MODES}
    for mode, run_id in runs.items():
        airflow.until(f"the {mode} fleet is done", held[mode].exists)
        airflow.kill_worker(f"fleet_{mode}", run_id, "task")
    states = {mode: airflow.until_ended(f"fleet_{mode}", run_id) for mode, run_id in runs.items()}

    tally("worker killed after the last agent", emulator, few, states)
    for mode, agents in few.items():
        log = airflow.log(f"fleet_{mode}", runs[mode], "task")
        assert states[mode] == "success", log
        assert restarts(emulator, agents) == dict.fromkeys(agents, 1), log
        assert tries(airflow, f"fleet_{mode}", runs[mode]) > 1, "the worker was not killed"
        assert airflow.xcom(f"fleet_{mode}", runs[mode], "task")["summary"]["done"] == 4


def test_a_cleared_run_restarts_no_completed_agent(airflow, emulator, fleets, start):
    broken = {mode: agents[5] for mode, agents in fleets.items()}
    for agent_id in broken.values():
        emulator.faults.add(Fault.ends_in_error(), on="restart_agent", agent_id=agent_id, times=None)
    runs = {mode: start(f"fleet_once_{mode}", mode) for mode in MODES}
    reason = "1 agent failed, and max_failures is 0"
    failed = {mode: until_said(airflow, f"fleet_once_{mode}", runs[mode], reason) for mode in MODES}
    before = {mode: restarts(emulator, agents) for mode, agents in fleets.items()}
    emulator.faults.clear()
    for mode, run_id in runs.items():
        airflow.clear(f"fleet_once_{mode}", run_id, "task")
    over = f"{FLEET} of {FLEET} agents are done."
    states = {mode: until_said(airflow, f"fleet_once_{mode}", runs[mode], over) for mode in MODES}

    healthy = {mode: [each for each in fleets[mode] if each != broken[mode]] for mode in MODES}
    tally("cleared after a failure", emulator, healthy, states)
    for mode, agents in fleets.items():
        log = airflow.log(f"fleet_once_{mode}", runs[mode], "task")
        assert failed[mode] == "failed", log
        assert 5 < len(before[mode]) < FLEET, before[mode]
        assert states[mode] == "success", log
        after = restarts(emulator, agents)
        assert {each: after[each] for each in healthy[mode]} == dict.fromkeys(healthy[mode], 1), log
        assert after[broken[mode]] == before[mode][broken[mode]] + 1
        assert most_unavailable(emulator, agents) <= MAX_UNAVAILABLE, log


def test_a_killed_health_gate_opens_in_time(airflow, emulator, start, request):
    gates, name = ("deferred", "reschedule"), request.node.name.replace("_", "-")
    agents = {mode: emulator.seed(5, name=f"{name}-{mode}-{{n}}") for mode in gates}
    heal(emulator, itertools.chain(*agents.values()), "unhealthy")
    runs = {mode: start(f"fleet_gate_{mode}", mode) for mode in gates}

    def polls(mode: str) -> int:
        return min(len(emulator.journal.entries("get_metrics", each)) for each in agents[mode])

    def state(mode: str) -> str:
        return airflow.states(f"fleet_gate_{mode}", runs[mode])["task"]

    airflow.until(
        "the deferred gate waits", lambda: state("deferred") == "deferred" and polls("deferred") > 1
    )
    airflow.until("the other gate waits", lambda: polls("reschedule") > 1)
    airflow.kill("triggerer")
    victim = agents["reschedule"][2]
    emulator.faults.add(Fault.hang(), on="get_metrics", agent_id=victim)
    airflow.until("the worker hangs", lambda: any(e.fault for e in emulator.journal.entries(None, victim)))
    airflow.kill_worker("fleet_gate_reschedule", runs["reschedule"], "task")
    # One agent fewer than the gate needs.
    for mode in gates:
        heal(emulator, agents[mode][:3], "healthy")
    emulator.journal.clear()
    airflow.start("triggerer")
    for mode in gates:
        airflow.until(f"the {mode} gate waits again", lambda mode=mode: polls(mode) > 2)
    during = {mode: state(mode) for mode in gates}
    for mode in gates:
        heal(emulator, agents[mode][3:4], "healthy")
    states = {mode: airflow.until_ended(f"fleet_gate_{mode}", run_id) for mode, run_id in runs.items()}

    assert not {"success", "failed"} & set(during.values()), during
    for mode, run_id in runs.items():
        assert states[mode] == "success", airflow.log(f"fleet_gate_{mode}", run_id, "task")
        result = airflow.xcom(f"fleet_gate_{mode}", run_id, "task")
        assert (result["agents"], result["healthy"]) == (5, 4)
        assert result["not_healthy"] == agents[mode][4:]
    assert tries(airflow, "fleet_gate_reschedule", runs["reschedule"]) > 1, "the worker was not killed"


def kill_in_restart(
    airflow: RealAirflow,
    emulator: Emulator,
    dag_id: str,
    run_id: str,
    agent_id: str,
    *,
    supervisor: bool = False,
) -> None:
    """Kill the task's worker in the middle of an agent's restart."""
    airflow.until(
        f"{dag_id} restarts {agent_id}",
        lambda: any(entry.fault == "hang" for entry in emulator.journal.entries("restart_agent", agent_id)),
        lambda: airflow.log(dag_id, run_id, "task"),
    )
    airflow.kill_worker(dag_id, run_id, "task", supervisor=supervisor)


def until_said(airflow: RealAirflow, dag_id: str, run_id: str, text: str) -> str:
    """Wait for the end of a run whose log has a text, and return its state."""
    for _ in range(5):
        state = airflow.until_ended(dag_id, run_id)
        if text in airflow.log(dag_id, run_id, "task"):
            return state
        # LocalExecutor lost the task when it was resumed (apache/airflow #71580).
        airflow.clear(dag_id, run_id, "task")
    raise AssertionError(f"{text!r} is not in {airflow.log(dag_id, run_id, 'task')}")


def restarts(emulator: Emulator, agents: Sequence[str]) -> dict[str, int]:
    """Return how often each agent was restarted, by the emulator's journal."""
    executed = (entry.agent_id for entry in emulator.journal.executed("restart_agent"))
    return dict(collections.Counter(each for each in executed if each in agents))


def most_unavailable(emulator: Emulator, agents: Sequence[str]) -> int:
    """Return how many agents were not running at the same time, by the emulator's history."""
    changes = []
    for agent_id in agents:
        steps = [(at, status != "running") for at, status in emulator.history(agent_id)]
        for (_, was_down), (at, is_down) in itertools.pairwise(steps):
            changes.append((at, is_down - was_down))
    return max(itertools.accumulate(step for _, step in sorted(changes)))


def heal(emulator: Emulator, agents: Iterator[str] | Sequence[str], health: str) -> None:
    """Set the metrics of agents."""
    for agent_id in agents:
        completed = round(100 * SUCCESS_RATES[health])
        emulator.set_metrics(agent_id, completed=completed, failed=100 - completed)


def tries(airflow: RealAirflow, dag_id: str, run_id: str) -> int:
    """Return the number of the task's last try."""
    (task,) = airflow.tasks(dag_id, run_id)
    return int(task["try_number"])


def tally(what: str, emulator: Emulator, fleets: dict[str, list[str]], states: dict[str, str]) -> None:
    """Count the agents that were restarted twice."""
    for mode, agents in fleets.items():
        record(
            f"crash: fleet, {mode}: {what}",
            "succeeded" if states[mode] == "success" else "failed",
            unsafe_repeats=sum(times - 1 for times in restarts(emulator, agents).values()),
        )
