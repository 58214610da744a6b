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

    #: The answer is right, only late.
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
    "500 after the deed": _doubtful(Fault.status(500, executed=True)),
    "502 in HTML": _doubtful(Fault.html_502()),
    "reset": _doubtful(Fault.reset_before(), ConnixConnectionError),
    "reset after the deed": _doubtful(Fault.reset_after(), ConnixConnectionError),
    "hang-up": _doubtful(Fault.hang(0.001), ConnixConnectionError),
    "hang-up after the deed": _doubtful(Fault.hang(0.001, executed=True), ConnixConnectionError),
    "silence": _doubtful(Fault.hang(), ConnixTimeoutError),
    "silence after the deed": _doubtful(Fault.hang(executed=True), ConnixTimeoutError),
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
SILENT = frozenset({"silence", "silence after the deed"})


@dataclasses.dataclass(frozen=True)
class Task:
    """
    What a task does.

    :param deed: the call that changes something
    :param before: the agent's status before the task, ``None``: there is no agent
    :param after: its status in the end, ``None``: it is gone
    :param looks_first: whether the agent is looked at before the deed
    :param once: whether the deed is not safe to send twice
    """

    operator: Callable[..., Any]
    deed: str
    before: str | None
    after: str | None
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    looks_first: bool = False
    once: bool = False

    @property
    def is_refused_again(self) -> bool:
        """Whether the service refuses the deed while or after it was done."""
        return self.deed in {"start_agent", "pause_agent", "stop_agent", "delete_agent"}


TASKS = {
    "create": Task(ConnixCreateAgentOperator, "create_agent", None, "running", {"name": "made"}, once=True),
    "update": Task(
        ConnixUpdateAgentOperator,
        "update_agent",
        "running",
        "running",
        {"description": "better"},
        looks_first=True,
    ),
    "start": Task(ConnixStartAgentOperator, "start_agent", "stopped", "running", looks_first=True),
    "pause": Task(ConnixPauseAgentOperator, "pause_agent", "running", "paused", looks_first=True),
    "stop": Task(ConnixStopAgentOperator, "stop_agent", "running", "stopped", looks_first=True),
    "restart": Task(
        ConnixRestartAgentOperator, "restart_agent", "running", "running", looks_first=True, once=True
    ),
    "delete": Task(ConnixDeleteAgentOperator, "delete_agent", "running", None),
}
#: A sensor that waits for an agent to run.
SENSOR = Task(ConnixAgentStatusSensor, "", "creating", "running")


@dataclasses.dataclass(frozen=True)
class Expected:
    """
    The right outcome.

    :param deeds: how often the service carries the deed out; a number that is safe to exceed is a least one
    """

    outcome: str
    deeds: int
    errors: tuple[type[Exception], ...] = ()

    def allows(self, error: BaseException | None) -> bool:
        """Tell whether a task may end in exactly such an error; a limit may also be the client's own."""
        limited = ConnixRateLimitError in self.errors and isinstance(error, ConnixRateLimitError)
        return error is None or type(error) in self.errors or limited


def keeps_status(kind: FaultKind) -> bool:
    """Return whether an error response that is struck still shows its status, and so what it means."""
    return kind.fault.name == "cut_body"


def of_the_deed(task: Task, kind: FaultKind, every: bool) -> Expected:
    """Say what a task comes to whose deed is struck, by one or two faults or at every attempt."""
    done = int(kind.fault.executed)
    if task.deed == "create_agent" and kind.error is ConnixConflictError:
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
            # The repeat is refused because of the first one, and that shows in spite of the cut.
            return Expected(SUCCEEDED, 1)
        case Nature.DOUBTFUL if every and not task.once:
            return Expected(FAILED, done, (kind.error,))
        case Nature.DOUBTFUL if every and not done:
            # It is looked for, found not to have happened, and sent again, until the time is up, or until the
            # ten creates a minute that the reference allows are used up for longer than the task may take.
            return Expected(TIMED_OUT, 0, (kind.error, ConnixTimeoutError, ConnixRateLimitError))
        case _:
            return Expected(SUCCEEDED, 1)


def of_a_look(task: Task, kind: FaultKind, which: str) -> Expected:
    """Say what a task comes to whose first, second or every look at the agent is struck."""
    before = task.looks_first and which != "second"
    gone = isinstance(kind.error, type) and kind.error is ConnixNotFoundError
    match kind.nature:
        case Nature.LASTING if gone and not before:
            # A read replica may not know a new agent for some seconds.
            if task.after is None or (task.deed == "create_agent" and which != "every"):
                return Expected(SUCCEEDED, 1)
            # Of a create that is 15 s later, which the tally counts as a timeout.
            outcome = TIMED_OUT if task.deed == "create_agent" else FAILED
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
