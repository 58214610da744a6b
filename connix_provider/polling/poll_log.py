"""The log lines of one wait; each change is logged once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connix_provider.statuses import KNOWN, status_phrase

if TYPE_CHECKING:
    from connix_provider.lifecycle import Goal
    from connix_provider.polling.agent_ref import AgentRef
    from connix_provider.polling.poll_schedule import PollSchedule

__all__ = ["PollLog"]


class PollLog:
    """
    Log what the polls of one wait show.

    :param status: the status that the log shows already
    """

    def __init__(self, log: Any, status: str | None) -> None:
        self.log = log
        #: The error of the last poll, if it failed.
        self.last_error: Exception | None = None
        self._status = status

    def failure(self, agent: AgentRef, error: Exception) -> None:
        """Log a failed poll, unless the poll before failed in the same way."""
        if type(error) is not type(self.last_error):
            self.log.warning("Agent %s: a poll failed and will be repeated: %s", agent, error)
        self.last_error = error

    def response(self, agent: AgentRef) -> None:
        """Log the first response after a failure."""
        if self.last_error:
            self.log.info("Agent %s: Connix responds again.", agent)
            self.last_error = None

    def status(self, agent: AgentRef, status: str | None, goal: Goal, schedule: PollSchedule) -> None:
        """
        Log a status if it is new.

        :param status: its status, ``None`` if it is gone
        """
        if status == self._status:
            return
        before, self._status = self._status, status
        write, became = self.log.info, status_phrase(status)
        if status is not None and status not in KNOWN:
            write = self.log.warning
            became = f"{became}, a status that this provider does not know; the wait continues"
        elif status is not None and goal.done_when_gone:
            became = f"still there, {status_phrase(status)}"
        write(
            "Agent %s is %s%s (%.0f s waited, %.0f s left).",
            agent,
            became,
            f", was {status_phrase(before)}" if before else "",
            schedule.waited,
            max(0.0, schedule.left()),
        )

    def new_key(self, agent: AgentRef) -> None:
        """Log that the service refused the key and that the connection has another one now."""
        self.log.info(
            "Agent %s: Connix refused the key. The connection has a new key; polling continues with it.",
            agent,
        )
