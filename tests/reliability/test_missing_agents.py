"""The result of a delete whose agent is missing, and may be."""

from __future__ import annotations

import pytest
from modes import MODES

from connix_provider.operators.agent import ConnixDeleteAgentOperator, ConnixStopAgentOperator

pytestmark = pytest.mark.heavy
OPTIONS = {"poll_interval": 5, "timeout": 300, "ignore_if_missing": True}


def _delete(scenario, deferrable, **arguments):
    return scenario.task(
        ConnixDeleteAgentOperator, remembering=True, deferrable=deferrable, **OPTIONS, **arguments
    )


@MODES
@pytest.mark.parametrize("waits", [True, False], ids=["waits", "accepts"])
def test_a_missing_name_gives_no_result(waits, deferrable, scenario):
    run = _delete(scenario, deferrable, agent_name="alpha", wait_for_completion=waits)
    for _ in range(2):
        ran = run.try_once()
        assert (ran.result, ran.error) == (None, None)


@MODES
def test_a_missing_id_is_the_result(deferrable, scenario):
    ran = _delete(scenario, deferrable, agent_id="agent_nowhere").try_once()
    assert (ran.result, ran.error) == ("agent_nowhere", None)


@MODES
def test_a_deleted_agents_id_is_the_result(deferrable, scenario):
    (agent_id,) = scenario.emulator.seed(name="alpha", project_id=scenario.project_id)
    ran = _delete(scenario, deferrable, agent_name="alpha").try_once()
    assert (ran.result, ran.error) == (agent_id, None)


@MODES
def test_an_agent_deleted_by_others_is_the_result(deferrable, scenario):
    (agent_id,) = scenario.emulator.seed(status="updating", name="alpha", project_id=scenario.project_id)
    scenario.emulator.script(agent_id, [(10, None)])
    ran = _delete(scenario, deferrable, agent_name="alpha").try_once()
    assert (ran.result, ran.error) == (agent_id, None)


@MODES
def test_a_chained_task_refuses_no_result(deferrable, scenario):
    result = _delete(scenario, deferrable, agent_name="alpha").try_once().result
    ran = scenario.task(ConnixStopAgentOperator, timeout=60, agent_id=result).try_once()
    assert isinstance(ran.error, ValueError)
    assert scenario.executed("stop_agent") == 0
