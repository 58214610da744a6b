"""
The attempts of one call, decided without I/O.

:func:`perform` is a generator. It yields :class:`Send` and :class:`Sleep`, and the driver sends the outcome
back: a response, an error, or ``None`` after a sleep. The two clients are thin drivers of it.

One attempt waits for a permit of the rate limit, sends the request and reads the response. After a failure:

1. If the response was lost and the repeated request is refused, the agent may show that the first request
   was executed.
2. :func:`~connix_provider.client.retry.retry_delay` decides whether to send the call again, and when.
3. A poll that meets 429 raises at once, because its wait repeats it.
4. A call of a task repeats a 429 until the task's deadline.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
import uuid
from collections.abc import Callable
from random import SystemRandom
from typing import Any, TypeVar

from pydantic import ValidationError

from connix_provider.client.attempts.gateway_refusals import GatewayRefusals, is_from_gateway
from connix_provider.client.attempts.limit_log import LimitLog
from connix_provider.client.calls.call import Call, RepeatCheck
from connix_provider.client.calls.steps import Flow, Response, Send, Sleep
from connix_provider.client.errors import ConnixError, ConnixRateLimitError
from connix_provider.client.ratelimit import LONGEST_POLL_DELAY, Permit, RateLimiter, recheck_delay
from connix_provider.client.responses.failures import (
    deadline_error,
    error_from_response,
    no_result_error,
    rate_limit_wait_error,
)
from connix_provider.client.responses.surrogates import replace_lone_surrogates
from connix_provider.client.retry import RetryPolicy, cap_retry_delay, retry_delay
from connix_provider.client.transient import is_transient

__all__ = ["perform"]

T = TypeVar("T")
_TOO_MANY_REQUESTS = 429

#: Not the ``random`` module's, because tasks that seed it would all retry at the same moment.
_system_random = SystemRandom().random


class _Time:
    """The time of one call: ``total_timeout`` on a clock that is never set, the deadline in epoch seconds."""

    def __init__(self, policy: RetryPolicy, clock: Callable[[], float], epoch: Callable[[], float]) -> None:
        self._clock, self.epoch = clock, epoch
        self._ends, self._deadline = clock() + policy.total_timeout, policy.deadline

    def left(self) -> float:
        return min(self._ends - self._clock(), self._deadline - self.epoch())

    def is_task_deadline_first(self) -> bool:
        """Return whether the deadline, which is the task's, comes first."""
        return self._deadline - self.epoch() <= self._ends - self._clock()


class _Failures:
    """Count the failed attempts of a call, and decide when the next one follows."""

    def __init__(
        self, call: Call[Any], policy: RetryPolicy, jitter: Callable[[], float], *, background: bool
    ) -> None:
        self._call, self._policy, self._jitter, self._background = call, policy, jitter, background
        self._attempt, self._rate_limited = 1, 0
        self._gateway_refusals = GatewayRefusals()
        #: The error of the last attempt.
        self.last: ConnixError | None = None
        #: Whether the service may have executed an attempt.
        self.may_have_executed = False

    def add(self, error: ConnixError, now: float) -> float | None:
        """Return the delay before the next attempt, or ``None`` if the error is final."""
        self.last = error
        self.may_have_executed = error.may_have_executed = self.may_have_executed or error.may_have_executed
        is_rate_limit = isinstance(error, ConnixRateLimitError)
        self._rate_limited += is_rate_limit
        is_final = False
        if is_from_gateway(error):
            is_final = self._gateway_refusals.add(now)
        else:
            self._gateway_refusals.reset()
        delay = retry_delay(
            error,
            idempotent=self._call.idempotent,
            attempt=self._attempt,
            refusals=self._rate_limited,
            gateway_refusals=0 if is_final else self._gateway_refusals.count,
            policy=self._policy,
            jitter=self._jitter(),
        )
        self._attempt += not is_rate_limit
        return min(delay, LONGEST_POLL_DELAY) if self._background and delay is not None else delay


def perform(
    call: Call[T],
    policy: RetryPolicy,
    *,
    limiter: RateLimiter,
    background: bool = False,
    secrets: Callable[[], tuple[str, ...]] = tuple,
    clock: Callable[[], float] = time.monotonic,
    epoch: Callable[[], float] = time.time,
    jitter: Callable[[], float] = _system_random,
) -> Flow[T]:
    """
    Perform one call.

    :param policy: bounds of attempts and time
    :param limiter: the limiter of the API key
    :param background: whether the call is a poll, which yields to actions
    :param secrets: returns the present values that no message may show
    :param clock: seconds of a clock that is never set, for ``total_timeout``
    :param epoch: epoch seconds, for the deadline, which processes pass on
    :param jitter: returns a random number from 0 to 1
    :raises ConnixError: the error of the last attempt
    """
    bounds = _Time(policy, clock, epoch)
    again = functools.partial(
        perform,
        limiter=limiter,
        background=background,
        secrets=secrets,
        clock=clock,
        epoch=epoch,
        jitter=jitter,
    )
    failures = _Failures(call, policy, jitter, background=background)
    limit_log = LimitLog(call, clock, epoch, is_quiet=background)
    error = _name_target(deadline_error(call), call)
    with limiter.permit(call.bucket, background=background) as permit:
        # Checked after each sleep, because a sleep may last longer than requested.
        while bounds.left() > 0:
            yield from _wait_for_permit(call, permit, policy, bounds, failures.last, limit_log)
            if (remaining := bounds.left()) <= 0:
                permit.on_no_response(may_have_arrived=False)
                break
            request_id = str(uuid.uuid4())
            outcome = yield Send(call, request_id, remaining + policy.response_grace)
            response = outcome if isinstance(outcome, Response) else None
            if response is None or response.status_code != _TOO_MANY_REQUESTS:
                limit_log.end()
            result: T
            result, failure = _read(call, outcome, secrets)
            if failure is None:
                assert response is not None
                permit.on_response(response.headers)
                return result
            error = failure
            if response is None:
                error.has_lost_response = error.may_have_executed
                permit.on_no_response(may_have_arrived=error.may_have_executed)
            elif response.is_success and call.when_empty is not None and not response.body.strip():
                permit.on_response(response.headers)
                return (yield from _read_result(call.when_empty, error, policy, bounds.left(), again))
            error.request_id = error.request_id or request_id
            _name_target(error, call)
            limited = isinstance(error, ConnixRateLimitError)
            is_repeat_of_lost = failures.may_have_executed
            delay = failures.add(error, clock())
            if response is not None:
                permit.on_response(
                    response.headers,
                    is_success=response.is_success,
                    is_transient=is_transient(error),
                    back_off=delay if limited else None,
                )
            if is_repeat_of_lost and call.repeat_check and call.repeat_check.is_refusal(error):
                found = yield from _check_repeat(call.repeat_check, policy, bounds.left(), again)
                if found is not None:
                    return found
            # The wait repeats its polls, because it knows the deadline and logs the reason.
            if delay is None or (limited and (background or delay > policy.max_permit_wait)):
                raise error
            left = bounds.left()
            # No 429 is final before the task's deadline.
            if is_final_only_at_deadline := limited and bounds.is_task_deadline_first():
                delay = cap_retry_delay(delay, left)
            if limited:
                limit_log.begin(min(delay, left), error)
            if delay >= left:
                if is_final_only_at_deadline and left > 0:
                    yield Sleep(left)
                raise error
            yield Sleep(delay)
    raise error


def _read(
    call: Call[Any], outcome: Response | ConnixError | None, secrets: Callable[[], tuple[str, ...]]
) -> tuple[Any, ConnixError | None]:
    """Return the result of an attempt, or its error."""
    if not isinstance(outcome, Response):
        assert isinstance(outcome, ConnixError)
        return None, outcome
    if not outcome.is_success:
        return None, error_from_response(call, outcome, (*secrets(), *call.secrets))
    try:
        return call.read(replace_lone_surrogates(outcome.body)), None
    except (ValidationError, ValueError, RecursionError) as why:
        return None, no_result_error(call, outcome, why, (*secrets(), *call.secrets))


def _name_target(error: ConnixError, call: Call[Any]) -> ConnixError:
    """Set the project, the agent and the rate limit of an error."""
    if isinstance(error, ConnixRateLimitError):
        error.bucket = call.bucket
    error.project_id = error.project_id or call.project_id
    error.agent_id = error.agent_id or call.agent_id
    return error


def _wait_for_permit(
    call: Call[Any],
    permit: Permit,
    policy: RetryPolicy,
    bounds: _Time,
    last: ConnixError | None,
    limit_log: LimitLog,
) -> Flow[None]:
    """Wait for a permit, or raise; ``last`` is the error of the attempt before."""
    while wait := permit.try_acquire():
        left = bounds.left()
        # The wait is an estimate, so a task waits until its deadline even if the estimate is later.
        if wait > policy.max_permit_wait or (0.0 if bounds.is_task_deadline_first() else wait) >= left:
            if last is not None and not isinstance(last, ConnixRateLimitError):
                # The error that made the call fail explains more than the limit that its attempts used up.
                last.note = f"not retried: the next {call.bucket} permit is {wait:.0f} s away"
                raise last
            error = rate_limit_wait_error(call, wait, bounds.epoch())
            _name_target(error, call)
            error.may_have_executed = last is not None and last.may_have_executed
            raise error
        limit_log.begin(min(wait, left))
        yield Sleep(min(recheck_delay(wait), left))


def _read_result(
    get: Call[T],
    error: ConnixError,
    policy: RetryPolicy,
    remaining: float,
    again: Callable[..., Flow[Any]],
) -> Flow[T]:
    """Read the result of a change whose successful response does not show it."""
    if remaining > 0:
        # Never raise for a long wait here, because the resumed task would repeat the change.
        bounds = dataclasses.replace(policy, total_timeout=remaining, max_permit_wait=math.inf)
        try:
            found: T = yield from again(get, bounds)
        except ConnixError as why:
            error.args = (f"{error}; the result could not be read either: {why}",)
            error.request_id = why.request_id
        else:
            return found
    raise error


def _check_repeat(
    check: RepeatCheck[T], policy: RetryPolicy, remaining: float, again: Callable[..., Flow[Any]]
) -> Flow[T | None]:
    """Return the result of a request whose response was lost, if the agent shows that it was executed."""
    if check.get is None:
        return check.result_of(None)
    if remaining <= 0:
        return None
    bounds = dataclasses.replace(policy, total_timeout=remaining)
    try:
        agent = yield from again(check.get, bounds)
    except ConnixError:
        # The refusal explains more than this error.
        return None
    return check.result_of(agent)
