"""
Find what a process shares: the budget of a key at a service, and the newest tokens of an OAuth2 grant.

Both are found by a digest that means nothing outside of this process; keys are not kept. A forked process
begins with what its parent knew.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time

from connix_provider.client.ratelimit import RateLimiter

__all__ = ["check_share", "limiter_for"]

#: Budgets that nobody asked for so many seconds are forgotten when a new one comes: tokens come and go.
_IDLE = 3600.0
_salt = secrets.token_bytes(32)
_limiters: dict[tuple[str, bytes], RateLimiter] = {}
# A signal's handler may ask for either in the middle of this.
_lock = threading.RLock()


def limiter_for(base_url: str, identity: str, share: float = 1.0) -> RateLimiter:
    """
    Find the budget that everything in this process shares which uses this key.

    :param base_url: the service's address
    :param identity: what the service counts by: the key
    :param share: the part of each limit to keep to; of several, the smallest counts
    :return: the budget
    """
    digest = _digest(identity)
    with _lock:
        limiter = _limiters.get((base_url, digest))
        if limiter is None:
            _forget_idle(time.monotonic())
            limiter = _limiters[base_url, digest] = RateLimiter(share)
        limiter.share = min(limiter.share, share)
        return limiter


def check_share(share: object) -> float:
    """
    Check a share before it is used.

    :param share: what the user gave
    :return: the share
    :raises ValueError: for anything but a number that is more than 0 and at most 1
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise ValueError(
            f"rate_limit_share must be a number that is more than 0 and at most 1, not {share!r}"
        )
    return float(share)


def _digest(identity: str) -> bytes:
    return hashlib.blake2b(identity.encode(), key=_salt, digest_size=16).digest()


def _forget_idle(now: float) -> None:
    for found in [found for found, limiter in tuple(_limiters.items()) if now - limiter.used_at > _IDLE]:
        _limiters.pop(found, None)


def _after_fork() -> None:
    """Leave behind what belongs to the parent: a lock that one of its threads held, and its requests."""
    global _lock
    _lock = threading.RLock()
    for limiter in tuple(_limiters.values()):
        limiter.forget_those_who_wait()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
