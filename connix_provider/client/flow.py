"""
Carry one call through attempts, pauses and checks, without doing any I/O.

:func:`perform` is a generator that yields what is to be done (:class:`Send`, :class:`Pause`) and is sent
the outcome back. The synchronous and the asynchronous client are two thin drivers of it; whatever can be
decided is decided here, once.
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

from connix_provider.client.call import Call, Proof
from connix_provider.client.errors import ConnixError, ConnixRateLimitError, ConnixResponseError
from connix_provider.client.failures import no_result, out_of_time, rate_limit_wait_error, refusal
from connix_provider.client.foreign_refusals import ForeignRefusals, is_foreign
from connix_provider.client.ratelimit import LONGEST_POLL_DELAY, Permit, RateLimiter, recheck_delay
from connix_provider.client.retry import RetryPolicy, patience, retry_delay
from connix_provider.client.steps import Flow, Pause, Reply, Send

__all__ = ["perform"]

T = TypeVar("T")

#: Not that of ``random`` itself: whoever seeds that in a task wants its numbers, and would have all tasks
#: retry at the same moment.
_chance = SystemRandom().random


def perform(
    call: Call[T],
    policy: RetryPolicy,
    *,
    limiter: RateLimiter,
    background: bool = False,
    secrets: Callable[[], tuple[str, ...]] = tuple,
    clock: Callable[[], float] = time.time,
    jitter: Callable[[], float] = _chance,
) -> Flow[T]:
    """
    Carry one call to its result.

    :param call: the call
    :param policy: bounds on attempts and time
    :param limiter: the key's limiter, which is asked before each attempt and taught by each answer
    :param background: whether the call is polling, which makes way for calls that somebody waits for
    :param secrets: gives the values that no message may show, as they are at that moment
    :param clock: the clock, in epoch seconds: deadlines are handed from process to process
    :param jitter: gives random numbers from 0 to 1
    :return: the call's result
    :raises ConnixError: what the last attempt ended in
    """
    deadline = min(clock() + policy.total_timeout, policy.deadline)
    again = functools.partial(
        perform, limiter=limiter, background=background, secrets=secrets, clock=clock, jitter=jitter
    )
    attempt, refusals, doubtful = 1, 0, False
    foreign = ForeignRefusals()
    last: ConnixError | None = None
    error = _name_target(out_of_time(call), call)
    with limiter.permit(call.bucket, background=background) as permit:
        # Asked each time: a pause may have lasted longer than it should.
        while deadline - clock() > 0:
            yield from _slot(call, permit, policy, deadline, clock, last)
            if (remaining := deadline - clock()) <= 0:
                permit.on_no_response(may_have_arrived=False)
                break
            request_id = str(uuid.uuid4())
            outcome = yield Send(call, request_id, remaining + policy.response_grace)
            if isinstance(outcome, Reply) and outcome.is_good:
                try:
                    result = call.read(outcome.body)
                except (ValidationError, ValueError, RecursionError) as why:
                    error = no_result(call, outcome, why, (*secrets(), *call.secrets))
                    if call.when_empty is not None and not outcome.body.strip():
                        assert isinstance(error, ConnixResponseError)
                        permit.on_response(outcome.headers)
                        return (yield from _look(call.when_empty, error, policy, deadline - clock(), again))
                else:
                    permit.on_response(outcome.headers)
                    return result
            elif isinstance(outcome, Reply):
                error = refusal(call, outcome, (*secrets(), *call.secrets))
            else:
                assert isinstance(outcome, ConnixError)
                error = outcome
                permit.on_no_response(may_have_arrived=error.may_have_executed)
            last = error
            error.request_id = error.request_id or request_id
            _name_target(error, call)
            was_doubtful, doubtful = doubtful, doubtful or error.may_have_executed
            error.may_have_executed = doubtful
            if limited := isinstance(error, ConnixRateLimitError):
                error.bucket = call.bucket
            refusals += limited
            is_final = False
            if is_foreign(error):
                is_final = foreign.add(clock())
            else:
                foreign.reset()
            delay = retry_delay(
                error,
                repeatable=call.repeatable,
                attempt=attempt,
                refusals=refusals,
                foreign=0 if is_final else foreign.count,
                policy=policy,
                jitter=jitter(),
            )
            if background and delay is not None:
                delay = min(delay, LONGEST_POLL_DELAY)
            if isinstance(outcome, Reply):
                permit.on_response(outcome.headers, good=outcome.is_good, back_off=delay if limited else None)
            if was_doubtful and call.proof and call.proof.refused(error):
                settled = yield from _settle(call.proof, policy, deadline - clock(), again)
                if settled is not None:
                    return settled
            # A poll is repeated by its wait, which alone knows its deadline and what to tell.
            if delay is None or (limited and (background or delay > policy.longest_pause)):
                raise error
            left = deadline - clock()
            # Within a task's own time no refusal is final before that is over.
            if is_patient := limited and deadline == policy.deadline:
                delay = patience(delay, left)
            if delay >= left:
                if is_patient and left > 0:
                    yield Pause(left)
                raise error
            yield Pause(delay)
            attempt += not limited
    raise error


def _name_target(error: ConnixError, call: Call[Any]) -> ConnixError:
    """Tell an error which project and agent its call names."""
    error.project_id = error.project_id or call.project_id
    error.agent_id = error.agent_id or call.agent_id
    return error


def _slot(
    call: Call[Any],
    permit: Permit,
    policy: RetryPolicy,
    deadline: float,
    clock: Callable[[], float],
    last: ConnixError | None,
) -> Flow[None]:
    """Wait for a slot in the limiter, until there is one or the time is over; ``last`` failed before."""
    while wait := permit.try_acquire():
        now = clock()
        # What is expected is an estimate: in a task's own time it is worth to wait and see.
        ends = now if deadline == policy.deadline else now + wait
        if wait > policy.longest_pause or ends >= deadline:
            if last is not None and not isinstance(last, ConnixRateLimitError):
                # What made the call fail, not the limit that its own attempts used up.
                last.note = f"not sent again: the rate limit has room for {call.bucket} in {wait:.0f} s only"
                raise last
            error = rate_limit_wait_error(call, wait, now)
            _name_target(error, call)
            error.bucket = call.bucket
            error.may_have_executed = last is not None and last.may_have_executed
            raise error
        yield Pause(min(recheck_delay(wait), deadline - now))


def _look(
    look: Call[T],
    error: ConnixResponseError,
    policy: RetryPolicy,
    remaining: float,
    again: Callable[..., Flow[Any]],
) -> Flow[T]:
    """Look at what a change led to, where its good answer does not show it."""
    if remaining > 0:
        # Whoever gives way here would send the change again.
        bounds = dataclasses.replace(policy, total_timeout=remaining, longest_pause=math.inf)
        try:
            found: T = yield from again(look, bounds)
        except ConnixError as why:
            error.args = (f"{error}; what it led to could not be read either: {why}",)
            error.request_id = why.request_id
        else:
            return found
    raise error


def _settle(
    proof: Proof[T], policy: RetryPolicy, remaining: float, again: Callable[..., Flow[Any]]
) -> Flow[T | None]:
    """Look whether a call whose repeat was refused had been carried out the first time."""
    if proof.look is None:
        return proof.settle(None)
    if remaining <= 0:
        return None
    bounds = dataclasses.replace(policy, total_timeout=remaining)
    try:
        agent = yield from again(proof.look, bounds)
    except ConnixError:
        # The refusal itself is the better thing to tell.
        return None
    return proof.settle(agent)
