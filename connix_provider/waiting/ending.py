"""
Say how a wait ended, in a form that also travels from the triggerer to the worker.

An event is plain JSON. It is checked before it is believed: a resumed task must not take ``None``, another
trigger's event or an unknown word for success.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

__all__ = ["Ending", "Outcome"]


class Outcome(StrEnum):
    """Name the ways in which a wait can end."""

    DONE = "done"
    FAILED = "failed"
    GONE = "gone"
    TIMEOUT = "timeout"
    #: Connix gave an answer that will not change by waiting, such as 401.
    REFUSED = "refused"


@dataclasses.dataclass(frozen=True, slots=True)
class Ending:
    """
    Hold how a wait ended.

    :param outcome: how
    :param agent_id: the agent
    :param status: the status last seen, if any
    :param message: one sentence for an on-call reader
    :param error: for ``refused``: what the error's class and arguments were
    """

    outcome: Outcome
    agent_id: str
    status: str | None
    message: str
    error: dict[str, Any] | None = None

    @classmethod
    def refused(cls, agent_id: str, status: str | None, error: Exception) -> Ending:
        """
        Make the ending for an error that will not pass.

        :param agent_id: the agent
        :param status: the status last seen, if any
        :param error: a :class:`~connix_provider.client.errors.ConnixError`, or a :class:`ValueError` where
            the connection itself is wrong
        :return: the ending
        """
        described: dict[str, Any] = {"class": type(error).__name__, "message": str(error)}
        for name in ("status_code", "code", "message", "details", "request_id", "request"):
            if hasattr(error, name):
                described[name] = getattr(error, name)
        return cls(Outcome.REFUSED, agent_id, status, str(error), described)

    def to_event(self) -> dict[str, Any]:
        """
        Make the payload of a trigger's event.

        :return: plain JSON
        """
        return {**dataclasses.asdict(self), "outcome": str(self.outcome)}

    @classmethod
    def from_event(cls, event: Any) -> Ending:
        """
        Read the payload of a trigger's event.

        :param event: what the task was resumed with
        :return: the ending
        :raises ValueError: for anything that no trigger of this provider sends
        """
        if not isinstance(event, Mapping):
            raise ValueError(f"the task was resumed with {event!r}, not with an event of its trigger")
        try:
            outcome = Outcome(event["outcome"])
            agent_id, message = event["agent_id"], event["message"]
        except (KeyError, ValueError) as problem:
            raise ValueError(
                f"the task was resumed with what no Connix trigger sends ({problem!r}): {dict(event)!r}"
            ) from None
        if not isinstance(agent_id, str) or not agent_id:
            raise ValueError(f"the task was resumed with an event that names no agent: {dict(event)!r}")
        return cls(outcome, agent_id, event.get("status"), str(message), event.get("error"))

    def rebuild_error(self) -> Exception:
        """
        Make the error again that a trigger met, for the worker to raise.

        :return: the same class with the same text, where it is one of the client's
        """
        from connix_provider.client import errors

        described = self.error or {}
        kind = getattr(errors, str(described.get("class")), None)
        if not (isinstance(kind, type) and issubclass(kind, errors.ConnixError)):
            return ValueError(self.message)
        if not issubclass(kind, errors.ConnixAPIError):
            return kind(self.message)
        status_code, code = described.get("status_code"), described.get("code")
        # Not by the class's own constructor: some take other arguments.
        error = kind.__new__(kind)
        errors.ConnixAPIError.__init__(
            error,
            status_code if isinstance(status_code, int) else 0,
            str(code),
            str(described.get("message")),
            described.get("details"),
            described.get("request_id"),
        )
        error.request = described.get("request")
        return error
