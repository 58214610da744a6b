"""What an operator does where Airflow's context tells nothing of a task run, as in a unit test of a DAG."""

from __future__ import annotations

import types
from unittest.mock import MagicMock

import pytest

from connix_provider.operators._base.identity import identity_key
from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixDeleteAgentOperator,
    ConnixRestartAgentOperator,
)

pytestmark = pytest.mark.heavy

CONTEXTS = pytest.mark.parametrize("context", [{}, MagicMock()], ids=["empty", "mock"])


@pytest.fixture
def execute(emulator, connection, warp):
    def act_once(operator, context, **arguments):
        # Airflow checks the caller of execute(), and this task has no runner.
        task = operator(task_id="task", deferrable=False, **arguments)
        return operator.execute.__wrapped__(task, context)

    return act_once


@CONTEXTS
@pytest.mark.parametrize(
    ("operator", "call"),
    [(ConnixRestartAgentOperator, "restart_agent"), (ConnixDeleteAgentOperator, "delete_agent")],
)
def test_it_is_a_first_try(operator, call, context, emulator, execute):
    (agent_id,) = emulator.seed(status="running")
    assert execute(operator, context, agent_id=agent_id) == agent_id
    assert len(emulator.journal.executed(call)) == 1


@CONTEXTS
def test_a_create_names_missing_fields_of_its_context(context, emulator, execute):
    with pytest.raises(
        ValueError, match=r"context has no task run.* no dag_id, no run_id, no task_id, no map"
    ):
        execute(ConnixCreateAgentOperator, context, name="scenario")
    assert not emulator.journal.entries()


def test_a_record_needs_a_task_run(emulator, execute):
    (agent_id,) = emulator.seed(status="running")
    with pytest.raises(ValueError, match="context has no task run"):
        execute(ConnixDeleteAgentOperator, {"ti": MagicMock()}, agent_id=agent_id)
    assert not emulator.journal.executed("delete_agent")


def test_only_missing_fields_are_named():
    ti = types.SimpleNamespace(dag_id="d", task_id="t", map_index=-1)
    with pytest.raises(ValueError, match=r"has no run_id$"):
        identity_key({"ti": ti})
    assert identity_key({"ti": types.SimpleNamespace(run_id="r", **vars(ti))}).endswith("/d/r/t/-1")
