"""
Keep to the rate limits of a key.

Each request needs a permit of the key's limiter, and each response teaches the limiter.
"""

from connix_provider.client.ratelimit.buckets import DOCUMENTED, Bucket
from connix_provider.client.ratelimit.headers import KEY_FAMILY, RateLimitHeaders, parse_number
from connix_provider.client.ratelimit.limiter import RateLimiter
from connix_provider.client.ratelimit.permit import Permit, recheck_delay
from connix_provider.client.ratelimit.poll_probe import LONGEST_POLL_DELAY
from connix_provider.client.ratelimit.retry_after import retry_after_hint
from connix_provider.client.ratelimit.server_clock import server_time

__all__ = [
    "DOCUMENTED",
    "KEY_FAMILY",
    "LONGEST_POLL_DELAY",
    "Bucket",
    "Permit",
    "RateLimitHeaders",
    "RateLimiter",
    "parse_number",
    "recheck_delay",
    "retry_after_hint",
    "server_time",
]
