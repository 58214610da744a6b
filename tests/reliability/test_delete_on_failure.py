"""The message of a failed create says what became of the agent with ``on_failure="delete"``."""

from __future__ import annotations

import logging

import pytest
from dag_store import airflow_version
from modes import MODES

from connix_provider.emulator import Fault
from connix_provider.exceptions import ConnixAgentFailedError, ConnixAgentTimeoutError
from connix_provider.operators.agent import ConnixCreateAgentOperator

pytestmark = pytest.mark.heavy
CREATE = {"name": "alpha", "config": {"model": "gpt-4"}, "poll_interval": 5, "timeout": 60}
FAILED = (
    Fault.ends_in_error(),
    "create_agent",
    ConnixAgentFailedError,
    "failed: it is in error, and does not",
)
TIMED_OUT = (
    Fault.unknown_status("hibernating"),
    "get_agent",
    ConnixAgentTimeoutError,
    "was not running within the time allowed (60 s): it was last seen 'hibernating'",
)
ENDS = pytest.mark.parametrize("end", [FAILED, TIMED_OUT], ids=["failed", "timed out"])


def _create(scenario, end, deferrable, **arguments):
    fault, on, *_ = end
    scenario.emulator.faults.add(fault, on=on, times=None)
    run = scenario.task(ConnixCreateAgentOperator, deferrable=deferrable, **CREATE, **arguments)
    ran = run.try_once()
    assert isinstance(ran.error, end[2])
    assert end[3] in str(ran.error)
    return ran.error


@ENDS
@MODES
def test_a_deleted_agent_needs_no_remedy(deferrable, end, scenario, caplog):
    caplog.set_level(logging.INFO)
    error = _create(scenario, end, deferrable, on_failure="delete")
    assert str(error).startswith(f"Agent 'alpha' ({error.agent_id}) ")
    assert f"It was deleted, because on_failure is 'delete' (project {scenario.project_id})." in str(error)
    for words in ("left as it is", "See its log", "see its log", "https://", "restart it"):
        assert words not in str(error)
    requested = f"on_failure is 'delete': requesting the delete of agent 'alpha' ({error.agent_id})."
    assert requested in caplog.text
    assert scenario.agents() == []


@ENDS
@MODES
@pytest.mark.parametrize("status", [403, 409], ids=["refused", "busy"])
def test_an_undeleted_agent_is_named_with_link(status, deferrable, end, scenario):
    refusal = Fault.status(status, code="agent_conflict" if status == 409 else "insufficient_permissions")
    scenario.emulator.faults.add(refusal, on="delete_agent", times=None)
    error = _create(scenario, end, deferrable, on_failure="delete")
    assert "on_failure is 'delete', but the delete of the agent could not be confirmed" in str(error)
    assert f"responded {status}" in str(error)
    assert f"/agents/{error.agent_id})." in str(error)
    assert "left as it is" not in str(error)
    assert len(scenario.agents()) == 1


@ENDS
@MODES
def test_a_kept_agent_has_remedy_and_link(deferrable, end, scenario):
    error = _create(scenario, end, deferrable)
    assert "ee its log" in str(error)
    assert f"/agents/{error.agent_id})." in str(error)
    assert "deleted" not in str(error)


def test_a_missing_triggerer_says_that_it_deleted(scenario):
    run = scenario.task(ConnixCreateAgentOperator, deferrable=False, **CREATE, on_failure="delete")
    assert run.try_once().error is None
    task, context = run._operator(run._arguments), run._context()
    stored = "Trigger/execution timeout" if airflow_version() < (3,) else "Trigger timeout"
    with pytest.raises(ConnixAgentTimeoutError) as raised:
        task.resume_execution("__fail__", {"error": stored}, context)
    assert "No triggerer ran the trigger for agent 'alpha'" in str(raised.value)
    assert "It was deleted, because on_failure is 'delete'" in str(raised.value)
    assert "left as it is" not in str(raised.value)
