"""Rate limits: how many requests each key may send, in fixed windows aligned to the clock."""

import math
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

from connix_provider.emulator import errors
from connix_provider.emulator.clock import Clock

#: The limit that counts each call, by the names of :class:`Limits`.
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
    Set how many requests a key may send in a window, for each class of endpoints; ``None``: no limit.

    :param list: List Agents.
    :param create: Create Agent.
    :param get: Get Agent.
    :param update: Update Agent.
    :param delete: Delete Agent.
    :param actions: start, pause, stop and restart together.
    :param logs: Agent Logs.
    :param metrics: Agent Metrics.
    :param projects: List Projects, for which the reference names no limit.
    :param window: seconds; a window begins at each multiple of it.
    :param per_key_minute: all calls of a key in a minute; the API overview names 100.
    :param per_key_hour: all calls of a key in an hour; the API overview names 1,000.
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
    window: float = 60.0
    per_key_minute: int | None = None
    per_key_hour: int | None = None

    def __post_init__(self) -> None:
        if self.window <= 0:
            raise ValueError("window must be positive")

    @classmethod
    def off(cls) -> "Limits":
        """Return no limits; responses carry no rate-limit headers then."""
        unlimited: dict[str, Any] = dict.fromkeys(CLASS_OF.values())
        return cls(**unlimited)


@dataclass(frozen=True)
class _Window:
    """One window of one counter; ``suffix`` ends the names of the headers that show it."""

    counter: tuple[str, str]
    limit: int
    begin: float
    end: float
    suffix: str


class RateLimiter:
    """Count the requests of each key."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = Lock()
        # The begin and the count of each counter's newest window.
        self._used: dict[tuple[str, str], tuple[float, int]] = {}

    def check(self, owner: str, call: str) -> errors.ApiError | None:
        """Return the error for a request over the limit; count nothing."""
        with self._lock:
            now = self._clock.timestamp()
            ends = [window.end for window in self._windows(owner, call, now) if not self._left_in(window)]
        return errors.rate_limit_exceeded(max(math.ceil(max(ends) - now), 1)) if ends else None

    def count(self, owner: str, call: str) -> None:
        """Count an admitted request; a refused one costs the service nothing and is not counted."""
        with self._lock:
            for window in self._windows(owner, call, self._clock.timestamp()):
                used = window.limit - self._left_in(window)
                self._used[window.counter] = (window.begin, used + 1)

    def headers(self, owner: str, call: str) -> dict[str, str]:
        """Return the rate-limit headers; of two windows with the same headers, the stricter is shown."""
        shown: dict[str, tuple[int, _Window]] = {}
        with self._lock:
            for window in self._windows(owner, call, self._clock.timestamp()):
                left = self._left_in(window)
                if window.suffix not in shown or left < shown[window.suffix][0]:
                    shown[window.suffix] = (left, window)
        headers: dict[str, str] = {}
        for suffix, (left, window) in shown.items():
            headers[f"X-RateLimit-Limit{suffix}"] = str(window.limit)
            headers[f"X-RateLimit-Remaining{suffix}"] = str(left)
            headers[f"X-RateLimit-Reset{suffix}"] = str(math.ceil(window.end))
        return headers

    def _windows(self, owner: str, call: str, now: float) -> list[_Window]:
        limits, kind = self._limits, CLASS_OF[call]
        windows = []
        for name, limit, seconds, suffix in (
            (kind, getattr(limits, kind), limits.window, ""),
            ("minute", limits.per_key_minute, 60.0, "-Requests"),
            ("hour", limits.per_key_hour, 3600.0, "-Requests"),
        ):
            if limit is not None:
                begin = math.floor(now / seconds) * seconds
                windows.append(_Window((name, owner), limit, begin, begin + seconds, suffix))
        return windows

    def _left_in(self, window: _Window) -> int:
        begin, used = self._used.get(window.counter, (window.begin, 0))
        return max(window.limit - used, 0) if begin == window.begin else window.limit
