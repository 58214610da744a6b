"""
Carry one call through attempts, pauses and checks, without doing any I/O.

:func:`perform` is a generator that yields what is to be done (:class:`Send`, :class:`Pause`) and is sent
the outcome back. The synchronous and the asynchronous client are two thin drivers of it; whatever can be
decided is decided here, once.
"""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from collections.abc import Callable, Generator, Mapping
from random import random
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import ValidationError

from connix_provider.client.budget import retry_after_hint
from connix_provider.client.call import Call, Proof
from connix_provider.client.errors import (
    ConnixAPIError,
    ConnixError,
    ConnixRateLimitError,
    ConnixResponseError,
    ConnixTimeoutError,
    api_error_class,
)
from connix_provider.client.redaction import redact
from connix_provider.client.retry import RetryPolicy, retry_delay

__all__ = ["Flow", "Pause", "Reply", "Send", "out_of_time", "perform", "too_large", "too_slow"]

T = TypeVar("T")

#: A message of the service is quoted up to this many characters: a log is no place for a proxy's whole page.
_LONGEST_QUOTE = 500
_TOO_MANY_REQUESTS = 429


@dataclasses.dataclass(frozen=True, slots=True)
class Send:
    """
    Ask the driver to send one request.

    :param call: the call
    :param request_id: the ``X-Request-ID`` to send
    :param timeout: seconds for this request as a whole
    """

    call: Call[Any]
    request_id: str
    timeout: float


@dataclasses.dataclass(frozen=True, slots=True)
class Pause:
    """
    Ask the driver to wait.

    :param seconds: how long
    """

    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """
    Hold an answer: status, headers (looked up without regard to case) and the whole body.

    :param status_code: HTTP status
    :param headers: the answer's headers
    :param body: the body
    """

    status_code: int
    headers: Mapping[str, str]
    body: bytes = dataclasses.field(repr=False)


Outcome = Reply | ConnixError | None
Flow = Generator[Send | Pause, Outcome, T]


def perform(
    call: Call[T],
    policy: RetryPolicy,
    *,
    secrets: Callable[[], tuple[str, ...]] = tuple,
    clock: Callable[[], float] = time.time,
    jitter: Callable[[], float] = random,
) -> Flow[T]:
    """
    Carry one call to its result.

    :param call: the call
    :param policy: bounds on attempts and time
    :param secrets: gives the values that no message may show, as they are at that moment
    :param clock: the clock, in epoch seconds: deadlines are handed from process to process
    :param jitter: gives random numbers from 0 to 1
    :return: the call's result
    :raises ConnixError: what the last attempt ended in
    """
    deadline = min(clock() + policy.total_timeout, policy.deadline)
    attempt, refusals, doubtful = 1, 0, False
    error: ConnixError = out_of_time(call)
    # Asked each time: a pause may have lasted longer than it should.
    while (remaining := deadline - clock()) > 0:
        request_id = str(uuid.uuid4())
        outcome = yield Send(call, request_id, remaining)
        if isinstance(outcome, Reply) and 200 <= outcome.status_code < 300:
            try:
                return call.read(outcome.body)
            except (ValidationError, ValueError, RecursionError) as unreadable:
                error = _unreadable(call, outcome, unreadable)
        elif isinstance(outcome, Reply):
            error = _refusal(call, outcome, (*secrets(), *call.secrets))
        else:
            assert isinstance(outcome, ConnixError)
            error = outcome
        error.request_id = error.request_id or request_id
        if doubtful and call.proof and isinstance(error, call.proof.refusal):
            settled = yield from _settle(call.proof, policy, deadline, secrets, clock, jitter)
            if settled is not None:
                return settled
        doubtful = doubtful or error.may_have_executed
        error.may_have_executed = doubtful
        refusals += isinstance(error, ConnixRateLimitError)
        delay = retry_delay(
            error,
            repeatable=call.repeatable,
            attempt=attempt,
            refusals=refusals,
            policy=policy,
            jitter=jitter(),
        )
        if delay is None or clock() + delay >= deadline:
            raise error
        yield Pause(delay)
        attempt += not isinstance(error, ConnixRateLimitError)
    raise error


def _settle(
    proof: Proof[T],
    policy: RetryPolicy,
    deadline: float,
    secrets: Callable[[], tuple[str, ...]],
    clock: Callable[[], float],
    jitter: Callable[[], float],
) -> Flow[T | None]:
    """Look whether a call whose repeat was refused had been carried out the first time."""
    if proof.look is None:
        return proof.settle(None)
    remaining = deadline - clock()
    if remaining <= 0:
        return None
    bounds = dataclasses.replace(policy, total_timeout=remaining)
    try:
        agent = yield from perform(proof.look, bounds, secrets=secrets, clock=clock, jitter=jitter)
    except ConnixError:
        # The refusal itself is the better thing to tell.
        return None
    return proof.settle(agent)


def _refusal(call: Call[Any], reply: Reply, secrets: tuple[str, ...]) -> ConnixAPIError:
    """Turn an answer that says no into its exception."""
    status = reply.status_code
    request_id = reply.headers.get("x-request-id")
    if 300 <= status < 400:
        code, message, details, stated = "redirect_refused", _redirect_message(reply), None, None
    else:
        stated = _error_object(reply.body)
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
    error.retry_after = retry_after_hint(reply.headers, stated, refused=status == _TOO_MANY_REQUESTS)
    # A server that failed may have failed after the deed. A refusal (4xx) did nothing.
    error.may_have_executed = status >= 500
    return error


def _error_object(body: bytes) -> dict[str, Any]:
    """Find the reference's ``{"error": {...}}``, or a proxy's plain ``{"message": ...}``."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(parsed, dict):
        return {}
    stated = parsed.get("error", parsed)
    if isinstance(stated, str):
        return {"code": stated, "message": parsed.get("message") or parsed.get("error_description")}
    return stated if isinstance(stated, dict) else {}


def _plain_message(reply: Reply) -> str:
    kind = reply.headers.get("content-type", "").split(";")[0] or "nothing"
    return f"no error body of Connix, but {len(reply.body)} bytes of {kind}; a proxy may have answered"


def _redirect_message(reply: Reply) -> str:
    # Only the place is shown: a query may carry a token.
    try:
        target = urlsplit(reply.headers.get("location", ""))
        place = f"{target.scheme}://{target.hostname}" if target.hostname else "another path"
    except ValueError:
        place = "an address that cannot be read"
    return (
        f"the answer redirects to {place}; redirects are refused, so that no key goes to another host. "
        "If the address is right, make it the connection's host"
    )


def _unreadable(call: Call[Any], reply: Reply, why: Exception) -> ConnixResponseError:
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
    error = ConnixTimeoutError(f"Connix did not answer {call.method} {call.path} within {seconds:g} s")
    error.may_have_executed = True
    return error
