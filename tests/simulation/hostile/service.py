"""
A second model of Connix, written from the reference alone: agents, actions, listings and their changes.

It handles bytes and JSON, and no class of the provider. A behaviour sets its properties, and its record holds
every change.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any
from urllib.parse import parse_qsl, unquote

from hostile.limits import Limits
from hostile.record import Arrival, Change, Version
from hostile.service_behaviour import FORMATS, ServiceBehaviour
from hostile.service_responses import ServiceResponse, json_response, refusal

__all__ = ["PROJECT", "Agent", "Service"]

PROJECT = "proj_1234567890abcdef"
_ACTIONS = {"start": "running", "pause": "paused", "stop": "stopped", "restart": "running"}
_ALLOWED = {
    "start": {"paused", "stopped", "error"},
    "pause": {"running"},
    "stop": {"running", "paused", "error"},
    "restart": {"running", "paused", "stopped", "error"},
}
_BUSY = {"creating", "updating"}


class Agent:
    """An agent with all its versions and its planned changes."""

    def __init__(self, agent_id: str, creator: str, first: Version) -> None:
        self.id = agent_id
        self.creator = creator
        self.created_at = first.at
        self.versions = [first]
        self.plans: list[tuple[float, str | None, bool]] = []
        self.changes = 0

    @property
    def now(self) -> Version:
        return self.versions[-1]

    def at(self, moment: float) -> Version | None:
        """Return the agent as it was at a moment, or ``None`` before it was created."""
        return next((version for version in reversed(self.versions) if version.at <= moment), None)

    def within(self, begin: float, end: float) -> list[Version]:
        """Return its versions between two moments."""
        first = self.at(begin)
        return [first] * (first is not None) + [v for v in self.versions if begin < v.at <= end]

    def settle(self, moment: float, *, moves: bool) -> None:
        """Carry out the changes planned until a moment."""
        while self.plans and self.plans[0][0] <= moment:
            at, status, moving = self.plans.pop(0)
            self.become(at, status=status, moved=moves and moving)

    def become(self, at: float, *, moved: bool, **changes: Any) -> None:
        last = self.now
        values = {name: getattr(last, name) for name in Version.__slots__} | changes | {"at": at}
        self.versions.append(Version(**{**values, "moved_at": at if moved else last.moved_at}))


class Service:
    """
    Respond to requests, and record every change.

    :param behaviour: its properties
    :param chance: its own random numbers
    :param epoch: epoch seconds at which the history began
    """

    def __init__(self, behaviour: ServiceBehaviour, chance: Random, epoch: float) -> None:
        self.behaviour = behaviour
        self.agents: dict[str, Agent] = {}
        self.changes: list[Change] = []
        self.arrivals: list[Arrival] = []
        self.elapsed = 0.0
        self._chance = chance
        self._epoch = epoch
        self._limits = Limits(behaviour, epoch)
        self._number = 0

    # -- without HTTP: the first agents, and actions of other users -------------------------------------

    def seed(self, name: str, status: str, *, age: float = 3600.0, **fields: Any) -> Agent:
        """Add another user's agent that was created ``age`` seconds ago, and has changed since."""
        values = {"description": "", "config": {}, "metadata": {}, **fields}
        agent = self._add(name, "other", status, self.elapsed - age, values)
        agent.become(self.elapsed - age / 2, moved=self._moves())
        return agent

    def remove(self, agent: Agent, actor: str) -> None:
        """Delete an agent at once."""
        agent.plans = []
        agent.become(self.elapsed, moved=True, status=None)
        self._note(agent, "delete", actor, self.elapsed)

    def settle(self, elapsed: float) -> None:
        """Carry out the planned changes of all agents."""
        self.elapsed = max(self.elapsed, elapsed)
        for agent in self.agents.values():
            agent.settle(self.elapsed, moves=self.behaviour.updated_at in {"accepted", "changed"})

    def named(self, name: str) -> Agent | None:
        """Return the agent that has a name now."""
        alive = (agent for agent in self.agents.values() if agent.now.status is not None)
        return next((agent for agent in alive if agent.now.name == name), None)

    def do(self, verb: str, agent: Agent, actor: str, body: dict[str, Any] | None = None) -> ServiceResponse:
        """Carry out a change of an agent, or refuse it, as for an HTTP request."""
        if agent.now.status is None:
            return refusal(404, "agent_not_found", f"Agent with ID '{agent.id}' not found")
        if self.behaviour.busy_refused and (agent.now.status in _BUSY or agent.plans):
            what = f"Cannot {verb} an agent that is {agent.now.status}"
            return refusal(409, "agent_conflict", what)
        if verb == "delete":
            return self._delete(agent, actor)
        if verb == "update":
            return self._update(agent, actor, body or {})
        return self._act(verb, agent, actor)

    # -- HTTP -------------------------------------------------------------------------------------------

    def response(
        self, method: str, path: str, query: str, body: bytes | None, elapsed: float, actor: str
    ) -> ServiceResponse:
        """Respond to one request; the path is below the base URL, and quoted."""
        self.settle(elapsed)
        call, agent_id = classify(method, path)
        told, refused = self._limits.count(call, self.elapsed)
        response = refused or self._response(call, agent_id, query, body, actor)
        return response.with_headers(told)

    def _response(
        self, call: str, agent_id: str | None, query: str, body: bytes | None, actor: str
    ) -> ServiceResponse:
        if call == "list":
            return self._list(dict(parse_qsl(query)))
        if call == "create":
            return self._create(json.loads(body or b"{}"), actor)
        agent = self.agents.get(agent_id or "")
        if agent is None:
            return refusal(404, "agent_not_found", f"Agent with ID '{agent_id}' not found")
        if call == "get":
            seen = agent.at(self.elapsed - self._lag(self.behaviour.get_lag))
            if seen is None or seen.status is None:
                return refusal(404, "agent_not_found", f"Agent with ID '{agent_id}' not found")
            return json_response(200, self._view(agent, seen, whole=True))
        if call == "logs":
            return json_response(200, self._logs(agent))
        return self.do(call, agent, actor, json.loads(body) if body else None)

    def _list(self, query: dict[str, str]) -> ServiceResponse:
        limit = min(int(query.get("limit", 20)), self.behaviour.page)
        offset = int(query.get("offset", 0))
        moment = self.elapsed - self._lag(self.behaviour.list_lag)
        seen = [(agent, version) for agent in self.agents.values() if (version := agent.at(moment))]
        seen = [(agent, version) for agent, version in seen if version.status is not None]
        if "status" in query:
            seen = [(agent, version) for agent, version in seen if version.status == query["status"]]
        by_name = query.get("sort", "").endswith("name")
        seen.sort(key=lambda one: one[1].name if by_name else one[0].created_at)
        if query.get("sort", "").startswith("-"):
            seen.reverse()
        page = seen[offset : offset + limit]
        return json_response(
            200,
            {
                "agents": [self._view(agent, version, whole=False) for agent, version in page],
                "pagination": {
                    "total": len(seen),
                    "limit": limit,
                    "offset": offset,
                    "has_more": offset + limit < len(seen),
                },
            },
        )

    def _create(self, body: dict[str, Any], actor: str) -> ServiceResponse:
        name = body.get("name")
        if not isinstance(name, str) or not name.strip():
            fault = {"field": "name", "message": "Name must not be empty"}
            return refusal(400, "validation_error", "Invalid agent configuration", details=[fault])
        if self.behaviour.quotes and body.get("config", {}).get("temperature", 0) > 2:
            return self._quote(body)
        for other in self.agents.values():
            held = other.now.status is None and self.elapsed < other.now.at + self.behaviour.name_held
            if other.now.name == name and (other.now.status is not None or held):
                return refusal(409, "agent_conflict", "Agent name already exists in this project")
        values = {key: body.get(key) or kind() for key, kind in _FIELDS.items()}
        agent = self._add(name, actor, "creating", self.elapsed, values)
        self._change(agent, "create", actor, "running")
        return json_response(201, self._view(agent, agent.now, whole=True))

    def _quote(self, body: dict[str, Any]) -> ServiceResponse:
        """Refuse a configuration, and quote it in part, as validators do."""
        prompt = str(body.get("config", {}).get("system_prompt", "")).splitlines()
        values = [str(value) for value in body.get("config", {}).get("environment_variables", {}).values()]
        quoted = " | ".join([*(line.strip() for line in prompt), *values])
        fault = {
            "field": "config.temperature",
            "message": f"Temperature must be between 0 and 2 (got {quoted})",
        }
        return refusal(400, "validation_error", f"Invalid agent configuration: {quoted}", details=[fault])

    def _update(self, agent: Agent, actor: str, body: dict[str, Any]) -> ServiceResponse:
        new_name = body.get("name", agent.now.name)
        if any(
            other.now.name == new_name and other.now.status
            for other in self.agents.values()
            if other is not agent
        ):
            return refusal(409, "agent_conflict", "Agent name already exists in this project")
        merged = {
            name: {**getattr(agent.now, name), **body[name]} if kind is dict else body[name]
            for name, kind in _FIELDS.items()
            if name in body
        }
        # A second update ends in the same status as the first one.
        before = agent.plans[-1][1] if agent.plans else agent.now.status
        agent.become(self.elapsed, moved=self._moves(), name=new_name, **merged)
        if self.behaviour.update_shows and self.behaviour.change_time:
            self._change(agent, "update", actor, before, through="updating")
        else:
            self._note(agent, "update", actor, self.elapsed)
        return json_response(200, self._view(agent, agent.now, whole=True))

    def _act(self, verb: str, agent: Agent, actor: str) -> ServiceResponse:
        wanted, status = _ACTIONS[verb], str(agent.now.status)
        if status == wanted and verb != "restart":
            if self.behaviour.redundant_refused:
                return refusal(409, "agent_conflict", f"Agent is {status} already")
        elif status not in _ALLOWED[verb] and status in {"running", "paused", "stopped", "error"}:
            return refusal(409, "agent_conflict", f"Cannot {verb} an agent that is {status}")
        else:
            self._change(agent, verb, actor, wanted)
        shown = wanted if self.behaviour.reply_promises else agent.now.status
        done = {"start": "started", "pause": "paused", "stop": "stopped", "restart": "restarted"}[verb]
        return json_response(
            200, {"message": f"Agent {done} successfully", "agent_id": agent.id, "status": shown}
        )

    def _delete(self, agent: Agent, actor: str) -> ServiceResponse:
        self._change(agent, "delete", actor, None)
        if self.behaviour.delete_is_empty:
            return ServiceResponse(204, {}, b"")
        return json_response(200, {"message": "Agent deleted successfully", "agent_id": agent.id})

    # -- how agents change ------------------------------------------------------------------------------

    def _add(self, name: str, creator: str, status: str, at: float, values: dict[str, Any]) -> Agent:
        self._number += 1
        agent_id = f"agent_{self._number:04x}{self._chance.getrandbits(48):012x}"
        self.agents[agent_id] = Agent(agent_id, creator, Version(at, status, name, moved_at=at, **values))
        return self.agents[agent_id]

    def _change(
        self, agent: Agent, verb: str, actor: str, wanted: str | None, *, through: str | None = None
    ) -> None:
        """Begin a change, and plan its steps."""
        behaviour = self.behaviour
        agent.changes += 1
        fails = agent.changes in behaviour.ends_in_error and verb != "delete"
        begin, end = self.elapsed, self.elapsed + behaviour.change_time
        if verb == "restart":
            begin += behaviour.restart_delay
            end += behaviour.restart_delay
            through = None if behaviour.restart_shows == "nothing" else behaviour.restart_shows
        elif verb in {"start", "pause", "stop", "delete"} and behaviour.change_shows != "before":
            through = behaviour.change_shows
        if behaviour.updated_at == "accepted" and verb not in {"create", "update"}:
            agent.become(self.elapsed, moved=True)
        agent.plans = [] if through is None else [(begin, through, verb != "update")]
        agent.plans.append((end, "error" if fails else wanted, True))
        self._note(agent, verb, actor, end, fails=fails)
        agent.settle(self.elapsed, moves=behaviour.updated_at in {"accepted", "changed"})

    def _note(self, agent: Agent, verb: str, actor: str, ends_at: float, *, fails: bool = False) -> None:
        self.changes.append(Change(self.elapsed, actor, verb, agent.id, agent.now.name, ends_at, fails))

    def _moves(self) -> bool:
        return self.behaviour.updated_at in {"accepted", "changed"}

    # -- representations ---------------------------------------------------------------------------------

    def _lag(self, seconds: float) -> float:
        return seconds * self._chance.random() if self.behaviour.lag_varies else seconds

    def _view(self, agent: Agent, seen: Version, *, whole: bool) -> dict[str, Any]:
        """Show an agent; ``stats`` and secrets come only with Get."""
        config = seen.config if whole else {k: v for k, v in seen.config.items() if k not in _ONLY_WHOLE}
        moved_at = seen.moved_at
        if self.behaviour.heartbeat:
            moved_at = max(moved_at, self.elapsed // self.behaviour.heartbeat * self.behaviour.heartbeat)
        write = FORMATS[self.behaviour.written]
        view: dict[str, Any] = {
            "id": agent.id,
            "name": seen.name,
            "description": seen.description,
            "project_id": PROJECT,
            "status": seen.status,
            "config": config,
            "metadata": {} if self.behaviour.list_is_short and not whole else seen.metadata,
            "created_at": write(self._epoch + agent.created_at),
            "updated_at": write(self._epoch + moved_at),
            "last_activity": None,
        }
        if self.behaviour.updated_at == "absent":
            del view["updated_at"]
        if whole:
            view["stats"] = {"total_tasks": 0, "completed_tasks": 0, "failed_tasks": 0}
        return view

    def _logs(self, agent: Agent) -> dict[str, Any]:
        line = {
            "timestamp": FORMATS["milliseconds"](self._epoch + self.elapsed),
            "level": "error",
            "message": "Failed to connect to external API",
            "context": {},
        }
        pagination = {"total": 1, "limit": 100, "offset": 0, "has_more": False}
        return {"logs": [line], "pagination": pagination}


_FIELDS: dict[str, type] = {"description": str, "config": dict, "metadata": dict}
_ONLY_WHOLE = {"system_prompt", "environment_variables"}


def classify(method: str, path: str) -> tuple[str, str | None]:
    """Return the call of the reference that a request is, and the agent id that it names."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[0] != "projects" or len(parts) < 3:
        return "other", None
    if len(parts) == 3:
        return ("create" if method == "POST" else "list"), None
    if len(parts) == 4:
        return {"GET": "get", "PUT": "update", "DELETE": "delete"}.get(method, "other"), parts[3]
    return parts[4], parts[3]
