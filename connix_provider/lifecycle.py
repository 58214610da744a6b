"""
Judge what an agent's status means for a wait.

A *goal* names the statuses that end a wait, well or badly. A *snapshot* holds one poll's result. The *poll
state* holds what the verdict needs of earlier polls. :func:`judge` takes the three and returns a verdict.
Here the task asked at second 100 for the start of a stopped agent::

    state = PollState(before=Snapshot("stopped", t0), accepted_at=100.0)
    judge(GOALS["start"], Snapshot("stopped", t0), state, now=101.0)  # WAITING: it is as before the start
    judge(GOALS["start"], Snapshot("creating", t1), state, now=111.0)  # WAITING
    judge(GOALS["start"], Snapshot("running", t2), state, now=121.0)  # DONE

Four rules go beyond the goal's two sets of statuses:

- **Grace.** For :data:`~connix_provider.poll_state.GRACE` seconds after an action, a failure status is not
  final: the agent may still show its old status, or pass through others. An error that the agent did not have
  before is final.
- **Change.** A running agent may have been running before its restart. The goal of a restart is reached only
  after :func:`restart_evidence` found a change that a restart explains.
- **Stale responses.** A snapshot with an earlier ``updated_at`` than one before comes from a replica that
  lags behind. It is ignored, unless several follow each other.
- **Stability.** With ``stable_for`` the agent must keep a wanted status for so long, as polls show it.

Invariants:

- No other module gives a status a meaning, so operators, sensors and triggers agree in every mode.
- There is no I/O and no clock: the caller passes the time.
- The vocabulary is the reference's "Agent Status Values". The service may add statuses, so an unknown status
  is neither success nor failure.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum

from connix_provider.poll_state import PollState, Sign, Snapshot
from connix_provider.statuses import (
    DOWN,
    KNOWN,
    SETTLED,
    TRANSIENT,
    AgentStatus,
    parse_statuses,
    status_phrase,
)
from connix_provider.values import quoted

__all__ = [
    "GOALS",
    "REPLICA_LAG",
    "Evidence",
    "Goal",
    "Judgement",
    "Verdict",
    "goal_for_statuses",
    "has_changed",
    "judge",
    "restart_evidence",
]


#: Seconds after a create made or found its agent for which a 404 proves nothing, because a read replica may
#: lag behind.
REPLICA_LAG = 15.0
#: Seconds by which the clocks of a gateway and of the service behind it may differ.
_CLOCK_DIFFERENCE = 5.0
#: The longest `stable_for` in seconds; no datetime can be made of much more.
_LONGEST_STABLE = 300 * 365 * 86400.0
#: Stale snapshots in a row that are ignored. A further one means that the service's clock was set back, if
#: the first of them is older than a replica may lag.
_MAX_STALE = 3


class Verdict(StrEnum):
    """Result of one poll for a wait."""

    DONE = "done"
    WAITING = "waiting"
    FAILED = "failed"
    GONE = "gone"


@dataclasses.dataclass(frozen=True, slots=True)
class Goal:
    """
    What a wait waits for.

    :param name: the action, or ``sensor``, or ``settle``
    :param done: statuses that end the wait with success
    :param failed: statuses that end it with failure
    :param require_change: whether ``done`` counts only after a change that the action explains (Restart)
    :param allow_old_error: whether an error that the agent had before the action is a success (Update)
    :param done_when_gone: whether a 404, and nothing else, is a success (Delete)
    :param stable_for: seconds for which polls must show a status of ``done`` without a change
    """

    name: str
    done: frozenset[str]
    failed: frozenset[str]
    require_change: bool = False
    allow_old_error: bool = False
    done_when_gone: bool = False
    stable_for: float = 0.0


#: The goal of each action, as the first table of docs/waiting.md has it.
GOALS: dict[str, Goal] = {
    goal.name: goal
    for goal in (
        # A new agent that is paused or stopped will not start by itself.
        Goal("create", done=frozenset({AgentStatus.RUNNING}), failed=DOWN | {AgentStatus.ERROR}),
        Goal("start", done=frozenset({AgentStatus.RUNNING}), failed=DOWN | {AgentStatus.ERROR}),
        Goal(
            "restart",
            done=frozenset({AgentStatus.RUNNING}),
            failed=DOWN | {AgentStatus.ERROR},
            require_change=True,
        ),
        Goal("pause", done=frozenset({AgentStatus.PAUSED}), failed=frozenset({"stopped", "error"})),
        Goal("stop", done=frozenset({AgentStatus.STOPPED}), failed=frozenset({"error"})),
        Goal(
            "update",
            done=SETTLED - {AgentStatus.ERROR},
            failed=frozenset({"error"}),
            allow_old_error=True,
        ),
        Goal("delete", done=frozenset(), failed=frozenset(), done_when_gone=True),
        # For an action that was refused with 409 because the agent was creating or updating.
        Goal("settle", done=SETTLED, failed=frozenset()),
    )
}


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """
    A verdict with its reason.

    :param reason: one clause for the log, without a full stop
    :param is_ignored: whether the snapshot is out of date, so that its status means nothing
    """

    verdict: Verdict
    reason: str
    is_ignored: bool = False


class Evidence(StrEnum):
    """Whether a later snapshot shows that an agent was restarted."""

    NONE = "none"
    RESTARTED = "restarted"
    #: A change by others, which hides whether the agent was restarted, too.
    OTHER_CHANGE = "other_change"
    #: A change from before the request, so the agent was not restarted since.
    EARLIER_CHANGE = "earlier_change"


def restart_evidence(before: Snapshot, after: Snapshot, *, requested_at: float | None = None) -> Evidence:
    """
    Compare two snapshots for a change that a restart explains.

    A restart leaves name, description, config and metadata as they are. A change of those is an update by
    others. A status ``updating`` or an unknown status proves nothing.

    :param before: the agent before the restart was requested
    :param after: the agent later
    :param requested_at: epoch seconds of the request by the service's clock, if known
    :return: ``restarted`` if the change can be the restart, ``other_change`` if it cannot or may be older
        than the request, ``earlier_change`` if it certainly is, ``none`` without a change
    """
    if after.status not in SETTLED | {AgentStatus.CREATING}:
        return Evidence.NONE
    if before.status in SETTLED and after.status != before.status:
        # No update leads through creating, but an update may end in any settled status.
        is_own = after.status == AgentStatus.CREATING or after.has_content_of(before)
        return Evidence.RESTARTED if is_own else Evidence.OTHER_CHANGE
    if after.status == AgentStatus.CREATING or not after.has_later_update(before):
        return Evidence.NONE
    if requested_at and after.updated_at:
        # Rounded down, because the service may write whole seconds.
        before_request = math.floor(requested_at) - after.updated_at.timestamp()
        if before_request > _CLOCK_DIFFERENCE:
            return Evidence.EARLIER_CHANGE
        if before_request > 0:
            return Evidence.OTHER_CHANGE
    return Evidence.RESTARTED if after.has_content_of(before) else Evidence.OTHER_CHANGE


def judge(goal: Goal, snapshot: Snapshot, state: PollState | None = None, *, now: float = 0.0) -> Judgement:
    """
    Judge one poll.

    :param snapshot: what the poll showed; status ``None`` stands for the agent's own 404
    :param state: what earlier polls showed; this call brings it up to date. Default: a state without polls
    :param now: epoch seconds, comparable with ``accepted_at`` of the state
    :return: the verdict with its reason
    """
    state = PollState() if state is None else state
    if _is_stale(snapshot, state, now):
        return Judgement(Verdict.WAITING, "the response is older than an earlier one", is_ignored=True)
    _record(goal, snapshot, state, now)
    if snapshot.status is None:
        return _judge_missing(goal, state, now)
    if goal.done_when_gone:
        return Judgement(Verdict.WAITING, f"it still exists and is {status_phrase(snapshot.status)}")
    if _lacks_sign(snapshot, state, now):
        return Judgement(
            Verdict.WAITING, f"it is {status_phrase(snapshot.status)}, and shows no sign of the update"
        )
    if snapshot.status in goal.done:
        return _judge_done(goal, snapshot, state, now)
    if snapshot.status in goal.failed:
        return _judge_failed(goal, snapshot, state, now)
    if snapshot.status not in KNOWN:
        return Judgement(
            Verdict.WAITING, f"{status_phrase(snapshot.status)} is a status this provider does not know"
        )
    return Judgement(Verdict.WAITING, f"it is {status_phrase(snapshot.status)}")


def _is_stale(snapshot: Snapshot, state: PollState, now: float) -> bool:
    """Return whether a snapshot shows the agent as it was before an earlier poll, and count it."""
    newest = state.newest or (state.before.updated_at if state.before else None)
    if snapshot.status is not None and newest and snapshot.updated_at and snapshot.updated_at < newest:
        state.stale += 1
        state.stale_since = now if state.stale_since is None else state.stale_since
        if state.stale <= _MAX_STALE or now < state.stale_since + REPLICA_LAG:
            return True
    state.stale, state.stale_since = 0, None
    state.newest = snapshot.updated_at or newest
    return False


def _record(goal: Goal, snapshot: Snapshot, state: PollState, now: float) -> None:
    """Bring the state up to date, before the snapshot is judged."""
    if goal.require_change and state.before is not None and not state.changed:
        evidence = restart_evidence(state.before, snapshot)
        state.changed = evidence is Evidence.RESTARTED
        if evidence is Evidence.OTHER_CHANGE:
            # Compare with this snapshot from now on, because only a further change can be the restart.
            state.other_change = True
            state.before = snapshot
    if state.sign and state.before is not None and not state.changed:
        is_updating = snapshot.status == AgentStatus.UPDATING
        is_later = snapshot.has_later_update(state.before)
        state.changed = is_updating or is_later or not snapshot.has_content_of(state.before)
    state.was_busy = state.was_busy or snapshot.status in TRANSIENT
    is_done = snapshot.status in goal.done
    # A change restarts the time, because the agent may have left the status between two polls.
    if not is_done or state.stable_since is None or (state.last and has_changed(state.last, snapshot)):
        state.stable_since = now if is_done else None
    state.last = snapshot


def _lacks_sign(snapshot: Snapshot, state: PollState, now: float) -> bool:
    """Return whether a settled status may be the one from before the update."""
    if not state.sign or state.changed or state.before is None or snapshot.status != state.before.status:
        return False
    return snapshot.status in SETTLED and (state.sign is Sign.REQUIRED or state.in_grace(now))


def has_changed(earlier: Snapshot, later: Snapshot) -> bool:
    """
    Return whether an agent changed between two polls.

    :param earlier: the first snapshot
    :param later: the second
    :return: whether ``updated_at`` is later, or the status differs; an earlier ``updated_at`` is no change
    """
    if earlier.updated_at and later.updated_at and earlier.updated_at != later.updated_at:
        return later.updated_at > earlier.updated_at
    return earlier.status != later.status or later.has_later_update(earlier)


def _judge_missing(goal: Goal, state: PollState, now: float) -> Judgement:
    """Judge the agent's own 404."""
    if goal.done_when_gone:
        return Judgement(Verdict.DONE, "the agent is gone")
    found_at = state.accepted_at if state.found_at is None and goal.name == "create" else state.found_at
    if found_at is not None and now < found_at + REPLICA_LAG:
        return Judgement(Verdict.WAITING, "the service does not show the new agent yet")
    return Judgement(Verdict.GONE, "the agent no longer exists")


def _judge_done(goal: Goal, snapshot: Snapshot, state: PollState, now: float) -> Judgement:
    """Judge a status of ``goal.done``."""
    if goal.require_change and state.before is not None and not state.changed:
        change = "only an update by another client" if state.other_change else "no change"
        return Judgement(
            Verdict.WAITING,
            f"it is {status_phrase(snapshot.status)}, and shows {change} since the {goal.name} was requested",
        )
    if goal.stable_for > 0 and state.stable_since is not None:
        held = now - state.stable_since
        if held < goal.stable_for:
            return Judgement(
                Verdict.WAITING,
                f"it is {status_phrase(snapshot.status)} for {held:.0f} s of {goal.stable_for:g} s",
            )
    return Judgement(Verdict.DONE, f"it is {status_phrase(snapshot.status)}")


def _judge_failed(goal: Goal, snapshot: Snapshot, state: PollState, now: float) -> Judgement:
    """Judge a status of ``goal.failed``."""
    old_status = state.before.status if state.before else None
    is_error = snapshot.status == AgentStatus.ERROR
    is_old_error = is_error and old_status == AgentStatus.ERROR
    if is_old_error and goal.allow_old_error:
        return Judgement(Verdict.DONE, f"it is {status_phrase(snapshot.status)}, as before the {goal.name}")
    if state.in_grace(now) and (is_old_error or not is_error):
        when = "as before" if snapshot.status == old_status else "possibly for a moment only, after"
        return Judgement(Verdict.WAITING, f"it is {status_phrase(snapshot.status)}, {when} the {goal.name}")
    return Judgement(Verdict.FAILED, f"it is {status_phrase(snapshot.status)}")


def goal_for_statuses(
    target: Iterable[str], failure: Iterable[str] | None = None, *, stable_for: float | timedelta = 0.0
) -> Goal:
    """
    Make the goal of a sensor.

    :param target: statuses that end the wait with success
    :param failure: statuses that end it with failure; default ``error``, if that is not a target
    :param stable_for: seconds, or a timedelta, for which polls must show a target status without a change
    :return: the goal, named ``sensor``
    :raises ValueError: for an unknown status, no target, a status in both sets, or a negative time
    """
    done = parse_statuses(target, "target_statuses")
    if not done:
        raise ValueError(f"target_statuses is empty; name at least one of: {', '.join(AgentStatus)}")
    failed = {AgentStatus.ERROR} - done if failure is None else parse_statuses(failure, "failure_statuses")
    if both := done & failed:
        raise ValueError(f"{_listed(both)} cannot be both in target_statuses and in failure_statuses")
    if isinstance(stable_for, timedelta):
        stable_for = stable_for.total_seconds()
    if (
        isinstance(stable_for, bool)
        or not isinstance(stable_for, int | float)
        or not 0 <= stable_for <= _LONGEST_STABLE
    ):
        raise ValueError(
            "stable_for must be a number of seconds, 0 or more and less than 300 years, not "
            f"{quoted(stable_for)}"
        )
    return Goal("sensor", done=done, failed=frozenset(failed), stable_for=float(stable_for))


def _listed(statuses: Iterable[str]) -> str:
    return ", ".join(repr(str(status)) for status in sorted(statuses))
