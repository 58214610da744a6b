"""The error of a name that is taken names the agent that has it."""

from __future__ import annotations

import pytest
from modes import MODES

from connix_provider.client.errors import ConnixConflictError
from connix_provider.operators.agent import ConnixCreateAgentOperator

pytestmark = pytest.mark.heavy
CREATE = {"name": "alpha", "config": {"model": "gpt-4"}, "poll_interval": 5, "timeout": 300}


def _names_the_other(error, other, status):
    assert type(error) is ConnixConflictError
    assert (error.agent_id, error.agent_name, error.status) == (other, "alpha", status)
    assert str(error).startswith("Could not create agent 'alpha': ")
    assert error.link.endswith(f"/agents/{other}")
    assert f"{error.link})" in str(error)


@MODES
@pytest.mark.parametrize("status", ["running", "stopped", "creating"])
def test_a_taken_name_names_its_agent(status, deferrable, scenario):
    (other,) = scenario.emulator.seed(status=status, name="alpha", project_id=scenario.project_id)
    ran = scenario.task(ConnixCreateAgentOperator, deferrable=deferrable, **CREATE).try_once()
    _names_the_other(ran.error, other, status)


@MODES
def test_a_rename_to_a_taken_name_names_it(deferrable, scenario):
    run = scenario.task(ConnixCreateAgentOperator, deferrable=deferrable, **{**CREATE, "name": "beta"})
    own = run.try_once().result
    (other,) = scenario.emulator.seed(name="alpha", project_id=scenario.project_id)
    run.clear()
    ran = run.try_once(name="alpha")
    _names_the_other(ran.error, other, "running")
    assert f"this task run created agent 'beta' ({own}) in an earlier try" in str(ran.error)
