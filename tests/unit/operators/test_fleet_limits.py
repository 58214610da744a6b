"""What stops a fleet's run, and what is a failure of one agent alone."""

from __future__ import annotations

import pytest
from fleets import fleet, requests
from modes import MODES

from connix_provider.emulator import Fault
from connix_provider.exceptions import ConnixFleetError

__all__ = ["fleet"]

pytestmark = [pytest.mark.heavy, pytest.mark.one_airflow]


def test_agents_that_end_together_share_a_resumption(fleet, emulator):
    emulator.seed(12, name="team-{n}")
    ran = fleet(max_unavailable=6, deferrable=True).try_once()
    assert ran.result["summary"]["done"] == 12
    assert ran.deferrals <= 3


@MODES
def test_an_agent_that_ran_already_holds_its_place(deferrable, fleet, emulator, warp):
    late, *others = emulator.seed(5, name="team-{n}")
    emulator.set_metrics(late, cpu_usage=0.9)
    for agent_id in (late, *others):
        emulator.set_metrics(agent_id, after=30 * (agent_id == late), cpu_usage=0.1)
    began = warp.time()
    ran = fleet(
        action="start",
        max_unavailable=2,
        min_healthy_time=60,
        health={"max_cpu_usage": 0.5},
        deferrable=deferrable,
    ).try_once()
    assert ran.result["summary"]["done"] == 5
    assert requests(emulator, "start_agent") == []
    assert {each["reason"] for each in ran.result["agents"].values()} == {"it was running already"}
    # The first takes 90 s beside two others, the next 60 s beside the last: no wait begins anew.
    assert 180 <= warp.time() - began < 220


@MODES
def test_a_failed_agent_counts_as_unavailable(deferrable, fleet, emulator):
    emulator.seed(3, name="team-{n}")
    emulator.faults.add(Fault.ends_in_error(), on="restart_agent", times=1)
    ran = fleet(max_unavailable=1, max_failures=2, deferrable=deferrable).try_once()
    assert type(ran.error) is ConnixFleetError
    assert ran.error.result["summary"] == {"done": 0, "failed": 1, "not_touched": 2}
    assert "1 agent is unavailable, and max_unavailable is 1" in str(ran.error)


@MODES
@pytest.mark.parametrize("hints", ["body", "header"])
def test_a_hint_beyond_the_deadline_is_retried_earlier(hints, deferrable, fleet, emulator):
    agents = emulator.seed(4, name="team-{n}")
    emulator.faults.add(Fault.rate_limited(100_000, hints), on="restart_agent", after=1)
    ran = fleet(max_unavailable=2, timeout=600, deferrable=deferrable).try_once()
    assert ran.error is None, ran.error
    assert sorted(requests(emulator, "restart_agent")) == sorted(agents)


@MODES
@pytest.mark.parametrize("hints", ["body", "header"])
def test_a_limit_beyond_the_deadline_fails_no_agent(hints, deferrable, fleet, emulator, warp):
    agents = emulator.seed(4, name="team-{n}")
    emulator.faults.add(Fault.rate_limited(100_000, hints), on="restart_agent", times=None, after=1)
    began = warp.time()
    ran = fleet(max_unavailable=2, timeout=600, deferrable=deferrable).try_once()
    assert type(ran.error) is ConnixFleetError
    assert ran.error.result["summary"] == {"done": 1, "failed": 0, "not_touched": 3}
    assert "the rate limit allowed no further action" in str(ran.error)
    assert agents[1] in str(ran.error)
    assert warp.time() - began >= 599


@MODES
def test_a_limit_after_a_lost_response_fails_nothing(deferrable, fleet, emulator):
    agents = emulator.seed(4, name="team-{n}")
    emulator.faults.add(Fault.reset_after(), on="stop_agent", agent_id=agents[0])
    emulator.faults.add(Fault.rate_limited(30), on="stop_agent", times=1)
    ran = fleet(action="stop", max_unavailable=2, deferrable=deferrable).try_once()
    assert ran.error is None, ran.error
    assert sorted(requests(emulator, "stop_agent")) == sorted(agents)


@MODES
@pytest.mark.parametrize("call", ["restart_agent", "get_agent"])
def test_a_403_fails_its_agent_alone(call, deferrable, fleet, emulator):
    agents = emulator.seed(4, name="team-{n}")
    emulator.faults.add(Fault.status(403), on=call, times=None, after=call == "get_agent", agent_id=agents[1])
    emulator.faults.add(Fault.status(403), on="list_agents", times=None, after=1)
    ran = fleet(max_failures=1, max_unavailable=2, deferrable=deferrable).try_once()
    assert ran.error is None, ran.error
    assert ran.result["summary"] == {"done": 3, "failed": 1, "not_touched": 0}
    assert "403" in ran.result["agents"][agents[1]]["reason"]


@MODES
@pytest.mark.parametrize("policy", [{"health": {"max_cpu_usage": 0.5}}, {"min_healthy_time": 100}])
def test_the_healthy_deadline_counts_from_the_action(policy, deferrable, fleet, emulator, warp):
    (agent_id,) = emulator.seed(1, name="team-{n}")
    emulator.set_metrics(agent_id, cpu_usage=0.9)
    shown = Fault.unknown_status("updating")
    emulator.faults.add(shown, on=["get_agent", "list_agents"], times=15, agent_id=agent_id, after=2)
    began = warp.time()
    ran = fleet(healthy_deadline=120, deferrable=deferrable, **policy).try_once()
    assert type(ran.error) is ConnixFleetError
    assert "within the time allowed (120 s)" in str(ran.error)
    assert 119 <= warp.time() - began <= 122


@MODES
def test_an_agent_after_the_progress_deadline_continues_nothing(deferrable, fleet, emulator):
    agents = emulator.seed(3, name="team-{n}")
    arguments = {"progress_deadline": 100, "min_healthy_time": 150, "healthy_deadline": 300}
    ran = fleet(**arguments, deferrable=deferrable).try_once()
    assert type(ran.error) is ConnixFleetError
    assert ran.error.result["summary"] == {"done": 1, "failed": 0, "not_touched": 2}
    assert "progress_deadline" in str(ran.error)
    assert requests(emulator, "restart_agent") == agents[:1]


@MODES
@pytest.mark.parametrize("case", ["error", "timeout", "unhealthy"])
def test_a_failure_quotes_the_newest_error_line(case, deferrable, fleet, emulator):
    secret = "a-secret-of-the-agent"
    agents = emulator.seed(2, name="team-{n}", config={"environment_variables": {"TOKEN": secret}})
    arguments = {}
    if case == "error":
        emulator.faults.add(Fault.ends_in_error(), on="restart_agent")
    if case == "timeout":
        shown = Fault.unknown_status("updating")
        emulator.faults.add(shown, on=["get_agent", "list_agents"], times=None, agent_id=agents[0])
        arguments = {"healthy_deadline": 60}
    if case == "unhealthy":
        emulator.set_metrics(agents[0], cpu_usage=0.9)
        arguments = {"healthy_deadline": 60, "health": {"max_cpu_usage": 0.5}}
    # Every half a second, because the agent has errors of its own.
    emulator.add_logs(agents[0], 200 * [f"No login with {secret}"], level="error", every=0.5)
    ran = fleet(deferrable=deferrable, **arguments).try_once()
    assert type(ran.error) is ConnixFleetError
    assert "Its last error log line: " in str(ran.error)
    assert "No login with" in str(ran.error)
    assert secret not in str(ran.error)
    assert secret not in str(ran.error.result)


@MODES
def test_each_of_many_failures_quotes_its_agent(deferrable, fleet, emulator):
    agents = emulator.seed(40, name="team-{n}")
    for agent_id in agents:
        emulator.add_logs(agent_id, [f"No disk on {agent_id}"], level="error", after=30)
    emulator.faults.add(Fault.unknown_status("updating"), on=["get_agent", "list_agents"], times=None)
    ran = fleet(max_unavailable="100%", healthy_deadline=120, deferrable=deferrable).try_once()
    assert type(ran.error) is ConnixFleetError
    results = ran.error.result["agents"]
    quoted = [agent_id for agent_id in agents if f"No disk on {agent_id}" in results[agent_id]["reason"]]
    assert len(quoted) >= 10


@MODES
def test_a_finished_run_does_nothing_until_cleared(deferrable, fleet, emulator):
    agents = emulator.seed(3, name="team-{n}")
    emulator.faults.add(Fault.ends_in_error(), on="restart_agent", times=1)
    task = fleet(max_failures=1, max_unavailable=2, deferrable=deferrable)
    first = task.try_once()
    for same_try in (True, False):
        again = task.try_once(same_try=same_try)
        assert again.error is None
        assert again.result == first.result
        assert len(requests(emulator, "restart_agent")) == 3
    task.clear()
    assert task.try_once().result["summary"]["done"] == 3
    assert sorted(requests(emulator, "restart_agent")[3:]) == sorted(agents)


@MODES
def test_a_clear_in_another_project_begins_anew(deferrable, fleet, emulator):
    agents = emulator.seed(2, name="team-{n}")
    other = emulator.add_project()
    others = emulator.seed(2, name="team-{n}", project_id=other)
    emulator.faults.add(Fault.ends_in_error(), on="restart_agent", after=1)
    task = fleet(deferrable=deferrable)
    assert type(task.try_once().error) is ConnixFleetError
    task.clear()
    ran = task.try_once(project_id=other)
    assert ran.error is None, ran.error
    assert sorted(ran.result["agents"]) == sorted(others)
    assert requests(emulator, "restart_agent") == [*agents, *others]


@MODES
@pytest.mark.parametrize("canary", [2, "50%"])
def test_an_empty_selection_needs_no_canaries(canary, deferrable, fleet, emulator):
    selector = {"name": "nobody", "allow_empty": True}
    ran = fleet(agents=selector, canary=canary, deferrable=deferrable).try_once()
    assert ran.error is None, ran.error
    assert ran.result["agents"] == {}
