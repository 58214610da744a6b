"""
The exceptions of the client.

::

    ConnixError
     +-- ConnixConnectionError              no connection, or the connection broke
     +-- ConnixTimeoutError                 no complete response in time
     +-- ConnixResponseError                a response that cannot be read
     +-- ConnixAPIError                     an error response
          +-- ConnixValidationError         400, 422
          +-- ConnixAuthenticationError     401
          +-- ConnixPermissionError         403
          +-- ConnixNotFoundError           404
          +-- ConnixConflictError           409
          +-- ConnixRateLimitError          429
               +-- ConnixRateLimitWaitError   not sent, because the rate limit is used up for too long
          +-- ConnixServerError             5xx

A wrong argument is a :class:`ValueError` that names the argument, and no request is sent.
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

#: Bounds of what a message quotes of ``details``: lines, and characters of each.
_MOST_LINES = 10
_LONGEST_LINE = 200


class ConnixError(Exception):
    """
    Base class of all exceptions of the client.

    :ivar may_have_executed: whether the service may have executed the request although no successful response
        came. Look for the result before sending a create or a restart again.
    :ivar has_lost_response: whether the response to one of the call's requests was lost, rather than an error
    :ivar may_be_misconfiguration: whether a wrong connection setting explains the error: an unknown host
        name, a certificate for another host, or a response that is not of Connix's API
    :ivar request_id: ``X-Request-ID`` of the call, for Connix's support
    :ivar project_id: the project that the call names
    :ivar agent_id: the agent that the call names
    :ivar agent_name: the agent's name, if the caller knows it
    :ivar status: the agent's last known status, if the caller knows it
    :ivar note: why the request was not repeated, if that needs a reason; part of the text
    :ivar subject: what could not be done to which agent, if the caller knows it
    :ivar advice: the remedy, if the caller knows it
    :ivar link: the address of the agent's page, if the caller knows it

    The text begins with subject, reason and advice, because user interfaces cut long lines. Request, request
    id, project and link follow in parentheses.
    """

    may_have_executed: bool = False
    has_lost_response: bool = False
    may_be_misconfiguration: bool = False
    request_id: str | None = None
    project_id: str | None = None
    agent_id: str | None = None
    agent_name: str | None = None
    status: str | None = None
    note: str | None = None
    subject: str | None = None
    advice: str | None = None
    link: str | None = None

    @property
    def summary(self) -> str:
        """Subject, reason and advice: the text without the parentheses at its end."""
        text = f"{self._text()}; {self.note}" if self.note else self._text()
        if self.subject:
            text = f"{self.subject}: {text}"
        return f"{text.rstrip('.')}. {self.advice}" if self.advice else text

    @property
    def origin(self) -> list[str]:
        """The parentheses at the end of the text: request, request id, project and link, as far as known."""
        found = [*self._request(), *([self.link] if self.link else [])]
        if self.subject and self.project_id and not any(self.project_id in part for part in found):
            found.insert(0, f"project {self.project_id}")
        return found

    def __str__(self) -> str:
        return f"{self.summary} ({', '.join(self.origin)})" if self.origin else self.summary

    def _text(self) -> str:
        return super().__str__()

    def _request(self) -> list[str]:
        return []

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by calling the class, because subclasses have other parameters.
        return _rebuild, (type(self), self.args, vars(self))


def _rebuild(kind: type[ConnixError], args: tuple[Any, ...], state: dict[str, Any]) -> ConnixError:
    """Make a copied or unpickled exception."""
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(state)
    return error


class ConnixConnectionError(ConnixError):
    """Raised when no connection could be opened, or when it broke before the response was complete."""


class ConnixTimeoutError(ConnixError):
    """Raised when no complete response came in time."""


class ConnixResponseError(ConnixError):
    """Raised for a response that cannot be read: no JSON, not the documented shape, or too large."""

    may_be_misconfiguration = True


class ConnixAPIError(ConnixError):
    """
    Raised for an error response (reference: "Error Responses").

    :param status_code: HTTP status of the response, or the status that the body of a successful response
        states
    :param code: the service's code, such as ``validation_error``
    :param message: the service's message
    :param details: the service's details: a list of ``{field, message}``, an object, a string, or ``None``
    :param request_id: ``X-Request-ID`` of the response, or else of the request
    :ivar request: the call, as ``GET /projects/…``
    :ivar has_response: whether the service returned this error; false if it was derived from a listing
    :ivar retry_after: seconds to wait before the next attempt, if the response says so
    :ivar has_error_body: whether the response had Connix's error body, an ``error`` object with ``code`` and
        ``message`` as text; false for the page of a gateway
    """

    has_error_body: bool = True
    has_response: bool = True
    #: HTTP status of a successful response whose body states the error.
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
        if not self.has_response:
            text = self.message
        elif self.response_status is None:
            text = f"Connix responded {self.status_code} {self.code}: {self.message}"
        else:
            stated = (
                self.code if self.status_code == self.response_status else f"{self.status_code} {self.code}"
            )
            text = f"Connix responded {self.response_status} with an error: {stated}: {self.message}"
        if faults := _fault_lines(self.details):
            text = f"{text.rstrip('.')}: {'; '.join(faults)}"
        return text

    def _request(self) -> list[str]:
        request_id = f"request id {self.request_id}" if self.request_id else None
        return [part for part in (self.request, request_id) if part]


class ConnixValidationError(ConnixAPIError):
    """Raised when the service refuses a request as invalid (400, 422); ``details`` name the fields."""


class ConnixAuthenticationError(ConnixAPIError):
    """Raised when the service does not accept the API key or token (401)."""


class ConnixPermissionError(ConnixAPIError):
    """Raised when the API key or token lacks the permission for a request (403)."""


class ConnixNotFoundError(ConnixAPIError):
    """Raised when there is no such agent or project (404)."""

    @property
    def is_of_an_agent(self) -> bool:
        """Whether Connix itself reports that the agent does not exist; no other 404 means that."""
        return self.has_error_body and self.code == "agent_not_found"


class ConnixConflictError(ConnixAPIError):
    """Raised when the present state forbids a request (409): a name is taken, or an agent is busy."""


class ConnixRateLimitError(ConnixAPIError):
    """
    Raised when a rate limit of the API key is used up (429).

    :ivar bucket: the rate limit (:class:`connix_provider.client.ratelimit.Bucket`)
    """

    bucket: str | None = None


class ConnixRateLimitWaitError(ConnixRateLimitError):
    """
    Raised instead of sending a request that would have to wait too long for a permit.

    :param message: which rate limit, and for how long it is used up
    :param retry_after: seconds to wait before the next attempt
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(429, "rate_limit_wait", message)
        self.args = (message, retry_after)
        self.retry_after = retry_after

    def _text(self) -> str:
        return self.message


class ConnixServerError(ConnixAPIError):
    """Raised when the service, or a gateway before it, failed (5xx)."""


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
    Return the exception class for an HTTP status.

    :param status_code: HTTP status
    :return: the most specific class
    """
    if 500 <= status_code <= 599:
        return ConnixServerError
    return _BY_STATUS.get(status_code, ConnixAPIError)


def _fault_lines(details: Any) -> list[str]:
    """Return ``details``, in any of its forms, as one short clause for each field."""
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
