"""Decide whether a failed call is sent again, and when: a pure function of call, error and attempt."""

from __future__ import annotations

import dataclasses
import math

from connix_provider.client.errors import (
    ConnixAPIError,
    ConnixConnectionError,
    ConnixError,
    ConnixRateLimitError,
    ConnixResponseError,
    ConnixTimeoutError,
)

__all__ = ["RetryPolicy", "is_transient_status", "may_pass", "patience", "retry_delay"]

#: What may pass besides 5xx: a request that came too late or too early, and a rate limit.
_TRANSIENT = frozenset({408, 425, 429})
#: The one 5xx that stays the same: the service does not know the method.
_NOT_IMPLEMENTED = 501
#: Seconds after which a limit of the reference is full again.
_USUAL_WINDOW = 60.0
#: However long the service asks to be left alone, the jitter on top stays below this many seconds.
_MOST_JITTER = 5.0


@dataclasses.dataclass(frozen=True, slots=True)
class RetryPolicy:
    """
    Bound the retries of one call.

    :param max_attempts: how often a call is sent at most; refusals for the rate limit are not counted,
        they were never carried out
    :param base_delay: seconds before the second attempt; each further one waits twice as long
    :param max_delay: most seconds between two attempts, where the service does not ask for more
    :param total_timeout: seconds for the call as a whole, attempts and pauses together
    :param deadline: epoch seconds after which nothing is sent at all
    :param longest_pause: seconds; a call that would wait longer for its permit, or after a refusal for the
        rate limit, fails at once instead
    :param response_grace: seconds after the end of the time allowed for which a response is still awaited;
        the request itself is sent before that end
    """

    max_attempts: int = 5
    base_delay: float = 0.5
    max_delay: float = 30.0
    total_timeout: float = 300.0
    deadline: float = math.inf
    longest_pause: float = math.inf
    response_grace: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.max_attempts, int) or self.max_attempts < 1:
            raise ValueError(f"max_attempts must be 1 or more, not {self.max_attempts!r}")
        if not isinstance(self.total_timeout, int | float) or not self.total_timeout > 0:
            raise ValueError(f"total_timeout must be more than 0 seconds, not {self.total_timeout!r}")


def is_transient_status(status_code: int) -> bool:
    """
    Return whether a response of this status may be another one soon.

    :param status_code: HTTP status
    :return: true for every 5xx but 501, for 408, 425 and 429
    """
    return status_code in _TRANSIENT or (500 <= status_code <= 599 and status_code != _NOT_IMPLEMENTED)


def may_pass(error: ConnixError) -> bool:
    """
    Return whether an error is transient by itself.

    A 401, 403 or 404 without Connix's error body is not: how many of them in a row are final is counted by
    :class:`~connix_provider.client.foreign_refusals.ForeignRefusals`.

    :param error: the error
    :return: true for trouble on the way or at the service, false for a response that will stay the same
    """
    if isinstance(error, ConnixAPIError):
        return isinstance(error, ConnixRateLimitError) or is_transient_status(error.status_code)
    return isinstance(error, ConnixConnectionError | ConnixTimeoutError | ConnixResponseError)


def retry_delay(
    error: ConnixError,
    *,
    repeatable: bool,
    attempt: int,
    policy: RetryPolicy,
    jitter: float,
    refusals: int = 0,
    foreign: int = 0,
) -> float | None:
    """
    Decide whether to send a call again after a failure.

    The service's hint goes before our own backoff, unless it says next to nothing. Jitter only ever lengthens
    a hint: coming back early would be refused.

    :param error: what the attempt ended in
    :param repeatable: whether the call may be sent again when the first may have been carried out
    :param attempt: which attempt failed, from 1; refusals for the rate limit are not counted
    :param policy: the bounds
    :param jitter: a random number from 0 to 1
    :param refusals: refusals for the rate limit so far; they lengthen the backoff, or a limit without a
        hint would be asked again and again
    :param foreign: refusals without Connix's error body in a row, this one included; 0 for any other error,
        and where the refusal is final
    :return: seconds to wait, or ``None`` to give up
    """
    if not (foreign or may_pass(error)) or (error.may_have_executed and not repeatable):
        return None
    if not isinstance(error, ConnixRateLimitError) and attempt >= policy.max_attempts:
        return None
    if foreign:
        # From 1 s: five attempts then last just longer than the 15 s after which such a refusal is final.
        return float(2.0 ** min(foreign - 1, 30)) * (1.0 + 0.1 * jitter)
    hint = error.retry_after if isinstance(error, ConnixAPIError) else None
    if hint is not None and hint >= policy.base_delay:
        return hint + jitter * min(_MOST_JITTER, 0.1 * hint + 0.1)
    # min() before the power: a long outage must not overflow.
    failures = attempt - 1 + max(0, refusals - isinstance(error, ConnixRateLimitError))
    backoff = min(policy.max_delay, policy.base_delay * 2.0 ** min(failures, 30))
    return max(hint or 0.0, backoff * (0.5 + jitter / 2))


def patience(delay: float, left: float) -> float:
    """
    Decide how long to wait after a refusal for the rate limit, where the time allowed is shorter.

    A hint may be far off, and a limit is full again within a minute as a rule. As long as there is time for
    that, the call is tried once more then.

    :param delay: seconds to wait, as :func:`retry_delay` has it
    :param left: seconds until the deadline
    :return: seconds to wait; with those that are left or more, no other try is worth it
    """
    return delay if delay < left else min(delay, _USUAL_WINDOW)
