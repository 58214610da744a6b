"""
Bring new lines of an agent's log into the task's log while a wait continues, once each and in order.

After each poll the lines since the last one that was logged are read. The position is the time of that line,
and how many lines of that very time were logged. It is passed to the next process of the wait. A failed read
changes nothing: the next one begins at the same position.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from connix_provider.client.attempts.limit_log import SHORT_WAIT
from connix_provider.client.calls.steps import Sleep
from connix_provider.client.endpoints import MAX_LOGS_PER_PAGE, get_agent, get_logs
from connix_provider.client.errors import ConnixError, ConnixRateLimitError
from connix_provider.client.models import LogEntry
from connix_provider.client.pagination import LogPaginator
from connix_provider.client.redaction.quoting import printable
from connix_provider.digest import digest

if TYPE_CHECKING:
    from connix_provider.client import Agent, AsyncClient, Client
    from connix_provider.client.calls.steps import Flow
    from connix_provider.polling.agent_ref import AgentRef

__all__ = ["LogStream"]

#: Seconds that reading may take after each poll.
_SECONDS = 5.0
#: Pages that are read after each poll; the lines of further pages are left out.
_PAGES = 5
#: Lines that are logged without a break.
_CHUNK = 50
#: Characters of a line that are logged, and that are searched for secrets before.
_LONGEST, _SEARCHED = 1000, 4000
#: The failure of a process that does not know all secrets in the log.
_HIDDEN = "this process cannot hide all secrets that the task has sent or read"
#: The method of a logger for each level; an unknown level is a warning.
_METHODS = {"debug": "debug", "info": "info", "error": "error", "critical": "critical", "fatal": "critical"}


class LogStream:
    """
    The lines of one agent's log that a wait has not logged yet.

    :param began_at: epoch seconds at which the task began; older lines are not logged
    :param position: what :meth:`to_json` of another process returned
    """

    def __init__(self, log: Any, began_at: float, position: Mapping[str, Any] | None = None) -> None:
        self._log = log
        self._began_at = began_at
        self._since: datetime | None = None
        self._logged: Counter[str] = Counter()
        if position and isinstance(position.get("since"), str):
            self._since = datetime.fromisoformat(position["since"])
            self._logged.update(position.get("logged") or {})
        #: ``updated_at`` of the agent when its secrets were read; ``None`` if they were not.
        self._secrets_as_of: Any = None
        #: The key of the digests of lines, which may hold secrets.
        self._digest_key = b""
        #: The kind of the last failure that was logged, until a read succeeds.
        self._failure: str | None = (position or {}).get("failure")

    def to_json(self) -> dict[str, Any]:
        """
        Return the position, for another process.

        :return: plain JSON, with no text of the log
        """
        if self._since is None:
            return {}
        since = self._since.isoformat()
        return {"since": since, "logged": dict(self._logged), "failure": self._failure}

    def read(
        self,
        client: Client | AsyncClient,
        ref: AgentRef,
        agent: Agent | None,
        *,
        changed_at: datetime | None = None,
        secrets_digest: str | None = None,
        seconds: float,
    ) -> Flow[None]:
        """
        Log the new lines; for ``client.run_flow()``. A failure is logged once, and never raised.

        :param agent: the agent as Get showed it, if the last poll was one
        :param changed_at: its last change, as the last poll showed it
        :param secrets_digest: a digest of its secrets that an earlier process knew, if any
        :param seconds: the time that is left; at most 5 s are spent
        """
        self._digest_key = client.digest_key
        if agent is not None:
            self._secrets_as_of = (agent.updated_at,)
        seconds = min(_SECONDS, seconds)
        if seconds <= 0:
            return
        bounded = client.with_options(
            max_attempts=1,
            total_timeout=seconds,
            deadline=time.time() + seconds,
            background=True,
            max_permit_wait=min(SHORT_WAIT, seconds),
        )
        if self._since is None:
            ahead = client.server_now() - time.time()
            self._since = datetime.fromtimestamp(self._began_at + ahead, UTC)
        try:
            entries, is_complete = yield from self._read_new(bounded, ref)
            if entries and self._secrets_as_of != (changed_at,):
                # A listing leaves out the secrets, which a change may replace.
                yield from bounded.flow(get_agent(str(ref.project_id), str(ref.agent_id)))
                self._secrets_as_of = (changed_at,)
            if entries and not client.can_hide_secrets(ref.agent_id, secrets_digest):
                if self._failure != _HIDDEN:
                    self._log.warning("Agent %s: its log is not shown here: %s", ref, _HIDDEN)
                self._failure = _HIDDEN
                return
        except ConnixError as error:
            # A 429 and the limiter's own error, which follows it, are one failure.
            kind = (ConnixRateLimitError if isinstance(error, ConnixRateLimitError) else type(error)).__name__
            if kind != self._failure:
                self._log.warning("Agent %s: its log could not be read; read again later: %s", ref, error)
            self._failure = kind
            return
        if self._failure:
            self._log.info("Agent %s: its log can be read again.", ref)
            self._failure = None
        if not is_complete:
            lines = _PAGES * MAX_LOGS_PER_PAGE
            self._log.warning(
                "Agent %s: more than %d new lines in its log; the oldest are left out.", ref, lines
            )
        for at in range(0, len(entries), _CHUNK):
            chunk = entries[at : at + _CHUNK]
            texts = client.redact(
                [entry.message[:_SEARCHED] for entry in chunk], client.secrets_of_agent(ref.agent_id)
            )
            for entry, text in zip(chunk, texts, strict=True):
                self._write(ref, entry, printable(text))
            # Yield between chunks, because otherwise many lines would block the event loop of a triggerer.
            yield Sleep(0.0)

    def _read_new(self, client: Client | AsyncClient, ref: AgentRef) -> Flow[tuple[list[LogEntry], bool]]:
        """Return the lines that were not logged, oldest first, and whether these are all."""
        page_of = partial(
            get_logs, str(ref.project_id), str(ref.agent_id), start_time=self._since, limit=MAX_LOGS_PER_PAGE
        )
        pages: LogPaginator[LogEntry] = LogPaginator(page_of)
        found: list[LogEntry] = []
        for number in range(_PAGES):
            if pages.next_call is None:
                break
            found += pages.take((yield from client.flow(pages.next_call)))
            if number == 0 and pages.next_call is not None and found:
                # Lines that are added meanwhile would shift the other pages.
                end = min(max(map(_time_of, found)), _LATEST) + timedelta(microseconds=1)
                pages = LogPaginator(partial(page_of, end_time=end), len(found))
        logged, new = Counter(self._logged), []
        # The service's order is newest first, and sorting keeps it for lines of the same time.
        found.reverse()
        for entry in sorted(found, key=_time_of):
            if entry.timestamp is None or self._since is None or entry.timestamp < self._since:
                continue
            if entry.timestamp == self._since and logged[self._digest(entry)] > 0:
                logged[self._digest(entry)] -= 1
                continue
            new.append(entry)
        return new, pages.next_call is None

    def _write(self, ref: AgentRef, entry: LogEntry, text: str) -> None:
        if entry.timestamp != self._since:
            self._since, self._logged = entry.timestamp, Counter()
        self._logged[self._digest(entry)] += 1
        text = text[:_LONGEST] + ("…" if len(text) > _LONGEST or len(entry.message) > _SEARCHED else "")
        write = getattr(self._log, _METHODS.get(entry.level.strip().lower(), "warning"))
        write("In the log of agent %s: %s UTC %s", ref, f"{entry.timestamp:%Y-%m-%d %H:%M:%S}", text)

    def _digest(self, entry: LogEntry) -> str:
        return digest(self._digest_key, entry.level, entry.message, entry.context)


#: The latest time to which a microsecond can be added.
_LATEST = datetime.max.replace(tzinfo=UTC) - timedelta(microseconds=1)


def _time_of(entry: LogEntry) -> datetime:
    return entry.timestamp or datetime.min.replace(tzinfo=UTC)
