"""A fleet is acted on a few agents at a time, in every mode, and no agent twice."""

from __future__ import annotations

from contextlib import suppress

import pytest
from dag_store import airflow_version
from fleets import TEAM, fleet, requests
from modes import MODES

from connix_provider.client.errors import ConnixAuthenticationError
from connix_provider.emulator import Fault
from connix_provider.exceptions import ConnixFleetError
from connix_provider.operators._fleet.store import FleetStore
from connix_provider.operators.fleet import ConnixFleetOperator

__all__ = ["fleet"]

pytestmark = pytest.mark.heavy

BEFORE = dict.fromkeys(("restart", "stop", "pause", "delete"), "running") | {"start": "stopped"}


def most_at_once(emulator, agents):
    """Return how many agents were not running at the same time, by the emulator's own history."""
    changes = []
    for agent_id in agents:
        was_running = True
        for at, status in emulator.history(agent_id):
            if (status == "running") != was_running:
                was_running = not was_running
                changes.append((at, -1 if was_running else 1))
    most = now = 0
    for _, step in sorted(changes):
        now += step
        most = max(most, now)
    return most


@MODES
def test_a_restart_keeps_max_unavailable_and_canary(deferrable, fleet, emulator):
    agents = emulator.seed(12, name="team-{n}")
    ran = fleet(max_unavailable="25%", canary=1, deferrable=deferrable).try_once()
    assert ran.error is None
    assert ran.result["summary"] == {"done": 12, "failed": 0, "not_touched": 0}
    assert sorted(requests(emulator, "restart_agent")) == sorted(agents)
    assert 1 < most_at_once(emulator, agents) <= 3
    times = [entry.at for entry in emulator.journal.entries("restart_agent")]
    assert times[1] > times[0]
    assert bool(ran.deferrals) is deferrable
    assert not [entry for entry in emulator.journal.entries() if entry.status == 429]


@MODES
@pytest.mark.parametrize(
    ("action", "before", "after"),
    [
        ("restart", "running", "running"),
        ("restart", "error", "running"),
        ("start", "stopped", "running"),
        ("start", "running", "running"),
        ("stop", "running", "stopped"),
        ("pause", "running", "paused"),
        ("delete", "running", None),
    ],
)
def test_every_action_brings_each_agent_to_its_goal(action, before, after, deferrable, fleet, emulator):
    agents = emulator.seed(5, name="team-{n}", status=before)
    ran = fleet(action=action, max_unavailable=2, deferrable=deferrable).try_once()
    assert ran.error is None, ran.error
    assert ran.result["summary"]["done"] == 5
    for agent_id in agents:
        if after is not None:
            assert emulator.agent(agent_id)["status"] == after
    if after is None:
        assert sorted(requests(emulator, "delete_agent")) == sorted(agents)
    assert sorted(ran.result["agents"]) == sorted(agents)


@MODES
def test_more_failures_than_allowed_stop_the_run(deferrable, fleet, emulator):
    agents = emulator.seed(10, name="team-{n}")
    emulator.faults.add(Fault.ends_in_error(), on="restart_agent", times=3)
    ran = fleet(max_unavailable=3, max_failures=2, deferrable=deferrable).try_once()
    assert type(ran.error) is ConnixFleetError
    assert ran.error.result["summary"] == {"done": 0, "failed": 3, "not_touched": 7}
    assert "3 agents failed, and max_failures is 2" in str(ran.error)
    for agent_id in agents[:3]:
        assert agent_id in str(ran.error)
    assert len(requests(emulator, "restart_agent")) == 3


@MODES
def test_failures_within_the_bound_are_named_and_pass(deferrable, fleet, emulator):
    emulator.seed(4, name="team-{n}")
    emulator.faults.add(Fault.ends_in_error(), on="restart_agent", times=1)
    ran = fleet(max_unavailable=2, max_failures=1, deferrable=deferrable).try_once()
    assert ran.error is None
    assert ran.result["summary"] == {"done": 3, "failed": 1, "not_touched": 0}


@MODES
def test_a_refused_key_stops_everything(deferrable, fleet, emulator):
    emulator.seed(4, name="team-{n}")
    emulator.faults.add(Fault.status(401, code="unauthorized"), on="restart_agent")
    ran = fleet(deferrable=deferrable).try_once()
    assert type(ran.error) is ConnixAuthenticationError
    assert len(emulator.journal.entries("restart_agent")) <= 2


@MODES
def test_a_cleared_task_continues_with_the_rest(deferrable, fleet, emulator):
    agents = emulator.seed(6, name="team-{n}")
    task = fleet(max_unavailable=1, deferrable=deferrable)
    emulator.faults.add(Fault.ends_in_error(), on="restart_agent", times=1, after=2)
    ran = task.try_once()
    assert type(ran.error) is ConnixFleetError
    assert ran.error.result["summary"] == {"done": 2, "failed": 1, "not_touched": 3}
    task.clear()
    ran = task.try_once()
    assert ran.error is None
    assert ran.result["summary"]["done"] == 6
    restarts = requests(emulator, "restart_agent")
    assert {agent_id: restarts.count(agent_id) for agent_id in agents} == {
        agent_id: 2 if agent_id == agents[2] else 1 for agent_id in agents
    }


def test_a_clear_after_success_begins_anew(fleet, emulator):
    emulator.seed(2, name="team-{n}")
    task = fleet()
    assert task.try_once().error is None
    task.clear()
    assert task.try_once().error is None
    assert len(requests(emulator, "restart_agent")) == 4


def test_an_old_event_acts_on_no_agent(fleet, emulator):
    agents = emulator.seed(4, name="team-{n}")
    emulator.script(agents[0], [(0, "updating"), (40, "running")])
    task = fleet(max_unavailable=4, max_failures=1, deferrable=True)
    emulator.faults.add(Fault.ends_in_error(), on="restart_agent", agent_id=agents[1])
    assert task.try_once().error is None
    assert len(task.resumptions) > 1
    for number in range(len(task.resumptions)):
        again = task.resume_again(number)
        assert again.error is None
        assert again.result["summary"] == {"done": 3, "failed": 1, "not_touched": 0}
    assert sorted(requests(emulator, "restart_agent")) == sorted(agents)


@MODES
@pytest.mark.parametrize("same_try", [False, True], ids=["next try", "same try"])
def test_a_start_after_success_acts_on_no_agent(same_try, deferrable, fleet, emulator):
    agents = emulator.seed(4, name="team-{n}")
    emulator.faults.add(Fault.ends_in_error(), on="restart_agent", agent_id=agents[1])
    task = fleet(max_unavailable=2, max_failures=1, deferrable=deferrable)
    first = task.try_once()
    # Airflow starts the task again if its process is killed before it reports the success.
    again = task.try_once(same_try=same_try)
    assert again.error is None
    assert again.result == first.result
    assert again.result["summary"] == {"done": 3, "failed": 1, "not_touched": 0}
    assert sorted(requests(emulator, "restart_agent")) == sorted(agents)
    task.clear()
    assert task.try_once().result["summary"] == {"done": 4, "failed": 0, "not_touched": 0}


@MODES
def test_min_healthy_time_and_health_are_awaited(deferrable, fleet, emulator, warp):
    emulator.seed(2, name="team-{n}")
    for arguments in ({"min_healthy_time": 60}, {"min_healthy_time": 60, "health": {"statuses": "running"}}):
        began = warp.time()
        ran = fleet(deferrable=deferrable, **arguments).try_once()
        assert ran.error is None
        assert warp.time() - began >= 120


@MODES
def test_an_unhealthy_agent_fails_at_the_healthy_deadline(deferrable, fleet, emulator, warp):
    (agent_id, _) = emulator.seed(2, name="team-{n}")
    emulator.set_metrics(agent_id, cpu_usage=0.9)
    began = warp.time()
    ran = fleet(health={"max_cpu_usage": 0.5}, healthy_deadline=120, deferrable=deferrable).try_once()
    assert type(ran.error) is ConnixFleetError
    assert ran.error.result["summary"] == {"done": 0, "failed": 1, "not_touched": 1}
    assert "the CPU usage is 0.9" in str(ran.error)
    assert warp.time() - began < 200


HEALTH = {"none": None, "a limit": {"max_cpu_usage": 0.9}, "a status": {"statuses": "running"}}


@MODES
@pytest.mark.parametrize("status", ["error", "stopped", "paused"])
@pytest.mark.parametrize("health", HEALTH.values(), ids=HEALTH)
def test_an_agent_that_goes_down_again_has_failed(health, status, deferrable, fleet, emulator, warp):
    (agent_id, _) = emulator.seed(2, name="team-{n}")
    emulator.set_metrics(agent_id)
    # It runs already, so no request changes the plan.
    emulator.script(agent_id, [(30, status)])
    began = warp.time()
    error = fleet(action="start", health=health, min_healthy_time=60, deferrable=deferrable).try_once().error
    assert type(error) is ConnixFleetError
    assert error.result["agents"][agent_id]["result"] == "failed"
    assert status in error.result["agents"][agent_id]["reason"]
    assert warp.time() - began < 60


@MODES
def test_an_unavailable_agent_counts_and_comes_first(deferrable, fleet, emulator):
    first, second, third = emulator.seed(3, name="team-{n}")
    emulator.set_status(third, "error")
    ran = fleet(max_unavailable=1, deferrable=deferrable).try_once()
    assert ran.error is None
    assert requests(emulator, "restart_agent") == [third, first, second]


BAD = {
    "unknown action": ({"action": "bounce"}, "action must be one of restart, start"),
    "unknown order": ({"order": "size"}, "order must be one of"),
    "a percentage over 100": ({"max_unavailable": "120%"}, "max_unavailable must be"),
    "no agent at a time": ({"max_unavailable": 0}, "max_unavailable must be more than 0"),
    "a canary that is none": ({"canary": "x"}, "canary must be"),
    "an unknown selector": ({"agents": {"nmae": "x"}}, "Did you mean 'name'"),
    "an unknown check": ({"health": {"max_cpu": 1}}, "max_cpu_usage"),
    "health of a stop": ({"action": "stop", "health": {"statuses": "running"}}, "for restart and start"),
    "a bad deadline": ({"healthy_deadline": 0}, "healthy_deadline must be"),
    "a time beyond its deadline": ({"min_healthy_time": 600}, "must be shorter than healthy_deadline"),
}


@MODES
@pytest.mark.parametrize(("arguments", "says"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_before_anything_is_sent(arguments, says, deferrable, fleet, emulator):
    ran = fleet(**{"deferrable": deferrable, **arguments}).try_once()
    assert type(ran.error) is ValueError
    assert says in str(ran.error)
    assert not emulator.journal.entries()


@MODES
def test_more_canaries_than_agents_are_refused(deferrable, fleet, emulator):
    emulator.seed(2, name="team-{n}")
    ran = fleet(canary=3, deferrable=deferrable).try_once()
    assert type(ran.error) is ValueError
    assert "canary is 3, but the fleet has only 2 agents" in str(ran.error)
    assert not emulator.journal.entries("restart_agent")


@MODES
def test_only_rate_limits_slow_two_hundred_agents(deferrable, fleet, emulator, warp):
    agents = emulator.seed(200, name="team-{n}")
    began = warp.time()
    ran = fleet(max_unavailable="10%", canary=2, deferrable=deferrable).try_once()
    assert ran.error is None, ran.error
    assert ran.result["summary"]["done"] == 200
    assert most_at_once(emulator, agents) <= 20
    assert not [entry for entry in emulator.journal.entries() if entry.status == 429]
    assert warp.time() - began < 1.2 * 240


class Killed(BaseException):
    """Stands for SIGKILL."""


@MODES
@pytest.mark.parametrize("action", ["restart", "start", "stop", "pause", "delete"])
@pytest.mark.parametrize("same_try", [False, True], ids=["next try", "same try"])
def test_a_killed_run_acts_on_no_agent_twice(
    same_try, action, deferrable, fleet, emulator, monkeypatch, connection, warp
):
    save, calls = FleetStore.save, 0

    def dies_at(number, *, is_written):
        def saved(self):
            nonlocal calls
            calls += 1
            if calls != number or is_written:
                save(self)
            if calls == number:
                raise Killed

        return saved

    for number in range(2, 12):
        for is_written in (False, True):
            calls = 0
            agents = emulator.seed(3, name=f"team-{number}-{is_written}-{{n}}", status=BEFORE[action])
            selector = {"name": f"team-{number}-{is_written}-*"}
            task = fleet(action=action, agents=selector, max_unavailable=2, deferrable=deferrable)
            with monkeypatch.context() as patch:
                patch.setattr(FleetStore, "save", dies_at(number, is_written=is_written))
                with suppress(Killed):
                    task.try_once()
            if calls < number:
                break  # The run had ended.
            ran = task.try_once(same_try=same_try)
            assert ran.error is None, (number, is_written, ran.error)
            executed = [each for each in requests(emulator, f"{action}_agent") if each in agents]
            assert set(executed) == set(agents), (number, is_written)
            # Only the request whose response nothing recorded is repeated, if that is safe.
            assert len(executed) - 3 <= (action != "restart" and not is_written), (number, is_written)
            emulator.clock.advance(120)


@MODES
@pytest.mark.parametrize("fault", ["reset_after", "reset_before", "cut_body"])
def test_lost_responses_restart_no_agent_twice(fault, deferrable, fleet, emulator):
    agents = emulator.seed(6, name="team-{n}")
    emulator.faults.add(getattr(Fault, fault)(), on="restart_agent", times=3)
    ran = fleet(max_unavailable=3, deferrable=deferrable).try_once()
    assert ran.error is None, ran.error
    assert sorted(requests(emulator, "restart_agent")) == sorted(agents)


@MODES
def test_a_busy_agent_is_paused_after_it_settles(deferrable, fleet, emulator):
    agents = emulator.seed(2, name="team-{n}")
    emulator.script(agents[0], [(0, "updating"), (40, "running")])
    ran = fleet(action="pause", max_unavailable=2, deferrable=deferrable).try_once()
    assert ran.error is None, ran.error
    assert sorted(requests(emulator, "pause_agent")) == sorted(agents)


@MODES
def test_no_progress_stops_the_run(deferrable, fleet, emulator):
    agents = emulator.seed(4, name="team-{n}")
    emulator.faults.add(Fault.unknown_status(), on="get_agent", times=None, agent_id=agents[0])
    ran = fleet(progress_deadline=60, healthy_deadline=300, max_failures=4, deferrable=deferrable).try_once()
    assert type(ran.error) is ConnixFleetError
    assert ran.error.result["summary"] == {"done": 0, "failed": 1, "not_touched": 3}
    assert "progress_deadline" in str(ran.error)


@MODES
def test_the_time_out_names_untouched_agents(deferrable, fleet, emulator):
    agents = emulator.seed(3, name="team-{n}")
    emulator.faults.add(Fault.unknown_status(), on="get_agent", times=None, agent_id=agents[1])
    ran = fleet(timeout=100, max_failures=3, deferrable=deferrable).try_once()
    assert type(ran.error) is ConnixFleetError
    assert ran.error.result["summary"] == {"done": 1, "failed": 1, "not_touched": 1}
    assert "No further agent was touched: the task's timeout has passed." in str(ran.error)
    assert agents[1] in str(ran.error)


@pytest.mark.parametrize(
    "event", [None, "success", {}, {"deadline": 1.0, "results": {}, "waits": []}], ids=str
)
def test_a_foreign_event_acts_on_no_agent(event):
    task = ConnixFleetOperator(task_id="task", action="restart", agents=TEAM)
    with pytest.raises(ValueError, match="the task was resumed with"):
        task.execute_complete({}, event)


def test_a_fleet_without_a_triggerer_says_so():
    task = ConnixFleetOperator(task_id="task", action="restart", agents=TEAM, timeout=60)
    stored = {"error": "Trigger/execution timeout" if airflow_version() < (3,) else "Trigger timeout"}
    with pytest.raises(
        ConnixFleetError, match=r"Could not restart every agent. No triggerer ran the trigger"
    ):
        task.resume_execution("__fail__", stored, {})
