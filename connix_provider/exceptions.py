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

Each but the first has the attributes ``agent_id``, ``agent_name``, ``project_id``, ``status`` and
``request_id``. A request that Connix refuses raises an exception of the client, with the same attributes
(:mod:`connix_provider.client.errors`). A wrong parameter is a :class:`ValueError`.
"""

from __future__ import annotations

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
