"""How often each key may call, in fixed windows aligned to the clock."""

import math
from dataclasses import dataclass
from threading import Lock
from typing import Final

from connix_provider.emulator import errors
from connix_provider.emulator.clock import Clock

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0

CLASS_OF: Final = {
    "list_agents": "list",
    "create_agent": "create",
    "get_agent": "get",
    "update_agent": "update",
    "delete_agent": "delete",
    "start_agent": "actions",
    "pause_agent": "actions",
    "stop_agent": "actions",
    "restart_agent": "actions",
    "get_logs": "logs",
    "get_metrics": "metrics",
    "list_projects": "projects",
}


@dataclass(frozen=True)
class Limits:
    """
    Set how many requests a key may send within a window, for each class of endpoints; ``None``: no limit.

    :param list: List Agents.
    :param create: Create Agent.
    :param get: Get Agent.
    :param update: Update Agent.
    :param delete: Delete Agent.
    :param actions: start, pause, stop and restart together.
    :param logs: Agent Logs.
    :param metrics: Agent Metrics.
    :param projects: List Projects, for which the reference names no number.
    :param window: seconds; a window begins at each multiple of it.
    :param per_key_minute: all calls of a key in a minute, as in the API overview (100 there).
    :param per_key_hour: all calls of a key in an hour, as in the API overview (1000 there).
    """

    list: int | None = 100
    create: int | None = 10
    get: int | None = 200
    update: int | None = 20
    delete: int | None = 10
    actions: int | None = 50
    logs: int | None = 100
    metrics: int | None = 50
    projects: int | None = 100
    window: float = _MINUTE
    per_key_minute: int | None = None
    per_key_hour: int | None = None

    def __post_init__(self) -> None:
        if self.window <= 0:
            raise ValueError("window must be positive")

    @classmethod
    def off(cls) -> "Limits":
        """Let every key call as often as it likes; no headers tell of limits then."""
        return cls(
            list=None,
            create=None,
            get=None,
            update=None,
            delete=None,
            actions=None,
            logs=None,
            metrics=None,
            projects=None,
        )


@dataclass(frozen=True)
class _Window:
    """One limit at one time: ``name`` and ``owner`` say whose counter, ``family`` which headers tell it."""

    name: str
    owner: str
    limit: int
    begin: float
    end: float
    family: str = ""


class Meter:
    """
    Count what each key has sent.

    :param limits: the numbers.
    :param clock: tells which window it is.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = Lock()
        # Of each counter only the newest window: the ones before it never come back.
        self._used: dict[tuple[str, str], tuple[float, int]] = {}

    def refusal(self, owner: str, call: str) -> errors.ApiError | None:
        """
        Say no to a request that is one too many; count nothing.

        :param owner: whose budget it is.
        :param call: the name of the call.
        """
        with self._lock:
            now = self._clock.timestamp()
            ends = [
                window.end
                for window in self._windows(owner, call, now)
                if self._used_in(window) >= window.limit
            ]
        return errors.rate_limited(max(math.ceil(max(ends) - now), 1)) if ends else None

    def count(self, owner: str, call: str) -> None:
        """
        Count a request that is let through. One that is refused is not: it cost the service nothing.

        :param owner: whose budget it is.
        :param call: the name of the call.
        """
        with self._lock:
            for window in self._windows(owner, call, self._clock.timestamp()):
                self._used[window.name, window.owner] = (window.begin, self._used_in(window) + 1)

    def headers(self, owner: str, call: str) -> dict[str, str]:
        """
        Return the headers that tell a key how much is left.

        :param owner: whose budget it is.
        :param call: the name of the call.
        """
        told: dict[str, tuple[int, _Window]] = {}
        with self._lock:
            for window in self._windows(owner, call, self._clock.timestamp()):
                left = max(window.limit - self._used_in(window), 0)
                # Of two windows in one family of headers, the stricter is told.
                if window.family not in told or left < told[window.family][0]:
                    told[window.family] = (left, window)
        headers: dict[str, str] = {}
        for family, (left, window) in told.items():
            headers[f"X-RateLimit-Limit{family}"] = str(window.limit)
            headers[f"X-RateLimit-Remaining{family}"] = str(left)
            headers[f"X-RateLimit-Reset{family}"] = str(math.ceil(window.end))
        return headers

    def _windows(self, owner: str, call: str, now: float) -> list[_Window]:
        limits = self._limits
        family = "-Requests"
        wanted: list[tuple[str, int | None, float, str]] = [
            (CLASS_OF[call], getattr(limits, CLASS_OF[call]), limits.window, ""),
            ("minute", limits.per_key_minute, _MINUTE, family),
            ("hour", limits.per_key_hour, _HOUR, family),
        ]
        windows = []
        for name, limit, length, suffix in wanted:
            if limit is not None:
                begin = math.floor(now / length) * length
                windows.append(_Window(name, owner, limit, begin, begin + length, suffix))
        return windows

    def _used_in(self, window: _Window) -> int:
        begin, used = self._used.get((window.name, window.owner), (window.begin, 0))
        return used if begin == window.begin else 0
