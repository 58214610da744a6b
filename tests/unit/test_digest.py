"""Digests notice a change, and give no secret away to a process without the credentials."""

import itertools

import pytest

from connix_provider.client import Agent, Client
from connix_provider.client.calls.steps import Response
from connix_provider.client.endpoints import get_agent
from connix_provider.digest import digest, digest_key, may_be_equal
from connix_provider.poll_state import Snapshot


def agent_of(client, pin="4711", **changes):
    config = {"model": "m", "environment_variables": {"PIN": pin}}
    agent = Agent.model_validate({"id": "a", "status": "running", "name": "n", "config": config, **changes})
    if client is not None:
        agent.set_digest_key(client.digest_key)
    return agent


def test_a_digest_confirms_no_guess_without_the_key():
    with Client("cx_one", "http://127.0.0.1:9") as client:
        stored = agent_of(client).snapshot().to_json()["content"]
    guesses = (agent_of(None, pin=pin).snapshot().to_json()["content"] for pin in ("4711", "4712"))
    # Without the mark of the key, which a guess cannot have.
    assert stored[1].partition(":")[2] not in {guess[1].partition(":")[2] for guess in guesses}
    assert "4711" not in str(stored)


def test_a_client_gives_its_agents_the_key():
    with Client("cx_one", "http://127.0.0.1:9") as client:
        expected = agent_of(client)
        flow = client.flow(get_agent("p", "a"))
        flow.send(None)
        with pytest.raises(StopIteration) as end:
            flow.send(Response(200, {}, expected.model_dump_json(exclude_unset=True).encode()))
    assert end.value.value.snapshot().content == expected.snapshot().content


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"description": "d"},
        {"metadata": {"a": 1}},
        {"pin": "4712"},
        {"config": {"model": "m2"}},
    ],
)
def test_a_change_shows_in_a_digest(changes):
    with Client("cx_one", "http://127.0.0.1:9") as client, Client("cx_one", "http://127.0.0.1:9") as again:
        before = Snapshot.from_json(agent_of(client).snapshot().to_json())
        assert agent_of(again).snapshot().has_content_of(before)
        assert not agent_of(again, **changes).snapshot().has_content_of(before)


def test_digests_of_two_keys_show_no_change():
    with Client("cx_one", "http://127.0.0.1:9") as client, Client("cx_two", "http://127.0.0.1:9") as other:
        before = agent_of(client).snapshot()
        assert agent_of(other, pin="4712").snapshot().has_content_of(before)
        assert not agent_of(other, name="renamed").snapshot().has_content_of(before)


def test_each_credential_counts_for_the_key():
    keys = [digest_key(given) for given in (["a"], ["b"], ["a", None], ["a", "b"], [None, "a"], ["ab"])]
    for one, other in itertools.combinations(keys, 2):
        assert one != other
        assert digest(one, "x") != digest(other, "x")
    assert not may_be_equal(digest(keys[0], "x"), digest(keys[0], "y"))
