"""The state of one history: the clock, the service, the faults in front of it and the acting process."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from hostile.clock import EPOCH, Clock
from hostile.gateway import fault_effect, garbled
from hostile.history import Fault, History, Other
from hostile.record import Arrival
from hostile.service import Agent, Service, classify
from hostile.service_responses import ServiceResponse

__all__ = ["Broken", "Killed", "Line", "World"]


class Killed(BaseException):
    """Raised in a process at the moment at which it is killed."""


@dataclasses.dataclass(frozen=True)
class Broken:
    """No response: ``refused``, ``unknown host``, ``reset``, ``cut`` or ``silence``."""

    how: str
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a failing history's story."""

    at: float
    actor: str
    what: str

    def __str__(self) -> str:
        return f"{self.at:9.2f} s  {self.actor:<12} {self.what}"


class World:
    """
    Hold the state of one play of a history.

    :ivar actor: the sender of the requests at this moment
    :ivar process: the kind of the running process: ``worker``, ``triggerer``, or none
    :ivar is_dead: whether that process is killed, so that it sends no further request
    :ivar said: all log lines, exceptions and stored values, for the scan for secrets
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.clock = Clock()
        self.service = Service(history.behaviour, Random(f"service {history.seed}"), EPOCH)
        self.chance = Random(f"provider {history.seed}")
        self.actor = "task"
        self.process: str | None = None
        self.is_dead = False
        self.run = 0
        self.run_began = 0.0
        self.story: list[Line] = []
        self.said: list[str] = []
        self.events: list[str] = []
        self.variables: dict[str, str] = {}
        self.open_clients = 0
        self.secrets_are_down = False
        #: The running task instance, and its triggerer while it is deferred.
        self.instance: Any = None
        self.triggerer: Any = None
        self.state = "running"
        self.map_index = -1
        self.ids: dict[str, str] = {}
        self._hits: Counter[int] = Counter()
        for name, status in history.agents:
            agent = self.service.seed(name, status, description="of others", config={"model": "gpt-4"})
            self.ids[f"@{name}"] = agent.id
        self.crowd = [self.service.seed(f"crowd {index}", "stopped").id for index in range(history.crowd)]

    def tell(self, actor: str, what: str) -> None:
        self.story.append(Line(self.clock.elapsed, actor, what))

    @contextmanager
    def at_work(self, process: str, actor: str) -> Iterator[None]:
        """Run a process, beside the current one or inside of it."""
        before = self.process, self.actor, self.is_dead
        self.process, self.actor, self.is_dead = process, actor, False
        try:
            yield
        finally:
            self.process, self.actor, self.is_dead = before

    # -- requests ---------------------------------------------------------------------------------------

    def send(
        self, method: str, path: str, query: str, body: bytes | None, timeout: float
    ) -> Generator[float, None, ServiceResponse | Broken]:
        """Carry one request to the service and back; yields the seconds that each way takes."""
        self.clock.tick()
        call, agent_id = classify(method, path)
        sent_at = self.clock.elapsed
        latency = self.history.behaviour.latency
        yield min(latency / 2, timeout)
        if latency / 2 > timeout:
            return self._noted(sent_at, call, agent_id, Broken("silence", timeout), did=False, note="late")
        fault = self._fault(call)
        result: ServiceResponse | Broken
        if fault is None:
            sent = self._ask(method, path, query, body)
            result, did = sent, sent.status < 300
        else:
            result, did = self._with_fault(fault, method, path, query, body)
        rest = timeout - latency / 2
        if isinstance(result, Broken) and result.how == "silence":
            silent = min(30.0, rest)
            yield silent
            return self._noted(sent_at, call, agent_id, Broken("silence", silent), did=did, note=str(fault))
        yield min(latency / 2, rest)
        if latency / 2 > rest:
            result = Broken("silence", timeout)
        return self._noted(sent_at, call, agent_id, result, did=did, note=fault.kind if fault else "")

    def _ask(self, method: str, path: str, query: str, body: bytes | None) -> ServiceResponse:
        return self.service.response(method, path, query, body, self.clock.elapsed, self.actor)

    def _with_fault(
        self, fault: Fault, method: str, path: str, query: str, body: bytes | None
    ) -> tuple[ServiceResponse | Broken, bool]:
        hit = fault_effect(fault.kind)
        own = self._ask(method, path, query, body) if hit.did else None
        did = own is not None and own.status < 300
        if hit.cut and own is not None:
            return (Broken("cut") if hit.broken else garbled(own)), did
        if hit.broken:
            return Broken(hit.broken), did
        assert hit.response is not None
        return hit.response, did

    def _fault(self, call: str) -> Fault | None:
        since = self.clock.elapsed - self.run_began
        for number, fault in enumerate(self.history.faults):
            if fault.run != self.run or not fault.begin <= since <= fault.end:
                continue
            if (not fault.calls or call in fault.calls) and self._hits[number] < fault.times:
                self._hits[number] += 1
                return fault
        return None

    def _noted(
        self,
        at: float,
        call: str,
        agent_id: str | None,
        result: ServiceResponse | Broken,
        *,
        did: bool,
        note: str,
    ) -> ServiceResponse | Broken:
        status = result.status if isinstance(result, ServiceResponse) else 0
        self.service.arrivals.append(Arrival(at, self.actor, call, agent_id, status, did, note))
        said = str(status) if status else f"no response ({result.how})"  # type: ignore[union-attr]
        shown = ""
        if isinstance(result, ServiceResponse) and call in {"get", "create"} and status < 300 and not note:
            shown = f" {result.body[-1:] and _status(result.body)}"
        done = ", carried out" if did and call not in {"get", "list", "logs"} else ""
        self.tell(self.actor, f"{call} {agent_id or ''} -> {said}{shown}{done}{f' [{note}]' if note else ''}")
        return result

    # -- others -----------------------------------------------------------------------------------------

    def act(self, other: Other) -> None:
        """Carry out an action of another user."""
        self.service.settle(self.clock.elapsed)
        agent = self.target()
        if other.what == "replace" and agent is not None:
            self.service.remove(agent, "other")
        if other.what in {"create", "replace", "deployment"}:
            name = self.history.arguments.get("name") or self.history.arguments.get("agent_name") or "alpha"
            found = self.service.named(name)
            if found is None:
                found = self.service.seed(name, "running", age=0.0, description="of others")
            self.tell("other", f"create {name!r}: {found.id} by {found.creator}")
            return
        if agent is None:
            self.tell("other", f"{other.what}: there is no agent")
            return
        body = {"rename": {"name": "renamed"}, "update": {"description": "changed by others"}}.get(other.what)
        verb = "update" if body else other.what
        response = self.service.do(verb, agent, "other", body)
        self.tell("other", f"{other.what} {agent.id} -> {response.status}")

    def target(self) -> Agent | None:
        """Return the agent that the task acts on at this moment."""
        arguments: dict[str, Any] = self.history.arguments
        if "agent_id" in arguments:
            return self.service.agents.get(str(self.ids.get(arguments["agent_id"])))
        name = arguments.get("agent_name") or arguments.get("name") or "alpha"
        return self.service.named(name)


def _status(body: bytes) -> str:
    _, _, rest = body.partition(b'"status": "')
    return rest.partition(b'"')[0].decode() if rest else ""
