"""Decide, without the provider's code, in which histories a task must be green."""

from __future__ import annotations

from hostile.history import Fault, History, Interruption

__all__ = ["is_comparable", "must_be_green"]

#: Faults of one call after which it still succeeds, because it has more attempts.
_STRIKES = 3
#: Number of times from which on a fault counts as permanent.
_EACH = 1000
#: Seconds that one fault may cost: a silence of thirty, a hint of a minute with its jitter, or a pause.
_COSTS = {"silence": 35.0, "hint": 67.0}
_A_PAUSE = 16.0
_MINUTE = 60
_MOST_SECONDS_DOWN = 250.0
#: Seconds after a delete within which a name becomes free.
_HELD = 25.0
_READY = {
    "update": {"running", "paused", "stopped"},
    "start": {"running", "paused", "stopped"},
    "pause": {"running", "paused"},
    "stop": {"running", "paused", "stopped"},
    "restart": {"running", "paused", "stopped"},
    "delete": {"running", "paused", "stopped", "error"},
}


def must_be_green(history: History) -> bool:
    """Return whether the first run of a history can succeed in time, and has evidence of that."""
    behaviour, arguments = history.behaviour, history.arguments
    others = [other for other in history.others if other.run == 0]
    if any(other.at >= 0 or history.operator != "create" or other.what != "delete" for other in others):
        return False
    if not all(_is_harmless(history, what) for what in history.runs[0].interruptions):
        return False
    faults = [fault for fault in history.faults if fault.run == 0]
    if not all(_passes(fault) for fault in faults) or _most_strikes(faults) > _STRIKES:
        return False
    if behaviour.ends_in_error or behaviour.limits or not _is_possible(history):
        return False
    if history.operator == "restart" and not behaviour.shows_changes:
        return False
    if behaviour.heartbeat and arguments.get("stable_for"):
        return False
    pace = arguments.get("poll_interval") or arguments.get("poke_interval")
    effects = sum(min(fault.times, 4) * max(pace, _cost(fault)) for fault in faults)
    # A poll without a response may begin a whole interval later, and then leaves no time for the last poll.
    effects += max((pace for fault in faults if fault.kind == "silence"), default=0.0)
    change = behaviour.change_time + behaviour.restart_delay + float(arguments.get("stable_for", 0.0))
    lag = behaviour.get_lag + behaviour.list_lag + 12 * behaviour.latency + 2 * behaviour.name_held
    # The last poll is at the deadline, so the interval counts only where a status must be kept.
    kept = 2 * pace if arguments.get("stable_for") else 0.0
    return bool(effects + change + lag + kept + 5.0 < arguments["timeout"])


def _is_harmless(history: History, what: Interruption) -> bool:
    """Return whether a task must survive an interruption without a second run."""
    if what.what.startswith("secrets"):
        # Only a trigger can wait for a secrets backend; a worker needs it as it begins.
        is_in_trigger = history.mode == "deferred" and what.at > 10.0 and not history.faults
        return is_in_trigger and what.at < _MOST_SECONDS_DOWN
    # A trigger that moves at the deadline sends no last poll.
    return what.what in {"move", "stall", "clock back"} and what.at < history.arguments["timeout"] - 5.0


def _most_strikes(faults: list[Fault]) -> int:
    """Return how many faults may hit one call."""
    calls = {call for fault in faults for call in fault.calls} | {"get"}
    return max(sum(f.times for f in faults if not f.calls or call in f.calls) for call in calls)


def _cost(fault: Fault) -> float:
    return _COSTS.get(fault.kind.split()[0], _A_PAUSE)


def _passes(fault: Fault) -> bool:
    """Return whether a fault ends before it can end a task."""
    kind, *more = fault.kind.split()
    if fault.times > _STRIKES:
        return False
    if kind in {"reset", "silence", "cut", "garbage", "refused"}:
        return True
    if kind == "hint":
        # A poll waits a minute at most, but a request before the wait follows the whole hint.
        return int(more[1]) <= _MINUTE or (fault.calls == ("get",) and fault.begin >= _MINUTE / 10)
    number = int(more[0]) if more and more[0].isdigit() else 0
    if kind in {"json", "html"} and (number >= 500 or number == 429):
        return number != 501
    return False


def _is_possible(history: History) -> bool:
    arguments = history.arguments
    statuses = dict(history.agents)
    if history.operator == "create":
        if arguments.get("config", {}).get("temperature", 0) > 2 and history.behaviour.quotes:
            return False
        if any(other.what == "delete" for other in history.others if other.run == 0):
            # An agent that is still being deleted exists, and belongs to another user.
            return history.behaviour.change_time == 0 and history.behaviour.name_held < _HELD
        if "alpha" not in statuses:
            return True
        possible = {"adopt": {"running"}, "update": {"running", "paused", "stopped"}}
        return statuses["alpha"] in possible.get(arguments.get("if_exists", "fail"), set())
    if history.operator == "sensor":
        return statuses.get("alpha") in arguments.get("target_statuses", ["running"])
    return statuses.get("alpha") in _READY[history.operator]


def is_comparable(history: History) -> bool:
    """Return whether all modes must end alike: no event is visible in only some of them."""
    if any(other.at >= 0 for other in history.others) or any(run.interruptions for run in history.runs):
        return False
    if len(history.runs) > 1 or history.behaviour.lag_varies or history.behaviour.limits or history.crowd:
        return False
    # A fault of a few polls hits other polls in each mode. A rate limit delays each mode at another
    # place, and so shifts the faults after it.
    few = [f for f in history.faults if f.times < _EACH and (_strikes_polls(f) or "429" in f.kind)]
    return not few or must_be_green(history)


def _strikes_polls(fault: Fault) -> bool:
    return not fault.calls or bool(set(fault.calls) & {"get", "list"})
