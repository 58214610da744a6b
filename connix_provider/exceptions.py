"""
The exceptions of a wait that ends without success.

::

    AirflowException
     +-- ConnixFleetError                     agents of a fleet failed, or were not touched
     +-- ConnixAgentError
          +-- ConnixAgentFailedError          the agent reached a failure status of the goal
          +-- ConnixAgentGoneError            the agent was deleted
          +-- ConnixAgentUnhealthyError       the agent does not keep the limits of a health policy
          +-- ConnixAgentTimeoutError         the deadline passed
               +-- ConnixSensorTimeoutError   the same for a sensor; also an AirflowSensorTimeout

Each but the first has the attributes ``agent_id``, ``agent_name``, ``project_id``, ``status``, ``request_id``
and ``last_errors``. A request that Connix refuses raises an exception of the client, with the same attributes
but the last (:mod:`connix_provider.client.errors`). A wrong parameter is a :class:`ValueError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowSensorTimeout

__all__ = [
    "ConnixAgentError",
    "ConnixAgentFailedError",
    "ConnixAgentGoneError",
    "ConnixAgentTimeoutError",
    "ConnixAgentUnhealthyError",
    "ConnixFleetError",
    "ConnixSensorTimeoutError",
]


class ConnixAgentError(AirflowException):
    """
    Base class of the exceptions of a wait.

    :param message: what happened, to which agent, and what to do
    :param agent_id: the agent
    :param agent_name: its name, if known
    :param project_id: its project
    :param status: its status in the last poll
    :param request_id: ``X-Request-ID`` of the last poll, for Connix's support
    :param last_errors: the last errors in the agent's log, oldest first, at most 10; the text ends with them,
        and secrets are hidden
    :ivar summary: the message without these lines
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
        last_errors: Sequence[str] = (),
    ) -> None:
        super().__init__(_with_lines(message, last_errors))
        self.summary = message
        self.agent_id = agent_id
        self.agent_name = agent_name
        self.project_id = project_id
        self.status = status
        self.request_id = request_id
        self.last_errors = tuple(last_errors)


def _with_lines(message: str, last_errors: Sequence[str]) -> str:
    if not last_errors:
        return message
    # The newest first, because user interfaces cut long errors; in one line, as every error of this package.
    *earlier, newest = last_errors
    text = f"{message} Its last error log line: {newest}"
    return f"{text} | those before it, newest first: {' | '.join(reversed(earlier))}" if earlier else text


class ConnixAgentFailedError(ConnixAgentError):
    """Raised when the agent reached a status from which it does not reach the goal by itself."""


class ConnixAgentTimeoutError(ConnixAgentError):
    """Raised when the deadline passed before the agent reached the goal; the agent is left as it is."""


class ConnixAgentGoneError(ConnixAgentError):
    """Raised when the agent was deleted during the wait."""


class ConnixAgentUnhealthyError(ConnixAgentError):
    """Raised when the health of an agent is not what the task wants; the message holds the report."""


class ConnixSensorTimeoutError(ConnixAgentTimeoutError, AirflowSensorTimeout):
    """Raised when a sensor's deadline passed; ``soft_fail`` skips this exception and no other."""


class ConnixFleetError(AirflowException):
    """
    Raised when the run of a fleet ended without success for some agents.

    :param message: how many agents are done, failed and not touched, and why
    :param result: the result by agent, as the operator would have returned it
    """

    def __init__(self, message: str = "", *, result: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.result = result
