"""
Act on the agents of a fleet, and wait for those under way: on a worker, or from one deferral to the next.

:func:`~connix_provider.operators._fleet.plan.decide` says on which agents to act. An agent under way has one
wait: for the action's goal, then for its health. Only a worker sends actions; a triggerer polls.

Invariants:

- An agent that is done is never acted on again, over lost responses, killed tasks, retries and clears.
- A failure of one agent does not stop the others; more than ``max_failures`` of them do.
- Agents under way are awaited when the run stops, except after a refused key.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException

from connix_provider.client.errors import ConnixError, ConnixNotFoundError, ConnixRateLimitError
from connix_provider.client.retry import cap_retry_delay
from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators._base.busy_agent import AgentBusyError, conflict_delay, explains_conflict
from connix_provider.operators._base.combined_error import short_text
from connix_provider.operators._base.error_context import (
    complete_error,
    completing_errors,
    concerns_all_agents,
)
from connix_provider.operators._base.sent_action import SentAction
from connix_provider.operators._fleet.action import send_to_member
from connix_provider.operators._fleet.plan import FleetMember, FleetStep, Progress, decide
from connix_provider.polling import worker_loop
from connix_provider.polling.fleet_wait import FleetWait, Stage
from connix_provider.polling.last_errors import FAILURES, MAX_READ_SECONDS, read_last_errors
from connix_provider.polling.outcome_errors import exception_for
from connix_provider.polling.poll_result import Outcome, PollResult
from connix_provider.polling.wait_settings import WaitProgress, WaitSettings

if TYPE_CHECKING:
    from connix_provider.operators._base.base_operator import PollingOperator
    from connix_provider.operators._fleet.settings import FleetSettings
    from connix_provider.operators._fleet.store import FleetStore
    from connix_provider.polling.worker_loop import PollingSession

__all__ = ["FleetRun"]

#: Seconds that an action waits for the rate limit, before the waits continue.
_ACTION_PERMIT_WAIT = 1.0
#: Seconds before the deadline from which on no action would get its response.
_TOO_LATE = 0.1


class FleetRun:
    """
    One run of a fleet in one process.

    :param settings: what it is to do
    :param store: its agents, and what earlier processes did
    :param task: the task, for its poll interval, log and connection
    :param deadline: epoch seconds of the task's deadline
    """

    def __init__(
        self,
        settings: FleetSettings,
        store: FleetStore,
        polling_session: PollingSession,
        project_id: str,
        task: PollingOperator,
        deadline: float,
    ) -> None:
        self._settings = settings
        self._limits = settings.limits(store.total)
        self._task = task
        self._deadline = deadline
        self._hook = ConnixHook(task.connix_conn_id)
        self._store = store
        self._polling_session = polling_session
        self._project_id = project_id
        self._log = task.log
        self._began = time.monotonic()
        self._by_id = {member.agent_id: member for member in store.members}
        self.waits: dict[str, FleetWait] = {}
        #: Epoch seconds at which an agent last became available, in time for ``progress_deadline``.
        self.progress_at = time.time()
        #: Epoch seconds until which the rate limit allows no action, and the reason.
        self.limited_until = 0.0
        self.limit_reason = ""

    def resume(self, event: Mapping[str, Any]) -> None:
        """Take over the waits of a trigger, except of agents that are done, failed or no longer selected."""
        self.progress_at = event["progress_at"]
        self.limit_reason = event["limit_reason"]
        for stored in event["waits"]:
            member = self._by_id.get(stored["agent_id"])
            if member is None or member.progress in {Progress.DONE, Progress.FAILED}:
                continue
            wait, first_poll_at = FleetWait.from_json(
                stored, self._settings.policy, self._wait_settings(0.0, 0.0)
            )
            wait.due = time.monotonic() + max(0.0, first_poll_at - time.time())
            self.waits[wait.agent_id] = wait
            if (result := event["results"].get(wait.agent_id)) is not None:
                self._ended(wait, PollResult.from_event(result))

    def act(self) -> FleetStep:
        """
        Act on all agents that may be acted on now.

        :return: the step after that
        :raises ConnixError: for a refused key
        """
        for member in self._store.members:
            if member.progress is not Progress.UNDER_WAY or member.agent_id in self.waits:
                continue
            if self._store.records.get(member.agent_id) is None:
                # An earlier start of the task was about to act on it, and sent nothing.
                member.progress, member.was_acted_on = Progress.UNTOUCHED, False
            elif time.time() >= self.limited_until:
                # An earlier start of the task acted on it.
                self._begin(member)
        while True:
            step = decide(self._store.members, self._limits, halt=self._halt())
            if not step.act_on or time.time() < self.limited_until:
                return step
            for member in step.act_on:
                self._begin(member)
                if time.time() < self.limited_until:
                    break

    def poll(self) -> None:
        """Sleep until the next poll is due or an action is allowed again, and send the polls that are due."""
        now = time.monotonic()
        pauses = [wait.due - now for wait in self.waits.values()]
        if self.limited_until > time.time():
            pauses.append(self.limited_until - time.time())
        time.sleep(max(0.0, min(pauses, default=0.0)))
        for wait in list(self.waits.values()):
            if wait.due > time.monotonic():
                continue
            result = worker_loop.poll_once(self._polling_session, self._project_id, wait.poller)
            wait.due = time.monotonic() + wait.poller.schedule.sleep_seconds()
            if result is not None:
                self._ended(wait, result)

    # The actions

    def _begin(self, member: FleetMember) -> None:
        """Act on an agent, or fail it; put it back if the rate limit does not allow the action yet."""
        settled = self.waits.pop(member.agent_id, None)
        was_acted_on, member.progress, member.was_acted_on = member.was_acted_on, Progress.UNDER_WAY, True
        member.reason = ""

        def error_fields() -> dict[str, Any]:
            agent = {"agent_id": member.agent_id, "agent_name": member.name}
            return {"verb": self._settings.action, **agent}

        try:
            with completing_errors(self._hook, self._project_id, error_fields):
                sent = send_to_member(
                    self._polling_session.client.with_options(max_permit_wait=_ACTION_PERMIT_WAIT),
                    self._project_id,
                    self._settings.action,
                    member,
                    self._store,
                )
        except AgentBusyError as busy:
            action = self._settings.action
            self._log.info("Agent %s: waiting until it has settled to send the %s. %s", member, action, busy)
            if busy.error is not None:
                complete_error(busy.error, self._hook, self._project_id, error_fields)
            member.reason = str(busy.error or busy)
            # Save now, because another process may continue and report it.
            self._store.save()
            settling = dataclasses.replace(busy.settling(), agent_name=member.name)
            repeats = settled.repeats + 1 if settled else 1
            self._wait(member, settling, Stage.SETTLE, repeats=repeats, after=settled)
        except ConnixRateLimitError as error:
            now = time.time()
            pause = cap_retry_delay(max(error.retry_after or 0.0, _ACTION_PERMIT_WAIT), self._deadline - now)
            self.limited_until = min(now + pause, self._deadline)
            self.limit_reason = str(error)
            if self._store.records.get(member.agent_id) is None:
                member.progress, member.was_acted_on = Progress.UNTOUCHED, was_acted_on
        except ConnixNotFoundError as error:
            if error.is_of_an_agent and self._settings.action == "delete":
                self._done(member, "it was gone already")
            elif error.is_of_an_agent and member.is_gone and self._may_leave_out():
                self._leave_out(member)
            else:
                self._fail(member, error, is_gone=error.is_of_an_agent)
        except AirflowException as error:
            self._fail(member, error)
        except ConnixError as error:
            if concerns_all_agents(error):
                raise
            self._fail(member, error)
        else:
            self.limit_reason = ""
            if sent.goal is None:
                self._reached(member)
            else:
                self._wait(member, sent, Stage.GOAL)

    # The waits

    def _wait(
        self,
        member: FleetMember,
        sent: SentAction,
        stage: Stage,
        *,
        repeats: int = 0,
        after: FleetWait | None = None,
    ) -> None:
        # What follows has the rest of the time: an availability after the goal, and a further 409.
        began_at, deadline = after.times if after else (time.time(), math.inf)
        if after is None:
            deadline = min(self._deadline, began_at + self._settings.healthy_deadline)
        self.waits[member.agent_id] = wait = FleetWait.of(
            member.agent_id,
            stage,
            sent.goal,
            self._settings.policy,
            self._wait_settings(deadline, began_at),
            WaitProgress(agent_name=member.name, state=sent.poll_state()),
            repeats=repeats,
        )
        # Back off for a busy agent. After an action wait 1 s, because its effect is not visible at once.
        delay = conflict_delay(repeats) if stage is Stage.SETTLE else 1.0 if stage is Stage.GOAL else 0.0
        wait.due = time.monotonic() + min(delay, self._task.poll_seconds)

    def _wait_settings(self, deadline: float, began_at: float) -> WaitSettings:
        return WaitSettings(
            poll_interval=self._task.poll_seconds,
            deadline=deadline,
            began_at=began_at,
            project_id=self._project_id,
            connix_conn_id=self._hook.connix_conn_id,
            had_response=True,
            log=self._log,
        )

    def _ended(self, wait: FleetWait, result: PollResult) -> None:
        """Take the next step with an agent whose wait ended."""
        member = self._by_id[wait.agent_id]
        if result.outcome is Outcome.REFUSED and concerns_all_agents(error := exception_for(result)):
            raise error
        if result.outcome is Outcome.GONE and self._settings.action == "delete":
            self._done(member, "it was gone already", at=wait.seen_at)
        elif result.outcome is not Outcome.DONE:
            error = exception_for(self._with_last_errors(wait, result))
            self._fail(member, error, is_gone=result.outcome is Outcome.GONE)
        elif wait.stage is Stage.GOAL:
            self._reached(member, wait)
        elif wait.stage is Stage.HEALTH:
            self._done(member, at=wait.seen_at)
        elif explains_conflict(
            wait.poller.state,
            wait.repeats,
            # A request that was refused without effect left no record.
            may_have_executed=self._store.records.get(member.agent_id) is not None,
        ):
            self._begin(member)
        else:
            self._fail(member, AirflowException(member.reason))

    def _with_last_errors(self, wait: FleetWait, result: PollResult) -> PollResult:
        """Add the agent's last errors if no trigger read them, only in the first 5 s of this process."""
        seconds = self._began + MAX_READ_SECONDS - time.monotonic()
        if result.outcome not in FAILURES or result.last_errors is not None or seconds <= 0:
            return result
        reading = read_last_errors(
            self._polling_session.client,
            self._project_id,
            result.agent_id,
            seconds=seconds,
            secrets_digest=wait.poller.earlier_secrets,
            task_log=self._log,
        )
        return dataclasses.replace(result, last_errors=self._polling_session.client.run_flow(reading))

    def _reached(self, member: FleetMember, wait: FleetWait | None = None) -> None:
        """Take the next step with an agent that reached the action's goal, perhaps after a wait."""
        if self._settings.ends_running and self._settings.policy.checks_availability:
            self._wait(member, SentAction(member.agent_id, agent_name=member.name), Stage.HEALTH, after=wait)
            # Save now, because an agent that already ran has no record.
            self._store.save()
        else:
            self._done(member, at=wait.seen_at if wait else None)

    def _done(self, member: FleetMember, reason: str = "", *, at: float | None = None) -> None:
        self.waits.pop(member.agent_id, None)
        member.progress, member.is_available = Progress.DONE, True
        member.reason = reason or member.reason
        # An agent that is late does not move `progress_at`, because the run has stopped by then.
        if (at := at or time.time()) <= self.progress_at + (self._settings.progress_deadline or math.inf):
            self.progress_at = max(at, self.progress_at)
        self._store.end(member)
        self._log.info(
            "Agent %s: %s done%s. %s",
            member,
            self._settings.action,
            f", {member.reason}" if member.reason else "",
            self._progress(),
        )

    def _may_leave_out(self) -> bool:
        # Keep one agent, because otherwise a task that acted on none would succeed.
        return len(self._store.members) > 1 or self._settings.agents.allow_empty

    def _leave_out(self, member: FleetMember) -> None:
        """Leave out an agent that was gone in an earlier try and is gone now."""
        self._store.leave_out(member)
        self._log.warning(
            "Agent %s no longer exists, and failed for that in an earlier try. It is left out of the %s.",
            member,
            self._settings.action,
        )

    def _fail(self, member: FleetMember, error: Exception, *, is_gone: bool = False) -> None:
        self.waits.pop(member.agent_id, None)
        member.progress, member.reason, member.is_gone = Progress.FAILED, short_text(error), is_gone
        member.is_available = not self._settings.ends_running
        self._store.end(member)
        self._log.error("%s", error)
        self._log.info("%s", self._progress())

    def _progress(self) -> str:
        members = self._store.members
        counts = Counter(member.progress for member in members)
        done, failed = counts[Progress.DONE], counts[Progress.FAILED]
        text = f"{done} of {len(members)} agents are done ({100 * done // len(members)} %)"
        text += f", {failed} failed" if failed else ""
        since, done_before = self._store.since
        if done > done_before and (left := len(members) - done - failed):
            seconds = (time.time() - since) / (done - done_before) * left
            text += f"; about {math.ceil(seconds / 60)} min left"
        return f"{text}."

    def _halt(self) -> str | None:
        now, bound = time.time(), self._settings.progress_deadline
        if now >= self._deadline - _TOO_LATE:
            held = f", and the rate limit allowed no further action: {self.limit_reason}"
            return f"the task's timeout has passed{held if self.limit_reason else ''}"
        if bound is not None and now - self.progress_at > bound:
            return f"no agent became available within the progress_deadline of {bound:.0f} s"
        return None
