"""
Hold how a wait ended, in a form that the triggerer can pass to the worker.

An event is plain JSON under 10 KiB. It is validated, because otherwise a resumed task could take ``None``,
another trigger's event or an unknown outcome for success.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from connix_provider.client import errors
from connix_provider.client.errors import ConnixError
from connix_provider.polling.agent_ref import AgentRef
from connix_provider.values import quoted

__all__ = ["Outcome", "PollResult"]

#: Bytes of JSON that an event's message, and the details of an error, take at most.
_MAX_MESSAGE, _MAX_DETAILS = 2500, 900
#: Bytes of JSON for these parts of an error, and for any other part, an id or a name.
_MAX_BY_FIELD, _MAX_TEXT = {"message": 1500, "subject": 800, "advice": 800}, 300
#: Lines of the agent's log in an event, and bytes of JSON of each.
_MAX_LINES, _MAX_LINE = 10, 380
#: The serialized fields of an error response, and of any error of the client.
_RESPONSE_FIELDS = ("status_code", "code", "message", "details", "request")
_ERROR_FIELDS = ("request_id", "note", "subject", "advice", "link", "response_status", "has_error_body")
#: Those of them that are no text.
_NON_TEXT_FIELDS = frozenset({"response_status", "has_error_body"})


class Outcome(StrEnum):
    """The ways in which a wait can end."""

    DONE = "done"
    FAILED = "failed"
    #: The agent's health is unknown, and that ends the wait.
    UNHEALTHY = "unhealthy"
    GONE = "gone"
    TIMEOUT = "timeout"
    #: Connix returned a final error, such as 401.
    REFUSED = "refused"


@dataclasses.dataclass(frozen=True, slots=True)
class PollResult:
    """
    The end of a wait.

    :param status: the status last seen, if any
    :param message: some sentences for an on-call reader
    :param error: for ``refused``: what the error's class and arguments were
    :param agent_name: the agent's name, if known
    :param request_id: the request that the result rests on, for Connix's support
    :param exception: for ``refused``: the error itself; an event does not contain it
    :param last_errors: the last errors in the agent's log, oldest first; ``None`` if they were not read
    :param advice_at: where in the message the advice begins, if it has one
    """

    outcome: Outcome
    agent_id: str
    status: str | None
    message: str
    error: dict[str, Any] | None = None
    agent_name: str | None = None
    project_id: str | None = None
    request_id: str | None = None
    exception: Exception | None = dataclasses.field(default=None, compare=False)
    last_errors: tuple[str, ...] | None = None
    advice_at: int | None = None

    @property
    def finding(self) -> str:
        """The message without its advice."""
        return self.message if self.advice_at is None else self.message[: self.advice_at].rstrip()

    @classmethod
    def of(
        cls,
        outcome: Outcome,
        agent: AgentRef,
        status: str | None,
        message: str,
        *,
        request_id: str | None = None,
    ) -> PollResult:
        """
        Make a result for an agent.

        :param status: the status last seen, if any
        :param message: some sentences for an on-call reader
        :param request_id: the request that the result rests on
        """
        names = _names(agent)
        return cls(outcome, status=status, message=message, request_id=request_id, **names)

    @classmethod
    def refused(cls, agent: AgentRef, status: str | None, error: Exception) -> PollResult:
        """
        Make the result for a final error.

        :param status: the status last seen, if any
        :param error: a :class:`~connix_provider.client.errors.ConnixError`, a :class:`ValueError` where the
            connection itself is wrong, or an ``AirflowNotFoundException``
        """
        message = error.args[0] if isinstance(error, ConnixError) and error.args else error
        described: dict[str, Any] = {"class": type(error).__name__, "message": str(message)}
        for name in (*_RESPONSE_FIELDS, *_ERROR_FIELDS):
            if getattr(error, name, None) is not None:
                described[name] = getattr(error, name)
        request_id = getattr(error, "request_id", None)
        names = _names(agent)
        return cls(
            Outcome.REFUSED,
            status=status,
            message=str(error),
            error=described,
            request_id=request_id,
            exception=error,
            **names,
        )

    def to_event(self) -> dict[str, Any]:
        """
        Make the payload of a trigger's event.

        :return: plain JSON under 10 KiB
        """
        others = {"error", "exception", "last_errors", "advice_at"}
        names = [field.name for field in dataclasses.fields(self) if field.name not in others]
        event = {name: _cut(getattr(self, name), _MAX_TEXT) for name in names}
        event.update(outcome=str(self.outcome), message=_cut(self.message, _MAX_MESSAGE), error=None)
        if self.error is not None:
            error = {
                name: _cut(value, _MAX_BY_FIELD.get(name, _MAX_TEXT)) for name, value in self.error.items()
            }
            if "details" in error:
                error["details"] = _short_details(error["details"])
            event["error"] = error
        if self.advice_at is not None:
            event["advice_at"] = self.advice_at
        if self.last_errors is not None:
            event["last_errors"] = [_cut(line, _MAX_LINE) for line in self.last_errors[-_MAX_LINES:]]
        return event

    @classmethod
    def from_event(cls, event: Any) -> PollResult:
        """
        Read the payload of a trigger's event.

        :param event: what the task was resumed with
        :raises ValueError: for anything that no trigger of this provider sends
        """
        if not isinstance(event, Mapping):
            raise ValueError(f"the task was resumed with {quoted(event)}, not with an event of its trigger")
        try:
            outcome = Outcome(event["outcome"])
            agent_id, message = event["agent_id"], event["message"]
        except (KeyError, ValueError) as problem:
            raise ValueError(
                f"the task was resumed with an event that is not from a Connix trigger ({problem!r}); "
                f"its fields are {', '.join(map(str, event))}"
            ) from None
        if not isinstance(agent_id, str) or not agent_id:
            raise ValueError(
                f"the task was resumed with an event that names no agent; its fields are "
                f"{', '.join(map(str, event))}"
            )
        error, lines = event.get("error"), event.get("last_errors")
        return cls(
            outcome,
            agent_id,
            event.get("status"),
            str(message),
            dict(error) if isinstance(error, Mapping) else None,
            agent_name=_text_or_none(event.get("agent_name")),
            project_id=_text_or_none(event.get("project_id")),
            request_id=_text_or_none(event.get("request_id")),
            last_errors=tuple(str(line) for line in lines) if isinstance(lines, list) else None,
            advice_at=advice_at if type(advice_at := event.get("advice_at")) is int else None,
        )

    def rebuild_error(self) -> Exception:
        """
        Rebuild the trigger's error, so that the worker raises it.

        :return: the same class with the same text, where it is one that a wait can end in
        """
        if self.exception is not None:
            return self.exception

        described = self.error or {}
        if described.get("class") == AirflowNotFoundException.__name__:
            return AirflowNotFoundException(self.message)
        kind = getattr(errors, str(described.get("class")), None)
        if not (isinstance(kind, type) and issubclass(kind, errors.ConnixError)):
            return ValueError(self.message)
        if not issubclass(kind, errors.ConnixAPIError):
            return self._completed(kind(described.get("message", self.message)), described)
        status_code, code = described.get("status_code"), described.get("code")
        # Not by the class's own constructor: some take other arguments.
        error = kind.__new__(kind)
        errors.ConnixAPIError.__init__(
            error,
            status_code if isinstance(status_code, int) else 0,
            str(code),
            str(described.get("message")),
            described.get("details"),
        )
        request = described.get("request")
        error.request = request if isinstance(request, str) else None
        return self._completed(error, described)

    def _completed(self, error: Any, described: Mapping[str, Any]) -> Exception:
        """Set the attributes that the event contains."""
        for name in _ERROR_FIELDS:
            # An event of another origin may hold anything, and the error's text joins these.
            if isinstance(described.get(name), int if name in _NON_TEXT_FIELDS else str):
                setattr(error, name, described[name])
        error.agent_id, error.agent_name = self.agent_id, self.agent_name
        error.project_id, error.status = self.project_id, self.status
        assert isinstance(error, Exception)
        return error


def _names(agent: AgentRef) -> dict[str, Any]:
    agent_id = agent.agent_id or str(agent.name)
    return {"agent_id": agent_id, "agent_name": agent.name, "project_id": agent.project_id}


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _cut(value: Any, length: int) -> Any:
    """Shorten a text until its JSON, which writes some characters as six, has a given length."""
    if not isinstance(value, str):
        return value
    text = value[:length]
    while len(json.dumps(text)) > length:
        text = text[: len(text) * 9 // 10]
    return value if text == value else f"{text}…"


def _short_details(details: Any) -> Any:
    """Leave the details out of an event where they are long; the message quotes their beginning."""
    if details is None:
        return None
    try:
        is_short = len(json.dumps(details)) <= _MAX_DETAILS
    except (TypeError, ValueError, RecursionError):
        is_short = False
    return details if is_short else None
