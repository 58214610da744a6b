"""Decide whether a request may be sent now, from the limits and its place in the queue."""

from __future__ import annotations

import math
from collections.abc import Sequence

from connix_provider.client.ratelimit.limits import Limit
from connix_provider.client.ratelimit.state import BucketState

__all__ = ["response_delay", "seconds_until_allowed"]

#: Seconds after which a response may be there; calls further behind in the queue wait a step longer each.
_RESPONSE, _STEP = 0.05, 0.0025
#: Counting with fractions leaves a little less than a whole now and then.
_EPSILON = 1e-6


def seconds_until_allowed(
    bucket_state: BucketState,
    limits: Sequence[Limit],
    now: float,
    position: int,
    *,
    share: float,
    background: bool,
    paced: bool,
    reserves: bool,
) -> float:
    """
    Return how long a request has to wait.

    :param limits: the limits that count for it, as they stand now
    :param position: how many requests of its kind are ahead of it in the queue
    :param share: the part of each limit that this process keeps to
    :param background: whether it is a poll
    :param paced: whether it is spread over the window
    :param reserves: whether the first one in the queue reserves its time, if it is paced
    :return: seconds, 0 where it may be sent now
    """
    if now < bucket_state.blocked_until:
        return bucket_state.blocked_until - now + _STEP * position
    wanted = position + 1 - _EPSILON
    actions, polls = (len(queue) for queue in bucket_state.queues)
    wait, pace, burst = 0.0, math.inf, math.inf
    for limit in limits:
        spare = limit.spare(share)
        floor = limit.polling_floor(share)
        if background:
            usable = spare - limit.reserve(share) - actions
            if actions:
                usable = max(usable, min(floor, spare))
        else:
            usable = spare - (floor if polls else 0.0)
        pace = min(pace, limit.pace(now, usable, share))
        burst = min(burst, limit.burst())
        if usable < wanted:
            wait = max(wait, limit.seconds_until_free(now, wanted - max(usable, 0.0), share))
        elif (room := limit.room()) < wanted:
            wait = max(wait, response_delay(wanted - room))
    if paced and limits and pace > 0:
        free = max(bucket_state.next_paced_at, now - (burst - 1) / pace)
        due = (free if bucket_state.reserved_at is None else bucket_state.reserved_at) + position / pace
        is_first = not position and bucket_state.reserved_at is None
        if reserves and not wait and (is_first or (position and due <= now)):
            if is_first:
                bucket_state.reserved_at = free
            bucket_state.next_paced_at = min(free + 1 / pace, *(limit.end for limit in limits), math.inf)
        wait = max(wait, due - now)
    return wait


def response_delay(behind: float) -> float:
    """Return the seconds until the next check, if only a response is pending."""
    return _RESPONSE + _STEP * behind
