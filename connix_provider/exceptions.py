"""
Name what a wait for an agent can end in, besides success.

Failing, running out of time and finding the agent gone are three endings with three exceptions. Trouble
with Connix itself keeps the client's own exceptions (:mod:`connix_provider.client.errors`), and bad input is
a :class:`ValueError`.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowException, AirflowSensorTimeout

from connix_provider.waiting.ending import Ending, Outcome

__all__ = [
    "ConnixAgentFailedError",
    "ConnixAgentGoneError",
    "ConnixAgentTimeoutError",
    "ConnixSensorTimeoutError",
    "exception_for",
]


class ConnixAgentFailedError(AirflowException):
    """Say that the agent reached a status from which what was waited for does not come."""


class ConnixAgentTimeoutError(AirflowException):
    """Say that the time allowed ran out; the agent was left as it is."""


class ConnixAgentGoneError(AirflowException):
    """Say that the agent was deleted while it was waited for."""


class ConnixSensorTimeoutError(ConnixAgentTimeoutError, AirflowSensorTimeout):
    """Say that a sensor's time ran out, in the way that Airflow's ``soft_fail`` and retries understand."""


def exception_for(ending: Ending) -> Exception:
    """
    Choose the exception for a wait that did not end well.

    :param ending: how the wait ended
    :return: the exception to raise
    """
    match ending.outcome:
        case Outcome.FAILED:
            return ConnixAgentFailedError(ending.message)
        case Outcome.TIMEOUT:
            return ConnixAgentTimeoutError(ending.message)
        case Outcome.GONE:
            return ConnixAgentGoneError(ending.message)
        case _:
            return ending.rebuild_error()
