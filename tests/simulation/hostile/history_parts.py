"""The pieces that histories are drawn from."""

from __future__ import annotations

from random import Random
from typing import Any

from hostile.gateway import LIES
from hostile.history import History, Interruption, Run

__all__ = [
    "AFTER",
    "CONFIG",
    "OTHERS",
    "SECRETS",
    "draw_interruptions",
    "draw_kind",
    "draw_moment",
    "draw_runs",
]

#: Seconds after the deadline for which a lasting fault stays, because the last poll is at the deadline.
AFTER = 60.0
#: Secrets that must appear nowhere; prompts are quoted by lines, and numbers are secrets too.
SECRETS = ("canary-env-6f1e", "4815162342108", "canary prompt, first line", "canary prompt, second line")
_PROMPT = "  canary prompt, first line  \r\n\tcanary prompt, second line\n"
CONFIG = {
    "model": "gpt-4",
    "temperature": 0.3,
    "system_prompt": _PROMPT,
    "environment_variables": {"TOKEN": SECRETS[0], "PIN": int(SECRETS[1])},
}
OTHERS = (
    *("update", "update", "rename", "restart", "start", "pause", "stop"),
    *("delete", "create", "replace", "replace", "deployment"),
)
_INTERRUPTIONS = (
    *("kill", "kill", "kill", "execution timeout", "move", "move", "stall", "clear", "mark failed"),
    *("clock back", "clock forward", "secrets down", "no triggerer"),
)


def draw_runs(chance: Random, history: History) -> tuple[Run, ...]:
    runs = []
    for _ in range(chance.choice((0, 0, 0, 1, 1, 2))):
        kind = chance.choice(("retry", "retry", "clear", "clear", "same"))
        edit: dict[str, Any] = {}
        if kind == "clear" and history.operator in {"create", "update"} and chance.random() < 0.4:
            edit = {"description": "corrected", "config": {**CONFIG, "model": "gpt-5"}}
        if kind == "clear" and history.names and chance.random() < 0.7:
            edit = {"names": chance.choice((["beta", "alpha"], ["gamma", "alpha"], ["alpha", "gamma"]))}
        after = chance.choice((0.0, 2.0, 10.0, 60.0, 300.0))
        runs.append(Run(kind, after, edit, draw_interruptions(chance, history.arguments["timeout"])))
    return tuple(runs)


def draw_interruptions(chance: Random, timeout: float) -> tuple[Interruption, ...]:
    if chance.random() < 0.75:
        return ()
    what, at = chance.choice(_INTERRUPTIONS), draw_moment(chance, timeout)
    if what == "secrets down":
        return Interruption(what, at), Interruption("secrets up", at + chance.choice((5.0, 60.0, 200.0)))
    if what == "move" and chance.random() < 0.5:
        return Interruption(what, at), Interruption(what, at + 3.0)
    return (Interruption(what, at),)


def draw_kind(chance: Random) -> str:
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


def draw_moment(chance: Random, timeout: float) -> float:
    """Draw a moment in a run: mostly in the first seconds, where a task acts."""
    if chance.random() < 0.6:
        return round(chance.uniform(0.0, 3.0), 2)
    return round(chance.uniform(0.0, min(timeout, 90.0)), 1)
