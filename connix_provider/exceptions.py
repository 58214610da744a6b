"""
The exceptions of a wait that ends without success.

::

    AirflowException
     +-- ConnixAgentFailedError          the agent reached a failure status of the goal
     +-- ConnixAgentGoneError            the agent was deleted
     +-- ConnixAgentTimeoutError         the deadline passed
          +-- ConnixSensorTimeoutError   the same for a sensor; also an AirflowSensorTimeout

Each has the attributes ``agent_id``, ``agent_name``, ``project_id``, ``status`` and ``request_id``. A request
that Connix refuses raises an exception of the client, with the same attributes
(:mod:`connix_provider.client.errors`). A wrong parameter is a :class:`ValueError`.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowException, AirflowSensorTimeout

from connix_provider.polling.poll_result import Outcome, PollResult

__all__ = [
    "ConnixAgentFailedError",
    "ConnixAgentGoneError",
    "ConnixAgentTimeoutError",
    "ConnixSensorTimeoutError",
    "exception_for",
]


class _AgentError(AirflowException):
    """
    Base class of the exceptions of a wait.

    :param message: what happened, to which agent, and what to do
    :param agent_id: the agent
    :param agent_name: its name, if known
    :param project_id: its project
    :param status: its status in the last poll
    :param request_id: ``X-Request-ID`` of the last poll, for Connix's support
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
    """Raised when the agent reached a status from which it does not reach the goal by itself."""


class ConnixAgentTimeoutError(_AgentError):
    """Raised when the deadline passed before the agent reached the goal; the agent is left as it is."""


class ConnixAgentGoneError(_AgentError):
    """Raised when the agent was deleted during the wait."""


class ConnixSensorTimeoutError(ConnixAgentTimeoutError, AirflowSensorTimeout):
    """Raised when a sensor's deadline passed; ``soft_fail`` skips this exception and no other."""


_KINDS: dict[Outcome, type[_AgentError]] = {
    Outcome.FAILED: ConnixAgentFailedError,
    Outcome.TIMEOUT: ConnixAgentTimeoutError,
    Outcome.GONE: ConnixAgentGoneError,
}


def exception_for(
    poll_result: PollResult, *, timeout: type[_AgentError] = ConnixAgentTimeoutError
) -> Exception:
    """
    Return the exception for a wait that ended without success.

    :param ending: how the wait ended
    :param timeout: the class to use if the deadline passed
    :return: the exception to raise
    """
    kind = timeout if poll_result.outcome is Outcome.TIMEOUT else _KINDS.get(poll_result.outcome)
    if kind is None:
        return poll_result.rebuild_error()
    return kind(
        poll_result.message,
        agent_id=poll_result.agent_id,
        agent_name=poll_result.agent_name,
        project_id=poll_result.project_id,
        status=poll_result.status,
        request_id=poll_result.request_id,
    )
