"""A response about another agent is no result, whatever its status."""

from __future__ import annotations

import json

import pytest

from connix_provider.client import endpoints
from connix_provider.client.responses.results import NoResultError

AGENT = {"id": "a", "name": "Alpha", "status": "running"}
BODY = {"name": "Alpha", "config": {"model": "m"}}

CALLS = {
    "get": endpoints.get_agent("p", "a"),
    "update": endpoints.update_agent("p", "a", {"description": "d"}),
    "create": endpoints.create_agent("p", BODY),
    "start": endpoints.start_agent("p", "a"),
    "pause": endpoints.pause_agent("p", "a"),
    "stop": endpoints.stop_agent("p", "a"),
    "restart": endpoints.restart_agent("p", "a"),
    "delete": endpoints.delete_agent("p", "a"),
}


@pytest.mark.parametrize("body", [{"id": "b"}, {"id": "A"}, {"id": 1}])
@pytest.mark.parametrize("call", ["get", "update"])
def test_an_agent_with_another_id_is_refused(call, body):
    with pytest.raises(NoResultError, match="another id"):
        CALLS[call].read(json.dumps(AGENT | body).encode())


@pytest.mark.parametrize("call", ["start", "pause", "stop", "restart", "delete"])
def test_a_confirmation_of_another_agent_is_refused(call):
    with pytest.raises(NoResultError, match="another id"):
        CALLS[call].read(b'{"agent_id": "b", "status": "updating", "message": "ok"}')
    assert CALLS[call].read(b'{"message": "ok"}').agent_id == "a"


def test_a_created_agent_with_another_name_is_refused():
    with pytest.raises(NoResultError, match="another name"):
        CALLS["create"].read(json.dumps(AGENT | {"name": "Beta"}).encode())


@pytest.mark.parametrize("name", ["Alpha", " alpha ", "\uff21lpha", "", None])
def test_a_name_may_be_normalized(name):
    assert CALLS["create"].read(json.dumps(AGENT | {"name": name}).encode()).id == "a"


@pytest.mark.parametrize("name", [2024, 1.5, True, ["x"], {"a": 1}])
def test_a_name_of_another_type_becomes_text(name):
    call = endpoints.create_agent("p", {"name": json.dumps(name)})
    assert call.read(json.dumps(AGENT | {"name": name}).encode()).name == json.dumps(name)


def test_a_numeric_id_equals_its_text():
    assert endpoints.get_agent("p", "1").read(json.dumps(AGENT | {"id": 1}).encode()).id == "1"
