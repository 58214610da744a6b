"""
Carry one wait from look to look, without doing any I/O.

A :class:`Wait` is told what each look showed and says whether it is over. :meth:`Wait.steps` is the loop
around that, as a generator that yields what is to be done next; a worker and a trigger are two thin drivers
of it. Sensors in poke and reschedule mode, where Airflow owns the loop, call :meth:`Wait.observe` instead.

A wait survives whatever may pass (429, 5xx, resets, time-outs, answers that cannot be read) until its
deadline, and keeps to its interval meanwhile. It ends at once at what will not pass (401, 403).
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from connix_provider.lifecycle import KNOWN, Goal, PollState, Snapshot, Verdict, judge
from connix_provider.waiting.ending import Ending, Outcome

if TYPE_CHECKING:
    from connix_provider.client import Agent, ConnixError

__all__ = ["LONGEST_LOOK", "Look", "Rest", "Wait"]


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """Ask the driver to get the agent."""


@dataclasses.dataclass(frozen=True, slots=True)
class Rest:
    """
    Ask the driver to wait.

    :param seconds: how long
    """

    seconds: float


#: Seconds that one look may take at most: a service that hangs must not stretch the interval for ever.
LONGEST_LOOK = 60.0


class Wait:
    """
    Hold one wait.

    :param goal: what it is for
    :param agent_id: the agent
    :param poll_interval: seconds between two looks
    :param deadline: epoch seconds after which nothing is sent any more; it may be handed to another
        process, which monotonic time may not
    :param state: what is known of the agent from before; it is brought up to date
    :param exponential_backoff: whether the interval doubles from look to look
    :param max_wait: the longest interval that this may lead to, in seconds
    :param keep_going: whether only success and the deadline end the wait (Airflow's ``silent_fail``)
    :param began_at: epoch seconds at which another process began to wait; default this one begins now
    :param log: where changes are told, once each
    """

    def __init__(
        self,
        goal: Goal,
        agent_id: str,
        *,
        poll_interval: float,
        deadline: float,
        state: PollState | None = None,
        exponential_backoff: bool = False,
        max_wait: float | None = None,
        keep_going: bool = False,
        began_at: float | None = None,
        log: Any = None,
    ) -> None:
        self.goal = goal
        self.agent_id = agent_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.status: str | None = None
        self._exponential_backoff = exponential_backoff
        self._max_wait = float("inf") if max_wait is None else max_wait
        self._keep_going = keep_going
        self.state = PollState() if state is None else state
        self._log = log or logging.getLogger(__name__)
        self._is_resumed = began_at is not None
        self._began_at = time.time() if began_at is None else began_at
        self._trouble: str | None = None
        self._hint = 0.0

    def steps(self) -> Generator[Look | Rest, Agent | ConnixError | None, Ending]:
        """
        Yield looks and rests until the wait is over.

        :return: how it ended
        """
        interval = self.poll_interval
        while True:
            if (ending := self.overdue()) is not None:
                return ending
            seen = yield Look()
            assert seen is not None, "a Look is answered with what it showed"
            if (ending := self.observe(seen)) is not None:
                if ending.outcome is Outcome.DONE or not self._keep_going:
                    return ending
                self._log.error("%s Waiting on, as silent_fail says.", ending.message)
            yield Rest(self.rest(interval))
            if self._exponential_backoff:
                interval = min(2 * interval, self._max_wait)

    @property
    def seen(self) -> Snapshot | None:
        """What the last look that may be believed showed, or ``None`` where there was none yet."""
        return self.state.last

    def rest(self, interval: float | None = None) -> float:
        """
        Bound the rest before the next look.

        :param interval: seconds that it should last; default the wait's ``poll_interval``
        :return: seconds, more where Connix asked for more, and never past the deadline
        """
        return max(0.0, min(max(interval or self.poll_interval, self._hint), self._left()))

    def look_timeout(self) -> float:
        """
        Bound the next look.

        :return: seconds that it may take
        """
        return min(LONGEST_LOOK, self._left())

    def overdue(self) -> Ending | None:
        """
        Tell whether the time is up; to be asked before anything is sent.

        :return: the ending, or ``None`` while there is time
        """
        if self._left() > 0:
            return None
        return self.timed_out()

    def timed_out(self) -> Ending:
        """
        Make the ending for a wait whose time is up.

        :return: the ending
        """
        if self.status:
            last = f"it was last seen {self.status}"
        elif self._is_resumed:
            last = "what the looks before showed stands further up in this log"
        else:
            last = "no look showed it"
        trouble = f"; the last look failed: {self._trouble}" if self._trouble else ""
        message = (
            f"Agent {self.agent_id} was not {self._wanted()} within the time allowed: {last}{trouble}. "
            "The agent was left as it is."
        )
        return Ending(Outcome.TIMEOUT, self.agent_id, self.status, message)

    def tell_of_new_key(self) -> None:
        """Log that Connix refused the key and that the connection holds another by now."""
        self._log.info(
            "Connix refused the key; the connection holds another one now, which is used from here on."
        )

    def is_holding(self) -> bool:
        """
        Tell whether the agent is where it should be and must only stay there for a while.

        :return: true while the clock of ``stable_for`` runs
        """
        return self.goal.stable_for > 0 and self.state.stable_since is not None

    def observe(self, seen: Agent | ConnixError) -> Ending | None:
        """
        Take in what a look showed.

        :param seen: the agent, or the error that came instead
        :return: the ending, or ``None`` while the wait goes on
        """
        from connix_provider.client import ConnixError, ConnixNotFoundError

        self._hint = 0.0
        if isinstance(seen, ConnixNotFoundError):
            return self._judge(Snapshot(None), f" ({seen})")
        if isinstance(seen, ConnixError):
            return self._miss(seen)
        if self._trouble:
            self._log.info("Connix answers again.")
            self._trouble = None
        return self._judge(seen.snapshot())

    def _judge(self, seen: Snapshot, words: str = "") -> Ending | None:
        held_since = self.state.stable_since
        judgement = judge(self.goal, seen, self.state, now=time.time())
        self._tell(seen.status)
        if self.is_holding() and self.state.stable_since != held_since:
            self._log.info(
                "Agent %s must stay so for %g s, counted from now.", self.agent_id, self.goal.stable_for
            )
        name = f"Agent {self.agent_id}"
        match judgement.verdict:
            case Verdict.WAITING:
                return None
            case Verdict.DONE:
                return Ending(Outcome.DONE, self.agent_id, seen.status, f"{name}: {judgement.reason}.")
            case Verdict.GONE:
                message = f"{name} does not exist, or no longer does; it was to be {self._wanted()}{words}."
                return Ending(Outcome.GONE, self.agent_id, None, message)
            case Verdict.FAILED:
                message = (
                    f"{name} will not be {self._wanted()} by itself: {judgement.reason}. "
                    "Its log at Connix says more."
                )
                return Ending(Outcome.FAILED, self.agent_id, seen.status, message)

    def _miss(self, error: ConnixError) -> Ending | None:
        """Take in a look that failed."""
        from connix_provider.client.errors import ConnixAPIError
        from connix_provider.client.retry import may_pass

        if not may_pass(error):
            return Ending.refused(self.agent_id, self.status, error)
        if isinstance(error, ConnixAPIError) and error.retry_after:
            self._hint = error.retry_after
        kind = type(error).__name__
        if self._trouble is None or not self._trouble.startswith(kind):
            self._log.warning("A look at agent %s failed and will be repeated: %s", self.agent_id, error)
        self._trouble = f"{kind}: {error}"
        return None

    def _tell(self, status: str | None) -> None:
        """Log a status once, when it is new."""
        if status == self.status:
            return
        waited, left = time.time() - self._began_at, max(0.0, self._left())
        if status is not None and status not in KNOWN:
            self._log.warning(
                "Agent %s is %r, which this provider does not know; waiting on (%.0f s waited, %.0f s left).",
                self.agent_id,
                status,
                waited,
                left,
            )
        else:
            self._log.info(
                "Agent %s is %s%s (%.0f s waited, %.0f s left).",
                self.agent_id,
                status or "gone",
                f", was {self.status}" if self.status else "",
                waited,
                left,
            )
        self.status = status

    def _left(self) -> float:
        return self.deadline - time.time()

    def _wanted(self) -> str:
        if self.goal.done_when_gone:
            return "gone"
        if self.goal.name == "update":
            return "done with its update"
        if self.goal.name == "settle":
            return "ready to be acted on"
        wanted = " or ".join(sorted(self.goal.done))
        return f"{wanted} for {self.goal.stable_for:g} s" if self.goal.stable_for else wanted
