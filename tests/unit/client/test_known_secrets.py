"""The secrets that a client has met, former ones and sent ones included."""

from __future__ import annotations

import pytest

from connix_provider.client.known_secrets import KnownSecrets
from connix_provider.client.models import Agent


def agent(secret: str | None, agent_id: str = "agent_1") -> Agent:
    config = {} if secret is None else {"environment_variables": {"TOKEN": secret}}
    return Agent.model_validate({"id": agent_id, "status": "running", "config": config})


@pytest.mark.parametrize("shown", ["present-secret", "********", None])
def test_former_and_sent_secrets_are_kept(shown):
    known = KnownSecrets()
    known.add(agent("former-secret"))
    known.add(agent(shown), sent=("present-secret",))
    assert {"former-secret", "present-secret"} <= {*known.of_agent("agent_1")}
    assert known.of_agent("agent_2") == known.of_agent(None) == ()


def test_memory_is_bounded():
    known = KnownSecrets()
    for number in range(1000):
        known.add(agent(f"secret-{number}", f"agent_{number}"))
    assert known.of_agent("agent_0") == ()
    for number in range(1000):
        known.add(agent(f"secret-{number}"))
    assert len(known.of_agent("agent_1")) <= 4
