"""An agent that a watcher reads: its subscriptions, and where the listings showed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connix_provider.polling.watching.subscription import Subscription

__all__ = ["WatchedAgent"]

#: What an agent counts that is due at this very moment, in seconds.
_JUST_DUE = 0.001


class WatchedAgent:
    """Hold the subscriptions of one agent, and where the listings showed it."""

    __slots__ = ("is_missing", "pages", "status", "subscriptions", "unplaced_since")

    def __init__(self, number: int) -> None:
        self.subscriptions: list[Subscription] = []
        self.status: str | None = None
        #: The page that showed it last, by the status of the listing.
        self.pages: dict[str | None, int] = {}
        #: The number of the first read that would have shown it in other listings.
        self.unplaced_since = number
        #: Whether it was not on the page that showed it before.
        self.is_missing = False

    @property
    def interval(self) -> float:
        """The shortest poll interval."""
        return min(subscription.interval for subscription in self.subscriptions)

    def overdue(self, now: float) -> float:
        """Return by how many seconds its polls are overdue, in sum; 0 where none is due."""
        overdue = 0.0
        for subscription in self.subscriptions:
            if subscription.is_waiting:
                late = now - subscription.due
                if late >= 0.0 or (self.is_missing and subscription.is_nearly_due(now)):
                    overdue += max(_JUST_DUE, late)
        return overdue
