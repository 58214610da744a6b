"""
Keep to the rate limits of a key.

Each request needs a permit of the key's limiter, and each response updates the limiter.
"""

from connix_provider.client.ratelimit.buckets import DOCUMENTED, Bucket
from connix_provider.client.ratelimit.limiter import RateLimiter
from connix_provider.client.ratelimit.permit import Permit, recheck_delay
from connix_provider.client.ratelimit.poll_probe import LONGEST_POLL_DELAY
from connix_provider.client.ratelimit.retry_after import retry_after_hint

__all__ = [
    "DOCUMENTED",
    "LONGEST_POLL_DELAY",
    "Bucket",
    "Permit",
    "RateLimiter",
    "recheck_delay",
    "retry_after_hint",
]
