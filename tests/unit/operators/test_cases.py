"""One table of cases: the same case has the same outcome on the worker and in the triggerer."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from modes import MODES
from scenarios import PASSING, Prepare, agent, faulty

from connix_provider.client.errors import (
    ConnixAuthenticationError,
    ConnixConflictError,
    ConnixNotFoundError,
    ConnixPermissionError,
    ConnixServerError,
    ConnixValidationError,
)
from connix_provider.emulator import Emulator, Fault
from connix_provider.exceptions import ConnixAgentFailedError, ConnixAgentGoneError, ConnixAgentTimeoutError
from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixDeleteAgentOperator,
    ConnixPauseAgentOperator,
    ConnixRestartAgentOperator,
    ConnixStartAgentOperator,
    ConnixStopAgentOperator,
    ConnixUpdateAgentOperator,
)

pytestmark = pytest.mark.heavy


@dataclasses.dataclass(frozen=True)
class Case:
    """
    One case.

    ``prepare`` sets the scenario and returns arguments for the task; ``executed`` is how often the service
    carried each changing call out; ``status`` is what the agent is in at the end (``None``: no agent).
    """

    name: str
    operator: type[Any]
    prepare: Prepare
    error: type[BaseException] | None = None
    says: str = ""
    executed: dict[str, int] = dataclasses.field(default_factory=dict)
    status: str | None = "running"
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)


def named(status: str = "running", **metadata: Any) -> Prepare:
    """A stranger's agent that has the name already."""

    def prepare(emulator: Emulator) -> None:
        emulator.seed(status=status, name="new", metadata=metadata)

    return prepare


def nothing(_: Emulator) -> None:
    return None


CREATE = {"name": "new", "config": {"model": "gpt-4"}}
ONCE = {"create_agent": 1}
CASES = [
    Case("create", ConnixCreateAgentOperator, nothing, executed=ONCE, arguments=CREATE),
    Case(
        "create ends in error",
        ConnixCreateAgentOperator,
        faulty(Fault.ends_in_error(), "create_agent"),
        error=ConnixAgentFailedError,
        says="it is in error",
        executed=ONCE,
        status="error",
        arguments=CREATE,
    ),
    Case(
        "create with a bad config",
        ConnixCreateAgentOperator,
        nothing,
        error=ConnixValidationError,
        says="config.temperature: Temperature must be between 0 and 2",
        status=None,
        arguments={"name": "new", "config": {"temperature": 3}},
    ),
    Case(
        "create under a stranger's name",
        ConnixCreateAgentOperator,
        named(),
        error=ConnixConflictError,
        says="not by this task run",
        executed={},
        arguments=CREATE,
    ),
    Case(
        "create under another task's name",
        ConnixCreateAgentOperator,
        named(airflow_task_run="dag/run/other/-1"),
        error=ConnixConflictError,
        says="dag/run/other/-1",
        arguments=CREATE,
    ),
    Case("create adopts", ConnixCreateAgentOperator, named(), arguments={**CREATE, "if_exists": "adopt"}),
    Case(
        "create adopts what is paused",
        ConnixCreateAgentOperator,
        named("paused"),
        error=ConnixAgentFailedError,
        says="it is paused",
        status="paused",
        arguments={**CREATE, "if_exists": "adopt"},
    ),
    Case(
        "create updates",
        ConnixCreateAgentOperator,
        named("paused"),
        executed={"update_agent": 1, "start_agent": 1},
        status="running",
        arguments={**CREATE, "if_exists": "update"},
    ),
    Case(
        "create whose response is lost",
        ConnixCreateAgentOperator,
        faulty(Fault.reset_after(), "create_agent"),
        executed=ONCE,
        arguments=CREATE,
    ),
    Case(
        "create that is lost on the way",
        ConnixCreateAgentOperator,
        faulty(Fault.reset_before(), "create_agent"),
        executed=ONCE,
        arguments=CREATE,
    ),
    Case(
        "create that fails after the action",
        ConnixCreateAgentOperator,
        faulty(Fault.status(500, executed=True), "create_agent"),
        executed=ONCE,
        arguments=CREATE,
    ),
    Case(
        "create whose response is unreadable",
        ConnixCreateAgentOperator,
        faulty(Fault.bad_json(), "create_agent"),
        executed=ONCE,
        arguments=CREATE,
    ),
    Case(
        "create against the limit",
        ConnixCreateAgentOperator,
        faulty(Fault.rate_limited(retry_after=50), "create_agent", times=3),
        executed=ONCE,
        arguments=CREATE,
    ),
    Case(
        "create with a refused key",
        ConnixCreateAgentOperator,
        faulty(Fault.status(401, code="unauthorized", message="Invalid API key"), "create_agent"),
        error=ConnixAuthenticationError,
        says="Invalid API key",
        status=None,
        arguments=CREATE,
    ),
    Case(
        "create that never gets ready",
        ConnixCreateAgentOperator,
        faulty(Fault.unknown_status("hibernating"), "get_agent", times=None),
        error=ConnixAgentTimeoutError,
        says="last seen 'hibernating'",
        executed=ONCE,
        arguments={**CREATE, "timeout": 90},
    ),
    Case("start a stopped one", ConnixStartAgentOperator, agent("stopped"), executed={"start_agent": 1}),
    Case("start a paused one", ConnixStartAgentOperator, agent("paused"), executed={"start_agent": 1}),
    Case("start what runs", ConnixStartAgentOperator, agent("running")),
    Case(
        "start ends in error",
        ConnixStartAgentOperator,
        faulty(Fault.ends_in_error(), "start_agent", agent("stopped")),
        error=ConnixAgentFailedError,
        executed={"start_agent": 1},
        status="error",
    ),
    Case(
        "start what does not exist",
        ConnixStartAgentOperator,
        lambda _: {"agent_id": "agent_nowhere"},
        error=ConnixNotFoundError,
        says="agent_nowhere",
        status=None,
    ),
    Case("pause", ConnixPauseAgentOperator, agent("running"), executed={"pause_agent": 1}, status="paused"),
    Case("pause what is paused", ConnixPauseAgentOperator, agent("paused"), status="paused"),
    Case(
        "pause what is stopped",
        ConnixPauseAgentOperator,
        agent("stopped"),
        error=ConnixConflictError,
        status="stopped",
    ),
    Case("stop", ConnixStopAgentOperator, agent("running"), executed={"stop_agent": 1}, status="stopped"),
    Case("stop what is stopped", ConnixStopAgentOperator, agent("stopped"), status="stopped"),
    Case("restart", ConnixRestartAgentOperator, agent("running"), executed={"restart_agent": 1}),
    Case(
        "restart what is in error", ConnixRestartAgentOperator, agent("error"), executed={"restart_agent": 1}
    ),
    Case(
        "restart whose response is lost",
        ConnixRestartAgentOperator,
        faulty(Fault.reset_after(), "restart_agent", agent("running")),
        executed={"restart_agent": 1},
    ),
    Case(
        "restart that is lost on the way",
        ConnixRestartAgentOperator,
        faulty(Fault.reset_before(), "restart_agent", agent("running")),
        executed={"restart_agent": 1},
    ),
    Case(
        "restart ends in error",
        ConnixRestartAgentOperator,
        faulty(Fault.ends_in_error(), "restart_agent", agent("running")),
        error=ConnixAgentFailedError,
        executed={"restart_agent": 1},
        status="error",
    ),
    Case(
        "update",
        ConnixUpdateAgentOperator,
        agent("paused", config={"temperature": 0.5}),
        executed={"update_agent": 1},
        status="paused",
    ),
    Case(
        "update ends in error",
        ConnixUpdateAgentOperator,
        faulty(Fault.ends_in_error(), "update_agent", agent("running", description="better")),
        error=ConnixAgentFailedError,
        executed={"update_agent": 1},
        status="error",
    ),
    Case("delete", ConnixDeleteAgentOperator, agent("running"), executed={"delete_agent": 1}, status=None),
    Case(
        "delete what is gone",
        ConnixDeleteAgentOperator,
        lambda _: {"agent_id": "agent_nowhere"},
        error=ConnixNotFoundError,
        status=None,
    ),
    Case(
        "delete what may be gone",
        ConnixDeleteAgentOperator,
        lambda _: {"agent_id": "agent_nowhere", "ignore_if_missing": True},
        status=None,
    ),
    Case(
        "delete whose response is lost",
        ConnixDeleteAgentOperator,
        faulty(Fault.reset_after(), "delete_agent", agent("running")),
        executed={"delete_agent": 2},  # while it is going, it may be told to go once more
        status=None,
    ),
    Case(
        "agent is deleted by another meanwhile",
        ConnixStartAgentOperator,
        faulty(Fault.status(404, code="agent_not_found"), "get_agent", agent("stopped"), after=1, times=None),
        error=ConnixAgentGoneError,
        says="does not exist: it was deleted",
        executed={"start_agent": 1},
    ),
    Case(
        "key is refused meanwhile",
        ConnixStopAgentOperator,
        faulty(Fault.status(401, code="unauthorized"), "get_agent", agent("running"), after=2),
        error=ConnixAuthenticationError,
        says="401 unauthorized",
        executed={"stop_agent": 1},
        status="stopped",
    ),
    Case(
        "key loses its rights meanwhile",
        ConnixStopAgentOperator,
        faulty(Fault.status(403, code="insufficient_permissions"), "get_agent", agent("running"), after=1),
        error=ConnixPermissionError,
        executed={"stop_agent": 1},
        status="stopped",
    ),
    Case(
        "service stays down before the action",
        ConnixStopAgentOperator,
        faulty(Fault.status(503), "stop_agent", agent("running"), times=None),
        error=ConnixServerError,
    ),
    Case(
        "an unknown status on the way",
        ConnixCreateAgentOperator,
        faulty(Fault.unknown_status("hibernating"), "get_agent", times=3),
        executed=ONCE,
        arguments=CREATE,
    ),
    *(
        Case(
            f"looks fail with {name}",
            ConnixStopAgentOperator,
            faulty(fault, "get_agent", agent("running"), after=1, times=4),
            executed={"stop_agent": 1},
            status="stopped",
        )
        for name, fault in PASSING.items()
    ),
]


@MODES
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_operator_has_one_outcome(case, deferrable, emulator, run, warp):
    arguments = case.prepare(emulator) or {}
    ran = run(
        case.operator,
        poll_interval=5,
        deferrable=deferrable,
        **{"timeout": 600, **arguments, **case.arguments},
    )

    if case.error is None:
        assert (ran.state, ran.error) == ("success", None), ran.log
        assert isinstance(ran.result, str)
        assert ran.result.startswith("agent_")
    else:
        assert ran.state == "failed"
        assert type(ran.error) is case.error, ran.log
        assert case.says in str(ran.error)
        assert emulator.api_key not in ran.said
        assert ran.result is None
    changed = [entry.call for entry in emulator.journal.executed() if entry.method != "GET"]
    assert {call: changed.count(call) for call in changed} == {**case.executed}
    emulator.clock.advance(60)
    agents = [emulator.agent(agent_id)["status"] for agent_id in agent_ids(emulator)]
    assert agents == ([] if case.status is None else [case.status])


def agent_ids(emulator: Emulator) -> list[str]:
    """The agents that exist, without going through the faults."""
    import httpx

    emulator.faults.clear()
    response = httpx.get(
        f"{emulator.url}/projects/{emulator.project_id}/agents", headers={"X-API-Key": emulator.api_key}
    )
    return [found["id"] for found in response.raise_for_status().json()["agents"]]
