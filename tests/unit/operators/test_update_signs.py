"""An update that the service accepted and did not carry out is no success."""

from __future__ import annotations

import json

import pytest
from modes import MODES

from connix_provider.client.models import Agent
from connix_provider.emulator import Fault
from connix_provider.exceptions import ConnixAgentTimeoutError
from connix_provider.operators._agent.update_existing import accepted_update
from connix_provider.operators.agent import ConnixCreateAgentOperator, ConnixUpdateAgentOperator
from connix_provider.poll_state import Sign

pytestmark = pytest.mark.heavy
OLD = {
    "id": "a",
    "name": "Alpha",
    "status": "running",
    "description": "old",
    "config": {"model": "m", "temperature": 0.7, "environment_variables": {"A": "hunter21"}},
    "metadata": {"team": "x"},
}


def agent(**changes):
    return Agent.model_validate_json(json.dumps(OLD | changes))


@pytest.mark.parametrize(
    ("changes", "reply", "sign"),
    [
        ({"description": "new"}, {"description": "new"}, Sign.NONE),
        ({"description": "new"}, {"description": "new", "status": "updating"}, Sign.AWAITED),
        ({"description": "new"}, {}, Sign.REQUIRED),
        ({"description": "new"}, {"status": "updating"}, Sign.REQUIRED),
        ({"description": "new", "metadata": {"team": "y"}}, {"description": "new"}, Sign.NONE),
        ({"config": {"temperature": 0.1}}, {}, Sign.REQUIRED),
        # The service may mask them.
        ({"config": {"environment_variables": {"A": "hunter22"}}}, {}, Sign.NONE),
        ({"config": {"system_prompt": "hunter22"}}, {"status": "updating"}, Sign.AWAITED),
        ({"config": {"system_prompt": "hunter22", "temperature": 0.1}}, {}, Sign.REQUIRED),
    ],
)
def test_the_response_decides_which_sign_is_needed(changes, reply, sign, caplog):
    before = agent()
    assert accepted_update(before, agent(**reply), changes, before.snapshot()).sign is sign
    assert "hunter" not in caplog.text


@MODES
def test_an_update_that_is_not_executed_times_out(deferrable, emulator, run, warp):
    (agent_id,) = emulator.seed(name="alpha")
    emulator.clock.advance(60)
    emulator.faults.add(Fault.status(204), on="update_agent")
    ran = run(
        ConnixUpdateAgentOperator, agent_id=agent_id, description="new", timeout=120, deferrable=deferrable
    )
    assert type(ran.error) is ConnixAgentTimeoutError
    assert "showed no sign of an update within the time allowed (120 s)" in str(ran.error)
    assert ran.error.agent_id == agent_id
    assert len(emulator.journal.entries("update_agent")) == 1


@MODES
def test_an_update_with_an_empty_response_succeeds(deferrable, emulator, run, warp):
    (agent_id,) = emulator.seed(name="alpha")
    emulator.clock.advance(60)
    emulator.faults.add(Fault.status(204, executed=True), on="update_agent")
    ran = run(
        ConnixUpdateAgentOperator, agent_id=agent_id, description="new", timeout=120, deferrable=deferrable
    )
    assert ran.state == "success", ran.error
    assert emulator.agent(agent_id)["description"] == "new"


@MODES
@pytest.mark.parametrize("is_executed", [True, False])
def test_a_create_that_updates_needs_the_sign_too(is_executed, deferrable, emulator, run, warp):
    (agent_id,) = emulator.seed(name="alpha", description="old")
    emulator.clock.advance(60)
    emulator.faults.add(Fault.status(204, executed=is_executed), on="update_agent")
    ran = run(
        ConnixCreateAgentOperator,
        name="alpha",
        config={"model": "gpt-4"},
        description="new",
        if_exists="update",
        timeout=120,
        deferrable=deferrable,
    )
    if is_executed:
        assert (ran.state, ran.result) == ("success", agent_id), ran.error
        assert emulator.agent(agent_id)["description"] == "new"
    else:
        assert type(ran.error) is ConnixAgentTimeoutError
        assert "showed no sign of an update within the time allowed (120 s)" in str(ran.error)
