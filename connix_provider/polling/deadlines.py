"""Compute the deadline of a task, and recognize Airflow's own timeout of a deferred one."""

from __future__ import annotations

import math
import time
from datetime import timedelta
from typing import Any

__all__ = [
    "MAX_PERMIT_WAIT",
    "RESPONSE_GRACE",
    "deferral_timeout",
    "is_deferral_timeout",
    "no_triggerer_message",
    "response_grace",
    "time_after",
    "time_allowed",
]

#: Seconds after the deadline until which the response to the last poll is awaited.
RESPONSE_GRACE = 5.0
#: Seconds that a deferrable task sleeps on its worker at most for a rate limit.
MAX_PERMIT_WAIT = 10.0
#: Seconds after the deadline at which it is sure that no triggerer will end the wait.
_DEFERRAL_MARGIN = 60.0
#: The part of ``execution_timeout`` that is kept for the last response, and its maximum in seconds, because
#: Airflow's own timeout does not name what the task waited for.
_MARGIN, _MAX_MARGIN = 0.1, 10.0
#: Text of Airflow 2's exception, which later versions replace by a class.
_TIMED_OUT = "Trigger/execution timeout"


def time_allowed(timeout: float, execution_timeout: timedelta | None) -> float:
    """
    Return the time until a task's own deadline.

    :param timeout: the task's ``timeout``, in seconds
    :return: seconds: ``timeout``, or a little less than ``execution_timeout`` where that is shorter
    """
    if execution_timeout is None:
        return timeout
    limit = execution_timeout.total_seconds()
    return min(timeout, limit - min(_MAX_MARGIN, _MARGIN * limit))


def response_grace(allowed: float, execution_timeout: timedelta | None) -> float:
    """
    Return the time after the deadline during which the last response is awaited.

    :param allowed: seconds until the task's own deadline, as :func:`time_allowed` has it
    :return: seconds, at most :data:`RESPONSE_GRACE`
    """
    if execution_timeout is None:
        return RESPONSE_GRACE
    return max(0.0, min(RESPONSE_GRACE, 0.7 * (execution_timeout.total_seconds() - allowed)))


def time_after(deadline: Any, allowed: float, execution_timeout: timedelta | None) -> float:
    """
    Return the time that a resumed task may take for more than its result.

    Airflow 2 counts ``execution_timeout`` from the start of the task, and ends it without a message.

    :param deadline: epoch seconds of the wait's deadline, as the event has it
    :param allowed: seconds until then from the start of the task
    :return: seconds
    """
    if execution_timeout is None:
        return math.inf
    known = not isinstance(deadline, bool) and isinstance(deadline, int | float)
    began_at = (deadline if known else time.time()) - allowed
    return 0.7 * (began_at + execution_timeout.total_seconds() - time.time())


def deferral_timeout(deadline: float) -> timedelta:
    """
    Return Airflow's timeout for a deferred task.

    The trigger ends the wait at its deadline. This timeout counts only when no triggerer runs.

    :param deadline: epoch seconds
    :return: the time left, and a grace
    """
    return timedelta(seconds=max(0.0, deadline - time.time()) + _DEFERRAL_MARGIN)


def is_deferral_timeout(error: BaseException) -> bool:
    """
    Check for Airflow's own timeout of a deferred task.

    The exception's module differs between Airflow versions, and importing it from the old one warns.

    :param error: what resuming raised
    :return: whether it is ``TaskDeferralTimeout``, or what Airflow 2 raises in its place
    """
    name = type(error).__name__
    return name == "TaskDeferralTimeout" or (name == "TaskDeferralError" and _TIMED_OUT in str(error))


def no_triggerer_message(
    timeout: float, agent: str = "", consequence: str = "The agent was left as it is."
) -> str:
    """
    Return the message for Airflow's own timeout.

    :param timeout: the task's time in seconds
    :param agent: the agent, if known
    :param consequence: what became of the agent, in a sentence
    :return: some sentences
    """
    subject = f" for agent {agent}" if agent else ""
    return (
        f"No triggerer ran the trigger{subject} within {timeout:g} s: either no triggerer is running, or all "
        "are at capacity ([triggerer] capacity in Airflow's configuration, 1000 by default)."
        + (f" {consequence}" if agent else "")
    )
