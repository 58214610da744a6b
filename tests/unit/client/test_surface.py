"""What users import and call: names, signatures, and what an import brings along."""

import inspect
import subprocess
import sys

import pytest

import connix_provider.client
from connix_provider.client import AsyncClient, Client, endpoints
from connix_provider.client.agents import Agents, AsyncAgents

MADE_FROM = {
    "list": endpoints.list_agents,
    "create": endpoints.create_agent,
    "get": endpoints.get_agent,
    "update": endpoints.update_agent,
    "delete": endpoints.delete_agent,
    "start": endpoints.start_agent,
    "pause": endpoints.pause_agent,
    "stop": endpoints.stop_agent,
    "restart": endpoints.restart_agent,
    "logs": endpoints.get_logs,
    "metrics": endpoints.get_metrics,
}


def public(cls):
    return {name for name in dir(cls) if not name.startswith("_")}


def test_both_clients_offer_the_same():
    assert public(Agents) == public(AsyncAgents) == {*MADE_FROM, "iter", "iter_logs"}
    assert public(AsyncClient) - public(Client) == {"aclose"}
    assert public(Client) <= public(AsyncClient)
    assert inspect.signature(Client) == inspect.signature(AsyncClient)


@pytest.mark.parametrize("name", MADE_FROM)
def test_a_method_has_the_signature_of_its_call(name):
    make = inspect.signature(MADE_FROM[name])
    for cls in (Agents, AsyncAgents):
        method = getattr(cls, name)
        signature = inspect.signature(method)
        first, *rest = signature.parameters.values()
        assert (first.name, first.kind) == ("self", inspect.Parameter.POSITIONAL_ONLY)
        assert rest == list(make.parameters.values())
        assert make.return_annotation == f"Call[{signature.return_annotation}]"
        assert (method.__name__, method.__qualname__) == (name, f"{cls.__name__}.{name}")
        assert method.__doc__ == MADE_FROM[name].__doc__
        assert "reference:" in method.__doc__
        assert inspect.iscoroutinefunction(method) is (cls is AsyncAgents)


@pytest.mark.parametrize(
    ("iterate", "page"), [("iter", endpoints.list_agents), ("iter_logs", endpoints.get_logs)]
)
def test_iterators_have_the_parameters_of_their_pages(iterate, page):
    mine, other = (inspect.signature(getattr(cls, iterate)).parameters for cls in (Agents, AsyncAgents))
    assert mine == other
    pages = inspect.signature(page).parameters
    assert set(mine) - {"self"} == set(pages)
    assert {name: mine[name].kind for name in pages} == {name: pages[name].kind for name in pages}


def test_parameters_are_those_of_the_references_python_example():
    def names(method):
        return list(inspect.signature(getattr(Agents, method)).parameters)[1:]

    assert names("create") == ["project_id", "agent"]
    assert names("list") == ["project_id", "status", "limit", "offset", "sort"]
    assert names("update") == ["project_id", "agent_id", "changes"]
    assert names("logs") == ["project_id", "agent_id", "level", "start_time", "end_time", "limit", "offset"]
    assert names("metrics") == ["project_id", "agent_id", "start_time", "end_time", "interval"]


def test_every_exported_name_is_there():
    exported = connix_provider.client.__all__
    assert exported == sorted(exported)
    for name in exported:
        assert getattr(connix_provider.client, name).__name__ == name
    assert dir(connix_provider.client) == exported
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        _ = connix_provider.client.Nonsense


def modules_after(statement):
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_an_import_brings_no_more_than_it_needs():
    errors = modules_after(
        "from connix_provider.client import ConnixError\nimport connix_provider.client.errors"
    )
    assert "connix_provider.client.errors" in errors
    assert not {"httpx", "pydantic", "pendulum", "airflow"} & errors
    models = modules_after("from connix_provider.client import Agent, AgentStatus")
    assert "pydantic" in models
    assert not {"httpx", "airflow"} & models
    client = modules_after("from connix_provider.client import Client, AsyncClient")
    assert "httpx" in client
    assert "airflow" not in client


def test_abstract_methods_of_clients_and_pages_raise():
    from connix_provider.client.base import BaseClient
    from connix_provider.client.models import Page

    with pytest.raises(NotImplementedError):
        BaseClient("cx_" + 32 * "0")
    with pytest.raises(NotImplementedError):
        BaseClient._bind(object())
    with pytest.raises(NotImplementedError):
        _ = Page().items
