"""The journal: each request, whether the service executed it, and whether the response was delivered."""

from collections import deque
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from threading import Lock
from typing import Any, Final

_KEPT: Final = 200_000


@dataclass
class Entry:
    """
    Record one request.

    :param at: when it arrived.
    :param method: its HTTP method.
    :param path: its path, without the query.
    :param request_id: its ``X-Request-ID``, as sent or made up.
    :param key: the last four characters of the key or token.
    :param call: the name of the call; ``None``: no call of the service.
    :param project_id: the project in the path.
    :param agent_id: the agent in the path.
    :param status: the response's status, once it is being sent; ``None``: no response.
    :param executed: whether the service did what the request asked for, with or without a response.
    :param delivered: whether the whole response was sent to a client that was still connected.
    :param fault: the name of the fault that was applied.
    """

    at: datetime
    method: str
    path: str
    request_id: str
    key: str | None = None
    call: str | None = None
    project_id: str | None = None
    agent_id: str | None = None
    status: int | None = None
    executed: bool = False
    delivered: bool = False
    fault: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the entry as the control path shows it."""
        return asdict(self) | {"at": self.at.isoformat()}


class Journal:
    """Keep the newest 200,000 requests, in the order in which they arrived."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: deque[Entry] = deque(maxlen=_KEPT)

    def add(self, entry: Entry) -> None:
        """Record a request as it arrives; the emulator fills in the entry while it handles the request."""
        with self._lock:
            self._entries.append(entry)

    def entries(self, call: str | None = None, agent_id: str | None = None) -> list[Entry]:
        """
        Return copies of the entries, oldest first.

        :param call: only this call.
        :param agent_id: only this agent.
        """
        with self._lock:
            kept = list(self._entries)
        return [
            replace(entry)
            for entry in kept
            if call in {None, entry.call} and agent_id in {None, entry.agent_id}
        ]

    def executed(self, call: str | None = None) -> list[Entry]:
        """Return copies of the entries of executed requests, of one call or of all."""
        return [entry for entry in self.entries(call) if entry.executed]

    def clear(self) -> None:
        """Remove all entries."""
        with self._lock:
            self._entries.clear()
