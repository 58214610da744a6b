"""Name an agent in messages: by name and id, with its project and a link to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from connix_provider.values import agent_label

__all__ = ["LONGEST_NAME", "AgentRef"]

#: Characters of a name that the service gives, in messages and in what Airflow stores.
LONGEST_NAME = 300


@dataclasses.dataclass(frozen=True, slots=True)
class AgentRef:
    """
    Name an agent.

    :param agent_id: its id, or ``None`` while only its name is known
    :param name: its name, if known
    :param link: the address of its page in the Connix console
    """

    agent_id: str | None
    name: str | None = None
    project_id: str | None = None
    link: str | None = None

    def __str__(self) -> str:
        """Return the words that go after "agent" in a message."""
        if self.agent_id is None:
            return repr(self.name)
        return agent_label(self.agent_id, self.name)

    @property
    def context_suffix(self) -> str:
        """Where to find it, for the end of a message; empty where nothing is known."""
        return self.context_suffix_after([])

    def context_suffix_after(self, origin: Iterable[str]) -> str:
        """
        Say where to find it, after what else belongs to the end of a message.

        :param origin: such as the request that a message is about
        :return: words in parentheses, or nothing
        """
        parts = [*origin, *([f"project {self.project_id}"] if self.project_id else [])]
        parts += [self.link] if self.link else []
        return f" ({', '.join(parts)})" if parts else ""
