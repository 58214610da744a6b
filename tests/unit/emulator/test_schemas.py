"""The OpenAPI document is complete, and the running emulator keeps to it."""

import json
from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from connix_provider.emulator import Durations, Emulator, Limits
from connix_provider.emulator.limits import CLASS_OF


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(limits=Limits.off(), durations=Durations.instant()) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def address(emulator):
    return emulator.url.removesuffix("/api/v1") + "/openapi.json"


@pytest.fixture(scope="module")
def document(address):
    return httpx.get(address, verify=False, trust_env=False).json()


@pytest.fixture(scope="module")
def operations(document):
    return {
        operation["operationId"]: operation
        for methods in document["paths"].values()
        for operation in methods.values()
    }


def test_document_holds_the_calls_without_control_paths(operations, document):
    assert operations.keys() == {*CLASS_OF, "token"}
    assert not any("_emulator" in path for path in document["paths"])


def test_every_call_documents_its_responses(operations):
    for call in CLASS_OF:
        success = "201" if call == "create_agent" else "200"
        responses = operations[call]["responses"]
        assert responses.keys() == {success, "default"}, call
        for response in responses.values():
            assert "$ref" in response["content"]["application/json"]["schema"]
    assert operations["token"]["responses"].keys() == {"200", "400", "401", "default"}


def test_query_parameters_may_not_be_null(operations):
    parameters = [
        parameter for operation in operations.values() for parameter in operation.get("parameters", [])
    ]
    assert len(parameters) > 30
    assert not any("anyOf" in parameter["schema"] for parameter in parameters)


def test_every_call_documents_its_scope(operations):
    for call in CLASS_OF:
        scope = "read" if call.startswith(("get", "list")) else "write"
        assert operations[call]["security"] == [{"Key": []}, {"OAuth2": [scope]}]


def test_every_schema_is_used_and_none_is_missing(document):
    text = json.dumps(document)
    for name in document["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in text
    for reference in text.split('"#/components/schemas/')[1:]:
        assert reference.partition('"')[0] in document["components"]["schemas"]


def test_request_fields_have_no_defaults(document):
    for name in ("AgentCreate", "AgentChange", "AgentConfig"):
        properties = document["components"]["schemas"][name]["properties"]
        assert not any("default" in schema for schema in properties.values())


@pytest.mark.heavy
def test_schemathesis_finds_no_deviation(emulator, address):
    config = SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "headers": {"X-API-Key": emulator.api_key},
            # Without it nearly every request would ask for a project that does not exist.
            "parameters": {"path.project_id": emulator.project_id},
            "generation": {"max-examples": 10, "deterministic": True, "database": "none", "no-shrink": True},
            "checks": {"max_response_time": 5},
        }
    )
    emulator.seed(count=5)
    schema = schemathesis.openapi.from_url(address, config=config)
    phases, found, checked = {}, [], 0
    for event in from_schema(schema).execute():
        if isinstance(event, events.PhaseFinished):
            phases[event.phase.name.value] = event.status.value
        elif isinstance(event, events.ScenarioFinished):
            for checks in event.recorder.checks.values():
                checked += len(checks)
                found += [
                    f"{check.failure_info.failure.message}\n{check.failure_info.code_sample}"
                    for check in checks
                    if check.failure_info
                ]
        elif isinstance(event, events.NonFatalError):
            found.append(f"{event.label}: {event.value!r}")
        elif isinstance(event, events.FatalError):
            raise event.exception
    assert not found, "\n\n".join(found)
    ran = {name for name, status in phases.items() if status == "success"}
    assert {"examples", "coverage", "fuzzing", "stateful"} <= {name.lower() for name in ran}
    assert checked > 3000
    # Which of the four actions finds an agent in the right state is left to chance.
    succeeded = {
        CLASS_OF[entry.call]
        for entry in emulator.journal.entries()
        if entry.call in CLASS_OF and entry.executed
    }
    assert succeeded == set(CLASS_OF.values())
