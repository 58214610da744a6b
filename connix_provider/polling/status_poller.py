"""
Judge each poll of a wait, and compute when the next poll is due; without any I/O.

Invariants:

- Nothing is sent after the deadline. The last poll is sent right before it; its response may take
  :data:`RESPONSE_GRACE` seconds more. Only then has the wait timed out.
- The next poll comes after the poll interval. A hint of the service delays it by at most :data:`MAX_HINT`.
- A transient error never ends a wait. :class:`PollErrors` holds the errors that do.
- Inside a process the monotonic clock counts. Only between processes moments are epoch seconds.

Workers and triggers drive a wait with the loops of :mod:`connix_provider.polling.session`.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from connix_provider.client.errors import (
    ConnixAPIError,
    ConnixError,
    ConnixNotFoundError,
    ConnixRateLimitError,
    ConnixRateLimitWaitError,
    ConnixTimeoutError,
)
from connix_provider.lifecycle import KNOWN, Goal, PollState, Snapshot, Verdict, judge
from connix_provider.polling import messages
from connix_provider.polling.agent_ref import AgentRef
from connix_provider.polling.clock import SteadyClock
from connix_provider.polling.poll_errors import PollErrors
from connix_provider.polling.poll_result import Outcome, PollResult
from connix_provider.polling.rate_limit_waits import RateLimitWaits

if TYPE_CHECKING:
    from connix_provider.client import Agent

__all__ = ["MAX_HINT", "MAX_POLL", "RESPONSE_GRACE", "StatusPoller"]

#: Seconds that one poll may take: a service that hangs must not stretch the interval for ever.
MAX_POLL = 60.0
#: Seconds by which a hint of the service, such as Retry-After, delays the next poll at most.
MAX_HINT = 60.0
#: Seconds after the deadline until which the response to the last poll is awaited.
RESPONSE_GRACE = 5.0
#: Seconds before the deadline at which the last poll is sent.
_LAST_POLL = 0.05
#: Clocks and sleeps are that exact, in seconds.
_ROUNDING = 0.002


class StatusPoller:
    """
    One wait for an agent.

    :param goal: the goal
    :param agent_id: the agent, or ``None`` while only its name is known
    :param poll_interval: seconds between two polls
    :param deadline: epoch seconds at which the wait times out
    :param agent_name: the agent's name, if known
    :param project_id: the agent's project
    :param link: the address of the agent's page in the Connix console
    :param connix_conn_id: the Airflow connection, for messages
    :param state: the state of earlier polls; it is updated
    :param exponential_backoff: whether the interval doubles from poll to poll
    :param max_wait: upper bound of the interval in seconds; default none
    :param silent_fail: whether only success and the deadline end the wait, as with Airflow's sensors
    :param began_at: epoch seconds at which the task began; default now
    :param is_resumed: whether another process sent the polls before
    :param last_seen_at: epoch seconds of the last poll in the state, if another process sent it
    :param has_answered: whether an earlier response showed that the connection is right
    :param errors: the failed polls of another process, as :meth:`PollErrors.to_json` makes it
    :param response_grace: seconds after the deadline during which the last response is awaited
    :param log: the logger for changes, each of which is logged once
    """

    def __init__(
        self,
        goal: Goal,
        agent_id: str | None,
        *,
        poll_interval: float,
        deadline: float,
        agent_name: str | None = None,
        project_id: str | None = None,
        link: str | None = None,
        connix_conn_id: str | None = None,
        state: PollState | None = None,
        exponential_backoff: bool = False,
        max_wait: float | None = None,
        silent_fail: bool = False,
        began_at: float | None = None,
        is_resumed: bool = False,
        last_seen_at: float | None = None,
        has_answered: bool = False,
        errors: Mapping[str, Any] | None = None,
        response_grace: float = RESPONSE_GRACE,
        log: Any = None,
    ) -> None:
        self.clock = SteadyClock(not_before=began_at if last_seen_at is None else last_seen_at)
        self.goal = goal
        self.agent = AgentRef(agent_id, agent_name, project_id, link)
        self.connix_conn_id = connix_conn_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.began_at = self.clock.now() if began_at is None else began_at
        self.state = PollState() if state is None else state
        self.response_grace = response_grace
        #: The agent of the last poll, if that was a Get.
        self.last_agent: Agent | None = None
        self.last_seen_at = last_seen_at
        self._max_wait = math.inf if max_wait is None else max_wait
        self._exponential_backoff = exponential_backoff
        self._silent_fail = silent_fail
        self._log = log or logging.getLogger(__name__)
        self._is_resumed = is_resumed
        self._first_poll_at: float | None = None
        self._logged_status = self.state.last.status if self.state.last else None
        self._last_error: Exception | None = None
        self._hint: float | None = None
        self._due_at = self.clock.now()
        is_known = self.state.last or self.state.before or self.state.accepted_at
        self.errors = PollErrors(self.began_at, has_answered=has_answered or bool(is_known), earlier=errors)
        self.limits = RateLimitWaits(self._log)

    # What the drivers ask

    @property
    def agent_id(self) -> str:
        """The agent's id, or its name while the id is not known."""
        return self.agent.agent_id or str(self.agent.name)

    @property
    def status(self) -> str | None:
        """The status of the last poll, ``None`` if there was none or the agent is gone."""
        return self.state.last.status if self.state.last else None

    @property
    def seen(self) -> Snapshot | None:
        """The snapshot of the last poll, or ``None`` if no poll showed the agent."""
        return self.state.last

    @property
    def is_undecided(self) -> bool:
        """Whether this process must send the next polls, because their verdict rests on what it has seen."""
        is_holding = self.goal.stable_for > 0 and self.state.stable_since is not None
        return is_holding or self.errors.is_undecided

    def left(self) -> float:
        """
        Return the time left.

        :return: seconds until the deadline, not positive after it
        """
        return self.deadline - self.clock.now()

    def poll_timeout(self) -> float:
        """
        Return the time for the next poll.

        :return: seconds, at most :data:`MAX_POLL`
        """
        if self._first_poll_at is None:
            self._first_poll_at = self.clock.now()
        return min(MAX_POLL, self.left())

    def rest(self) -> float:
        """
        Return the pause before the next poll.

        :return: seconds; the last poll is right before the deadline
        """
        left = max(0.0, self.left())
        return min(self.delay(), left - _LAST_POLL) if left > _LAST_POLL + _ROUNDING else left

    def delay(self) -> float:
        """
        Return the pause before the next poll if there were no deadline.

        :return: seconds: the interval, or a longer pause for a rate limit or a hint of the service
        """
        return self.interval() if self._hint is None else self._hint

    def interval(self) -> float:
        """
        Return the present poll interval.

        With exponential backoff it depends on the time since the first poll only, so that another process
        computes the same.

        :return: seconds
        """
        if not self._exponential_backoff:
            return self.poll_interval
        first = self.began_at if self._is_resumed or self._first_poll_at is None else self._first_poll_at
        # Intervals of 1, 2, 4, … times the first one add up to 2**n - 1 times it.
        intervals = (self.clock.now() - first) / self.poll_interval * 1.01 + 0.05
        doublings = int(math.log2(max(0.0, intervals) + 1.0))
        return min(self.poll_interval * 2.0 ** min(doublings, 60), self._max_wait)

    def overdue(self) -> PollResult | None:
        """
        Check the deadline; call this before each request.

        :return: the ending, or ``None`` before the deadline
        """
        return None if self.left() > _ROUNDING else self.timed_out()

    def timed_out(self) -> PollResult:
        """
        Return the ending of a wait that timed out.

        :return: the ending
        """
        now = self.clock.now()
        limited_for = self.limits.total(now)
        error = self.limits.error or self._last_error
        request_id = getattr(error, "request_id", None)
        is_told = isinstance(error, ConnixRateLimitError) and limited_for >= messages.WORTH_TELLING
        if is_told or (isinstance(error, ConnixRateLimitWaitError) and self._last_error):
            # A poll that was not sent hides no earlier error, and the message counts the seconds it waited.
            error = self._last_error
        message = messages.timed_out(
            self.goal,
            self.agent,
            self.state,
            limit=f"{self.deadline - self.began_at:.4g} s",
            last_seen=self._last_seen(now),
            last_error=error,
            connix_conn_id=self.connix_conn_id,
            limited_for=limited_for,
            limited_by=self.limits.bucket,
        )
        return self._ending(Outcome.TIMEOUT, self.status, message, request_id=request_id)

    def unanswered(self) -> PollResult:
        """
        Return the ending of a wait whose last poll had no response.

        :return: the ending
        """
        if self._last_error is None and not self.limits.is_waiting:
            self._last_error = ConnixTimeoutError("no response came in the time allowed")
        return self.timed_out()

    def located(self, agent_id: str, project_id: str, link: str | None) -> None:
        """
        Store the agent that a name stands for.

        :param agent_id: the agent
        :param project_id: its project
        :param link: the address of its page in the Connix console
        """
        self.agent = dataclasses.replace(self.agent, agent_id=agent_id, project_id=project_id, link=link)

    def linked(self, link: str) -> None:
        """
        Store the link to the agent's page.

        :param link: its address
        """
        self.agent = dataclasses.replace(self.agent, link=link)

    def log_new_key(self) -> None:
        """Log that the service refused the key and that the connection has another one now."""
        self._log.info(
            "Agent %s: Connix refused the key; the connection holds another one now, which is used from here "
            "on.",
            self.agent,
        )

    def handover(self) -> dict[str, Any]:
        """
        Return the arguments with which a trigger continues the wait.

        :return: plain JSON; moments are epoch seconds of the system's clock
        """
        state = self.state.to_json()
        names = ("accepted_at", "found_at", "stable_since")
        moments = {name: state[name] for name in names if state.get(name)}
        state.update({name: self.clock.to_system(moment) for name, moment in moments.items()})
        seen_at = self.last_seen_at
        return {
            "agent_name": self.agent.name,
            "poll_state": state,
            "poll_interval": self.poll_interval,
            "deadline": self.clock.to_system(self.deadline),
            "began_at": self.clock.to_system(self.began_at),
            "first_poll_at": self.clock.to_system(self.clock.now() + self.rest()),
            "last_seen_at": None if seen_at is None else self.clock.to_system(seen_at),
            "poll_errors": self.errors.to_json(self.clock.to_system),
        }

    # What a poll showed

    def observe(self, seen: Agent | Exception) -> PollResult | None:
        """
        Judge the result of a poll.

        :param seen: the agent, or the error
        :return: the ending, or ``None`` if the wait continues
        """
        poll_result = self._observe(seen)
        self._due_at = self.clock.now() + self.rest()
        if poll_result is None or not self._silent_fail or poll_result.outcome is Outcome.DONE:
            return poll_result
        self._log.error("%s Waiting on, as silent_fail says.", poll_result.message)
        return None

    def limited(self, error: ConnixRateLimitError) -> None:
        """
        Delay the next poll for a rate limit.

        :param error: the 429, or the limiter's own error
        """
        hint = error.retry_after
        if isinstance(error, ConnixRateLimitWaitError):
            # Nothing was sent, so the next poll comes as soon as the limit allows it.
            self._hint = min(max(hint or 0.0, _LAST_POLL), MAX_HINT)
        elif hint:
            self._hint = max(min(hint, MAX_HINT), self.interval())
        self.limits.begin(self.agent, error, self.rest(), self.clock.now(), due_at=self._due_at)

    def _observe(self, seen: Agent | Exception) -> PollResult | None:
        self._hint = None
        if isinstance(seen, ConnixTimeoutError) and seen.request_id is None:
            # The poll was not sent.
            return None
        if isinstance(seen, ConnixRateLimitWaitError):
            self.limited(seen)
            return None
        if isinstance(seen, Exception):
            return self._failed(seen)
        now = self.clock.now()
        self.limits.end(self.agent, now)
        self.errors.reset()
        if self._last_error:
            self._log.info("Agent %s: Connix answers again.", self.agent)
            self._last_error = None
        # Only Get shows all of an agent, its counters among it.
        self.last_agent = seen if seen.stats is not None else None
        self.last_seen_at = now
        if seen.name:
            self.agent = dataclasses.replace(self.agent, name=seen.name)
        return self._judge(seen.snapshot())

    def _failed(self, error: Exception) -> PollResult | None:
        """Judge a failed poll."""
        now = self.clock.now()
        if isinstance(error, ConnixRateLimitError):
            self.errors.is_final(error, now)
            self.limited(error)
            return None
        self.limits.end(self.agent, now)
        if isinstance(error, ConnixNotFoundError) and error.is_of_an_agent:
            if self.agent.agent_id is None and not self._is_resumed:
                return self._refused(error)
            self.last_seen_at = now
            return self._judge(Snapshot(None), str(error))
        if self.errors.is_final(error, now):
            return self._refused(error)
        if isinstance(error, ConnixAPIError) and error.retry_after:
            self._hint = max(min(error.retry_after, MAX_HINT), self.interval())
        self._log_failure(error)
        return None

    def _refused(self, error: Exception) -> PollResult:
        if isinstance(error, ConnixError):
            error.status = self.status
            messages.refused(
                error,
                self.goal,
                self.agent,
                self.connix_conn_id,
                is_misconfigured=self.errors.is_misconfigured,
            )
        elif isinstance(error, AirflowNotFoundException):
            error = messages.undefined(error, self.goal, self.agent)
        return PollResult.refused(self.agent, self.status, error)

    def _judge(self, seen: Snapshot, why: str = "") -> PollResult | None:
        held_since = self.state.stable_since
        judgement = judge(self.goal, seen, self.state, now=self.clock.now())
        if seen.status is None and judgement.verdict is Verdict.WAITING:
            self._log_failure(ConnixError(judgement.reason))
            return None
        self._log_status(seen.status)
        held = self.state.stable_since
        if self.goal.stable_for > 0 and held is not None and held != held_since:
            self._log.info(
                "Agent %s must stay so for %g s, counted from now.", self.agent, self.goal.stable_for
            )
        match judgement.verdict:
            case Verdict.WAITING:
                return None
            case Verdict.DONE:
                waited = self.clock.now() - self.began_at
                message = messages.done(self.goal, self.agent, seen.status, waited)
                return self._ending(Outcome.DONE, seen.status, message)
            case Verdict.GONE:
                return self._ending(Outcome.GONE, None, messages.gone(self.goal, self.agent, why))
            case Verdict.FAILED:
                message = messages.failed(self.goal, self.agent, judgement.reason)
                return self._ending(Outcome.FAILED, seen.status, message)

    def _ending(
        self, outcome: Outcome, status: str | None, message: str, *, request_id: str | None = None
    ) -> PollResult:
        return PollResult.of(outcome, self.agent, status, message, request_id=request_id)

    def _log_failure(self, error: Exception) -> None:
        """Log a failed poll, unless the poll before failed in the same way."""
        if type(error) is not type(self._last_error):
            self._log.warning("Agent %s: a poll failed and will be repeated: %s", self.agent, error)
        self._last_error = error

    def _log_status(self, status: str | None) -> None:
        """Log a status if it is new."""
        if status == self._logged_status:
            return
        before, self._logged_status = self._logged_status, status
        tell, became = self._log.info, status or "gone"
        if status is not None and status not in KNOWN:
            tell, became = self._log.warning, f"{status!r}, which this provider does not know; waiting on"
        elif status is not None and self.goal.done_when_gone:
            became = f"still there, {status}"
        tell(
            "Agent %s is %s%s (%.0f s waited, %.0f s left).",
            self.agent,
            became,
            f", was {before}" if before else "",
            self.clock.now() - self.began_at,
            max(0.0, self.left()),
        )

    def _last_seen(self, now: float) -> str:
        if self.state.last is None:
            if self._is_resumed:
                return "what earlier polls showed stands further up in this log"
            return "no poll showed it"
        when = ""
        if self.last_seen_at is not None:
            ago, at = max(0.0, now - self.last_seen_at), messages.moment(self.last_seen_at)
            when = f" {ago:.0f} s before that ended, at {at}" if ago >= 1.0 else f" at {at}"
        return f"it was last seen {self.status or 'gone'}{when}"
