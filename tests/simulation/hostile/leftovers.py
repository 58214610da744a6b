"""What a history may leave behind: agents, secrets, Variables, clients and events."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hostile.history_parts import SECRETS
from hostile.player import Played

__all__ = ["AFTERMATH"]

_LARGEST_EVENT = 10 * 1024


def _one_agent_for_each_run(played: Played) -> Iterator[str]:
    if _hides_renamed_agents(played):
        return
    for index in played.endings:
        actor = "task" if index < 0 else f"task[{index}]"
        agents = played.world.service.agents.values()
        alive = [agent.id for agent in agents if agent.creator == actor and agent.now.status is not None]
        if len(alive) > 1:
            yield f"{actor} leaves {len(alive)} agents: {', '.join(alive)}"


def _hides_renamed_agents(played: Played) -> bool:
    """Return whether a listing cannot show that an agent of another name is the task's own."""
    history = played.history
    is_renamed = bool(history.names) or any(other.what == "rename" for other in history.others)
    return is_renamed and (history.behaviour.list_is_short or history.behaviour.list_lag > 0)


def _no_secret_leaves(played: Played) -> Iterator[str]:
    for text in played.world.said:
        for secret in SECRETS:
            if secret in text:
                yield f"{secret!r} stands in: {text[:300]!r}"
                return


def _nothing_is_left(played: Played) -> Iterator[str]:
    history = played.history
    interrupted = any(run.interruptions for run in history.runs)
    if played.world.open_clients > 0 and not interrupted:
        yield f"{played.world.open_clients} clients are open"
    for index, endings in played.endings.items():
        last = endings[-1]
        is_over = last.outcome == "green" or (last.outcome == "red" and played.instances[index].was_last)
        if played.world.variables and is_over and len(played.endings) == 1:
            yield f"a Variable is left after a run that ended {last.outcome_kind}"


def _events_are_small(played: Played) -> Iterator[str]:
    for event in played.world.events:
        if len(event) > _LARGEST_EVENT:
            yield f"an event of {len(event)} bytes"


def _is_undone(played: Played) -> Iterator[str]:
    """Check ``cancel_on_kill`` and ``on_failure`` of a create, in histories without faults."""
    history = played.history
    behaviour = history.behaviour
    is_quick = (
        behaviour.change_time <= 8.0
        and not behaviour.get_lag
        and not behaviour.list_lag
        and behaviour.latency < 1
    )
    if history.operator != "create" or history.faults or history.others or not is_quick or behaviour.limits:
        return
    for index, endings in played.endings.items():
        last = endings[-1]
        is_killed = last.outcome == "marked failed" and last.asked.get("cancel_on_kill")
        is_failed = "AgentFailed" in type(last.error).__name__ and last.asked.get("on_failure") == "delete"
        actor = played.instances[index].actor
        alive = [a.id for a in played.world.service.agents.values() if a.creator == actor and a.now.status]
        if (is_killed or is_failed) and alive:
            yield f"run {last.index} ended {last.outcome_kind}, but {alive[0]} is left"


AFTERMATH: dict[str, Callable[[Played], Iterator[str]]] = {
    "one agent for each run": _one_agent_for_each_run,
    "no secret leaves": _no_secret_leaves,
    "nothing is left behind": _nothing_is_left,
    "what is to be undone is undone": _is_undone,
    "events are small": _events_are_small,
}
