"""What was asked of the emulator, what it did, and whether its answer went out."""

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
    :param request_id: its ``X-Request-ID``, sent or made up.
    :param key: the last four characters of the key or token.
    :param call: which call it is; ``None``: none of the service's.
    :param project_id: the project in the path.
    :param agent_id: the agent in the path.
    :param status: the answer's status, once it is on its way; ``None``: nothing was answered.
    :param executed: whether the service did what was asked, answered or not.
    :param delivered: whether the whole answer was sent to a client that was still there.
    :param fault: the name of the fault that struck it.
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
    """Keep the newest 200,000 requests, in the order they arrived."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: deque[Entry] = deque(maxlen=_KEPT)

    def add(self, entry: Entry) -> None:
        """
        Record a request on its arrival, so that one that hangs is there to be seen.

        :param entry: what is known of it; the rest is filled in while it is answered.
        """
        with self._lock:
            self._entries.append(entry)

    def entries(self, call: str | None = None, agent_id: str | None = None) -> list[Entry]:
        """
        Return a copy of what was recorded, oldest first.

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
        """
        Return what the service did, whether or not its answer arrived.

        :param call: only this call.
        """
        return [entry for entry in self.entries(call) if entry.executed]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
