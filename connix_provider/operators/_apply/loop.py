"""
Drive the flows of many agents on one worker.

A flow is a generator that sends the requests of one agent, yields each wait, and is resumed with the result.
Between two polls of one agent the others continue. A failure ends the flow of one agent; the others continue.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException

from connix_provider.client.errors import ConnixError, ConnixRateLimitError
from connix_provider.operators._apply.plan import AgentChange
from connix_provider.operators._base.error_context import completing_errors, concerns_all_agents
from connix_provider.polling import worker_loop

if TYPE_CHECKING:
    from connix_provider.hooks.connix import ConnixHook
    from connix_provider.polling.poll_result import PollResult
    from connix_provider.polling.status_poller import StatusPoller
    from connix_provider.polling.worker_loop import PollingSession

__all__ = ["AgentFlow", "AgentWait", "FlowDriver"]


@dataclasses.dataclass(slots=True)
class AgentWait:
    """
    A wait of one agent.

    :param due: seconds of the monotonic clock at which the next poll is due
    """

    poller: StatusPoller
    due: float = 0.0


AgentFlow = Generator[AgentWait, "PollResult", None]


class FlowDriver:
    """Drive flows over one connection."""

    def __init__(self, hook: ConnixHook, polling_session: PollingSession, project_id: str, log: Any) -> None:
        self._hook = hook
        self._polling_session = polling_session
        self._project_id = project_id
        self._log = log
        #: The errors of the flows that failed.
        self.failures: list[Exception] = []

    def run(self, flows: Iterable[tuple[AgentChange, AgentFlow]]) -> None:
        """
        Begin the flows in their order, then poll the agents that are waited for, until all flows ended.

        :param flows: each agent's change, and its flow
        :raises ConnixError: for a refused key, and for a rate limit that is used up until the deadline
        """
        begun = [(change, flow, self._resume(change, flow, None)) for change, flow in flows]
        waiting = [(change, flow, wait) for change, flow, wait in begun if wait]
        while waiting:
            time.sleep(max(0.0, min(wait.due for *_, wait in waiting) - time.monotonic()))
            polled = [
                (change, flow, self._poll(change, flow, wait) if wait.due <= time.monotonic() else wait)
                for change, flow, wait in waiting
            ]
            waiting = [(change, flow, wait) for change, flow, wait in polled if wait]

    def _poll(self, change: AgentChange, flow: AgentFlow, wait: AgentWait) -> AgentWait | None:
        """Send one poll, and resume the flow at the end of its wait; return what is waited for next."""
        result = worker_loop.poll_once(self._polling_session, self._project_id, wait.poller)
        wait.due = time.monotonic() + wait.poller.schedule.sleep_seconds()
        return wait if result is None else self._resume(change, flow, result)

    def _resume(self, change: AgentChange, flow: AgentFlow, result: PollResult | None) -> AgentWait | None:
        """Resume a flow until its next wait; ``None`` if it ended."""

        def error_fields() -> dict[str, Any]:
            return {"verb": "apply", "agent_id": change.agent_id, "agent_name": change.name}

        try:
            with completing_errors(self._hook, self._project_id, error_fields):
                return next(flow) if result is None else flow.send(result)
        except StopIteration:
            return None
        except ConnixRateLimitError:
            # Other agents need the same limit.
            raise
        except (ConnixError, AirflowException) as error:
            if isinstance(error, ConnixError) and concerns_all_agents(error):
                raise
            self._log.error("%s", error)
            self.failures.append(error)
            return None
