"""Restart one agent, in a process that ends with it."""

from connix_provider.client import Client


def restart(url: str, key: str, project_id: str, agent_id: str) -> None:
    with Client(key, url) as client:
        client.agents.get(project_id, agent_id)
        client.agents.restart(project_id, agent_id)
