"""
Judge what an agent's status means for whoever waits on it.

Everything that gives a status a meaning lives here: the vocabulary, what each action waits for, and the
verdict on one look at an agent. It is pure: no clock, no network, no Airflow. Operators, sensors and
triggers all ask :func:`judge`, so that one status has one outcome in every mode.

The vocabulary is the reference's "Agent Status Values". Statuses may grow: an unknown one is neither
success nor failure, and the wait goes on.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum

from connix_provider.poll_state import GRACE, PollState, Snapshot

__all__ = [
    "GOALS",
    "GRACE",
    "REPLICA_LAG",
    "AgentStatus",
    "Evidence",
    "Goal",
    "Judgement",
    "PollState",
    "Snapshot",
    "Verdict",
    "goal_for_statuses",
    "has_changed",
    "judge",
    "parse_statuses",
    "restart_evidence",
]


class AgentStatus(StrEnum):
    """Name the statuses of the reference; the service may know more than these."""

    CREATING = "creating"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    ERROR = "error"
    UPDATING = "updating"


KNOWN = frozenset(AgentStatus)
#: An agent in one of these is on its way to another and will leave by itself.
TRANSIENT = frozenset({AgentStatus.CREATING, AgentStatus.UPDATING})
#: An agent in one of these stays until somebody acts.
SETTLED = KNOWN - TRANSIENT
#: An agent in one of these is down, but sound.
DOWN = frozenset({AgentStatus.PAUSED, AgentStatus.STOPPED})


#: Seconds after a create was accepted for which a 404 proves nothing: a read replica may lag behind.
REPLICA_LAG = 15.0
#: Polls in a row that may be taken for those of a read replica that lags behind.
_MAX_STALE = 3


class Verdict(StrEnum):
    """Say what one look at an agent means for a wait."""

    DONE = "done"
    WAITING = "waiting"
    FAILED = "failed"
    GONE = "gone"


@dataclasses.dataclass(frozen=True, slots=True)
class Goal:
    """
    Describe what a wait is for.

    :param name: what was asked for: an action's name, or ``sensor``
    :param done: statuses at which the wait has what it wanted
    :param failed: statuses at which it never will
    :param require_change: whether ``done`` counts only after the agent was seen to change, because the agent
        may have been there already before the action took hold (Restart)
    :param allow_old_error: whether an error from before the action does not matter (Update)
    :param done_when_gone: whether a 404 is success (Delete) and nothing else is
    :param stable_for: seconds that the agent must be seen in ``done`` without a change
    """

    name: str
    done: frozenset[str]
    failed: frozenset[str]
    require_change: bool = False
    allow_old_error: bool = False
    done_when_gone: bool = False
    stable_for: float = 0.0


#: What each action waits for: the table "What a wait means" of docs/waiting.md.
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
        # An agent that is creating or updating takes no action; every settled status will do.
        Goal("settle", done=SETTLED, failed=frozenset()),
    )
}


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """
    Carry a verdict and the reason for it in words for an on-call reader.

    :param verdict: the verdict
    :param reason: one clause that says why, without a full stop
    """

    verdict: Verdict
    reason: str


class Evidence(StrEnum):
    """Say what a later look at an agent tells of a restart that was asked for."""

    NONE = "none"
    RESTARTED = "restarted"
    FOREIGN = "foreign"


def restart_evidence(before: Snapshot, seen: Snapshot, *, requested_at: float | None = None) -> Evidence:
    """
    Tell whether an agent changed as a restart changes it.

    A restart leaves name, description, config and metadata as they are. A change of those, or one from before
    the request, is somebody else's update. A status on the way to another one is no evidence.

    :param before: the agent before the restart was asked for
    :param seen: the agent later
    :param requested_at: epoch seconds of the service's clock at which it was asked for, where that is known
    :return: ``restarted`` where the change can be the restart, ``foreign`` where it cannot, or ``none``
    """
    if seen.status not in SETTLED | {AgentStatus.CREATING}:
        return Evidence.NONE
    if before.status in SETTLED and seen.status != before.status:
        # No update leads through creating; it may end in any other status.
        is_own = seen.status == AgentStatus.CREATING or seen.has_content_of(before)
        return Evidence.RESTARTED if is_own else Evidence.FOREIGN
    if seen.status == AgentStatus.CREATING or not seen.has_later_update(before):
        return Evidence.NONE
    # The service may write whole seconds: the second of the request itself counts.
    if requested_at and seen.updated_at and seen.updated_at.timestamp() < math.floor(requested_at):
        return Evidence.FOREIGN
    return Evidence.RESTARTED if seen.has_content_of(before) else Evidence.FOREIGN


def judge(goal: Goal, seen: Snapshot, state: PollState | None = None, *, now: float = 0.0) -> Judgement:
    """
    Judge one poll of an agent.

    :param goal: what the wait is for
    :param seen: what the poll showed; status ``None`` means that Get answered 404 for this agent
    :param state: what earlier polls showed; it is brought up to date. Without one, the poll stands alone.
    :param now: epoch seconds, as ``accepted_at`` in the state
    :return: the verdict with its reason
    """
    state = PollState() if state is None else state
    if _is_stale(state, seen):
        return Judgement(Verdict.WAITING, "the response is older than one that was seen before")
    _record(state, seen, now, goal)
    if seen.status is None:
        return _judge_missing(goal, state, now)
    if goal.done_when_gone:
        return Judgement(Verdict.WAITING, f"it is still there, {seen.status}")
    if seen.status in goal.done:
        return _judge_wanted(goal, seen, state, now)
    if seen.status in goal.failed:
        return _judge_unwanted(goal, seen, state, now)
    if seen.status not in KNOWN:
        return Judgement(Verdict.WAITING, f"{seen.status!r} is a status this provider does not know")
    return Judgement(Verdict.WAITING, f"it is {seen.status}")


def _is_stale(state: PollState, seen: Snapshot) -> bool:
    """Tell whether a poll shows the agent as it was before it was seen last: a replica that lags behind."""
    newest = state.newest or (state.before.updated_at if state.before else None)
    if seen.status is not None and newest and seen.updated_at and seen.updated_at < newest:
        state.stale += 1
        # A response that keeps coming is the truth: the service's clock was set back.
        if state.stale <= _MAX_STALE:
            return True
    state.stale = 0
    state.newest = seen.updated_at or newest
    return False


def _record(state: PollState, seen: Snapshot, now: float, goal: Goal) -> None:
    """Bring the state up to date with a poll, before that poll is judged."""
    if goal.require_change and state.before is not None and not state.changed:
        evidence = restart_evidence(state.before, seen)
        state.changed = evidence is Evidence.RESTARTED
        if evidence is Evidence.FOREIGN:
            # From here on only a further change can be the restart.
            state.foreign_change = True
            state.before = seen
    wanted = seen.status in goal.done
    # A change between two polls may have been a dip that no poll saw: what is stable has not changed.
    if not wanted or state.stable_since is None or (state.last and has_changed(state.last, seen)):
        state.stable_since = now if wanted else None
    state.last = seen


def has_changed(earlier: Snapshot, later: Snapshot) -> bool:
    """
    Tell whether an agent changed between two polls.

    :param earlier: the first poll
    :param later: the second
    :return: whether ``updated_at`` moved on, or the status is another
    """
    if earlier.updated_at and later.updated_at and earlier.updated_at != later.updated_at:
        # Older than what was seen already is a stale replica's response, not a change.
        return later.updated_at > earlier.updated_at
    return earlier.status != later.status or later.has_later_update(earlier)


def _judge_missing(goal: Goal, state: PollState, now: float) -> Judgement:
    """Judge the agent's own 404."""
    if goal.done_when_gone:
        return Judgement(Verdict.DONE, "the agent is gone")
    if goal.name == "create" and state.accepted_at is not None and now < state.accepted_at + REPLICA_LAG:
        return Judgement(Verdict.WAITING, "the service does not show the new agent yet")
    return Judgement(Verdict.GONE, "the agent no longer exists")


def _judge_wanted(goal: Goal, seen: Snapshot, state: PollState, now: float) -> Judgement:
    """Judge a status that is the wanted one, if it may be believed."""
    if goal.require_change and state.before is not None and not state.changed:
        what = "only an update by others" if state.foreign_change else "no change"
        return Judgement(
            Verdict.WAITING, f"it is {seen.status}, and shows {what} since the {goal.name} was asked for"
        )
    if goal.stable_for > 0 and state.stable_since is not None:
        held = now - state.stable_since
        if held < goal.stable_for:
            return Judgement(
                Verdict.WAITING, f"it is {seen.status} since {held:.0f} s of the {goal.stable_for:g} s wanted"
            )
    return Judgement(Verdict.DONE, f"it is {seen.status}")


def _judge_unwanted(goal: Goal, seen: Snapshot, state: PollState, now: float) -> Judgement:
    """Judge a status from which the goal is not reached, unless the action has not taken hold yet."""
    was = state.before.status if state.before else None
    if seen.status == AgentStatus.ERROR and was == AgentStatus.ERROR and goal.allow_old_error:
        return Judgement(Verdict.DONE, f"it is {seen.status}, as before the {goal.name}")
    is_new_error = seen.status == AgentStatus.ERROR and was != AgentStatus.ERROR
    if state.in_grace(now) and not is_new_error:
        when = "as before" if seen.status == was else "on its way through"
        return Judgement(Verdict.WAITING, f"it is {seen.status}, {when} the {goal.name}")
    return Judgement(Verdict.FAILED, f"it is {seen.status}")


def goal_for_statuses(
    target: Iterable[str], failure: Iterable[str] | None = None, *, stable_for: float | timedelta = 0.0
) -> Goal:
    """
    Make the goal of a wait for given statuses.

    :param target: statuses to wait for; names of the reference
    :param failure: statuses at which to fail; default ``error``, where that is not a target
    :param stable_for: seconds, or a timedelta, that a target status must be kept without a change
    :return: the goal, named ``sensor``
    :raises ValueError: for an unknown status, no target, a status that is both, or a negative time
    """
    done = parse_statuses(target, "target_statuses")
    if not done:
        raise ValueError(f"target_statuses is empty; name at least one of: {_known()}")
    failed = {AgentStatus.ERROR} - done if failure is None else parse_statuses(failure, "failure_statuses")
    if both := done & failed:
        raise ValueError(f"{_listed(both)} cannot be both in target_statuses and in failure_statuses")
    if isinstance(stable_for, timedelta):
        stable_for = stable_for.total_seconds()
    if (
        isinstance(stable_for, bool)
        or not isinstance(stable_for, int | float)
        or not 0 <= stable_for < float("inf")
    ):
        raise ValueError(f"stable_for must be a number of seconds, 0 or more, not {stable_for!r}")
    return Goal("sensor", done=done, failed=frozenset(failed), stable_for=float(stable_for))


def parse_statuses(value: Iterable[str], what: str) -> frozenset[str]:
    """
    Check a list of statuses against the vocabulary.

    :param value: one status, or several; several may also stand in one string, separated by commas
    :param what: the parameter's name, for the message
    :return: the statuses
    :raises ValueError: for anything that is not a known status; the message lists those and the nearest
    """
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, Iterable):
        raise ValueError(f"{what} must be a status or a list of them ({_known()}), not {value!r}")
    found = set()
    for name in names:
        text = str(name).strip().lower() if isinstance(name, str) else repr(name)
        if text not in KNOWN:
            import difflib  # only needed to complain

            near = difflib.get_close_matches(text, sorted(KNOWN), n=1, cutoff=0.5)
            hint = f" Did you mean {str(near[0])!r}?" if near else ""
            raise ValueError(f"{what}: {name!r} is not a status of a Connix agent.{hint} Known: {_known()}")
        found.add(AgentStatus(text))
    return frozenset(found)


def _known() -> str:
    return ", ".join(AgentStatus)


def _listed(statuses: Iterable[str]) -> str:
    return ", ".join(repr(str(status)) for status in sorted(statuses))
