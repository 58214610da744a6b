"""Remember the secrets that a client has sent or received, because an error or log line may quote them."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
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
        # Only additions to what is there, because threads may share the client.
        agents, secrets = self._by_id.setdefault(agent.id, ([], set()))
        secrets.update(sent)
        # The secrets are looked for only once they are needed, because most responses are never quoted.
        if all(known.config != agent.config for known in agents):
            agents.append(agent)
            del agents[:-_MAX_CONFIGS]
        with suppress(KeyError):
            self._by_id.move_to_end(agent.id)
        if len(self._by_id) > _MAX_AGENTS:
            self._by_id.popitem(last=False)

    def of_agent(self, agent_id: str | None) -> tuple[str, ...]:
        """Return the secrets of an agent."""
        agents, secrets = self._by_id.get(agent_id or "", ([], set()))
        found = (secret for agent in tuple(agents) for secret in agent.secrets())
        return tuple(dict.fromkeys((*secrets, *found)))
