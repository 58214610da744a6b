"""What can go wrong, and when: faults as data. :mod:`.fault_responses` puts them on the wire."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from http import HTTPStatus
from threading import Lock
from typing import Any, Final, Literal

from connix_provider.emulator.limits import CLASS_OF

CALLS: Final = frozenset({*CLASS_OF, "token"})

Hints = Literal["body", "header", "reset", "none"]


@dataclass(frozen=True)
class Fault:
    """
    Describe one way to fail; made by the class methods, which say what each does.

    :param name: the class method's name.
    :param executed: the service does what was asked all the same.
    :param calls: the calls it can strike.
    """

    name: str
    executed: bool
    calls: frozenset[str] = CALLS
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def status(
        cls,
        status: int,
        code: str | None = None,
        message: str | None = None,
        headers: dict[str, str] | None = None,
        executed: bool = False,
    ) -> "Fault":
        """
        Answer with a status in the service's error shape.

        :param status: any HTTP status from 200.
        :param code: the error code; the status's name by default.
        :param message: the text for people.
        :param headers: more headers.
        :param executed: do first what was asked.
        """
        if not 200 <= status <= 599:
            raise ValueError("status must be an HTTP status from 200 to 599")
        known = status in {entry.value for entry in HTTPStatus}
        phrase = HTTPStatus(status).phrase if known else f"Status {status}"
        options = {
            "status": status,
            "code": code or phrase.lower().replace(" ", "_").replace("-", "_"),
            "message": message or phrase,
            "headers": headers or {},
        }
        return cls("status", executed, options=options)

    @classmethod
    def rate_limited(cls, retry_after: int = 5, hints: Hints = "body") -> "Fault":
        """
        Answer 429, telling when to come again in only one place.

        :param retry_after: seconds to wait.
        :param hints: ``body`` (``retry_after`` and the message), ``header`` (``Retry-After``), ``reset``
            (``X-RateLimit-Reset``) or ``none``.
        """
        if hints not in {"body", "header", "reset", "none"}:
            raise ValueError("hints must be body, header, reset or none")
        return cls("rate_limited", False, options={"retry_after": retry_after, "hints": hints})

    @classmethod
    def html_502(cls) -> "Fault":
        """Answer as a proxy does that cannot reach the service: 502 with HTML."""
        return cls("html_502", False)

    @classmethod
    def redirect(cls, location: str) -> "Fault":
        """
        Answer 307.

        :param location: where to.
        """
        return cls("redirect", False, options={"location": location})

    @classmethod
    def reset_before(cls) -> "Fault":
        """Reset the TCP connection before anything is done."""
        return cls("reset_before", False)

    @classmethod
    def reset_after(cls) -> "Fault":
        """Do what was asked, then reset the TCP connection in place of an answer."""
        return cls("reset_after", True)

    @classmethod
    def hang(cls, seconds: float | None = None, executed: bool = False) -> "Fault":
        """
        Answer nothing until the client leaves.

        :param seconds: close the connection after so many real seconds.
        :param executed: do first what was asked.
        """
        return cls("hang", executed, options={"seconds": seconds})

    @classmethod
    def slow_body(cls, seconds: float = 2.0) -> "Fault":
        """
        Answer with headers at once and a body that drips.

        :param seconds: real seconds until the last byte.
        """
        return cls("slow_body", True, options={"seconds": seconds})

    @classmethod
    def cut_body(cls) -> "Fault":
        """Close the connection after half of the body that Content-Length promises."""
        return cls("cut_body", True)

    @classmethod
    def bad_json(cls) -> "Fault":
        """Do what was asked and answer 200 with what is not JSON."""
        return cls("bad_json", True)

    @classmethod
    def unknown_status(cls, status: str = "hibernating") -> "Fault":
        """
        Show a status the reference does not know, in the answers of Get and List.

        :param status: the status to show.
        """
        return cls("unknown_status", True, frozenset({"get_agent", "list_agents"}), {"status": status})

    @classmethod
    def ends_in_error(cls) -> "Fault":
        """Let the agent that a create, start, restart or update touches end in error instead of its goal."""
        struck = frozenset({"create_agent", "start_agent", "restart_agent", "update_agent"})
        return cls("ends_in_error", True, struck)


KINDS: Final[dict[str, Callable[..., Fault]]] = {
    "status": Fault.status,
    "rate_limited": Fault.rate_limited,
    "html_502": Fault.html_502,
    "redirect": Fault.redirect,
    "reset_before": Fault.reset_before,
    "reset_after": Fault.reset_after,
    "hang": Fault.hang,
    "slow_body": Fault.slow_body,
    "cut_body": Fault.cut_body,
    "bad_json": Fault.bad_json,
    "unknown_status": Fault.unknown_status,
    "ends_in_error": Fault.ends_in_error,
}


@dataclass
class Planned:
    """
    Hold a fault and the requests it is meant for.

    :param fault: what goes wrong.
    :param on: the calls it strikes.
    :param times: how many more requests it strikes; ``None``: all.
    :param after: how many more matching requests it lets through first.
    :param agent_id: strikes only requests that name this agent.
    """

    fault: Fault
    on: frozenset[str]
    times: int | None
    after: int
    agent_id: str | None

    def matches(self, call: str, agent_id: str | None) -> bool:
        """
        Say whether a request is one of those meant.

        :param call: the request's call.
        :param agent_id: the agent in its path.
        """
        # A listing names no agent, yet may show the one whose status is to look unknown.
        shown = self.fault.name == "unknown_status" and call == "list_agents"
        return call in self.on and (self.agent_id in {None, agent_id} or shown)

    def as_json(self) -> dict[str, Any]:
        """Return the fault as the control path shows it."""
        whole = asdict(self.fault)
        rest = {"on": sorted(self.on), "times": self.times, "after": self.after, "agent_id": self.agent_id}
        return {"fault": whole["name"], "executed": whole["executed"], **whole["options"], **rest}


class Faults:
    """Keep the faults that are planned. The first that matches a request strikes it, alone."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._planned: list[Planned] = []

    def add(
        self,
        fault: Fault,
        on: str | Iterable[str] | None = None,
        times: int | None = 1,
        after: int = 0,
        agent_id: str | None = None,
    ) -> None:
        """
        Plan a fault.

        :param fault: what goes wrong.
        :param on: the call or calls to strike; all the fault can strike by default.
        :param times: how many requests to strike; ``None``: every one until :meth:`clear`.
        :param after: how many matching requests to let through first.
        :param agent_id: strike only requests that name this agent.
        """
        calls = fault.calls if on is None else frozenset({on} if isinstance(on, str) else on)
        if wrong := calls - fault.calls:
            raise ValueError(f"{fault.name} cannot strike {sorted(wrong)}; it can {sorted(fault.calls)}")
        if (times is not None and times < 1) or after < 0:
            raise ValueError("times must be at least 1, or None; after must not be negative")
        with self._lock:
            self._planned.append(Planned(fault, calls, times, after, agent_id))

    def clear(self) -> None:
        """Forget what is planned; what has struck goes on."""
        with self._lock:
            self._planned.clear()

    def active(self) -> list[Planned]:
        """Return a copy of what is planned, in the order it was added."""
        with self._lock:
            return [replace(planned) for planned in self._planned]

    def take(self, call: str, agent_id: str | None, refused: bool) -> Planned | None:
        """
        Use up and return the fault that strikes a request.

        :param call: the request's call.
        :param agent_id: the agent in its path.
        :param refused: the service will say no for want of a key or of budget; a fault that lets it do what
            was asked is not wasted on that.
        """
        with self._lock:
            for planned in self._planned:
                if not planned.matches(call, agent_id) or (refused and planned.fault.executed):
                    continue
                if planned.after:
                    planned.after -= 1
                    continue
                if planned.times is not None:
                    planned.times -= 1
                    if not planned.times:
                        self._planned.remove(planned)
                return planned
        return None
