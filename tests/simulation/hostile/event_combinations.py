"""Plots: combinations of events that fail only together, and that chance alone seldom draws."""

from __future__ import annotations

import dataclasses
from random import Random

from hostile.history import Fault, History, Interruption, Other, Run
from hostile.history_parts import AFTER, OTHERS, draw_kind, draw_moment, draw_runs

__all__ = ["plotted"]

#: Faults that lose the response to an executed request.
_LOST = ("reset after", "silence after", "html 504 after", "cut", "garbage")


def plotted(chance: Random, history: History) -> History:
    """Add a plot that suits the task."""
    operator, luck = history.operator, chance.random()
    if operator == "sensor" and luck < 0.15:
        return _never_connected(chance, history)
    if operator == "restart" and luck < 0.2:
        return _without_evidence(chance, history)
    if operator == "create" and luck < 0.1:
        return _name_held(chance, history)
    if operator == "create" and luck < 0.2:
        return _ends_in_error(chance, history)
    if luck < 0.35:
        return _killed_and_started_again(chance, history)
    return _again(chance, history)


def _never_connected(chance: Random, history: History) -> History:
    """Draw a wrong connection: no request ever succeeds."""
    always = Fault(chance.choice(("unknown host", "lie page", "html 404")), (), 0, 0.0, 7200.0 + AFTER, 10**6)
    patient = {**history.arguments, "timeout": 7200.0, "poke_interval": 30.0}
    return dataclasses.replace(history, arguments=patient, faults=(always,))


def _without_evidence(chance: Random, history: History) -> History:
    """Draw a service that shows no evidence of a restart, and a lost response."""
    behaviour = dataclasses.replace(
        history.behaviour,
        updated_at=chance.choice(("never", "absent", "accepted")),
        restart_shows=chance.choice(("nothing", "nothing", "updating")),
        heartbeat=0.0,
    )
    timeout = history.arguments["timeout"]
    lost = Fault(
        chance.choice((*_LOST, "reset")), ("restart",), 0, 0.0, timeout + AFTER, chance.choice((1, 2, 1000))
    )
    runs = (Run(), *draw_runs(chance, history))
    return dataclasses.replace(history, behaviour=behaviour, faults=(lost,), runs=runs)


def _name_held(chance: Random, history: History) -> History:
    """Draw a delete of an agent just before another of its name is created."""
    held = dataclasses.replace(history.behaviour, name_held=chance.choice((3.0, 12.0, 20.0)), change_time=0.0)
    deleted = Other("delete", 0, -1.0)
    return dataclasses.replace(
        history, behaviour=held, agents=(("alpha", "running"),), others=(deleted,), names=()
    )


def _ends_in_error(chance: Random, history: History) -> History:
    """Draw agents that end in error, once or more often."""
    behaviour = dataclasses.replace(history.behaviour, ends_in_error=chance.choice(((1,), (1, 2), (1, 2, 3))))
    arguments = {**history.arguments, "on_failure": chance.choice(("keep", "delete", "delete"))}
    runs = (Run(), *draw_runs(chance, history))
    return dataclasses.replace(history, behaviour=behaviour, arguments=arguments, runs=runs, agents=())


def _killed_and_started_again(chance: Random, history: History) -> History:
    """Draw a kill while the task acts or waits, and often a start with the same try number."""
    killed = Run(interruptions=(Interruption("kill", draw_moment(chance, history.arguments["timeout"])),))
    again = Run(chance.choice(("same", "same", "retry")), chance.choice((1.0, 10.0, 60.0)))
    return dataclasses.replace(history, runs=(killed, again, *draw_runs(chance, history)[:1]))


def _again(chance: Random, history: History) -> History:
    """Draw a run that often fails, actions of other users after it, and another run of the task."""
    timeout = history.arguments["timeout"]
    call = history.operator if history.operator != "sensor" else "get"
    faults: tuple[Fault, ...] = ()
    interruptions: tuple[Interruption, ...] = ()
    match chance.choice(("refused", "lost", "lost from then on", "interrupted", "interrupted", "green")):
        case "refused":
            faults = (Fault(draw_kind(chance), (call,), 0, 0.0, timeout + AFTER, 1000),)
        case "lost":
            kind = chance.choice(_LOST)
            faults = (
                Fault(kind, (call,), 0, 0.0, timeout + AFTER, 1),
                Fault("html 502", (), 0, 0.2, timeout + AFTER, 1000),
            )
        case "lost from then on":
            begin = round(chance.uniform(0.2, 3.0), 1)
            faults = (
                Fault(chance.choice(("html 502", "reset", "refused")), (), 0, begin, timeout + AFTER, 1000),
            )
        case "interrupted":
            what = chance.choice(("kill", "execution timeout", "mark failed", "clear"))
            interruptions = (Interruption(what, draw_moment(chance, timeout)),)
    first = Run(interruptions=interruptions)
    second = chance.choice(draw_runs(chance, history) or (Run("retry", 2.0), Run("same", 10.0), Run("clear")))
    runs = (first, second, *draw_runs(chance, history)[:1])
    gap = chance.choice((0, 1, 1, 2))
    # An update by another user looks like a restart to a client that compares only ``updated_at``.
    what = ("update", "rename") if call == "restart" and chance.random() < 0.4 else OTHERS
    others = [Other(chance.choice(what), chance.randrange(1, len(runs)), -1.0) for _ in range(gap)]
    return dataclasses.replace(history, runs=runs, faults=faults, others=tuple(others))
