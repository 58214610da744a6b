"""
Name everything that can go wrong between this client and Connix.

::

    ConnixError
     +-- ConnixConnectionError        no connection, or it broke
     +-- ConnixTimeoutError           no answer in time
     +-- ConnixResponseError          an answer that cannot be read
     +-- ConnixAPIError               an answer that says no
          +-- ConnixValidationError       400, 422
          +-- ConnixAuthenticationError   401
          +-- ConnixPermissionError       403
          +-- ConnixNotFoundError         404
          +-- ConnixConflictError         409
          +-- ConnixRateLimitError        429
               +-- ConnixRateLimitWaitError  nothing was sent: it would have been a 429
          +-- ConnixServerError           5xx

Bad arguments are a :class:`ValueError` that names the argument; nothing is sent for them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

__all__ = [
    "ConnixAPIError",
    "ConnixAuthenticationError",
    "ConnixConflictError",
    "ConnixConnectionError",
    "ConnixError",
    "ConnixNotFoundError",
    "ConnixPermissionError",
    "ConnixRateLimitError",
    "ConnixRateLimitWaitError",
    "ConnixResponseError",
    "ConnixServerError",
    "ConnixTimeoutError",
    "ConnixValidationError",
    "api_error_class",
]

#: What is shown of ``details``: a log is no place for all that a service can say.
_MOST_LINES = 10
_LONGEST_LINE = 200


class ConnixError(Exception):
    """
    Stand for any failure of a call to Connix.

    :ivar may_have_executed: whether the service may have carried the call out although no good answer
        came back. Where it is true, a create is looked up before it is repeated.
    :ivar may_be_misconfiguration: whether a mistake in the connection explains it: the host's name is not
        known, its certificate does not fit, or something answers that is not Connix's API
    :ivar request_id: the ``X-Request-ID`` of the call, to quote to Connix's support
    :ivar project_id: the project that the call names
    :ivar agent_id: the agent that the call names
    :ivar agent_name: the agent's name, where the caller knows it
    :ivar status: the agent's status as last seen, where the caller knows it
    :ivar note: why the call was not sent again, where that needs a reason; part of the text
    :ivar subject: what could not be done, where the caller says so; the text begins with it
    :ivar advice: what to do about it, where the caller says so; the text ends with it
    """

    may_have_executed: bool = False
    may_be_misconfiguration: bool = False
    request_id: str | None = None
    project_id: str | None = None
    agent_id: str | None = None
    agent_name: str | None = None
    status: str | None = None
    note: str | None = None
    subject: str | None = None
    advice: str | None = None

    def __str__(self) -> str:
        text = f"{self._text()}; {self.note}" if self.note else self._text()
        if self.subject:
            text = f"{self.subject}: {text}"
        return f"{text.rstrip('.')}. {self.advice}" if self.advice else text

    def _text(self) -> str:
        return super().__str__()

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by calling the class again: one of its own kind may be made from other things than its parent.
        return _again, (type(self), self.args, vars(self))


def _again(kind: type[ConnixError], args: tuple[Any, ...], state: dict[str, Any]) -> ConnixError:
    """Make an exception as it was, when it is copied or comes out of a pickle."""
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(state)
    return error


class ConnixConnectionError(ConnixError):
    """Say that no connection could be made, or that it broke before the whole answer was there."""


class ConnixTimeoutError(ConnixError):
    """Say that no whole answer came in the time allowed."""


class ConnixResponseError(ConnixError):
    """Say that an answer came that cannot be read: not JSON, not the documented shape, or far too large."""

    may_be_misconfiguration = True


class ConnixAPIError(ConnixError):
    """
    Carry an error answer of the service (reference: "Error Responses").

    :param status_code: HTTP status of the answer
    :param code: the service's own code, such as ``validation_error``
    :param message: the service's own words
    :param details: what the service adds: a list of ``{field, message}``, an object, a string, or nothing
    :param request_id: the service's or else the request's ``X-Request-ID``
    :ivar request: the call, as ``GET /projects/…``
    :ivar retry_after: seconds after which the service wants the call again, if it says so
    :ivar has_error_body: whether the response had Connix's error body, an ``error`` object with ``code`` and
        ``message`` as text; false for what a gateway answers in Connix's place
    """

    has_error_body: bool = True
    #: The HTTP status of the response, where that is a success and its body states the error.
    response_status: int | None = None

    def __init__(
        self,
        status_code: int,
        code: str,
        message: str,
        details: Any = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(status_code, code, message, details, request_id)
        self.status_code = status_code
        self.code = code
        self.message = message
        self.details = details
        self.request_id = request_id
        self.request: str | None = None
        self.retry_after: float | None = None

    def _text(self) -> str:
        to_what = f" to {self.request}" if self.request else ""
        if self.response_status is None:
            text = f"Connix answered {self.status_code} {self.code}{to_what}: {self.message}"
        else:
            stated = (
                self.code if self.status_code == self.response_status else f"{self.status_code} {self.code}"
            )
            text = f"Connix answered {self.response_status}{to_what} with an error: {stated}: {self.message}"
        if faults := _fault_lines(self.details):
            text = f"{text.rstrip('.')}: {'; '.join(faults)}"
        return f"{text} (request id {self.request_id})" if self.request_id else text


class ConnixValidationError(ConnixAPIError):
    """Say that the service refused what was asked as invalid (400, 422); ``details`` name the fields."""


class ConnixAuthenticationError(ConnixAPIError):
    """Say that the service does not accept the API key or token (401)."""


class ConnixPermissionError(ConnixAPIError):
    """Say that the key is known but may not do this (403)."""


class ConnixNotFoundError(ConnixAPIError):
    """Say that there is no such agent or project (404)."""

    @property
    def is_of_an_agent(self) -> bool:
        """Whether Connix itself says that there is no such agent; no other 404 says that one is gone."""
        return self.has_error_body and self.code == "agent_not_found"


class ConnixConflictError(ConnixAPIError):
    """Say that the present state forbids it (409): a name that exists, or an action out of turn."""


class ConnixRateLimitError(ConnixAPIError):
    """
    Raised when the key's rate limit for this endpoint is used up (429), for ``retry_after`` seconds.

    ``bucket`` names the rate limit (:class:`connix_provider.client.ratelimit.Bucket`).
    """

    bucket: str | None = None


class ConnixRateLimitWaitError(ConnixRateLimitError):
    """
    Raised instead of sending a request that would have to wait too long for a permit.

    :param message: one sentence that says so
    :param retry_after: seconds after which the call is worth another try
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(429, "rate_limit_wait", message)
        self.args = (message, retry_after)
        self.retry_after = retry_after

    def _text(self) -> str:
        return self.message


class ConnixServerError(ConnixAPIError):
    """Say that the service, or a proxy before it, failed (5xx)."""


_BY_STATUS: dict[int, type[ConnixAPIError]] = {
    400: ConnixValidationError,
    401: ConnixAuthenticationError,
    403: ConnixPermissionError,
    404: ConnixNotFoundError,
    409: ConnixConflictError,
    422: ConnixValidationError,
    429: ConnixRateLimitError,
}


def api_error_class(status_code: int) -> type[ConnixAPIError]:
    """
    Choose the exception for an HTTP status.

    :param status_code: HTTP status of the answer
    :return: the most specific class
    """
    if 500 <= status_code <= 599:
        return ConnixServerError
    return _BY_STATUS.get(status_code, ConnixAPIError)


def _fault_lines(details: Any) -> list[str]:
    """Put ``details``, whatever its form, into one short clause for each field at fault, ten at most."""
    lines = [line[:_LONGEST_LINE] for line in itertools.islice(_all_fault_lines(details), _MOST_LINES + 1)]
    return [*lines[:_MOST_LINES], "…"] if len(lines) > _MOST_LINES else lines


def _all_fault_lines(details: Any) -> Iterator[str]:
    if isinstance(details, dict):
        yield from (f"{field}: {text}" for field, text in details.items())
    elif details and not isinstance(details, list):
        yield str(details)
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and "message" in detail:
            field = detail.get("field")
            yield f"{field}: {detail['message']}" if field else str(detail["message"])
        else:
            yield str(detail)
