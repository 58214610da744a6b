"""Draw a history from a seed."""

from __future__ import annotations

import dataclasses
from random import Random
from typing import Any

from hostile.event_combinations import plotted
from hostile.history import MODES, Fault, History, Other, Run
from hostile.history_parts import AFTER, CONFIG, OTHERS, draw_interruptions, draw_kind, draw_moment, draw_runs
from hostile.service_behaviour import draw_behaviour

__all__ = ["OPERATORS", "draw"]

OPERATORS = ("create", "update", "start", "pause", "stop", "restart", "delete", "sensor")
_BEFORE = {
    "update": ("running", "running", "paused", "stopped"),
    "start": ("stopped", "paused", "running"),
    "pause": ("running", "running", "paused"),
    "stop": ("running", "paused", "stopped"),
    "restart": ("running", "running", "stopped", "error"),
    "delete": ("running", "stopped", "error"),
    "sensor": ("running", "stopped", "running"),
}


def draw(seed: int) -> History:
    """Draw all decisions of a history."""
    chance = Random(seed)
    operator = chance.choice(OPERATORS)
    arguments, agents = _task(chance, operator)
    history = History(
        seed,
        operator,
        arguments,
        mode=chance.choice(MODES["sensor" if operator == "sensor" else "operator"]),
        stored=chance.random() < 0.7,
        retries=chance.choice((0, 1, 1, 2)),
        names=("alpha", "beta") if operator == "create" and chance.random() < 0.12 else (),
        agents=agents,
        behaviour=draw_behaviour(chance),
        crowd=chance.choice((40, 120)) if chance.random() < 0.02 else 0,
        one_machine=Random(f"machine {seed}").random() < 0.5,
    )
    if chance.random() < 0.4:
        return plotted(chance, history)
    timeout = arguments["timeout"]
    runs = (Run(interruptions=draw_interruptions(chance, timeout)), *draw_runs(chance, history))
    return dataclasses.replace(
        history,
        runs=runs,
        faults=_faults(chance, operator, len(runs), timeout),
        others=_others(chance, len(runs), timeout),
    )


def _task(chance: Random, operator: str) -> tuple[dict[str, Any], tuple[tuple[str, str], ...]]:
    """Draw a task's arguments, and the agents that exist before it."""
    pace = "poke_interval" if operator == "sensor" else "poll_interval"
    arguments: dict[str, Any] = {
        pace: chance.choice((1.0, 5.0, 5.0, 10.0, 30.0)),
        "timeout": chance.choice((20.0, 60.0, 120.0, 300.0, 300.0)),
    }
    if operator == "create":
        arguments |= {"name": "alpha", "description": "asked for", "config": CONFIG}
        if chance.random() < 0.05:
            arguments["config"] = {**CONFIG, "temperature": 3.0}
        if chance.random() < 0.4:
            arguments["if_exists"] = chance.choice(("adopt", "update"))
        if chance.random() < 0.25:
            arguments["cancel_on_kill"] = True
        if chance.random() < 0.25:
            arguments["on_failure"] = "delete"
        taken = chance.random() < (0.6 if "if_exists" in arguments else 0.15)
        status = chance.choice(("running", "running", "stopped", "paused", "error"))
        return arguments, (("alpha", status),) if taken else ()
    arguments |= {"agent_id": "@alpha"} if chance.random() < 0.6 else {"agent_name": "alpha"}
    if operator == "update":
        arguments |= {"description": "asked for"}
        if chance.random() < 0.5:
            arguments["config"] = CONFIG
    if operator == "sensor" and chance.random() < 0.4:
        arguments["stable_for"] = chance.choice((7.0, 20.0))
    if operator == "sensor" and chance.random() < 0.2:
        arguments["target_statuses"] = ["stopped"]
    if operator != "sensor" and chance.random() < 0.07:
        arguments["wait_for_completion"] = False
    if operator == "delete" and chance.random() < 0.2:
        arguments["ignore_if_missing"] = True
    if operator == "start" and chance.random() < 0.2:
        arguments["cancel_on_kill"] = True
    others = (("zeta", "running"),) if chance.random() < 0.3 else ()
    return arguments, (("alpha", chance.choice(_BEFORE[operator])), *others)


def _faults(chance: Random, operator: str, runs: int, timeout: float) -> tuple[Fault, ...]:
    calls = {"create": ("list", "create"), "sensor": ("get", "list")}.get(operator, (operator, operator))
    faults = []
    for _ in range(chance.choice((0, 0, 1, 1, 1, 2, 3))):
        hit = chance.choice((*calls, *calls, "get", "list", ""))
        begin = 0.0 if chance.random() < 0.6 else draw_moment(chance, timeout)
        end = chance.choice((timeout + AFTER, begin + chance.choice((5.0, 20.0, 60.0))))
        times = chance.choice((1, 1, 1, 2, 2, 3, 5, 1000))
        kind = draw_kind(chance)
        faults.append(Fault(kind, (hit,) if hit else (), chance.randrange(runs), round(begin, 1), end, times))
    return tuple(faults)


def _others(chance: Random, runs: int, timeout: float) -> tuple[Other, ...]:
    count = chance.choice((0, 0, 0, 0, 1, 1, 2))
    return tuple(
        Other(
            chance.choice(OTHERS),
            run := chance.randrange(runs),
            -1.0 if run and chance.random() < 0.6 else draw_moment(chance, timeout),
        )
        for _ in range(count)
    )
