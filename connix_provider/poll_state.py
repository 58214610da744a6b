"""
Hold what polls of an agent showed, as far as a verdict rests on it.

Both classes are plain values: they are stored with a deferred task and read again in another process, so they
hold no secret and turn into JSON and back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any

__all__ = ["GRACE", "PollState", "Snapshot"]

#: Seconds after an action was accepted for which the status from before it is never final.
GRACE = 60.0


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """
    Hold what one poll showed of an agent.

    :param status: the status as the service wrote it, or ``None`` when Get answered 404
    :param updated_at: the service's time of the agent's last change
    :param updated_at_text: the same as the service wrote it, where it cannot be read as a time
    :param content: digests of what an update can change: first of what every response shows (name,
        description, public config), then of all of it, or ``None`` where the response may leave parts out
    """

    status: str | None
    updated_at: datetime | None = None
    updated_at_text: str | None = None
    content: tuple[str, str | None] | None = None

    def has_later_update(self, earlier: Snapshot) -> bool:
        """
        Tell whether ``updated_at`` moved on.

        :param earlier: an earlier poll
        :return: whether it is later, or, where one of the two cannot be read, written differently
        """
        if self.updated_at is not None and earlier.updated_at is not None:
            return self.updated_at > earlier.updated_at
        mine, theirs = self._update_text(), earlier._update_text()
        return mine is not None and theirs is not None and mine != theirs

    def has_content_of(self, other: Snapshot) -> bool:
        """
        Tell whether nothing shows that an update lies between two polls.

        :param other: the other poll
        :return: false where name, description, config or metadata differ as far as both show them
        """
        if self.content is None or other.content is None:
            return True
        (public, whole), (other_public, other_whole) = self.content, other.content
        return public == other_public and (whole is None or other_whole is None or whole == other_whole)

    def to_json(self) -> dict[str, Any]:
        """
        Make what can be stored and handed to another process.

        :return: plain JSON
        """
        moment = self.updated_at.isoformat() if self.updated_at else None
        content = list(self.content) if self.content else None
        return {**dataclasses.asdict(self), "updated_at": moment, "content": content}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Snapshot:
        """
        Read what :meth:`to_json` made.

        :param stored: the JSON
        :return: the snapshot
        """
        moment, content = stored.get("updated_at"), stored.get("content")
        return cls(
            stored.get("status"),
            datetime.fromisoformat(moment) if moment else None,
            stored.get("updated_at_text"),
            (content[0], content[1]) if content else None,
        )

    def _update_text(self) -> str | None:
        return self.updated_at.isoformat() if self.updated_at else self.updated_at_text


@dataclasses.dataclass(slots=True)
class PollState:
    """
    Hold between two polls what a verdict rests on; it travels with a deferred task.

    :param before: the agent as it was before the action, where that is known
    :param accepted_at: epoch seconds at which the service accepted the action; the grace counts from it
    :param changed: whether the agent was seen to change as the action changes it
    :param foreign_change: whether the agent was seen to change in a way that the action does not explain
    :param stable_since: epoch seconds at which the agent was first seen in a wanted status that it has kept
        ever since
    :param last: the poll before this one
    :param newest: the latest ``updated_at`` that was seen
    :param stale: how many polls in a row showed an earlier one
    """

    before: Snapshot | None = None
    accepted_at: float | None = None
    changed: bool = False
    foreign_change: bool = False
    stable_since: float | None = None
    last: Snapshot | None = None
    newest: datetime | None = None
    stale: int = 0

    def to_json(self) -> dict[str, Any]:
        """
        Make what can be handed to another process.

        :return: plain JSON without secrets
        """
        return {
            **dataclasses.asdict(self),
            "before": self.before.to_json() if self.before else None,
            "last": self.last.to_json() if self.last else None,
            "newest": self.newest.isoformat() if self.newest else None,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> PollState:
        """
        Read what :meth:`to_json` made; fields of another version of this provider are left out.

        :param stored: the JSON
        :return: the state
        """
        names = {field.name for field in dataclasses.fields(cls)}
        values = {name: value for name, value in stored.items() if name in names}
        for name in ("before", "last"):
            values[name] = Snapshot.from_json(values[name]) if values.get(name) else None
        newest = values.get("newest")
        return cls(**{**values, "newest": datetime.fromisoformat(newest) if newest else None})

    def in_grace(self, now: float) -> bool:
        """
        Tell whether the status from before the action may still be shown.

        :param now: epoch seconds
        :return: whether the action was accepted at most :data:`GRACE` seconds ago
        """
        return self.before is not None and self.accepted_at is not None and now < self.accepted_at + GRACE
