"""What stops a fleet's run, and what is a failure of one agent alone."""

from __future__ import annotations

import pytest
from fleets import MODES, fleet, requests

from connix_provider.emulator import Fault
from connix_provider.exceptions import ConnixFleetError

__all__ = ["fleet"]

pytestmark = pytest.mark.heavy


@MODES
@pytest.mark.parametrize("hints", ["body", "header"])
def test_a_rate_limit_beyond_the_deadline_fails_no_agent(hints, deferrable, fleet, emulator, warp):
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
def test_a_rate_limit_after_a_lost_response_fails_no_agent(deferrable, fleet, emulator):
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
def test_an_agent_later_than_the_progress_deadline_continues_nothing(deferrable, fleet, emulator):
    agents = emulator.seed(3, name="team-{n}")
    arguments = {"progress_deadline": 100, "min_healthy_time": 150, "healthy_deadline": 300}
    ran = fleet(**arguments, deferrable=deferrable).try_once()
    assert type(ran.error) is ConnixFleetError
    assert ran.error.result["summary"] == {"done": 1, "failed": 0, "not_touched": 2}
    assert "progress_deadline" in str(ran.error)
    assert requests(emulator, "restart_agent") == agents[:1]
