"""
Decide which agents of a fleet are acted on next, and when the run is over; without I/O and without a clock.

The vocabulary is that of Nomad's ``update`` block and of Kubernetes. An example: 200 agents are restarted
with ``max_unavailable="10%"`` and ``canary=2``. First two agents are restarted. When both are available
again, 20 are restarted; with each one that is available again, the next.

Rules:

- **Unavailable first.** An agent that was not available before is acted on before those that are. It counts
  against ``max_unavailable``, and acting on it takes no further one away.
- **max_unavailable.** So many agents are under way at most. An agent that is available is acted on only while
  fewer agents are unavailable, those that failed among them.
- **Canaries.** The first agents are acted on alone, until each is available or has failed.
- **max_failures.** When more agents failed, none is acted on any more. Those under way are awaited.

Invariants, which the property tests check: no agent is acted on twice; no rule above is broken whatever
agents do; a run ends.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from connix_provider.values import agent_label, amount_of, check_amount, quoted

__all__ = ["FleetLimits", "FleetMember", "FleetStep", "Progress", "decide", "fleet_result", "least_minutes"]


class Progress(StrEnum):
    """How far an agent is."""

    UNTOUCHED = "untouched"
    UNDER_WAY = "under way"
    DONE = "done"
    FAILED = "failed"


@dataclasses.dataclass(slots=True)
class FleetMember:
    """
    One agent of a fleet.

    :param name: its name, if known
    :param progress: how far it is
    :param is_available: whether it is available now, as far as is known; one under way never counts as such
    :param was_acted_on: whether the run acted on it, and did not find it done already
    :param reason: why it failed, or why nothing was to do
    :param is_gone: whether it failed because it no longer exists
    """

    agent_id: str
    name: str | None = None
    progress: Progress = Progress.UNTOUCHED
    is_available: bool = True
    was_acted_on: bool = False
    reason: str = ""
    is_gone: bool = False

    def __str__(self) -> str:
        """Return the words that go after "agent"."""
        return agent_label(self.agent_id, self.name)


@dataclasses.dataclass(frozen=True, slots=True)
class FleetLimits:
    """
    The limits of a run, as numbers of agents.

    :param max_unavailable: how many agents may be unavailable at the same time; 1 or more
    :param canary: how many agents are acted on first
    :param max_failures: how many agents may fail
    """

    max_unavailable: int
    canary: int = 0
    max_failures: int = 0

    @classmethod
    def of(cls, max_unavailable: Any, canary: Any, max_failures: Any, *, total: int) -> FleetLimits:
        """
        Read limits that may be percentages of the fleet.

        :param max_unavailable: rounded down, but at least 1
        :param canary: rounded up
        :param max_failures: rounded down
        :param total: the number of agents
        :raises ValueError: for a value that is none, and for more canaries than agents
        """
        cls.check(max_unavailable, canary, max_failures)
        canaries = amount_of("canary", canary, total, round_up=True)
        if canaries > total:
            raise ValueError(f"canary is {canary!r}, but the fleet has only {total} agents")
        return cls(
            max(1, amount_of("max_unavailable", max_unavailable, total, round_up=False)),
            canaries,
            amount_of("max_failures", max_failures, total, round_up=False),
        )

    @staticmethod
    def check(max_unavailable: Any, canary: Any, max_failures: Any) -> None:
        """
        Check the values before the number of agents is known.

        :param max_unavailable: a number or a percentage, more than 0
        :param canary: a number or a percentage
        :param max_failures: a number or a percentage
        :raises ValueError: for any other value
        """
        if not check_amount("max_unavailable", max_unavailable):
            raise ValueError(
                f"max_unavailable must be more than 0, not {quoted(max_unavailable)}: otherwise no agent "
                "may be acted on"
            )
        check_amount("canary", canary)
        check_amount("max_failures", max_failures)


@dataclasses.dataclass(frozen=True, slots=True)
class FleetStep:
    """
    What to do next.

    :param act_on: the agents to act on now, in this order
    :param stop: why no further agent is touched, ``None`` while the run continues
    :param is_over: whether nothing is under way and nothing is left to do
    """

    act_on: Sequence[FleetMember]
    stop: str | None
    is_over: bool


def decide(members: Sequence[FleetMember], limits: FleetLimits, *, halt: str | None = None) -> FleetStep:
    """
    Decide what to do next.

    :param members: the agents, in the order in which they are acted on
    :param halt: why no further agent may be touched, for a reason that is not in the limits
    :return: the next step
    """
    counts = Counter(member.progress for member in members)
    failed, under_way = counts[Progress.FAILED], counts[Progress.UNDER_WAY]
    stop = halt
    if failed > limits.max_failures:
        stop = f"{_agents(failed)} failed, and max_failures is {limits.max_failures}"
    act_on = [] if stop else _next(members, limits, under_way)
    if not (stop or act_on or under_way) and counts[Progress.UNTOUCHED]:
        unavailable = sum(not member.is_available for member in members)
        stop = (
            f"{_agents(unavailable)} {'is' if unavailable == 1 else 'are'} unavailable, and max_unavailable "
            f"is {limits.max_unavailable}"
        )
    return FleetStep(act_on, stop, is_over=not act_on and not under_way)


def _next(members: Iterable[FleetMember], limits: FleetLimits, under_way: int) -> list[FleetMember]:
    members = list(members)
    slots = limits.max_unavailable - under_way
    tried = sum(
        member.was_acted_on and member.progress in {Progress.DONE, Progress.FAILED} for member in members
    )
    if tried < limits.canary:
        slots = min(slots, limits.canary - tried - under_way)
    unavailable = sum(member.progress is Progress.UNDER_WAY or not member.is_available for member in members)
    chosen: list[FleetMember] = []
    untouched = [member for member in members if member.progress is Progress.UNTOUCHED]
    for member in sorted(untouched, key=lambda each: each.is_available):
        if len(chosen) >= slots:
            break
        if member.is_available:
            if unavailable >= limits.max_unavailable:
                break
            unavailable += 1
        chosen.append(member)
    return chosen


def fleet_result(action: str, project_id: str, members: Iterable[FleetMember]) -> dict[str, Any]:
    """
    Return the result of a run.

    :return: plain JSON: ``action``, ``project_id``, ``summary`` with the numbers of agents that are ``done``,
        ``failed`` and ``not_touched``, and ``agents`` with ``name``, ``result`` and ``reason`` of each id
    """
    agents = {
        member.agent_id: {
            "name": member.name,
            "result": _RESULTS[member.progress],
            "reason": member.reason or None,
        }
        for member in members
    }
    counts = Counter(str(agent["result"]) for agent in agents.values())
    summary = {result: counts[result] for result in ("done", "failed", "not_touched")}
    return {"action": action, "project_id": project_id, "summary": summary, "agents": agents}


#: An agent under way at the end of a run counts as failed, because its result did not show in time.
_RESULTS: Mapping[Progress, str] = {
    Progress.DONE: "done",
    Progress.FAILED: "failed",
    Progress.UNDER_WAY: "failed",
    Progress.UNTOUCHED: "not_touched",
}


def least_minutes(requests: int, limit: float) -> int:
    """
    Return the time that a rate limit of a minute makes a number of requests take.

    :param requests: how many
    :param limit: requests in a minute
    :return: minutes until the last request may be sent
    """
    return max(0, math.ceil(requests / max(1.0, limit)) - 1)


def _agents(number: int) -> str:
    return "1 agent" if number == 1 else f"{number} agents"
