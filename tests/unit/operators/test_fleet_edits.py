"""What a fleet's run does when the DAG names other agents, and when an agent is gone."""

from __future__ import annotations

import pytest
from fleets import fleet, requests
from modes import MODES

from connix_provider.client.errors import ConnixAuthenticationError
from connix_provider.emulator import Fault
from connix_provider.exceptions import ConnixFleetError
from connix_provider.selector import AgentSelector

__all__ = ["fleet"]

pytestmark = [pytest.mark.heavy, pytest.mark.one_airflow]

BEFORE = dict.fromkeys(("restart", "stop", "pause", "delete"), "running") | {"start": "stopped"}
ACTIONS = pytest.mark.parametrize("action", BEFORE)
#: How the task is started again.
AGAIN = pytest.mark.parametrize("again", ["retry", "clear", "same try"])
TEAM = {"name": "team-*"}


def start_again(task, again, **changes):
    if again == "clear":
        task.clear()
    return task.try_once(same_try=again == "same try", **changes)


@MODES
@AGAIN
@ACTIONS
def test_an_edited_selector_spares_other_agents(action, again, deferrable, fleet, emulator):
    first, second = emulator.seed(2, name="team-{n}-tmp", status=BEFORE[action])
    (spared,) = emulator.seed(name="team-prod", status=BEFORE[action])
    emulator.faults.add(Fault.status(403), on=f"{action}_agent", agent_id=spared)
    task = fleet(action=action, agents=TEAM, deferrable=deferrable)
    assert type(task.try_once().error) is ConnixFleetError
    ran = start_again(task, again, agents={"name": "team-*-tmp"})
    assert ran.error is None, ran.error
    assert requests(emulator, f"{action}_agent") == [first, second]
    assert {agent_id: each["result"] for agent_id, each in ran.result["agents"].items()} == {
        first: "done",
        second: "done",
    }


@MODES
@pytest.mark.parametrize("again", ["retry", "clear"])
@ACTIONS
def test_an_edited_selector_adds_agents(action, again, deferrable, fleet, emulator):
    done, failed, added = emulator.seed(3, name="team-{n}", status=BEFORE[action])
    emulator.faults.add(Fault.status(403), on=f"{action}_agent", agent_id=failed)
    task = fleet(action=action, agents={"ids": [done, failed]}, deferrable=deferrable)
    assert type(task.try_once().error) is ConnixFleetError
    ran = start_again(task, again, agents={"ids": [done, failed, added]})
    assert ran.error is None, ran.error
    assert ran.result["summary"]["done"] == 3
    assert requests(emulator, f"{action}_agent") == [done, failed, added]


@MODES
@pytest.mark.parametrize("again", ["retry", "clear"])
def test_a_mistake_in_an_edited_selector_is_named(again, deferrable, fleet, emulator):
    emulator.seed(2, name="team-{n}")
    emulator.faults.add(Fault.status(403), on="delete_agent", after=1)
    task = fleet(action="delete", deferrable=deferrable)
    assert type(task.try_once().error) is ConnixFleetError
    ran = start_again(task, again, agents={"name": "taem-*"})
    assert type(ran.error) is ValueError
    assert "meets name='taem-*'" in str(ran.error)
    assert len(requests(emulator, "delete_agent")) == 1


@MODES
def test_an_edited_selector_repeats_no_restart(deferrable, fleet, emulator):
    agents = emulator.seed(3, name="team-{n}")
    # The first try ends while its restart is under way.
    emulator.faults.add(Fault.status(401, code="unauthorized"), on=["get_agent", "list_agents"], after=2)
    task = fleet(deferrable=deferrable)
    assert type(task.try_once().error) is ConnixAuthenticationError
    assert requests(emulator, "restart_agent") == agents[:1]
    ran = task.try_once(agents={"ids": agents[:2]})
    assert ran.error is None, ran.error
    assert requests(emulator, "restart_agent") == agents[:2]


def test_a_resumed_task_spares_agents_not_selected(fleet, emulator):
    agents = emulator.seed(3, name="team-{n}")
    task = fleet(deferrable=True, max_unavailable=2)
    emulator.faults.add(Fault.status(401, code="unauthorized"), on="restart_agent", agent_id=agents[2])
    assert type(task.try_once().error) is ConnixAuthenticationError
    ran = task.resume_again(0, agents={"ids": [agents[1]]})
    assert ran.error is None, ran.error
    assert list(ran.result["agents"]) == [agents[1]]
    assert requests(emulator, "restart_agent") == agents[:2]


#: Two forms of the same criteria; ``{0}`` and ``{1}`` are ids.
EQUAL = {
    "order of ids": ({"ids": ["{0}", "{1}"]}, {"ids": ["{1}", "{0}"]}),
    "order of names": ({"names": ["team-1", "team-2"]}, {"names": ["team-2", "team-1"]}),
    "allow_empty": (TEAM, {**TEAM, "allow_empty": True}),
    "one status": ({"statuses": "running"}, {"statuses": ["running"]}),
    "a selector": (TEAM, AgentSelector(**TEAM)),
    "idle_for": ({**TEAM, "idle_for": 0}, {**TEAM, "idle_for": 0.0}),
    "metadata": ({"metadata": {"a": 1, "b": 2}}, {"metadata": {"b": 2, "a": 1}}),
}


@MODES
@pytest.mark.parametrize("again", ["retry", "clear"])
@pytest.mark.parametrize(("first", "second"), EQUAL.values(), ids=EQUAL)
def test_equal_criteria_select_only_once(first, second, again, deferrable, fleet, emulator):
    agents = emulator.seed(2, name="team-{n}", metadata={"a": 1, "b": 2})
    first, second = (_with_ids(selector, agents) for selector in (first, second))
    emulator.faults.add(Fault.ends_in_error(), on="restart_agent", after=1)
    task = fleet(agents=first, deferrable=deferrable)
    assert type(task.try_once().error) is ConnixFleetError
    # This agent meets the criteria, and the agent in error no longer does in one case.
    emulator.seed(name="team-3", metadata={"a": 1, "b": 2})
    ran = start_again(task, again, agents=second)
    assert ran.error is None, ran.error
    assert sorted(ran.result["agents"]) == sorted(agents)
    assert requests(emulator, "restart_agent") == [*agents, agents[1]]
    assert len(emulator.journal.entries("list_agents")) == ("ids" not in first)


def _with_ids(selector, agents):
    if not isinstance(selector, dict) or "ids" not in selector:
        return selector
    return {"ids": [text.format(*agents) for text in selector["ids"]]}


#: After how many reads the agent is gone: before its action, and after it.
GONE = pytest.mark.parametrize("reads", [0, 1], ids=["before the action", "after the action"])
MISSING = Fault.status(404, code="agent_not_found")


@MODES
@GONE
@pytest.mark.parametrize("again", ["retry", "clear"])
@pytest.mark.parametrize("action", ["restart", "start", "stop", "pause"])
def test_a_gone_agent_blocks_no_later_try(action, again, reads, deferrable, fleet, emulator, capfd, caplog):
    gone, *others = emulator.seed(3, name="team-{n}", status=BEFORE[action])
    _disappear(emulator, gone, reads)
    task = fleet(action=action, canary=3, deferrable=deferrable)
    ran = task.try_once()
    assert type(ran.error) is ConnixFleetError
    assert ran.error.result["summary"] == {"done": 0, "failed": 1, "not_touched": 2}
    emulator.faults.clear()
    emulator.remove(gone)
    ran = start_again(task, again)
    assert ran.error is None, ran.error
    assert ran.result["summary"] == {"done": 2, "failed": 0, "not_touched": 0}
    assert [agent for agent in requests(emulator, f"{action}_agent") if agent != gone] == others
    # Airflow 2 logs where caplog hears it, later versions print.
    log = caplog.text + capfd.readouterr().out
    assert f"({gone}) no longer exists" in log
    assert f"left out of the {action}" in log


@MODES
@GONE
def test_a_gone_agent_is_deleted(reads, deferrable, fleet, emulator):
    agents = emulator.seed(3, name="team-{n}")
    if reads:
        _disappear(emulator, agents[0], 0)
    else:
        emulator.faults.add(MISSING, on="delete_agent", agent_id=agents[0])
    ran = fleet(action="delete", deferrable=deferrable).try_once()
    assert ran.error is None, ran.error
    assert ran.result["summary"]["done"] == 3


@MODES
def test_an_agent_that_exists_again_is_acted_on(deferrable, fleet, emulator):
    agents = emulator.seed(2, name="team-{n}")
    emulator.faults.add(MISSING, on="get_agent", agent_id=agents[0])
    task = fleet(deferrable=deferrable)
    assert type(task.try_once().error) is ConnixFleetError
    ran = task.try_once()
    assert ran.error is None, ran.error
    assert requests(emulator, "restart_agent") == agents


@MODES
@pytest.mark.parametrize("allow_empty", [False, True])
def test_a_run_without_any_agent_left(allow_empty, deferrable, fleet, emulator):
    agents = emulator.seed(2, name="team-{n}")
    emulator.faults.add(MISSING, on=["get_agent", "restart_agent"], times=None)
    task = fleet(agents={**TEAM, "allow_empty": allow_empty}, max_failures=1, deferrable=deferrable)
    assert type(task.try_once(max_failures=0, max_unavailable=2).error) is ConnixFleetError
    for agent_id in agents:
        emulator.remove(agent_id)
    for _ in range(3):
        ran = task.try_once(max_failures=0)
        assert (ran.error is None) is allow_empty, ran.error
    if not allow_empty:
        assert "404" in str(ran.error)


def _disappear(emulator, agent_id, reads):
    calls = ["get_agent", "list_agents"] if reads else ["get_agent"]
    emulator.faults.add(MISSING, on=calls, agent_id=agent_id, after=reads, times=None)
