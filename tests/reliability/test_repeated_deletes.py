"""A delete deletes its own agent once, in every try."""

from __future__ import annotations

import pytest
from modes import MODES, STORES
from scenarios import FORBIDDEN

from connix_provider.client.errors import ConnixNotFoundError
from connix_provider.operators.agent import ConnixDeleteAgentOperator

pytestmark = pytest.mark.heavy


def fail_before_a_namesake(scenario, task, **modes):
    """Let a delete fail after its request, and create another agent of the same name."""
    first = scenario.seed(name="alpha")
    run = task(ConnixDeleteAgentOperator, agent_name="alpha", **modes)
    scenario.emulator.faults.add(FORBIDDEN, on="get_agent", times=1)
    assert run.try_once().error is not None
    scenario.emulator.clock.advance(60)
    return run, first, scenario.seed(name="alpha")


@STORES
@MODES
def test_a_cleared_delete_by_name_deletes_new_agent(deferrable, remembering, scenario, task):
    run, first, second = fail_before_a_namesake(
        scenario, task, remembering=remembering, deferrable=deferrable
    )
    run.clear()
    ran = run.try_once()
    assert (ran.result, ran.error) == (second, None)
    assert first != second
    assert scenario.agents() == []


@STORES
@MODES
@pytest.mark.parametrize("again", ["retry", "same try"])
def test_a_retried_delete_leaves_a_namesake_alone(again, deferrable, remembering, scenario, task):
    run, first, second = fail_before_a_namesake(
        scenario, task, remembering=remembering, deferrable=deferrable
    )
    assert run.try_once(same_try=again == "same try").result == first
    assert [agent["id"] for agent in scenario.agents()] == [second]


@MODES
def test_a_delete_waits_while_its_agent_is_updating(deferrable, scenario, task):
    agent_id = scenario.seed("updating")
    scenario.emulator.script(agent_id, [(40, "running")])
    ran = task(ConnixDeleteAgentOperator, agent_id=agent_id, deferrable=deferrable).try_once()
    assert (ran.result, ran.error) == (agent_id, None)
    assert scenario.agents() == []


def test_deleting_a_missing_agent_is_an_error(scenario, task):
    ran = task(ConnixDeleteAgentOperator, agent_id="agent_none").try_once()
    assert isinstance(ran.error, ConnixNotFoundError)
