"""Remember the secrets of agents that a client has met, because a later error or log line may quote them."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connix_provider.client.models import Agent

__all__ = ["KnownSecrets"]

#: Agents that are remembered, and configurations of each: an agent is updated a few times in a task.
_MAX_AGENTS, _MAX_CONFIGS = 256, 4


class KnownSecrets:
    """
    Hold the secrets of the last agents.

    A former secret is kept beside the present one, because it may be valid elsewhere. So is one that a
    request sent, because the service may leave it out of its responses.
    """

    def __init__(self) -> None:
        #: The agents with different configurations, the newest last, and the secrets of requests.
        self._by_id: OrderedDict[str, tuple[list[Agent], set[str]]] = OrderedDict()

    def add(self, agent: Agent, sent: tuple[str, ...] = ()) -> None:
        """
        Remember an agent.

        :param sent: the secrets in the request whose response showed it
        """
        # In this order, because threads may share the client.
        agents, secrets = self._by_id.pop(agent.id, ([], set()))
        # The secrets are looked for only once they are needed, because most responses are never quoted.
        others = [known for known in agents if known.config != agent.config]
        self._by_id[agent.id] = ([*others, agent][-_MAX_CONFIGS:], secrets | set(sent))
        if len(self._by_id) > _MAX_AGENTS:
            self._by_id.popitem(last=False)

    def of_agent(self, agent_id: str | None) -> tuple[str, ...]:
        """Return the secrets of an agent."""
        agents, secrets = self._by_id.get(agent_id or "", ([], set()))
        return tuple(dict.fromkeys((*secrets, *(secret for agent in agents for secret in agent.secrets()))))
