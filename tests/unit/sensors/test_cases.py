"""One table of cases for the sensor: the same case has the same outcome in every mode."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from scenarios import PASSING, Prepare, agent, faulty

from connix_provider.client.errors import ConnixAuthenticationError
from connix_provider.emulator import Fault
from connix_provider.exceptions import (
    ConnixAgentFailedError,
    ConnixAgentGoneError,
    ConnixAgentTimeoutError,
    ConnixSensorTimeoutError,
)
from connix_provider.sensors.agent import ConnixAgentStatusSensor

pytestmark = pytest.mark.heavy


@dataclasses.dataclass(frozen=True)
class Case:
    """One case; ``state`` is what becomes of the task."""

    name: str
    prepare: Prepare
    state: str = "success"
    error: type[BaseException] | None = None
    says: str = ""
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)


TIMEOUT = ConnixSensorTimeoutError
NEVER = agent("paused")

CASES = [
    Case("runs already", agent("running")),
    Case("comes to run", agent("creating", (2.5, "running"))),
    Case(
        "another status",
        agent("running", (1.5, "stopped")),
        arguments={"target_statuses": ["paused", "stopped"]},
    ),
    Case("error is awaited", agent("running", (1.5, "error")), arguments={"target_statuses": "error"}),
    Case("an unknown status on the way", agent("hibernating", (2.5, "running"))),
    Case(
        "ends in error", agent("creating", (1.5, "error")), "failed", ConnixAgentFailedError, "it is in error"
    ),
    Case("is in error at the first look", agent("error"), "failed", ConnixAgentFailedError, "it is in error"),
    Case(
        "a failure status of its own",
        agent("running", (1.5, "paused")),
        "failed",
        ConnixAgentFailedError,
        "it is paused",
        {"target_statuses": "stopped", "failure_statuses": ["paused"]},
    ),
    Case(
        "error does not fail it",
        agent("error", (2.5, "running")),
        arguments={"failure_statuses": ["stopped"]},
    ),
    Case(
        "is deleted meanwhile",
        faulty(Fault.status(404, code="agent_not_found"), "get_agent", NEVER, after=1, times=None),
        "failed",
        ConnixAgentGoneError,
        "does not exist: it was deleted",
    ),
    Case("time runs out", NEVER, "failed", TIMEOUT, "not running within the time allowed", {"timeout": 4}),
    Case("soft_fail skips a timeout", NEVER, "skipped", arguments={"timeout": 4, "soft_fail": True}),
    Case(
        "soft_fail does not skip a failure",
        agent("creating", (1.5, "error")),
        "failed",
        ConnixAgentFailedError,
        arguments={"soft_fail": True},
    ),
    Case(
        "soft_fail does not skip a refused key",
        faulty(Fault.status(401, code="unauthorized"), "get_agent", NEVER, after=1),
        "failed",
        ConnixAuthenticationError,
        arguments={"soft_fail": True},
    ),
    Case(
        "never_fail skips a failure",
        agent("creating", (1.5, "error")),
        "skipped",
        arguments={"never_fail": True},
    ),
    Case(
        "silent_fail continues after a failure",
        agent("error", (2.5, "running")),
        arguments={"silent_fail": True},
    ),
    Case(
        "a refused key ends it",
        faulty(Fault.status(401, code="unauthorized"), "get_agent", NEVER, after=1),
        "failed",
        ConnixAuthenticationError,
        "401 unauthorized",
    ),
    Case("is stable", agent("running"), arguments={"stable_for": 3}),
    Case(
        "is not stable in time",
        agent("running", *((n + 0.5, ("error", "running")[n % 2]) for n in range(1, 30))),
        "failed",
        TIMEOUT,
        "running for 3 s",
        {"stable_for": 3, "failure_statuses": [], "timeout": 9},
    ),
    *(
        Case(f"looks fail with {name}", faulty(fault, "get_agent", agent("running"), times=2))
        for name, fault in PASSING.items()
        if not name.startswith("429")
    ),
]


@pytest.mark.parametrize("mode", ["poke", "reschedule", "deferred"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_sensor_has_one_outcome(case, mode, emulator, run, warp):
    how = {"deferrable": True} if mode == "deferred" else {"mode": mode, "deferrable": False}
    arguments = case.prepare(emulator) or {}
    ran = run(
        ConnixAgentStatusSensor, poke_interval=1, **how, **{"timeout": 60, **arguments, **case.arguments}
    )

    assert ran.state == case.state, ran.log
    if case.error is None:
        assert ran.error is None
        assert ran.result == (arguments["agent_id"] if case.state == "success" else None)
    else:
        assert type(ran.error) is case.error, ran.log
        assert isinstance(ran.error, ConnixAgentTimeoutError) == (case.error is TIMEOUT)
        assert case.says in str(ran.error)
        assert emulator.api_key not in ran.said
    assert {entry.method for entry in emulator.journal.entries()} == {"GET"}
