"""The service's rate limits, which need not be the documented ones."""

from __future__ import annotations

from collections import Counter

from hostile.service_behaviour import ServiceBehaviour
from hostile.service_responses import ServiceResponse, refusal

__all__ = ["Limits"]

#: Requests a minute by the reference's table.
_DOCUMENTED = {
    "list": 100, "create": 10, "get": 200, "update": 20, "delete": 10, "logs": 100, "metrics": 50,
}  # fmt: skip
_ACTIONS = 50
_WINDOW = 60


class Limits:
    """Count requests in windows that begin with the minute."""

    def __init__(self, behaviour: ServiceBehaviour, epoch: float) -> None:
        self._behaviour = behaviour
        self._epoch = epoch
        self._counts: Counter[tuple[str, int]] = Counter()

    def count(self, call: str, elapsed: float) -> tuple[dict[str, str], ServiceResponse | None]:
        """Count a request; return headers, and the refusal if it exceeds the limit."""
        behaviour = self._behaviour
        if not behaviour.limits:
            return {}, None
        now = self._epoch + elapsed
        bucket = call if call in _DOCUMENTED else "action"
        limit = max(1, int(_DOCUMENTED.get(bucket, _ACTIONS) * behaviour.limits))
        window = int(now // _WINDOW)
        self._counts[bucket, window] += 1
        left = limit - self._counts[bucket, window]
        ends = (window + 1) * _WINDOW
        told = {}
        if behaviour.limits_told:
            told = {
                "x-ratelimit-limit": str(limit),
                "x-ratelimit-remaining": str(max(0, left)),
                "x-ratelimit-reset": str(ends),
            }
        if left >= 0:
            return told, None
        seconds = ends - now if behaviour.hint < 0 else behaviour.hint
        hint = {"retry_after": int(seconds) + 1} if seconds else {}
        return told, refusal(429, "rate_limit_exceeded", "Rate limit exceeded. Try again later.", **hint)
