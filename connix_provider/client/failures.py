"""Turn what came back, or did not, into the exception that says so."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from connix_provider.client.call import Call
from connix_provider.client.errors import (
    ConnixAPIError,
    ConnixBudgetError,
    ConnixResponseError,
    ConnixTimeoutError,
    api_error_class,
)
from connix_provider.client.headers import retry_after_hint
from connix_provider.client.redaction import redact
from connix_provider.client.steps import Reply

__all__ = ["out_of_time", "refusal", "too_large", "too_slow", "unreadable", "used_up"]

#: A message of the service is quoted up to this many characters: a log is no place for a proxy's whole page.
_LONGEST_QUOTE = 500
_REQUEST_TIMEOUT, _TOO_MANY_REQUESTS = 408, 429


def refusal(call: Call[Any], reply: Reply, secrets: tuple[str, ...]) -> ConnixAPIError:
    """Turn an answer that says no into its exception."""
    status = reply.status_code
    request_id = reply.headers.get("x-request-id")
    if 300 <= status < 400:
        code, message, details, stated = "redirect_refused", _redirect_message(reply), None, None
        has_error_body = False
    else:
        parsed = _json(reply.body)
        has_error_body = _is_connix_error(parsed)
        stated = _error_object(parsed)
        code = stated.get("code") or f"http_{status}"
        message = stated.get("message") or _plain_message(reply)
        details = stated.get("details")
        request_id = stated.get("request_id") or request_id
    # Redacted before they become text, which would escape what is to be found.
    error = api_error_class(status)(
        status,
        str(redact(code, secrets))[:_LONGEST_QUOTE],
        str(redact(message, secrets))[:_LONGEST_QUOTE],
        redact(details, secrets),
        str(redact(request_id, secrets))[:_LONGEST_QUOTE] if request_id else None,
    )
    error.request = f"{call.method} {call.path}"
    error.has_error_body = has_error_body
    error.retry_after = retry_after_hint(reply.headers, stated, refused=status == _TOO_MANY_REQUESTS)
    # A server that failed may have failed after the deed, and so may a proxy that was tired of waiting for
    # it. Any other refusal (4xx) did nothing.
    error.may_have_executed = status >= 500 or status == _REQUEST_TIMEOUT
    return error


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _is_connix_error(parsed: Any) -> bool:
    """Return whether a body is the reference's ``{"error": {"code": text, "message": text}}``."""
    stated = parsed.get("error") if isinstance(parsed, dict) else None
    return isinstance(stated, dict) and all(
        isinstance(stated.get(name), str) and stated[name] for name in ("code", "message")
    )


def _error_object(parsed: Any) -> dict[str, Any]:
    """Find the reference's ``{"error": {...}}``, or a proxy's plain ``{"message": ...}``."""
    if not isinstance(parsed, dict):
        return {}
    stated = parsed.get("error", parsed)
    if isinstance(stated, str):
        return {"code": stated, "message": parsed.get("message") or parsed.get("error_description")}
    if isinstance(stated, dict) and "message" not in stated and "detail" in stated:
        stated, parsed = stated["detail"], stated
        if isinstance(stated, str):
            return {**parsed, "message": stated}
        if not isinstance(stated, list):
            return {**parsed, **(stated if isinstance(stated, dict) else {})}
    if isinstance(stated, list) and stated:
        faults = [_fault(item) for item in stated]
        if all(isinstance(fault, str) for fault in faults):
            return {**parsed, "message": "; ".join(map(str, faults))}
        return {**parsed, "message": "it was refused", "details": faults}
    return stated if isinstance(stated, dict) else {}


def _fault(stated: Any) -> Any:
    """Put what frameworks say of one fault, ``{loc, msg, input, …}``, into the form of the reference."""
    if not isinstance(stated, dict) or not isinstance(stated.get("msg"), str):
        return stated
    place = stated.get("loc")
    field = ".".join(map(str, place)) if isinstance(place, list) else None
    return {"field": field, "message": stated["msg"]}


def _plain_message(reply: Reply) -> str:
    kind = reply.headers.get("content-type", "").split(";")[0] or "nothing"
    return f"no error body of Connix, but {len(reply.body)} bytes of {kind}; a proxy may have answered"


def _redirect_message(reply: Reply) -> str:
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


def unreadable(call: Call[Any], reply: Reply, why: Exception) -> ConnixResponseError:
    """Say that a good status came with a body that cannot be read, without quoting the body."""
    if isinstance(why, ValidationError):
        # include_input=False: the values may be secrets, the places are not.
        faults = why.errors(include_url=False, include_context=False, include_input=False)[:3]
        text = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in faults)
    else:
        text = type(why).__name__
    error = ConnixResponseError(
        f"Connix answered {reply.status_code} to {call.method} {call.path} with {len(reply.body)} bytes "
        f"that are not what the reference documents: {text[:_LONGEST_QUOTE]}"
    )
    error.may_have_executed = True
    return error


def too_large(call: Call[Any], limit: int) -> ConnixResponseError:
    """
    Say that an answer is larger than any the reference allows for.

    :param call: the call
    :param limit: bytes that are read at most
    :return: the exception
    """
    error = ConnixResponseError(
        f"Connix answered {call.method} {call.path} with more than {limit // 2**20} MiB; the rest is left"
    )
    error.may_have_executed = True
    return error


def used_up(call: Call[Any], wait: float, now: float) -> ConnixBudgetError:
    """Say until when the budget is used up."""
    try:
        until = datetime.fromtimestamp(now + wait, UTC).isoformat(sep=" ", timespec="seconds")
    except (OverflowError, ValueError, OSError):
        until = "a time beyond all calendars"
    error = ConnixBudgetError(
        f"the budget of this key for {call.bucket} requests is used up until {until} (for {wait:.0f} s), "
        f"so {call.method} {call.path} was not sent",
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
