"""The secrets that a client has sent or received, former ones included."""

from __future__ import annotations

import sys
import threading

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


def test_no_secret_of_another_thread_is_lost():
    known = KnownSecrets()

    def add(name: str) -> None:
        for number in range(2000):
            known.add(agent("shared-secret"), sent=(f"{name}-{number}",))

    threads = [threading.Thread(target=add, args=(name,)) for name in ("first", "second")]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(known.of_agent("agent_1")) == 4001
