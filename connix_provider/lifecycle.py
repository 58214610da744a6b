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
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

__all__ = [
    "GOALS",
    "AgentStatus",
    "Goal",
    "Judgement",
    "Memory",
    "Snapshot",
    "Verdict",
    "goal_for_statuses",
    "has_changed",
    "judge",
    "parse_statuses",
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


#: Looks in a row that may be taken for those of a replica that lags behind.
_MOST_STALE = 3


class Verdict(StrEnum):
    """Say what one look at an agent means for a wait."""

    DONE = "done"
    WAITING = "waiting"
    FAILED = "failed"
    GONE = "gone"


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """
    Hold what one look at an agent showed.

    :param status: the status as the service wrote it, or ``None`` when Get answered 404
    :param updated_at: the service's time of the agent's last change
    """

    status: str | None
    updated_at: datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Goal:
    """
    Describe what a wait is for.

    :param name: what was asked for: an action's name, or ``sensor``
    :param done: statuses at which the wait has what it wanted
    :param failed: statuses at which it never will
    :param must_move: whether ``done`` counts only after the agent was seen to change, because the agent
        may have been there already before the action took hold (Restart)
    :param grace: looks after the change during which a ``failed`` status may still pass by itself: a
        Restart goes down before it comes up
    :param done_when_gone: whether a 404 is success (Delete) and nothing else is
    :param stable_for: seconds that the agent must be seen in ``done`` without a change
    """

    name: str
    done: frozenset[str]
    failed: frozenset[str]
    must_move: bool = False
    grace: int = 0
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
            must_move=True,
            grace=1,
        ),
        Goal("pause", done=frozenset({AgentStatus.PAUSED}), failed=frozenset({"stopped", "error"})),
        Goal("stop", done=frozenset({AgentStatus.STOPPED}), failed=frozenset({"error"})),
        Goal("update", done=SETTLED - {AgentStatus.ERROR}, failed=frozenset({"error"}), must_move=True),
        Goal("delete", done=frozenset(), failed=frozenset(), done_when_gone=True),
        # What an agent takes no action before: whatever becomes of it, then it can be acted on.
        Goal("settle", done=SETTLED, failed=frozenset()),
    )
}


@dataclasses.dataclass(slots=True)
class Memory:
    """
    Remember between two looks what a verdict rests on.

    :param before: the agent as it was before the action, where that is known
    :param moved: whether the agent was seen to change since then
    :param looks_since_moved: looks taken after the one that saw the change
    :param stable_since: when (seconds, the caller's clock) the agent was first seen in a wanted status
        that it has kept ever since
    :param last: the look before this one
    :param newest: the latest ``updated_at`` that was seen
    :param stale: how many looks in a row showed an earlier one
    """

    before: Snapshot | None = None
    moved: bool = False
    looks_since_moved: int = 0
    stable_since: float | None = None
    last: Snapshot | None = None
    newest: datetime | None = None
    stale: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """
    Carry a verdict and the reason for it in words for an on-call reader.

    :param verdict: the verdict
    :param reason: one clause that says why, without a full stop
    """

    verdict: Verdict
    reason: str


def judge(goal: Goal, seen: Snapshot, memory: Memory | None = None, *, now: float = 0.0) -> Judgement:
    """
    Judge one look at an agent.

    :param goal: what the wait is for
    :param seen: what the look showed; status ``None`` means that Get answered 404
    :param memory: what earlier looks showed; it is brought up to date. Without one, the look stands alone.
    :param now: seconds on any clock that does not jump; only differences count, for ``stable_for``
    :return: the verdict with its reason
    """
    memory = Memory() if memory is None else memory
    if _is_stale(memory, seen):
        return Judgement(Verdict.WAITING, "the answer is older than one that was seen before")
    _remember(memory, seen, now, goal)
    if seen.status is None:
        if goal.done_when_gone:
            return Judgement(Verdict.DONE, "the agent is gone")
        return Judgement(Verdict.GONE, "the agent no longer exists")
    if goal.done_when_gone:
        return Judgement(Verdict.WAITING, f"it is still there, {seen.status}")
    if seen.status in goal.done:
        return _judge_wanted(goal, seen, memory, now)
    if seen.status in goal.failed:
        return _judge_unwanted(goal, seen, memory)
    if seen.status not in KNOWN:
        return Judgement(Verdict.WAITING, f"{seen.status!r} is a status this provider does not know")
    return Judgement(Verdict.WAITING, f"it is {seen.status}")


def _is_stale(memory: Memory, seen: Snapshot) -> bool:
    """Tell whether a look shows the agent as it was before it was seen last: a replica that lags behind."""
    newest = memory.newest or (memory.before.updated_at if memory.before else None)
    if seen.status is not None and newest and seen.updated_at and seen.updated_at < newest:
        memory.stale += 1
        # What keeps on being answered is how it is: the service's clock was set back.
        if memory.stale <= _MOST_STALE:
            return True
    memory.stale = 0
    memory.newest = seen.updated_at or newest
    return False


def _remember(memory: Memory, seen: Snapshot, now: float, goal: Goal) -> None:
    """Bring the memory up to date with a look, before that look is judged."""
    if memory.moved:
        memory.looks_since_moved += 1
    elif memory.before is not None and _has_moved(memory.before, seen):
        memory.moved = True
    wanted = seen.status in goal.done
    # A change between two looks may have been a dip that nobody saw: what is stable has not changed.
    if not wanted or memory.stable_since is None or (memory.last and has_changed(memory.last, seen)):
        memory.stable_since = now if wanted else None
    memory.last = seen


def has_changed(earlier: Snapshot, later: Snapshot) -> bool:
    """
    Tell whether an agent changed between two looks.

    :param earlier: the first look
    :param later: the second
    :return: whether ``updated_at`` moved on, or the status is another
    """
    if earlier.updated_at and later.updated_at and earlier.updated_at != later.updated_at:
        # Older than what was seen already is a stale replica's answer, not a change.
        return later.updated_at > earlier.updated_at
    return earlier.status != later.status


def _has_moved(before: Snapshot, seen: Snapshot) -> bool:
    """Tell whether the agent has moved since the action, on evidence that may end a wait."""
    # A word that nobody knows may stand for the status before or after it: then only the time tells.
    known = {before.status, seen.status} <= KNOWN
    return has_changed(before, seen) and (known or before.updated_at != seen.updated_at)


def _judge_wanted(goal: Goal, seen: Snapshot, memory: Memory, now: float) -> Judgement:
    """Judge a status that is the wanted one, if it may be believed."""
    if goal.must_move and memory.before is not None and not memory.moved:
        return Judgement(
            Verdict.WAITING, f"it is {seen.status}, but has not changed since the {goal.name} was asked for"
        )
    if goal.stable_for > 0 and memory.stable_since is not None:
        held = now - memory.stable_since
        if held < goal.stable_for:
            return Judgement(
                Verdict.WAITING, f"it is {seen.status} since {held:.0f} s of the {goal.stable_for:g} s wanted"
            )
    return Judgement(Verdict.DONE, f"it is {seen.status}")


def _judge_unwanted(goal: Goal, seen: Snapshot, memory: Memory) -> Judgement:
    """Judge a status from which the goal is not reached, unless it is only the one from before."""
    if memory.before is not None and not memory.moved:
        return Judgement(
            Verdict.WAITING, f"it is still {seen.status}, as before the {goal.name} was asked for"
        )
    if (
        seen.status in DOWN
        and memory.before is not None
        and memory.looks_since_moved <= goal.grace
        and goal.grace
    ):
        return Judgement(Verdict.WAITING, f"it is {seen.status}, on its way through the {goal.name}")
    return Judgement(Verdict.FAILED, f"it is {seen.status}")


def goal_for_statuses(
    target: Iterable[str], failure: Iterable[str] | None = None, *, stable_for: float = 0.0
) -> Goal:
    """
    Make the goal of a wait for given statuses.

    :param target: statuses to wait for; names of the reference
    :param failure: statuses at which to fail; default ``error``, where that is not a target
    :param stable_for: seconds that a target status must be kept without a change
    :return: the goal, named ``sensor``
    :raises ValueError: for an unknown status, no target, a status that is both, or a negative time
    """
    done = parse_statuses(target, "target_statuses")
    if not done:
        raise ValueError(f"target_statuses is empty; name at least one of: {_known()}")
    failed = {AgentStatus.ERROR} - done if failure is None else parse_statuses(failure, "failure_statuses")
    if both := done & failed:
        raise ValueError(f"{_listed(both)} cannot be both in target_statuses and in failure_statuses")
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
