"""The invariants of every intent, by the service's own record; ``aftermath`` has those of a whole history."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterator

from hostile.airflow_model import Ended
from hostile.intent_checks import Intent, intents
from hostile.leftovers import AFTERMATH
from hostile.player import Played

__all__ = ["Breach", "breaches"]

#: Seconds after the deadline that the documentation allows: for the log line of a failed agent, for an undo.
_LOG_LINE, _UNDO = 5.0, 20.0
#: Seconds after which a wrong connection must end the wait: ten minutes, and a poll.
_A_MISTAKE = 700.0
#: Seconds by which a request that several waits share may be late.
_A_MOMENT = 0.3
#: Seconds by which a hint delays a poll at most, and seconds of the longest request with its pause.
_LONGEST_HINT, _ONE_REQUEST = 60.0, 50.0
_DEEDS = ("create", "update", "start", "pause", "stop", "restart", "delete")
#: Exceptions for a deadline, and for a rate limit or a transient error that lasts until the deadline.
_OF_TIME = {
    *("ConnixAgentTimeoutError", "ConnixTimeoutError", "ConnixRateLimitError"),
    *("ConnixServerError", "ConnixConnectionError", "ConnixResponseError"),
}
_OF_THE_AGENT = {"ConnixAgentFailedError", "ConnixAgentGoneError"}
#: Exceptions of Airflow itself.
_NOT_OURS = {"AirflowTaskTimeout", "AirflowNotFoundException"}


@dataclasses.dataclass(frozen=True)
class Breach:
    """An invariant that was broken, and how."""

    invariant: str
    how: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.how}"


def breaches(played: Played) -> list[Breach]:
    """Check a history that was played."""
    if played.runaway:
        return [Breach("a history ends", played.runaway)]
    found = []
    for invariant, check in _OF_A_WISH.items():
        found += [Breach(invariant, how) for intent in intents(played) for how in check(intent)]
    for invariant, check_all in AFTERMATH.items():
        found += [Breach(invariant, how) for how in check_all(played)]
    return found


# -- checks of one intent ---------------------------------------------------------------------------------


def _green_is_true(intent: Intent) -> Iterator[str]:
    if intent.last.outcome == "green" and (why := intent.falsehood()):
        yield f"run {intent.last.index} of {intent.operator} is green, but {why}"


def _restarted_once(intent: Intent) -> Iterator[str]:
    restarts = [change for change in intent.changes() if change.verb == "restart"]
    for first, second in itertools.pairwise(restarts):
        between = intent.agent(first.agent_id).within(first.at, second.at)
        has_failed = any(version.status == "error" for version in between)
        # Changes by other users may hide the first restart, or undo it.
        if first.agent_id == second.agent_id and not has_failed and not intent.others_did(first, second):
            yield f"{first.agent_id} was restarted at {first.at:.2f} s and again at {second.at:.2f} s"


def _nothing_of_others(intent: Intent) -> Iterator[str]:
    for change in intent.changes():
        if change.verb != "create" and not intent.may(change):
            yield f"{change.verb} of {change.agent_id} named {change.name!r} at {change.at:.2f} s"


def _no_request_after_the_deadline(intent: Intent) -> Iterator[str]:
    if intent.played.history.crowd:
        return  # other tasks with later deadlines wait in the same triggerer
    for run in intent.runs:
        for arrival in intent.arrivals(run):
            late = arrival.at - run.deadline
            is_undo = intent.may_undo and run.ended - arrival.at < _UNDO + 5.0
            allowed = late if is_undo else {"logs": _LOG_LINE}.get(arrival.call, 0.0)
            if late > allowed + _A_MOMENT and not intent.clock_was_set:
                yield f"run {run.index}: {arrival.call} was sent {late:.2f} s after the deadline"
                return


def _ends_in_time(intent: Intent) -> Iterator[str]:
    for run in intent.runs:
        late = run.ended - run.deadline - (_UNDO if intent.may_undo else 0.0)
        if late > (100.0 if intent.is_interrupted else 25.0) and not intent.clock_was_set:
            yield f"run {run.index} ended {late:.0f} s after its deadline"


def _polls_go_on(intent: Intent) -> Iterator[str]:
    longest = max(intent.poll_interval, _LONGEST_HINT) * 1.1 + _ONE_REQUEST
    for run in intent.runs:
        moments = [run.began, *(arrival.at for arrival in intent.arrivals(run) if arrival.at <= run.ended)]
        gap, since = max(
            (second - first, first) for first, second in itertools.pairwise([*moments, run.ended])
        )
        if gap > longest and not intent.is_interrupted:
            yield f"run {run.index} sent nothing for {gap:.0f} s from {since:.0f} s on"


def _mistakes_are_told(intent: Intent) -> Iterator[str]:
    first, faults = intent.runs[0], intent.played.history.faults
    waited = first.ended - first.began
    if any(fault.times >= 10**6 and fault.run == first.index for fault in faults) and waited > _A_MISTAKE:
        yield f"run {first.index} waited {waited:.0f} s although no request ever got through"


def _bounded(intent: Intent) -> Iterator[str]:
    if intent.played.history.crowd:
        return  # requests of other tasks count as this task's
    for run in intent.runs:
        arrivals = intent.arrivals(run)
        # A 429 does not count, because the service itself sets the time of the retry.
        sent = Counter(arrival.call for arrival in arrivals if arrival.status != 429)
        timeout = max(run.deadline, run.ended) - run.began
        most = {"get": 40 + 3 * timeout / intent.poll_interval, "list": 60 + timeout / intent.poll_interval}
        for call, count in sent.items():
            if count > most.get(call, 40):
                yield f"run {run.index} sent {call} {count} times"
        failed = Counter(a.call for a in arrivals if a.call in _DEEDS and (a.status >= 500 or not a.status))
        conflicts = Counter(a.call for a in arrivals if a.call in _DEEDS and a.status == 409)
        limited = any(arrival.status == 429 for arrival in arrivals)
        for call, count in failed.items():
            # After each conflict or rate limit, the change has new attempts.
            if count > 8 * (1 + conflicts[call] + limited):
                yield f"run {run.index} sent {call} {count} times although it failed"
        for call, count in conflicts.items():
            if count > 16:
                yield f"run {run.index} sent {call} {count} times although it was a conflict"


def _red_names_agent_and_cause(intent: Intent) -> Iterator[str]:
    for run in intent.runs:
        if run.outcome != "red" or run.error is None:
            continue
        text = str(run.error)
        if type(run.error).__name__ in _NOT_OURS:
            continue
        if not any(name and name in text for name in intent.names_of_the_agent(run)):
            yield f"run {run.index}: {type(run.error).__name__} does not name the agent: {text[:200]}"
        if (cause := _cause(intent, run)) and not any(word in text for word in cause):
            yield f"run {run.index}: {type(run.error).__name__} does not say {cause[0]}: {text[:250]}"
        if intent.operator == "restart" and "was not running" in text and "last seen running" in text:
            yield f"run {run.index}: the message contradicts itself: {text[:200]}"


def _cause(intent: Intent, run: Ended) -> tuple[str, ...]:
    """Return words of which the message must have one: the failure of the last request."""
    arrivals = [arrival for arrival in intent.arrivals(run) if arrival.at <= run.deadline]
    if not arrivals or run.error is None or type(run.error).__name__ in _OF_THE_AGENT:
        return ()
    if intent.is_interrupted:
        return ()  # the last failure is lost with a triggerer
    status = arrivals[-1].status
    if status == 404:
        return "404", "does not show"
    if status >= 400:
        return (str(status), "rate limit", "budget") if status == 429 else (str(status),)
    return () if status else ("respon", "connection", "host")


def _green_where_nothing_is_in_the_way(intent: Intent) -> Iterator[str]:
    from hostile.expectations import must_be_green

    first = intent.runs[0]
    if first.index != 0 or not must_be_green(intent.played.history):
        return
    if first.outcome == "red":
        yield f"run 0 of {intent.operator} is red: {type(first.error).__name__}: {str(first.error)[:300]}"
    # A clock that is set back before the wait begins delays the last poll by an interval.
    if first.ended > first.deadline + intent.poll_interval + 1.0:
        yield f"run 0 of {intent.operator} ended {first.ended - first.deadline:.0f} s after its deadline"


def _family(ended: Ended) -> str:
    """Classify an ending as a user does: a timeout, a failed or missing agent, or a refusal."""
    if ended.outcome != "red":
        return ended.outcome
    kinds = {kind.__name__ for kind in type(ended.error).__mro__}
    if kinds & _OF_THE_AGENT:
        return type(ended.error).__name__
    return "time" if kinds & _OF_TIME else "refused"


def agreement(endings: dict[str, Ended]) -> list[Breach]:
    """Check that the same history ended the same in every mode."""
    if len({_family(ended) for ended in endings.values()}) <= 1:
        return []
    shown = "; ".join(
        f"{mode}: {ended.outcome_kind} ({str(ended.error)[:160]})" for mode, ended in endings.items()
    )
    return [Breach("every mode ends the same", shown)]


_OF_A_WISH: dict[str, Callable[[Intent], Iterator[str]]] = {
    "green is true": _green_is_true,
    "no restart twice for one intent": _restarted_once,
    "nothing of others is changed": _nothing_of_others,
    "no request after the deadline": _no_request_after_the_deadline,
    "a run ends in time": _ends_in_time,
    "polls go on": _polls_go_on,
    "a mistake in the connection is told": _mistakes_are_told,
    "a bounded number of requests": _bounded,
    "red names the agent and the cause": _red_names_agent_and_cause,
    "green where nothing is in the way": _green_where_nothing_is_in_the_way,
}
