"""Say when Airflow itself gives up on a deferred task, and what that means."""

from __future__ import annotations

import time
from datetime import timedelta

__all__ = ["LONGEST_PAUSE", "deferral_timeout", "is_deferral_timeout", "untended"]

#: Seconds that a deferrable task sleeps on its worker at most where the key's budget is used up.
LONGEST_PAUSE = 10.0
#: Seconds after the deadline at which it is sure that no triggerer will end the wait.
_GRACE = 60.0


def deferral_timeout(deadline: float) -> timedelta:
    """
    Say how long Airflow shall keep a deferred task.

    The trigger ends the wait at its deadline; this is for when no triggerer runs.

    :param deadline: epoch seconds
    :return: the time left, and a grace
    """
    return timedelta(seconds=max(0.0, deadline - time.time()) + _GRACE)


def is_deferral_timeout(error: BaseException) -> bool:
    """
    Tell whether a resumed task was given up by Airflow.

    The exception's home differs between Airflow versions, and importing it from the old one warns.

    :param error: what resuming raised
    :return: whether it is Airflow's ``TaskDeferralTimeout``
    """
    return type(error).__name__ == "TaskDeferralTimeout"


def untended(timeout: float) -> str:
    """
    Say what it means that Airflow gave up.

    :param timeout: the task's time in seconds
    :return: one sentence or two
    """
    return (
        f"The time allowed ({timeout:g} s) ran out and no triggerer answered; is one running? "
        "The agent was left as it is."
    )
