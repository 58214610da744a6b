"""
Judge each poll of a wait, without any I/O.

Invariants:

- Nothing is sent after the deadline. The last poll is sent right before it; its response may take
  :data:`~connix_provider.polling.deadlines.RESPONSE_GRACE` seconds more. Only then has the wait timed out.
- The next poll comes after the poll interval. A hint of the service delays it by a minute at most.
- A transient error never ends a wait. :class:`PollErrors` holds the errors that do.
- Inside a process the monotonic clock counts. Only between processes moments are epoch seconds.

The loops that drive a wait: :mod:`connix_provider.polling.worker_loop` on a worker,
:mod:`connix_provider.polling.trigger_loop` in a trigger.
"""

from __future__ import annotations

import dataclasses
import logging
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
from connix_provider.lifecycle import Goal, Verdict, judge
from connix_provider.poll_state import Snapshot
from connix_provider.polling import messages
from connix_provider.polling.agent_ref import LONGEST_NAME, AgentRef
from connix_provider.polling.log_stream import LogStream
from connix_provider.polling.poll_errors import PollErrors
from connix_provider.polling.poll_log import PollLog
from connix_provider.polling.poll_result import Outcome, PollResult
from connix_provider.polling.poll_schedule import PollSchedule
from connix_provider.polling.rate_limit_waits import RateLimitWaitLog
from connix_provider.polling.wait_settings import WaitProgress, WaitSettings

if TYPE_CHECKING:
    from connix_provider.client import Agent

__all__ = ["StatusPoller"]


class StatusPoller:
    """
    One wait for an agent.

    :param agent_id: the agent, or ``None`` while only its name is known
    :param settings: the settings of the wait
    :param progress: what earlier polls showed; default nothing
    """

    def __init__(
        self, goal: Goal, agent_id: str | None, settings: WaitSettings, progress: WaitProgress | None = None
    ) -> None:
        progress = progress or WaitProgress()
        earliest = progress.last_seen_at or settings.began_at
        self.schedule = PollSchedule(
            settings.poll_interval,
            settings.deadline,
            began_at=settings.began_at,
            # The moments of this process are by the system's clock as it is now, and may be earlier.
            not_before=earliest if settings.is_resumed else None,
            exponential_backoff=settings.exponential_backoff,
            max_wait=settings.max_wait,
            is_resumed=settings.is_resumed,
        )
        self.goal = goal
        self.agent = AgentRef(agent_id, progress.agent_name, settings.project_id)
        self.connix_conn_id = settings.connix_conn_id
        self.state = progress.state
        self.response_grace = settings.response_grace
        #: The agent of the last poll, if that was a Get.
        self.last_agent: Agent | None = None
        #: Whether the last poll that showed the agent to this process was a listing.
        self.was_listed = False
        #: The last errors in the agent's log; ``None`` if they were not read.
        self.last_errors: tuple[str, ...] | None = None
        self.last_seen_at = progress.last_seen_at
        #: Digests of the agent's secrets that an earlier process of the wait, and this one, know.
        self.earlier_secrets = progress.secrets_digest
        self.met_secrets: str | None = None
        #: What the last poll showed that would have ended the wait without ``silent_fail``.
        self._silenced: Exception | None = None
        self._silent_fail = settings.silent_fail
        logger = settings.log or logging.getLogger(__name__)
        self.log = PollLog(logger, self.status)
        position, began_at = progress.log_position, self.schedule.began_at
        self.stream = None if position is None else LogStream(logger, began_at, position)
        self._is_resumed = settings.is_resumed
        self._due_at = self.schedule.clock.now()
        is_known = self.state.last or self.state.before or self.state.accepted_at
        had_response = settings.had_response or bool(is_known)
        self.errors = PollErrors(began_at, had_response=had_response, earlier=progress.errors)
        self.limit_waits = RateLimitWaitLog(logger)

    # Called by the loops

    @property
    def agent_id(self) -> str:
        """The agent's id, or its name while the id is not known."""
        return self.agent.agent_id or str(self.agent.name)

    @property
    def status(self) -> str | None:
        """The status of the last poll, ``None`` if there was none or the agent is gone."""
        return self.state.last.status if self.state.last else None

    @property
    def is_about_one_agent(self) -> bool:
        """Whether the wait is for this agent alone."""
        return True

    @property
    def is_undecided(self) -> bool:
        """Whether this process must send the next polls, because their verdict rests on what it has seen."""
        is_holding = self.goal.stable_for > 0 and self.state.stable_since is not None
        return is_holding or self.errors.is_undecided

    def check_deadline(self) -> PollResult | None:
        """
        Check the deadline; call this before each request.

        :return: the result, or ``None`` before the deadline
        """
        return self.timed_out() if self.schedule.is_over else None

    def timed_out(self) -> PollResult:
        """Return the result of a wait that timed out."""
        now = self.schedule.clock.now()
        text = messages.timed_out(
            self.goal,
            self.agent,
            self.state,
            limit=f"{self.schedule.allowed:.4g} s",
            last_seen=self._last_seen(now),
            last_error=self._silenced or self.limit_waits.reason(self.log.last_error, now),
            connix_conn_id=self.connix_conn_id,
            limited_for=self.limit_waits.total(now),
            limited_by=self.limit_waits.bucket,
        )
        request_id = getattr(self.limit_waits.error or self.log.last_error, "request_id", None)
        return self._result(Outcome.TIMEOUT, self.status, text, request_id=request_id)

    def no_response(self) -> PollResult:
        """Return the result of a wait whose last poll had no response."""
        if self.log.last_error is None and not self.limit_waits.is_waiting:
            self.log.last_error = ConnixTimeoutError("no response came before the deadline")
        return self.timed_out()

    def located(self, **found: str | None) -> None:
        """
        Store what was found of the agent.

        :param found: ``agent_id``, ``project_id`` and ``link``, the address of its page in the Connix console
        """
        self.agent = dataclasses.replace(self.agent, **found)

    def trigger_arguments(self) -> dict[str, Any]:
        """
        Return the arguments with which a trigger continues the wait.

        :return: plain JSON; moments are epoch seconds of the system's clock
        """
        schedule, clock = self.schedule, self.schedule.clock
        return {
            **self.progress(),
            "poll_interval": schedule.poll_interval,
            "deadline": clock.to_system(schedule.deadline),
            "began_at": clock.to_system(schedule.began_at),
            "first_poll_at": clock.to_system(clock.now() + schedule.sleep_seconds()),
        }

    def progress(self) -> dict[str, Any]:
        """
        Return what polls have shown of the agent, for another process.

        :return: plain JSON that :meth:`WaitProgress.from_json
            <connix_provider.polling.wait_settings.WaitProgress.from_json>` reads
        """
        clock = self.schedule.clock
        return {
            "agent_name": self.agent.name,
            "poll_state": self.state.to_json(clock.to_system),
            "last_seen_at": None if self.last_seen_at is None else clock.to_system(self.last_seen_at),
            "poll_errors": self.errors.to_json(clock.to_system),
            "log_position": self.stream.to_json() if self.stream else None,
            "secrets_digest": self.earlier_secrets or self.met_secrets,
        }

    # Results of polls

    def observe(self, polled: Agent | Exception) -> PollResult | None:
        """
        Judge the result of a poll.

        :param polled: the agent, or the error
        :return: the result, or ``None`` if the wait continues
        """
        poll_result = self._observe(polled)
        self._due_at = self.schedule.clock.now() + self.schedule.sleep_seconds()
        if poll_result is None or not self._silent_fail or poll_result.outcome is Outcome.DONE:
            return poll_result
        self.log.log.error("%s The sensor keeps waiting, because silent_fail is set.", poll_result.message)
        if isinstance(polled, ConnixError):
            # A timeout has a subject and a remedy of its own.
            polled.subject = polled.advice = polled.link = None
        self._silenced = polled if isinstance(polled, Exception) else None
        return None

    def on_rate_limit(self, error: ConnixRateLimitError) -> None:
        """
        Delay the next poll for a rate limit.

        :param error: the 429, or the limiter's own error
        """
        was_sent = not isinstance(error, ConnixRateLimitWaitError)
        self.schedule.delay_for_limit(error.retry_after, was_sent=was_sent)
        now = self.schedule.clock.now()
        self.limit_waits.begin(self.agent, error, self.schedule.sleep_seconds(), now, due_at=self._due_at)

    def _observe(self, polled: Agent | Exception) -> PollResult | None:
        self.schedule.hint = self._silenced = None
        if isinstance(polled, ConnixTimeoutError) and polled.request_id is None:
            # The poll was not sent.
            return None
        if isinstance(polled, ConnixRateLimitWaitError):
            self.on_rate_limit(polled)
            return None
        if isinstance(polled, Exception):
            return self._failed(polled)
        now = self.schedule.clock.now()
        self.limit_waits.end(self.agent, now)
        self.errors.reset()
        self.log.response(self.agent)
        # Only Get shows all of an agent, its counters among it.
        self.last_agent = polled if polled.stats is not None else None
        self.was_listed = self.last_agent is None
        self.last_seen_at = now
        if polled.name:
            self.agent = dataclasses.replace(self.agent, name=str(polled.name)[:LONGEST_NAME])
        return self._judge(polled.snapshot())

    def _failed(self, error: Exception) -> PollResult | None:
        """Judge a failed poll."""
        now = self.schedule.clock.now()
        if isinstance(error, ConnixRateLimitError):
            self.errors.record(error, now)
            self.on_rate_limit(error)
            return None
        self.limit_waits.end(self.agent, now)
        if isinstance(error, ConnixNotFoundError) and error.is_of_an_agent:
            if self.agent.agent_id is None and not self._is_resumed:
                return self._refused(error)
            self.last_seen_at = now
            return self._judge(Snapshot(None), str(error))
        if self.errors.record(error, now):
            return self._refused(error)
        if isinstance(error, ConnixAPIError) and error.retry_after:
            self.schedule.delay_by(error.retry_after)
        self.log.failure(self.agent, error)
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

    def _judge(self, polled: Snapshot, why: str = "") -> PollResult | None:
        held_since = self.state.stable_since
        judgement = judge(self.goal, polled, self.state, now=self.schedule.clock.now())
        if polled.status is None and judgement.verdict is Verdict.WAITING:
            self.log.failure(self.agent, ConnixError(judgement.reason))
            return None
        if judgement.is_ignored:
            return None
        self.log.status(self.agent, polled.status, self.goal, self.schedule)
        held = self.state.stable_since
        if self.goal.stable_for > 0 and held is not None and held != held_since:
            self.log.log.info(
                "Agent %s must keep this status for %g s, counted from now.", self.agent, self.goal.stable_for
            )
        match judgement.verdict:
            case Verdict.WAITING:
                return None
            case Verdict.DONE:
                message = messages.done(self.goal, self.agent, polled.status, self.schedule.waited)
                return self._result(Outcome.DONE, polled.status, message)
            case Verdict.GONE:
                return self._result(Outcome.GONE, None, messages.gone(self.goal, self.agent, why))
            case Verdict.FAILED:
                text = messages.failed(self.goal, self.agent, judgement.reason)
                return self._result(Outcome.FAILED, polled.status, text)

    def _result(
        self,
        outcome: Outcome,
        status: str | None,
        text: str | messages.WaitMessage,
        *,
        request_id: str | None = None,
    ) -> PollResult:
        if isinstance(text, str):
            return PollResult.of(outcome, self.agent, status, text, request_id=request_id)
        poll_result = PollResult.of(outcome, self.agent, status, " ".join(text), request_id=request_id)
        return dataclasses.replace(poll_result, advice_at=len(text.finding))

    def _last_seen(self, now: float) -> str:
        if self.state.last is None:
            # Not "no poll", because another process of the task may have seen the agent.
            return messages.NO_RECENT_POLL
        return messages.last_seen(self.status, self.last_seen_at, now)
