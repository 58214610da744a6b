"""Turn what came back, or did not, into the exception that says so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from connix_provider.client.calls.call import Call
from connix_provider.client.calls.steps import Response
from connix_provider.client.errors import (
    ConnixAPIError,
    ConnixRateLimitWaitError,
    ConnixResponseError,
    ConnixTimeoutError,
    api_error_class,
)
from connix_provider.client.ratelimit import retry_after_hint
from connix_provider.client.redaction import Redactor
from connix_provider.client.redaction.quoting import bounded, printable, shortened
from connix_provider.client.responses.error_bodies import (
    error_object,
    is_connix_error,
    parse,
    says_no,
    stated_status,
)
from connix_provider.client.responses.results import NoResultError
from connix_provider.client.transient import is_transient_status

__all__ = [
    "MAX_ERROR_BODY",
    "error_from_response",
    "no_result",
    "out_of_time",
    "rate_limit_wait_error",
    "too_slow",
    "unreadable",
]

#: A message of the service is quoted up to this many characters: a log is no place for a proxy's whole page.
_LONGEST_QUOTE = 500
_LONGEST_CODING = 40
#: A secret is looked for in so many characters of it.
_LONGEST_READ = 2000
#: Bytes of JSON that the message may take; more where its characters are not ASCII.
_MOST_MESSAGE_BYTES = 700
_REQUEST_TIMEOUT, _TOO_MANY_REQUESTS, _LEAST_ERROR = 408, 429, 400
#: Bytes of an error body that are read and parsed; the reference's have less than a thousand.
MAX_ERROR_BODY = 64 * 2**10


def error_from_response(call: Call[Any], reply: Response, secrets: tuple[str, ...]) -> ConnixAPIError:
    """Turn an answer that says no into its exception."""
    status = reply.status_code
    if 300 <= status < 400:
        stated = {"code": "redirect_refused", "message": _redirect_message(reply)}
        error = _api_error(status, stated, call, reply, secrets)
        error.has_error_body, error.may_be_misconfiguration = False, True
        return error
    parsed = parse(reply.body)
    error = _api_error(status, error_object(parsed), call, reply, secrets)
    error.has_error_body = is_connix_error(parsed)
    error.may_be_misconfiguration = not error.has_error_body and not is_transient_status(status)
    return error


def no_result(
    call: Call[Any], reply: Response, why: Exception, secrets: tuple[str, ...]
) -> ConnixAPIError | ConnixResponseError:
    """
    Turn a success status whose body is no result into its exception.

    A body that states an error becomes the exception of the status which the error states, and so does its
    repetition. An error without a status refuses a change for good, because the service said no. To a reading
    it says nothing of the next response, like any other body that cannot be read.

    :param call: the call
    :param reply: the response
    :param why: what reading it raised
    :param secrets: the values that no message may show
    :return: the exception
    """
    parsed = parse(reply.body, may_be_cut=False) if len(reply.body) <= MAX_ERROR_BODY else None
    if isinstance(parsed, dict) and says_no(parsed):
        stated = error_object(parsed)
        status = stated_status(stated) or stated_status(parsed)
        if status is not None and status >= _LEAST_ERROR:
            error = _api_error(status, stated, call, reply, secrets)
        elif call.method != "GET":
            error = _api_error(reply.status_code, stated, call, reply, secrets)
        else:
            return unreadable(call, reply, why)
        error.response_status = reply.status_code
        error.has_error_body = is_connix_error(parsed)
        return error
    return unreadable(call, reply, why)


def _api_error(
    status: int, stated: dict[str, Any], call: Call[Any], reply: Response, secrets: tuple[str, ...]
) -> ConnixAPIError:
    redact = Redactor(secrets).redact
    code = stated.get("code") or f"http_{status}"
    message = stated.get("message") or _plain_message(reply)
    request_id = stated.get("request_id") or reply.headers.get("x-request-id")
    error = api_error_class(status)(
        status,
        _quoted(code, redact),
        _quoted(message, redact, most_bytes=_MOST_MESSAGE_BYTES),
        bounded(stated.get("details"), redact),
        _quoted(request_id, redact) if request_id else None,
    )
    error.request = f"{call.method} {call.path}"
    error.retry_after = retry_after_hint(reply.headers, stated, refused=status == _TOO_MANY_REQUESTS)
    # A server that failed may have failed after the deed, and so may a proxy that was tired of waiting for
    # it. Any other refusal (4xx, or a success status that says no) did nothing.
    error.may_have_executed = status >= 500 or status == _REQUEST_TIMEOUT
    return error


def _quoted(value: Any, redact: Callable[[Any], Any], *, most_bytes: int = _LONGEST_QUOTE) -> str:
    # Redacted before it becomes text, which would escape what is to be found.
    said = bounded(value, redact)
    if isinstance(value, str):
        said = printable(str(redact(value[:_LONGEST_READ])))
    return shortened(str(said), _LONGEST_QUOTE, most_bytes)


def _plain_message(reply: Response) -> str:
    kind = reply.headers.get("content-type", "").split(";")[0] or "nothing"
    return f"no error body of Connix, but {len(reply.body)} bytes of {kind}; a proxy may have answered"


def _redirect_message(reply: Response) -> str:
    # Only the place is shown: a query may carry a token.
    try:
        target = urlsplit(reply.headers.get("location", ""))
        # Its port belongs to it, a user does not; one that cannot be read raises.
        port = f":{target.port}" if target.port else ""
        place = f"{target.scheme}://{target.hostname}{port}" if target.hostname else "another path"
    except ValueError:
        place = "an address that cannot be read"
    return (
        f"the answer redirects to {place}; redirects are refused, so that no key goes to another host. "
        "If the address is right, make it the connection's host"
    )


def unreadable(call: Call[Any], reply: Response, why: Exception) -> ConnixResponseError:
    """Say that a good status came with a body that cannot be read, without quoting the body."""
    if isinstance(why, ValidationError):
        # include_input=False: the values may be secrets, the places are not.
        faults = why.errors(include_url=False, include_context=False, include_input=False)[:3]
        text = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in faults)
    else:
        text = str(why) if isinstance(why, NoResultError) else type(why).__name__
    coding = reply.headers.get("content-encoding")
    packed = f" (Content-Encoding: {printable(coding[:_LONGEST_CODING])})" if coding else ""
    error = ConnixResponseError(
        f"Connix answered {reply.status_code} to {call.method} {call.path} with {len(reply.body)} bytes"
        f"{packed} that are not what the reference documents: {printable(text[:_LONGEST_QUOTE])}"
    )
    error.may_have_executed = True
    return error


def rate_limit_wait_error(call: Call[Any], wait: float, now: float) -> ConnixRateLimitWaitError:
    """Return the error of a request that the rate limit holds back longer than it may wait."""
    try:
        until = datetime.fromtimestamp(now + wait, UTC).isoformat(sep=" ", timespec="seconds")
    except (OverflowError, ValueError, OSError):
        until = "a time beyond all calendars"
    error = ConnixRateLimitWaitError(
        f"the rate limit of this key for {call.bucket} requests is used up until {until} (for {wait:.0f} s), "
        "so the request was not sent",
        wait,
    )
    error.request = f"{call.method} {call.path}"
    return error


def out_of_time(call: Call[Any]) -> ConnixTimeoutError:
    """
    Say that a call was not sent, because its deadline had passed.

    :param call: the call
    :return: the exception
    """
    return ConnixTimeoutError(f"the time allowed was over before {call.method} {call.path} was sent")


def too_slow(call: Call[Any], seconds: float) -> ConnixTimeoutError:
    """
    Say that no whole answer came in time.

    :param call: the call
    :param seconds: the time that was allowed
    :return: the exception
    """
    shown = f"{seconds:.2g}" if seconds < 1 else f"{round(seconds, 1):g}"
    error = ConnixTimeoutError(f"Connix did not answer {call.method} {call.path} within {shown} s")
    error.may_have_executed = True
    return error
