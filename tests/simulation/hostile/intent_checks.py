"""Compare a intent with the service's record."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from hostile.airflow_model import Ended
from hostile.player import Played
from hostile.record import Arrival, Change, Version
from hostile.service import Agent

__all__ = ["Intent", "intents"]

_WANTED = {"start": "running", "pause": "paused", "stop": "stopped"}


def intents(played: Played) -> Iterator[Intent]:
    """Yield the intents: a clear begins a new intent, a retry continues the one before."""
    for index, endings in played.endings.items():
        runs: list[Ended] = []
        for ended in endings:
            if ended.kind in {"first", "clear"} and runs:
                yield Intent(played, index, runs)
                runs = []
            runs.append(ended)
        if runs:
            yield Intent(played, index, runs)


@dataclasses.dataclass
class Intent:
    """One intent: the runs from the first, or from a clear, to the last retry."""

    played: Played
    index: int
    runs: list[Ended]

    @property
    def operator(self) -> str:
        return self.played.history.operator

    @property
    def last(self) -> Ended:
        return self.runs[-1]

    @property
    def actor(self) -> str:
        return "task" if self.index < 0 else f"task[{self.index}]"

    @property
    def poll_interval(self) -> float:
        arguments = self.last.asked
        return float(arguments.get("poll_interval") or arguments.get("poke_interval") or 10.0)

    @property
    def may_undo(self) -> bool:
        asked = self.last.asked
        is_killed = any(run.outcome == "marked failed" for run in self.runs) or "execution timeout" in {
            what.what for run in self.played.history.runs for what in run.interruptions
        }
        return bool(asked.get("cancel_on_kill") and is_killed) or asked.get("on_failure") == "delete"

    @property
    def clock_was_set(self) -> bool:
        return any("clock" in what.what for run in self.played.history.runs for what in run.interruptions)

    @property
    def is_interrupted(self) -> bool:
        return any(run.interruptions for run in self.played.history.runs)

    @property
    def began(self) -> float:
        return self.runs[0].began

    @property
    def seen_from(self) -> float:
        """The earliest moment whose state a response to this intent may show."""
        behaviour = self.played.history.behaviour
        return self.began - max(behaviour.get_lag, behaviour.list_lag) - behaviour.latency

    def agent(self, agent_id: str) -> Agent:
        return self.played.world.service.agents[agent_id]

    def changes(self) -> list[Change]:
        """Return the changes that the service executed for this intent."""
        ended = self.last.ended + 60.0
        runs = self.played.endings[self.index]
        following = [run.began for run in runs if run.index > self.last.index]
        ends = min([ended, *following])
        return [
            d
            for d in self.played.world.service.changes
            if d.actor == self.actor and self.began <= d.at < ends
        ]

    def others_did(self, first: Change, second: Change) -> bool:
        """Return whether other users changed an agent before the second of two changes."""
        changes = self.played.world.service.changes
        between = [
            change
            for change in changes
            if self.began <= change.at <= second.at and change.actor != self.actor
        ]
        return any(change.agent_id == first.agent_id for change in between)

    def arrivals(self, run: Ended) -> list[Arrival]:
        """Return the requests of one run."""
        runs = self.played.endings[self.index]
        ends = min([one.began for one in runs if one.index > run.index], default=math.inf)
        arrivals = self.played.world.service.arrivals
        return [a for a in arrivals if a.actor == self.actor and run.began <= a.at < ends]

    def names_of_the_agent(self, run: Ended | None = None) -> set[str]:
        """Return every name and id of the agent that a message of a run, or of the last one, may use."""
        asked, world = (run or self.last).asked, self.played.world
        names = {asked.get("name") if self.operator == "create" else None, asked.get("agent_name")}
        if "agent_id" in asked:
            names.add(world.ids.get(asked["agent_id"], "agent_of_nobody"))
        for agent in world.service.agents.values():
            if any(version.name in names for version in agent.versions):
                names.add(agent.id)
        return {name for name in names if name}

    # -- allowed changes --------------------------------------------------------------------------------

    def may(self, change: Change) -> bool:
        """Return whether the task is allowed to make a change of an agent."""
        agent, asked = self.agent(change.agent_id), self.last.asked
        if self.operator == "create":
            if agent.creator == self.actor:
                return change.verb != "delete" or self.may_undo
            return asked.get("if_exists") == "update" and change.verb in {"update", "start", "restart"}
        if change.verb != self.operator and not (self.may_undo and change.verb == "stop"):
            return False
        if "agent_id" in asked:
            return agent.id == self.played.world.ids.get(asked["agent_id"])
        return any(version.name == asked["agent_name"] for version in agent.within(self.seen_from, change.at))

    # -- required effects ------------------------------------------------------------------------------

    def falsehood(self) -> str | None:
        """Return why a green task is wrong, or ``None``."""
        if self.operator == "delete":
            return self._not_deleted()
        agent = self.played.world.service.agents.get(str(self.last.result))
        if agent is None:
            return f"there never was an agent {self.last.result!r}"
        if "agent_id" in self.last.asked and agent.id not in self.names_of_the_agent():
            return f"it returned {agent.id}, another agent"
        versions = agent.within(self.seen_from, self.last.ended)
        if self.operator == "create":
            return self._not_created(agent, versions)
        if self.operator == "update":
            return (
                None
                if any(self._has_what_is_asked(version) for version in versions)
                else "the agent is not as asked"
            )
        if self.operator == "restart":
            return self._not_restarted(agent)
        if self.operator == "sensor":
            return self._not_seen(agent)
        wanted = _WANTED[self.operator]
        if any(version.status == wanted for version in versions):
            return None
        changes = [d for d in self.played.world.service.changes if d.agent_id == agent.id]
        is_accepted = any(d.verb == self.operator and d.ends_at >= self.began for d in changes)
        if is_accepted and not self.last.asked.get("wait_for_completion", True):
            return None
        return f"the agent was never {wanted}"

    def _not_created(self, agent: Agent, versions: list[Version]) -> str | None:
        asked = self.last.asked
        if agent.creator != self.actor and asked.get("if_exists", "fail") == "fail":
            return f"{agent.id} belongs to {agent.creator}"
        if not any(version.name == asked["name"] for version in versions):
            return f"{agent.id} is never named {asked['name']!r}"
        if asked.get("wait_for_completion", True) and not any(v.status == "running" for v in versions):
            return f"{agent.id} never ran"
        is_adopted = agent.creator != self.actor and asked.get("if_exists") == "adopt"
        if not is_adopted and not any(self._has_what_is_asked(version) for version in versions):
            return f"{agent.id} is not as asked"
        if versions and versions[-1].status is None and not self._others_did("delete", agent):
            return f"{agent.id} is gone"
        return None

    def _has_what_is_asked(self, version: Version) -> bool:
        asked = self.last.asked
        for name in ("description", "config", "metadata"):
            value = asked.get(name)
            has = getattr(version, name)
            if isinstance(value, dict):
                if any(_as_text(has.get(key)) != _as_text(item) for key, item in value.items()):
                    return False
            elif value is not None and has != value:
                return False
        return True

    def _not_restarted(self, agent: Agent) -> str | None:
        asked_at = [a.at for run in self.runs for a in self.arrivals(run) if a.call == "restart"]
        changes = self.played.world.service.changes
        mine = [change for change in changes if change.agent_id == agent.id and change.at <= self.last.ended]
        restarts = [change for change in mine if change.verb == "restart" and change.at >= self.began]
        is_killed = any(run.outcome == "killed" for run in self.runs)
        if (asked_at or is_killed) and not restarts:
            # After a lost response, any other action that was running leaves the evidence of a restart.
            # Of updates, only those that change nothing do.
            restarts = [
                change
                for change in mine
                if change.ends_at >= self.began and (change.verb != "update" or self._changed_nothing(change))
            ]
        if self.played.history.behaviour.heartbeat and (asked_at or is_killed):
            return None  # an updated_at that moves by itself looks like a restart
        if not restarts:
            return "no restart began since it was asked for"
        history = self.played.history
        seen_from = restarts[0].at - max(
            history.behaviour.get_lag, history.behaviour.list_lag * bool(history.crowd)
        )
        ran = any(v.status == "running" for v in agent.within(seen_from, self.last.ended))
        if not ran and self.last.asked.get("wait_for_completion", True):
            return "the agent has not run since the restart"
        return None

    def _changed_nothing(self, update: Change) -> bool:
        """Return whether an update left the agent as it was."""
        versions = self.agent(update.agent_id).versions
        new = next(number for number, version in enumerate(versions) if version.at >= update.at)
        before, after = versions[new - 1], versions[new]
        fields = ("name", "description", "config", "metadata")
        return all(getattr(before, field) == getattr(after, field) for field in fields)

    def _not_deleted(self) -> str | None:
        asked, world = self.last.asked, self.played.world
        lag = self.played.history.behaviour.list_lag + self.played.history.behaviour.get_lag
        for agent in world.service.agents.values():
            if "agent_id" in asked:
                is_meant = agent.id == world.ids.get(asked["agent_id"])
            else:
                held = agent.within(self.began - lag, self.began)
                is_meant = bool(held) and all(v.name == asked["agent_name"] and v.status for v in held)
                is_meant = is_meant and agent.created_at <= self.began - lag
            now = agent.at(self.last.ended)
            waits = asked.get("wait_for_completion", True)
            accepted = any(d.verb == "delete" and d.agent_id == agent.id for d in world.service.changes)
            renamed = "agent_name" in asked and now is not None and now.name != asked["agent_name"]
            if (
                is_meant
                and now is not None
                and now.status is not None
                and not renamed
                and (waits or not accepted)
            ):
                return f"{agent.id} is still there"
        return None

    def _not_seen(self, agent: Agent) -> str | None:
        targets = self.last.asked.get("target_statuses", ["running"])
        stable = float(self.last.asked.get("stable_for", 0.0))
        if not self.played.history.behaviour.shows_changes:
            stable = 0.0  # changes between two polls are invisible
        held = 0.0
        for version, following in _spans(agent, self.last.ended):
            ends = min(following, self.last.ended)
            if version.status in targets and ends >= self.seen_from:
                held += ends - max(version.at, self.seen_from)
                if held >= stable - 0.5:
                    return None
            else:
                held = 0.0
        return f"the agent was not {'/'.join(targets)}" + (f" for {stable:g} s" if stable else "")

    def _others_did(self, verb: str, agent: Agent) -> bool:
        changes: list[Any] = self.played.world.service.changes
        return any(d.verb == verb and d.agent_id == agent.id and d.actor != self.actor for d in changes)


def _as_text(value: Any) -> Any:
    """Turn numbers in an object into text: environment variables may be either."""
    return {key: str(item) for key, item in value.items()} if isinstance(value, dict) else value


def _spans(agent: Agent, end: float) -> Iterator[tuple[Version, float]]:
    """Yield each version with the moment at which the next one begins."""
    starts = [version.at for version in agent.versions[1:]]
    yield from zip(agent.versions, [*starts, end], strict=True)
