"""
Make the exception of a failed request.

- An error response: :func:`error_from_response`.
- A successful response without a result: :func:`no_result_error`.
- No request, because of the rate limit or the deadline: :func:`rate_limit_wait_error`,
  :func:`deadline_error`.
- No complete response in time: :func:`timeout_error`.
"""

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
    stated_status,
    states_failure,
)
from connix_provider.client.responses.results import NoResultError
from connix_provider.client.transient import is_transient_status

__all__ = [
    "MAX_ERROR_BODY",
    "deadline_error",
    "error_from_response",
    "no_result_error",
    "rate_limit_wait_error",
    "timeout_error",
    "unreadable_error",
]

#: Characters that are quoted of a message, because a proxy may send a whole page.
_LONGEST_QUOTE = 500
_LONGEST_CODING = 40
#: Characters of a message that are searched for secrets.
_LONGEST_READ = 2000
#: Bytes of a message in JSON, where a character that is not ASCII takes up to twelve.
_MOST_MESSAGE_BYTES = 700
_REQUEST_TIMEOUT, _TOO_MANY_REQUESTS, _LEAST_ERROR = 408, 429, 400
#: Bytes of an error body that are read and parsed; the reference's have less than a thousand.
MAX_ERROR_BODY = 64 * 2**10


def error_from_response(call: Call[Any], response: Response, secrets: tuple[str, ...]) -> ConnixAPIError:
    """
    Turn a response whose status is not 2xx into its exception.

    :param secrets: the values that no message may show
    """
    status = response.status_code
    if 300 <= status < 400 and "location" in response.headers:
        stated = {"code": "redirect_refused", "message": _redirect_message(response)}
        error = _api_error(status, stated, call, response, secrets)
        error.has_error_body, error.may_be_misconfiguration = False, True
        return error
    parsed = parse(response.body)
    error = _api_error(status, error_object(parsed), call, response, secrets)
    error.has_error_body = is_connix_error(parsed)
    error.may_be_misconfiguration = not error.has_error_body and not is_transient_status(status)
    return error


def no_result_error(
    call: Call[Any], response: Response, why: Exception, secrets: tuple[str, ...]
) -> ConnixAPIError | ConnixResponseError:
    """
    Turn a successful response without a result into its exception.

    A body that states an error becomes the exception of the status that it states. An error without a status
    is final for a change, because the service refused it. For a GET it is an unreadable response, which is
    transient.

    :param why: the exception of the reader
    :param secrets: the values that no message may show
    """
    parsed = parse(response.body, may_be_cut=False) if len(response.body) <= MAX_ERROR_BODY else None
    if isinstance(parsed, dict) and states_failure(parsed):
        stated = error_object(parsed)
        status = stated_status(stated) or stated_status(parsed)
        if status is not None and status >= _LEAST_ERROR:
            error = _api_error(status, stated, call, response, secrets)
        elif call.method != "GET":
            error = _api_error(response.status_code, stated, call, response, secrets)
        else:
            return unreadable_error(call, response, why)
        error.response_status = response.status_code
        error.has_error_body = is_connix_error(parsed)
        return error
    return unreadable_error(call, response, why)


def _api_error(
    status: int, stated: dict[str, Any], call: Call[Any], response: Response, secrets: tuple[str, ...]
) -> ConnixAPIError:
    redact = Redactor(secrets).redact
    code = stated.get("code") or f"http_{status}"
    message = stated.get("message") or _plain_message(response)
    request_id = stated.get("request_id") or response.headers.get("x-request-id")
    error = api_error_class(status)(
        status,
        _quoted(code, redact),
        _quoted(message, redact, most_bytes=_MOST_MESSAGE_BYTES),
        bounded(stated.get("details"), redact),
        _quoted(request_id, redact) if request_id else None,
    )
    error.request = f"{call.method} {call.path}"
    error.retry_after = retry_after_hint(response.headers, stated, refused=status == _TOO_MANY_REQUESTS)
    # A server or a proxy may fail after the request was executed. After any other refusal (4xx, or an error
    # under a success status) it was not.
    error.may_have_executed = status >= 500 or status == _REQUEST_TIMEOUT
    return error


def _quoted(value: Any, redact: Callable[[Any], Any], *, most_bytes: int = _LONGEST_QUOTE) -> str:
    # Redacted before the conversion to text, because that would escape the secrets.
    if isinstance(value, str):
        text = printable(str(redact(value[:_LONGEST_READ])))
    else:
        text = str(bounded(value, redact))
    return shortened(text, _LONGEST_QUOTE, most_bytes)


def _plain_message(response: Response) -> str:
    kind = response.headers.get("content-type", "").split(";")[0] or "nothing"
    size = len(response.body)
    return f"the response has no Connix error body but {size} bytes of {kind}; it may come from a proxy"


def _redirect_message(response: Response) -> str:
    # Only the place is shown, because a query may hold a token.
    try:
        target = urlsplit(response.headers.get("location", ""))
        # An unreadable port raises ValueError.
        port = f":{target.port}" if target.port else ""
        origin = f"{target.scheme}://{target.hostname}{port}" if target.hostname else "another path"
    except ValueError:
        origin = "an address that cannot be read"
    return (
        f"the response redirects to {origin}; redirects are refused, so that no key goes to another host. "
        "If the address is right, make it the connection's host"
    )


def unreadable_error(call: Call[Any], response: Response, why: Exception) -> ConnixResponseError:
    """Return the error of a success whose body cannot be read; its message does not quote the body."""
    if isinstance(why, ValidationError):
        # Without the input, because values may be secrets. Their places are not.
        faults = why.errors(include_url=False, include_context=False, include_input=False)[:3]
        text = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in faults)
    else:
        text = str(why) if isinstance(why, NoResultError) else type(why).__name__
    coding = response.headers.get("content-encoding")
    coded = f" (Content-Encoding: {printable(coding[:_LONGEST_CODING])})" if coding else ""
    error = ConnixResponseError(
        f"Connix responded {response.status_code} to {call.method} {call.path} with {len(response.body)} "
        f"bytes{coded} that are not what the reference documents: {printable(text[:_LONGEST_QUOTE])}"
    )
    error.may_have_executed = True
    return error


def rate_limit_wait_error(call: Call[Any], wait: float, now: float) -> ConnixRateLimitWaitError:
    """Return the error of a request that was not sent, because it would wait too long for a permit."""
    try:
        until = datetime.fromtimestamp(now + wait, UTC).isoformat(sep=" ", timespec="seconds")
    except (OverflowError, ValueError, OSError):
        until = "after the year 9999"
    error = ConnixRateLimitWaitError(
        f"the rate limit of this key for {call.bucket} requests is used up until {until} (for {wait:.0f} s), "
        "so the request was not sent",
        wait,
    )
    error.request = f"{call.method} {call.path}"
    error.bucket = call.bucket
    return error


def deadline_error(call: Call[Any]) -> ConnixTimeoutError:
    """Return the error of a request that was not sent, because its deadline had passed."""
    return ConnixTimeoutError(f"the deadline passed before {call.method} {call.path} was sent")


def timeout_error(call: Call[Any], seconds: float) -> ConnixTimeoutError:
    """
    Return the error of a request without a complete response in time.

    :param seconds: the allowed time
    """
    shown = f"{seconds:.2g}" if seconds < 1 else f"{round(seconds, 1):g}"
    error = ConnixTimeoutError(f"Connix did not respond to {call.method} {call.path} within {shown} s")
    error.may_have_executed = True
    return error
