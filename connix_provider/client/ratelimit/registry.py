"""
Find the limiter of a key: one in a process, and what all processes of the machine share.

Keys are not kept: a limiter is found by a digest that means nothing outside of this process.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time

from connix_provider.client.ratelimit.limiter import RateLimiter
from connix_provider.client.ratelimit.shared import path_for
from connix_provider.values import quoted

__all__ = ["check_share", "limiter_for"]

#: Seconds after which a limiter that no call used is forgotten, when a new one comes: access tokens change.
_IDLE = 3600.0
_salt = secrets.token_bytes(32)
_limiters: dict[tuple[str, bytes], RateLimiter] = {}
# Reentrant, because a signal's handler may send a request in the middle of this.
_lock = threading.RLock()


def limiter_for(base_url: str, identity: str, share: float = 1.0) -> RateLimiter:
    """
    Return the limiter that all clients of a key in this process share.

    :param identity: what the service counts by: the key
    :param share: the part of each limit to keep to; of several, the smallest counts
    """
    found = (base_url, hashlib.blake2b(identity.encode(), key=_salt, digest_size=16).digest())
    with _lock:
        limiter = _limiters.get(found)
        if limiter is None:
            _forget_idle(time.monotonic())
            limiter = _limiters[found] = RateLimiter(share, shared=path_for(base_url, identity))
        limiter.share = min(limiter.share, share)
        return limiter


def check_share(share: object) -> float:
    """
    Check a share before it is used.

    :param share: what the user gave
    :raises ValueError: for anything but a number that is more than 0 and at most 1
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise ValueError(
            f"rate_limit_share must be a number that is more than 0 and at most 1, not {quoted(share)}"
        )
    return float(share)


def _forget_idle(now: float) -> None:
    for found in [found for found, limiter in tuple(_limiters.items()) if now - limiter.used_at > _IDLE]:
        _limiters.pop(found, None)


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()
    for limiter in tuple(_limiters.values()):
        limiter.begin_as_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
