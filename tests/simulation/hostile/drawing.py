"""Draw a history from a seed."""

from __future__ import annotations

import dataclasses
from random import Random
from typing import Any

from hostile.gateway import LIES
from hostile.history import MODES, Fault, History, Interruption, Other, Run
from hostile.temperament import draw_temperament

__all__ = ["OPERATORS", "PROMPT", "SECRETS", "draw"]

OPERATORS = ("create", "update", "start", "pause", "stop", "restart", "delete", "sensor")
#: What must be found nowhere; a prompt is quoted by lines, a number is none the less a secret.
SECRETS = ("canary-env-6f1e", "4815162342108", "canary prompt, first line", "canary prompt, second line")
PROMPT = "  canary prompt, first line  \r\n\tcanary prompt, second line\n"
_CONFIG = {
    "model": "gpt-4",
    "temperature": 0.3,
    "system_prompt": PROMPT,
    "environment_variables": {"TOKEN": SECRETS[0], "PIN": int(SECRETS[1])},
}
_BEFORE = {
    "update": ("running", "running", "paused", "stopped"),
    "start": ("stopped", "paused", "running"),
    "pause": ("running", "running", "paused"),
    "stop": ("running", "paused", "stopped"),
    "restart": ("running", "running", "stopped", "error"),
    "delete": ("running", "stopped", "error"),
    "sensor": ("running", "stopped", "running"),
}
_OTHERS = (
    *("update", "update", "rename", "restart", "start", "pause", "stop"),
    *("delete", "create", "replace", "replace", "deployment"),
)
_INTERRUPTIONS = (
    *("kill", "kill", "kill", "execution timeout", "move", "move", "stall", "clear", "mark failed"),
    *("clock back", "clock forward", "secrets down", "no triggerer"),
)


def draw(seed: int) -> History:
    """Draw all that is decided before a history is played."""
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
        temper=draw_temperament(chance),
    )
    timeout = arguments["timeout"]
    if operator == "sensor" and chance.random() < 0.05:
        # A mistake in the connection: nothing that is asked for ever gets through.
        always = Fault(chance.choice(("unknown host", "lie page", "html 404")), (), 0, 0.0, 7200.0, 10**6)
        patient = {**arguments, "timeout": 7200.0, "poke_interval": 30.0}
        return dataclasses.replace(history, arguments=patient, faults=(always,))
    if chance.random() < 0.35:
        return _again(chance, history)
    runs = (Run(interruptions=_interruptions(chance, timeout)), *_more_runs(chance, history))
    return dataclasses.replace(
        history,
        runs=runs,
        faults=_faults(chance, operator, len(runs), timeout),
        others=_others(chance, len(runs), timeout),
    )


def _again(chance: Random, history: History) -> History:
    """Draw a run that comes to nothing, or so it seems, what others do then, and another run of the task."""
    timeout = history.arguments["timeout"]
    deed = history.operator if history.operator != "sensor" else "get"
    faults: tuple[Fault, ...] = ()
    interruptions: tuple[Interruption, ...] = ()
    match chance.choice(("refused", "lost", "lost from then on", "interrupted", "interrupted", "green")):
        case "refused":
            faults = (Fault(_kind(chance), (deed,), 0, 0.0, timeout, 1000),)
        case "lost":
            kind = chance.choice(("reset after", "silence after", "html 504 after", "cut", "garbage"))
            faults = (Fault(kind, (deed,), 0, 0.0, timeout, 1), Fault("html 502", (), 0, 0.2, timeout, 1000))
        case "lost from then on":
            begin = round(chance.uniform(0.2, 3.0), 1)
            faults = (Fault(chance.choice(("html 502", "reset", "refused")), (), 0, begin, timeout, 1000),)
        case "interrupted":
            what = chance.choice(("kill", "execution timeout", "mark failed", "clear"))
            interruptions = (Interruption(what, _moment(chance, timeout)),)
    first = Run(interruptions=interruptions)
    second = _more_runs(chance, history)[:1] or (Run("retry", 2.0), Run("same", 10.0), Run("clear", 60.0))
    runs = (first, *second[-1:], *_more_runs(chance, history)[:1])
    gap = chance.choice((0, 1, 1, 2))
    others = [Other(chance.choice(_OTHERS), chance.randrange(1, len(runs)), -1.0) for _ in range(gap)]
    return dataclasses.replace(history, runs=runs, faults=faults, others=tuple(others))


def _task(chance: Random, operator: str) -> tuple[dict[str, Any], tuple[tuple[str, str], ...]]:
    """Draw a task's arguments, and the agents that are there before it."""
    pace = "poke_interval" if operator == "sensor" else "poll_interval"
    arguments: dict[str, Any] = {
        pace: chance.choice((1.0, 5.0, 5.0, 10.0, 30.0)),
        "timeout": chance.choice((20.0, 60.0, 120.0, 300.0, 300.0)),
    }
    if operator == "create":
        arguments |= {"name": "alpha", "description": "asked for", "config": _CONFIG}
        if chance.random() < 0.05:
            arguments["config"] = {**_CONFIG, "temperature": 3.0}
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
            arguments["config"] = _CONFIG
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


def _more_runs(chance: Random, history: History) -> tuple[Run, ...]:
    runs = []
    for _ in range(chance.choice((0, 0, 0, 1, 1, 2))):
        kind = chance.choice(("retry", "retry", "clear", "clear", "same"))
        edit: dict[str, Any] = {}
        if kind == "clear" and history.operator in {"create", "update"} and chance.random() < 0.4:
            edit = {"description": "corrected", "config": {**_CONFIG, "model": "gpt-5"}}
        if kind == "clear" and history.names and chance.random() < 0.7:
            edit = {"names": chance.choice((["beta", "alpha"], ["gamma", "alpha"], ["alpha", "gamma"]))}
        after = chance.choice((0.0, 2.0, 10.0, 60.0, 300.0))
        runs.append(Run(kind, after, edit, _interruptions(chance, history.arguments["timeout"])))
    return tuple(runs)


def _interruptions(chance: Random, timeout: float) -> tuple[Interruption, ...]:
    if chance.random() < 0.75:
        return ()
    what, at = chance.choice(_INTERRUPTIONS), _moment(chance, timeout)
    if what == "secrets down":
        return Interruption(what, at), Interruption("secrets up", at + chance.choice((5.0, 60.0, 200.0)))
    if what == "move" and chance.random() < 0.5:
        return Interruption(what, at), Interruption(what, at + 3.0)
    return (Interruption(what, at),)


def _faults(chance: Random, operator: str, runs: int, timeout: float) -> tuple[Fault, ...]:
    calls = {"create": ("list", "create"), "sensor": ("get", "list")}.get(operator, (operator, operator))
    faults = []
    for _ in range(chance.choice((0, 0, 1, 1, 1, 2, 3))):
        struck = chance.choice((*calls, *calls, "get", "list", ""))
        begin = 0.0 if chance.random() < 0.6 else _moment(chance, timeout)
        end = chance.choice((timeout, begin + chance.choice((5.0, 20.0, 60.0))))
        times = chance.choice((1, 1, 1, 2, 2, 3, 5, 1000))
        kind = _kind(chance)
        faults.append(
            Fault(kind, (struck,) if struck else (), chance.randrange(runs), round(begin, 1), end, times)
        )
    return tuple(faults)


def _kind(chance: Random) -> str:
    after = chance.choice(("", "", " after"))
    family = chance.randrange(12)
    if family == 0:
        return chance.choice(("json 429", f"json {chance.choice((500, 502, 503, 504, 503, 408))}{after}"))
    if family == 1:
        return f"html {chance.choice((501, 505, 507, 508, 511, 520, 522, 524, 530, 598, 599))}{after}"
    if family == 2:
        return f"html {chance.choice((401, 403, 404, 404, 407))}"
    if family == 3:
        return f"hint {chance.choice((429, 503))} {chance.choice((1, 20, 90, 3600, 86400))}"
    if family == 4:
        return f"lie {chance.choice(sorted(LIES))}"
    if family == 5:
        return chance.choice(("project 404", "json 401", "json 403", "json 400", "json 409", "endless 400"))
    if family == 6:
        return chance.choice(("refused", "unknown host"))
    if family in {7, 8}:
        return f"reset{chance.choice(('', ' after'))}"
    if family == 9:
        return f"silence{chance.choice(('', ' after'))}"
    return chance.choice(("cut", "garbage", "html 502 after", "html 504 after"))


def _others(chance: Random, runs: int, timeout: float) -> tuple[Other, ...]:
    count = chance.choice((0, 0, 0, 0, 1, 1, 2))
    return tuple(
        Other(
            chance.choice(_OTHERS),
            run := chance.randrange(runs),
            -1.0 if run and chance.random() < 0.6 else _moment(chance, timeout),
        )
        for _ in range(count)
    )


def _moment(chance: Random, timeout: float) -> float:
    """Draw a moment in a run: mostly in the first seconds, where a task acts."""
    if chance.random() < 0.6:
        return round(chance.uniform(0.0, 3.0), 2)
    return round(chance.uniform(0.0, min(timeout, 90.0)), 1)
