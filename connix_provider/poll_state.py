"""
The state of a wait between two polls: snapshots of the agent, and what earlier polls showed.

Invariants:

- Both classes turn into JSON and back, because a deferred task passes them to the triggerer.
- They hold no secret, because Airflow stores them as plain text. Content is kept as digests.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from connix_provider.digest import may_be_equal

__all__ = ["GRACE", "PollState", "Sign", "Snapshot"]

#: Seconds after an action was accepted during which the status from before it is never final.
GRACE = 60.0
#: The fields of a poll state that are moments, by the clock of the wait.
_MOMENTS = ("accepted_at", "found_at", "stable_since", "stale_since")


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """
    What one poll showed of an agent.

    :param status: the status as the service wrote it, or ``None`` for the agent's own 404
    :param updated_at: the service's time of the agent's last change
    :param updated_at_text: the same as the service wrote it, if it cannot be read as a time
    :param content: two digests of what an update can change. The first covers what every response shows:
        name, description, public config. The second covers secrets, too, and has the key of the client; it
        is ``None`` if the response may leave parts out
    """

    status: str | None
    updated_at: datetime | None = None
    updated_at_text: str | None = None
    content: tuple[str, str | None] | None = None

    def has_later_update(self, earlier: Snapshot) -> bool:
        """
        Return whether ``updated_at`` moved.

        :param earlier: an earlier snapshot
        :return: whether it is later, or is written differently if one of the two cannot be read as a time
        """
        if self.updated_at is not None and earlier.updated_at is not None:
            return self.updated_at > earlier.updated_at
        now, then = self._update_text(), earlier._update_text()
        return now is not None and then is not None and now != then

    def has_content_of(self, other: Snapshot) -> bool:
        """
        Return whether no update shows between two snapshots.

        :return: false if name, description, config or metadata differ, as far as both snapshots have them
        """
        if self.content is None or other.content is None:
            return True
        (public, full), (other_public, other_full) = self.content, other.content
        return public == other_public and (
            full is None or other_full is None or may_be_equal(full, other_full)
        )

    def to_json(self) -> dict[str, Any]:
        """Serialize the snapshot."""
        updated_at = self.updated_at.isoformat() if self.updated_at else None
        content = list(self.content) if self.content else None
        return {**dataclasses.asdict(self), "updated_at": updated_at, "content": content}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Snapshot:
        """Deserialize what :meth:`to_json` made."""
        updated_at, content = stored.get("updated_at"), stored.get("content")
        return cls(
            stored.get("status"),
            datetime.fromisoformat(updated_at) if updated_at else None,
            stored.get("updated_at_text"),
            (content[0], content[1]) if content else None,
        )

    def _update_text(self) -> str | None:
        return self.updated_at.isoformat() if self.updated_at else self.updated_at_text


class Sign(StrEnum):
    """The sign of an update that a wait needs, as far as the response to the update did not show it."""

    NONE = ""
    #: During the grace, because the response showed the agent on its way.
    AWAITED = "awaited"
    #: Until the deadline, because the response showed the agent as it was before.
    REQUIRED = "required"


@dataclasses.dataclass(slots=True)
class PollState:
    """
    What a verdict needs of the time before a poll.

    :param before: the agent before the action, if known
    :param accepted_at: epoch seconds at which the service accepted the action; the grace counts from here
    :param found_at: epoch seconds at which a create made or found the agent
    :param changed: whether a poll showed a change that the action explains
    :param other_change: whether a poll showed a change that the action does not explain
    :param stable_since: epoch seconds of the first poll of the unbroken row that showed a status of the goal
    :param last: the snapshot of the last poll
    :param newest: the latest ``updated_at`` of all polls
    :param stale: how many of the last polls showed an earlier ``updated_at``
    :param stale_since: epoch seconds of the first of them
    :param sign: the sign of an update that the wait needs besides the status
    :param was_busy: whether a poll showed the agent creating or updating
    """

    before: Snapshot | None = None
    accepted_at: float | None = None
    found_at: float | None = None
    changed: bool = False
    other_change: bool = False
    stable_since: float | None = None
    last: Snapshot | None = None
    newest: datetime | None = None
    stale: int = 0
    stale_since: float | None = None
    sign: Sign = Sign.NONE
    was_busy: bool = False

    def to_json(self, to_system: Callable[[float], float] | None = None) -> dict[str, Any]:
        """
        Serialize the state.

        :param to_system: converts a moment of this process to epoch seconds of the system's clock
        :return: plain JSON without secrets
        """
        moments = {name: getattr(self, name) for name in _MOMENTS}
        if to_system is not None:
            moments = {name: moment and to_system(moment) for name, moment in moments.items()}
        return {
            **dataclasses.asdict(self),
            **moments,
            "before": self.before.to_json() if self.before else None,
            "last": self.last.to_json() if self.last else None,
            "newest": self.newest.isoformat() if self.newest else None,
            "sign": self.sign.value,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> PollState:
        """Deserialize what :meth:`to_json` made; fields of another version of this provider are ignored."""
        names = {field.name for field in dataclasses.fields(cls)}
        values = {name: value for name, value in stored.items() if name in names}
        for name in ("before", "last"):
            values[name] = Snapshot.from_json(values[name]) if values.get(name) else None
        newest = values.get("newest")
        return cls(
            **{
                **values,
                "newest": datetime.fromisoformat(newest) if newest else None,
                "sign": Sign(values.get("sign", "")),
            }
        )

    def in_grace(self, now: float) -> bool:
        """Return whether polls may still show the status from before the action."""
        return self.before is not None and self.accepted_at is not None and now < self.accepted_at + GRACE
