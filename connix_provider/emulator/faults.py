"""Faults as data: what goes wrong, and for which requests. :mod:`.fault_responses` applies them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from http import HTTPStatus
from threading import Lock
from typing import Any, Final, Literal

from connix_provider.emulator.limits import CLASS_OF

CALLS: Final = frozenset({*CLASS_OF, "token"})

Hints = Literal["body", "header", "reset", "none"]

# A 404 is left out, because the reference's code for it means that the agent is gone.
_CODES: Final = {
    400: "validation_error",
    401: "unauthorized",
    403: "insufficient_permissions",
    409: "agent_conflict",
    429: "rate_limit_exceeded",
    500: "internal_error",
}


@dataclass(frozen=True)
class Fault:
    """
    Describe one way to fail. The class methods make all faults.

    :param name: the class method's name.
    :param executed: whether the service still does what the request asks for.
    :param calls: the calls that the fault applies to.
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
        Respond with a status, in the service's error shape.

        :param status: from 200 to 599.
        :param code: the error code; by default the reference's for the status, else the status's name.
        :param message: the error message; the status's name by default.
        :param headers: more headers.
        :param executed: execute the request first.
        """
        if not 200 <= status <= 599:
            raise ValueError("status must be an HTTP status from 200 to 599")
        is_known = status in {entry.value for entry in HTTPStatus}
        phrase = HTTPStatus(status).phrase if is_known else f"Status {status}"
        options = {
            "status": status,
            "code": code or _CODES.get(status) or phrase.lower().replace(" ", "_").replace("-", "_"),
            "message": message or phrase,
            "headers": headers or {},
        }
        return cls("status", executed, options=options)

    @classmethod
    def rate_limited(cls, retry_after: int = 5, hints: Hints = "body") -> "Fault":
        """
        Respond with 429, and the time to wait in only one place.

        :param retry_after: seconds to wait.
        :param hints: ``body`` (``retry_after`` and the message), ``header`` (``Retry-After``), ``reset``
            (``X-RateLimit-Reset``) or ``none``.
        """
        if hints not in {"body", "header", "reset", "none"}:
            raise ValueError("hints must be body, header, reset or none")
        if retry_after < 0:
            raise ValueError("retry_after must not be negative")
        return cls("rate_limited", False, options={"retry_after": retry_after, "hints": hints})

    @classmethod
    def html_502(cls) -> "Fault":
        """Respond as a proxy that cannot reach the service: 502 with HTML."""
        return cls("html_502", False)

    @classmethod
    def redirect(cls, location: str) -> "Fault":
        """Respond with 307 and this ``Location``."""
        return cls("redirect", False, options={"location": location})

    @classmethod
    def reset_before(cls) -> "Fault":
        """Reset the TCP connection instead of executing the request."""
        return cls("reset_before", False)

    @classmethod
    def reset_after(cls) -> "Fault":
        """Execute the request, then reset the TCP connection instead of responding."""
        return cls("reset_after", True)

    @classmethod
    def hang(cls, seconds: float | None = None, executed: bool = False) -> "Fault":
        """
        Send nothing until the client disconnects.

        :param seconds: real seconds after which the connection is closed.
        :param executed: execute the request first.
        """
        if seconds is not None and seconds < 0:
            raise ValueError("seconds must not be negative")
        return cls("hang", executed, options={"seconds": seconds})

    @classmethod
    def slow_body(cls, seconds: float = 2.0) -> "Fault":
        """Send the headers at once, and the body in small pieces over a number of real seconds."""
        if seconds < 0:
            raise ValueError("seconds must not be negative")
        return cls("slow_body", True, options={"seconds": seconds})

    @classmethod
    def cut_body(cls) -> "Fault":
        """Close the connection after half of the body that Content-Length announces."""
        return cls("cut_body", True)

    @classmethod
    def bad_json(cls) -> "Fault":
        """Execute the request and respond with 200 and half a JSON text."""
        return cls("bad_json", True)

    @classmethod
    def unknown_status(cls, status: str = "hibernating") -> "Fault":
        """Show an agent status that the reference does not know, in responses to Get and List."""
        return cls("unknown_status", True, frozenset({"get_agent", "list_agents"}), {"status": status})

    @classmethod
    def ends_in_error(cls) -> "Fault":
        """Let the agent of a create, start, restart or update end in ``error`` instead of its goal."""
        calls = frozenset({"create_agent", "start_agent", "restart_agent", "update_agent"})
        return cls("ends_in_error", True, calls)


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
class PlannedFault:
    """
    Hold a fault and the requests that it is planned for.

    :param times: how many more requests; ``None``: all.
    :param after: how many more matching requests to leave alone first.
    """

    fault: Fault
    on: frozenset[str]
    times: int | None
    after: int
    agent_id: str | None

    def matches(self, call: str, agent_id: str | None) -> bool:
        """Return whether the fault is planned for a request; ``agent_id`` is the agent in its path."""
        # A listing names no agent in its path, but shows the one whose status is to be unknown.
        is_shown = self.fault.name == "unknown_status" and call == "list_agents"
        return call in self.on and (self.agent_id in {None, agent_id} or is_shown)

    def as_json(self) -> dict[str, Any]:
        """Return the fault as the control path shows it."""
        fault = asdict(self.fault)
        plan = {"on": sorted(self.on), "times": self.times, "after": self.after, "agent_id": self.agent_id}
        return {"fault": fault["name"], "executed": fault["executed"], **fault["options"], **plan}


class Faults:
    """Keep the planned faults. Only the first that matches a request is applied to it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._planned: list[PlannedFault] = []

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

        :param on: the call or calls; all that the fault applies to by default.
        :param times: for how many requests; ``None``: for all until :meth:`clear`.
        :param after: how many matching requests to leave alone first.
        :param agent_id: only for requests that name this agent.
        :raises ValueError: the fault does not apply to the call, or a number is out of range.
        """
        calls = fault.calls if on is None else frozenset({on} if isinstance(on, str) else on)
        if not calls:
            raise ValueError("on names no call")
        if wrong := calls - fault.calls:
            raise ValueError(
                f"{fault.name} does not apply to {sorted(wrong)}; it applies to {sorted(fault.calls)}"
            )
        if (times is not None and times < 1) or after < 0:
            raise ValueError("times must be at least 1, or None; after must not be negative")
        with self._lock:
            self._planned.append(PlannedFault(fault, calls, times, after, agent_id))

    def clear(self) -> None:
        """Drop all planned faults; a fault that is being applied continues."""
        with self._lock:
            self._planned.clear()

    def active(self) -> list[PlannedFault]:
        """Return copies of the planned faults, in the order in which they were added."""
        with self._lock:
            return [replace(planned) for planned in self._planned]

    def take(self, call: str, agent_id: str | None, refused: bool) -> PlannedFault | None:
        """
        Return the fault to apply to a request, and count it.

        :param refused: whether the request lacks a valid key or is over the rate limit. A fault that lets the
            service execute the request is not used up by such a request.
        """
        chosen: PlannedFault | None = None
        with self._lock:
            for planned in self._planned:
                if not planned.matches(call, agent_id) or (refused and planned.fault.executed):
                    continue
                if planned.after:
                    planned.after -= 1
                else:
                    chosen = chosen or planned
            if chosen is not None and chosen.times is not None:
                chosen.times -= 1
                if not chosen.times:
                    self._planned.remove(chosen)
        return chosen
