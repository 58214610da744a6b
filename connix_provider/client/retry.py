"""Decide whether and when a failed call is sent again, from the error and the number of the attempt alone."""

from __future__ import annotations

import dataclasses
import math

from connix_provider.client.errors import ConnixAPIError, ConnixError, ConnixRateLimitError
from connix_provider.client.transient import is_transient
from connix_provider.values import quoted

__all__ = ["RetryPolicy", "cap_retry_delay", "retry_delay"]

#: Seconds of a window of the reference's rate limits.
_DEFAULT_WINDOW = 60.0
#: Seconds of a hint that are obeyed after any error but 429.
_LONGEST_HINT = 60.0
#: Upper bound of the jitter on top of a hint, in seconds.
_MAX_JITTER = 5.0


@dataclasses.dataclass(frozen=True, slots=True)
class RetryPolicy:
    """
    Bounds of the attempts of one call.

    :param max_attempts: attempts at most; those that meet 429 do not count, because they were not executed
    :param base_delay: seconds before the second attempt; the delay doubles with each further attempt
    :param max_delay: seconds between two attempts at most, unless the service's hint is longer
    :param total_timeout: seconds for the call, all attempts and pauses together
    :param deadline: epoch seconds after which no request is sent
    :param max_permit_wait: seconds; a call that had to wait longer for a permit, or after a 429, raises
    :param response_grace: seconds after the deadline during which the response to an earlier request is
        awaited
    """

    max_attempts: int = 5
    base_delay: float = 0.5
    max_delay: float = 30.0
    total_timeout: float = 300.0
    deadline: float = math.inf
    max_permit_wait: float = math.inf
    response_grace: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.max_attempts, int) or self.max_attempts < 1:
            raise ValueError(f"max_attempts must be 1 or more, not {quoted(self.max_attempts)}")
        if not isinstance(self.total_timeout, int | float) or not self.total_timeout > 0:
            raise ValueError(f"total_timeout must be more than 0 seconds, not {quoted(self.total_timeout)}")


def retry_delay(
    error: ConnixError,
    *,
    idempotent: bool,
    attempt: int,
    policy: RetryPolicy,
    jitter: float,
    refusals: int = 0,
    gateway_refusals: int = 0,
) -> float | None:
    """
    Return how long to wait before the next attempt.

    A hint of the service replaces the backoff, unless it is shorter than ``base_delay``. Jitter only
    lengthens a hint, because an earlier request would be refused.

    :param idempotent: whether the request is safe to send twice
    :param attempt: the number of the attempt, from 1; attempts that ended with a 429 do not count
    :param jitter: a random number from 0 to 1
    :param refusals: attempts so far that ended with a 429; they lengthen the backoff without hints
    :param gateway_refusals: refusals in a row without Connix's error body, this one included; 0 for any other
        error, and for a refusal that is final
    :return: seconds to wait, or ``None`` for a final error
    """
    if not (gateway_refusals or is_transient(error)) or (error.may_have_executed and not idempotent):
        return None
    if not isinstance(error, ConnixRateLimitError) and attempt >= policy.max_attempts:
        return None
    if gateway_refusals:
        # Five attempts from 1 s on last just longer than the 15 s after which such a refusal is final.
        return float(2.0 ** min(gateway_refusals - 1, 30)) * (1.0 + 0.1 * jitter)
    hint = error.retry_after if isinstance(error, ConnixAPIError) else None
    if hint is not None and not isinstance(error, ConnixRateLimitError):
        # A server that is down cannot know for how long; only a rate limit is a fact.
        hint = min(hint, _LONGEST_HINT)
    if hint is not None and hint >= policy.base_delay:
        return hint + jitter * min(_MAX_JITTER, 0.1 * hint + 0.1)
    # min() before the power, because a long outage would overflow.
    failures = attempt - 1 + max(0, refusals - isinstance(error, ConnixRateLimitError))
    backoff = min(policy.max_delay, policy.base_delay * 2.0 ** min(failures, 30))
    return max(hint or 0.0, backoff * (0.5 + jitter / 2))


def cap_retry_delay(delay: float, left: float) -> float:
    """
    Cap the delay after a 429 if it goes beyond the deadline.

    Hints are wrong now and then, and the reference's windows are a minute long. So the call is tried once
    more after a minute, if the deadline is later than that.

    :param delay: seconds to wait, from :func:`retry_delay`
    :param left: seconds until the deadline
    :return: seconds to wait; if not less than ``left``, there is no time for another attempt
    """
    return delay if delay < left else min(delay, _DEFAULT_WINDOW)
