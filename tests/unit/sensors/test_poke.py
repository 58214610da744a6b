"""A sensor's ``poke`` called by itself, as a unit test of a DAG does: one look, whatever the context."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest
from scenarios import PASSING, agent, faulty

from connix_provider.agent_lookup import AgentNameNotFoundError
from connix_provider.client.errors import ConnixAuthenticationError
from connix_provider.emulator import Fault
from connix_provider.exceptions import ConnixAgentFailedError, ConnixAgentGoneError
from connix_provider.hooks.connix import ConnixHook
from connix_provider.sensors.agent import ConnixAgentStatusSensor

pytestmark = pytest.mark.heavy

HOWS = pytest.mark.parametrize(
    "how",
    [{"mode": "poke"}, {"mode": "reschedule"}, {"deferrable": True}],
    ids=["poke", "reschedule", "deferred"],
)
CONTEXTS = pytest.mark.parametrize("context", [{}, MagicMock()], ids=["empty", "mock"])
REFUSED = Fault.status(401, code="unauthorized")
DOWN = Fault.status(503)


@pytest.fixture(autouse=True)
def all_is_closed(connection, warp, monkeypatch):
    open_one, clients = ConnixHook.get_conn, []

    def keep(self):
        clients.append(open_one(self))
        return clients[-1]

    monkeypatch.setattr(ConnixHook, "get_conn", keep)
    yield
    assert clients
    assert all(client._http.is_closed for client in clients)


@pytest.fixture
def poke(emulator):
    def poke_once(prepare, context=None, **arguments):
        arguments = {"task_id": "task", "poke_interval": 1, **(prepare(emulator) or {}), **arguments}
        return ConnixAgentStatusSensor(**arguments).poke({} if context is None else context)

    return poke_once


@HOWS
@CONTEXTS
def test_poke_is_true_for_the_awaited_status(how, context, emulator, poke):
    poked = poke(agent("running"), context, **how)
    assert poked
    assert poked.xcom_value == emulator.journal.entries()[0].path.rpartition("/")[2]
    assert len(emulator.journal.entries()) == 1


@HOWS
@CONTEXTS
@pytest.mark.parametrize(
    ("status", "arguments"),
    [
        ("paused", {}),
        ("hibernating", {}),
        ("error", {"failure_statuses": []}),
        ("running", {"stable_for": 3}),
    ],
)
def test_it_is_false_where_it_is_not_yet(how, context, status, arguments, emulator, poke):
    assert poke(agent(status), context, **how, **arguments) is False
    assert len(emulator.journal.entries()) == 1


@HOWS
@CONTEXTS
@pytest.mark.parametrize(
    ("prepare", "error", "says"),
    [
        (agent("error"), ConnixAgentFailedError, "it is in error"),
        (faulty(REFUSED, "get_agent", agent("running")), ConnixAuthenticationError, "401 unauthorized"),
        (lambda _: {"agent_id": "agent_none"}, ConnixAgentGoneError, "does not exist: it was deleted"),
        (lambda _: {"agent_name": "nobody"}, AgentNameNotFoundError, "has no agent named 'nobody'"),
        (faulty(REFUSED, "list_agents", lambda _: {"agent_name": "x"}), ConnixAuthenticationError, "401"),
    ],
    ids=["failed", "refused", "gone", "no such name", "lookup refused"],
)
def test_permanent_errors_are_raised(how, context, prepare, error, says, poke):
    with pytest.raises(error, match=says):
        poke(prepare, context, **how)


@pytest.mark.parametrize("name", [name for name in PASSING if not name.startswith("429")])
def test_transient_errors_are_logged_as_warnings(name, emulator, poke, capfd, caplog):
    assert poke(faulty(PASSING[name], "get_agent", agent("running"), times=None)) is False
    assert len(emulator.journal.entries()) == 1
    out, err = capfd.readouterr()
    assert "failed and will be repeated" in out + err + caplog.text


def test_a_failed_name_lookup_is_a_warning(emulator, poke, capfd, caplog):
    assert poke(faulty(DOWN, "list_agents", times=None), agent_name="named") is False
    assert len(emulator.journal.entries()) == 1
    out, err = capfd.readouterr()
    assert "Agent 'named': a poll failed and will be repeated" in out + err + caplog.text


def test_a_name_costs_a_listing_and_a_get(emulator, poke):
    assert poke(agent("running", agent_id=None), agent_name="scenario")
    assert [entry.method for entry in emulator.journal.entries()] == ["GET", "GET"]
