"""
Name what a wait for an agent can end in, besides success.

::

    AirflowException
     +-- ConnixAgentFailedError      the agent reached a status from which it does not come back by itself
     +-- ConnixAgentGoneError        the agent was deleted
     +-- ConnixAgentTimeoutError     the time allowed ran out; the agent was left as it is
          +-- ConnixSensorTimeoutError    the same of a sensor, and an AirflowSensorTimeout

Errors of Connix itself keep the client's own exceptions (:mod:`connix_provider.client.errors`), which carry
the same attributes. Bad input is a :class:`ValueError`.
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


class _AgentError(AirflowException):
    """
    Carry which agent an exception is about.

    :param message: some sentences
    :param agent_id: the agent
    :param agent_name: its name, where that is known
    :param project_id: its project
    :param status: its status as last seen
    :param request_id: the request that it rests on, to quote to Connix's support
    """

    def __init__(
        self,
        message: str = "",
        *,
        agent_id: str | None = None,
        agent_name: str | None = None,
        project_id: str | None = None,
        status: str | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.agent_id = agent_id
        self.agent_name = agent_name
        self.project_id = project_id
        self.status = status
        self.request_id = request_id


class ConnixAgentFailedError(_AgentError):
    """Raised when the agent reached a status from which what was waited for does not come."""


class ConnixAgentTimeoutError(_AgentError):
    """Raised when the time allowed ran out; the agent was left as it is."""


class ConnixAgentGoneError(_AgentError):
    """Raised when the agent was deleted while it was waited for."""


class ConnixSensorTimeoutError(ConnixAgentTimeoutError, AirflowSensorTimeout):
    """Raised when a sensor's time ran out, in the way that Airflow's ``soft_fail`` and retries understand."""


_KINDS: dict[Outcome, type[_AgentError]] = {
    Outcome.FAILED: ConnixAgentFailedError,
    Outcome.TIMEOUT: ConnixAgentTimeoutError,
    Outcome.GONE: ConnixAgentGoneError,
}


def exception_for(ending: Ending, *, timeout: type[_AgentError] = ConnixAgentTimeoutError) -> Exception:
    """
    Choose the exception for a wait that did not end well.

    :param ending: how the wait ended
    :param timeout: the class where the time ran out
    :return: the exception to raise
    """
    kind = timeout if ending.outcome is Outcome.TIMEOUT else _KINDS.get(ending.outcome)
    if kind is None:
        return ending.rebuild_error()
    return kind(
        ending.message,
        agent_id=ending.agent_id,
        agent_name=ending.agent_name,
        project_id=ending.project_id,
        status=ending.status,
        request_id=ending.request_id,
    )
