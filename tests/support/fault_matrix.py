"""
Say what each fault of the emulator must come to, by rules that do not look at the provider's code.

A fault has a nature: whether it is a transient error, and whether the service may have executed the request.
The rules below derive the right outcome of a task from this nature, and from which requests the fault hits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from connix_provider.client import (
    ConnixAPIError,
    ConnixAuthenticationError,
    ConnixConflictError,
    ConnixConnectionError,
    ConnixNotFoundError,
    ConnixPermissionError,
    ConnixRateLimitError,
    ConnixResponseError,
    ConnixServerError,
    ConnixTimeoutError,
)
from connix_provider.emulator import Fault
from connix_provider.exceptions import (
    ConnixAgentFailedError,
    ConnixAgentGoneError,
    ConnixAgentTimeoutError,
)
from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixDeleteAgentOperator,
    ConnixPauseAgentOperator,
    ConnixRestartAgentOperator,
    ConnixStartAgentOperator,
    ConnixStopAgentOperator,
    ConnixUpdateAgentOperator,
)
from connix_provider.sensors.agent import ConnixAgentStatusSensor

SUCCEEDED, FAILED, TIMED_OUT = "succeeded", "failed", "timed out"


class Nature(Enum):
    """How a fault behaves."""

    #: The response is right, only late.
    HARMLESS = auto()
    #: It passes, nothing was done, and time alone bounds it: the service asks to be left alone for a while.
    LIMITED = auto()
    #: It passes, and whether the request was executed is unknown.
    DOUBTFUL = auto()
    #: It never passes, and nothing was done.
    LASTING = auto()
    #: It is the agent's own: it ends in error.
    AGENTS_OWN = auto()
    #: The response shows an unknown status.
    RIDDLE = auto()


@dataclasses.dataclass(frozen=True)
class FaultKind:
    """A fault, its nature, and the exception that a task raises if the fault stays."""

    fault: Fault
    nature: Nature
    error: type[Exception]


def _doubtful(fault: Fault, error: type[Exception] = ConnixServerError) -> FaultKind:
    return FaultKind(fault, Nature.DOUBTFUL, error)


def _lasting(status: int, error: type[Exception]) -> FaultKind:
    # Only this code says that the agent is gone.
    fault = Fault.status(404, code="agent_not_found") if status == 404 else Fault.status(status)
    return FaultKind(fault, Nature.LASTING, error)


def _limited(hints: Any) -> FaultKind:
    return FaultKind(Fault.rate_limited(5, hints), Nature.LIMITED, ConnixRateLimitError)


FAULTS = {
    "500": _doubtful(Fault.status(500)),
    "500 after execution": _doubtful(Fault.status(500, executed=True)),
    "502 in HTML": _doubtful(Fault.html_502()),
    "reset": _doubtful(Fault.reset_before(), ConnixConnectionError),
    "reset after execution": _doubtful(Fault.reset_after(), ConnixConnectionError),
    "hang-up": _doubtful(Fault.hang(0.001), ConnixConnectionError),
    "hang-up after execution": _doubtful(Fault.hang(0.001, executed=True), ConnixConnectionError),
    "silence": _doubtful(Fault.hang(), ConnixTimeoutError),
    "silence after execution": _doubtful(Fault.hang(executed=True), ConnixTimeoutError),
    "half a body": _doubtful(Fault.cut_body(), ConnixConnectionError),
    "half a JSON text": _doubtful(Fault.bad_json(), ConnixResponseError),
    "408": _doubtful(Fault.status(408), ConnixAPIError),
    "429, told in the body": _limited("body"),
    "429, told nowhere": _limited("none"),
    "401": _lasting(401, ConnixAuthenticationError),
    "403": _lasting(403, ConnixPermissionError),
    "404": _lasting(404, ConnixNotFoundError),
    "409": _lasting(409, ConnixConflictError),
    "redirect": FaultKind(Fault.redirect("https://elsewhere.example/"), Nature.LASTING, ConnixAPIError),
    "slow body": FaultKind(Fault.slow_body(0.002), Nature.HARMLESS, AssertionError),
    "ends in error": FaultKind(Fault.ends_in_error(), Nature.AGENTS_OWN, ConnixAgentFailedError),
    "unknown status": FaultKind(Fault.unknown_status(), Nature.RIDDLE, ConnixAgentTimeoutError),
}
#: Only real time ends these, so they are met once a task; a hang-up is the same but for the exception.
SILENT = frozenset({"silence", "silence after execution"})


@dataclasses.dataclass(frozen=True)
class Task:
    """
    What a task does.

    :param action: the call that changes something
    :param before: the agent's status before the task, ``None``: there is no agent
    :param after: its status in the end, ``None``: it is gone
    :param reads_first: whether the agent is read before the action
    :param once: whether the action is not idempotent
    """

    operator: Callable[..., Any]
    action: str
    before: str | None
    after: str | None
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    reads_first: bool = False
    once: bool = False

    @property
    def is_refused_again(self) -> bool:
        """Whether the service refuses the action again during or after it."""
        return self.action in {"start_agent", "pause_agent", "stop_agent", "delete_agent"}


TASKS = {
    "create": Task(ConnixCreateAgentOperator, "create_agent", None, "running", {"name": "made"}, once=True),
    "update": Task(
        ConnixUpdateAgentOperator,
        "update_agent",
        "running",
        "running",
        {"description": "better"},
        reads_first=True,
    ),
    "start": Task(ConnixStartAgentOperator, "start_agent", "stopped", "running", reads_first=True),
    "pause": Task(ConnixPauseAgentOperator, "pause_agent", "running", "paused", reads_first=True),
    "stop": Task(ConnixStopAgentOperator, "stop_agent", "running", "stopped", reads_first=True),
    "restart": Task(
        ConnixRestartAgentOperator, "restart_agent", "running", "running", reads_first=True, once=True
    ),
    "delete": Task(ConnixDeleteAgentOperator, "delete_agent", "running", None),
}
#: A sensor that waits for an agent to run.
SENSOR = Task(ConnixAgentStatusSensor, "", "creating", "running")


@dataclasses.dataclass(frozen=True)
class Expected:
    """
    The right outcome.

    :param executions: how often the service executes the action; of an idempotent one, at least
    """

    outcome: str
    executions: int
    errors: tuple[type[Exception], ...] = ()

    def allows(self, error: BaseException | None) -> bool:
        """Return whether a task may end in this error; a rate limit may also be the client's own."""
        limited = ConnixRateLimitError in self.errors and isinstance(error, ConnixRateLimitError)
        return error is None or type(error) in self.errors or limited


def keeps_status(kind: FaultKind) -> bool:
    """Return whether the fault leaves the status of an error response readable."""
    return kind.fault.name == "cut_body"


def expected_for_action(task: Task, kind: FaultKind, every: bool) -> Expected:
    """Return the right outcome if a fault hits one or two attempts of the action, or every one."""
    done = int(kind.fault.executed)
    if task.action == "create_agent" and kind.error is ConnixConflictError:
        # A 409 did nothing, and a name is free only some seconds after its agent was deleted.
        return Expected(TIMED_OUT, 0, (ConnixConflictError,)) if every else Expected(SUCCEEDED, 1)
    match kind.nature:
        case Nature.AGENTS_OWN:
            return Expected(FAILED, 1, (ConnixAgentFailedError,))
        case Nature.LASTING:
            return Expected(FAILED, 0, (kind.error,))
        case Nature.LIMITED if every:
            return Expected(TIMED_OUT, 0, (ConnixRateLimitError, ConnixTimeoutError))
        case Nature.DOUBTFUL if every and task.is_refused_again and keeps_status(kind):
            # The first request explains the refusal, whose status is readable.
            return Expected(SUCCEEDED, 1)
        case Nature.DOUBTFUL if every and not task.once:
            return Expected(FAILED, done, (kind.error,))
        case Nature.DOUBTFUL if every and not done:
            # The agent is looked for and the request sent again until the deadline, or until the ten creates
            # a minute of the reference are used up for longer than the task may take.
            return Expected(TIMED_OUT, 0, (kind.error, ConnixTimeoutError, ConnixRateLimitError))
        case _:
            return Expected(SUCCEEDED, 1)


def expected_for_poll(task: Task, kind: FaultKind, which: str) -> Expected:
    """Return the right outcome if a fault hits the first, the second or every poll."""
    before = task.reads_first and which != "second"
    gone = isinstance(kind.error, type) and kind.error is ConnixNotFoundError
    match kind.nature:
        case Nature.LASTING if gone and not before:
            # A read replica may not know a new agent for some seconds.
            if task.after is None or (task.action == "create_agent" and which != "every"):
                return Expected(SUCCEEDED, 1)
            # Of a create that is 15 s later, which the tally counts as a timeout.
            outcome = TIMED_OUT if task.action == "create_agent" else FAILED
            return Expected(outcome, 1, (ConnixAgentGoneError,))
        case Nature.LASTING if kind.fault.name == "redirect" and not before:
            # A gateway may redirect a poll, so only the third in a row ends a wait. It comes so late that the
            # tally counts it as a timeout.
            return Expected(TIMED_OUT if which == "every" else SUCCEEDED, 1, (kind.error,))
        case Nature.LASTING:
            return Expected(FAILED, int(not before), (kind.error,))
        case _ if which != "every" or kind.nature is Nature.HARMLESS:
            return Expected(SUCCEEDED, 1)
        case Nature.DOUBTFUL if task.after is None and keeps_status(kind):
            return Expected(SUCCEEDED, 1)
        case Nature.RIDDLE:
            if task.after is None:
                return Expected(SUCCEEDED, 1)
            return Expected(TIMED_OUT, 1, (ConnixAgentTimeoutError,))
        case Nature.LIMITED if before:
            return Expected(TIMED_OUT, 0, (ConnixRateLimitError, ConnixTimeoutError))
        case _ if before:
            return Expected(FAILED, 0, (kind.error,))
        case _:
            return Expected(TIMED_OUT, 1, (ConnixAgentTimeoutError,))
