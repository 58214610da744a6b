"""What Airflow is told of the provider: by its own schema, and as it shows the form."""

from __future__ import annotations

import importlib
import json
import pathlib
import subprocess
import sys

import jsonschema
import pytest

from connix_provider.hooks.connix import ConnixHook
from connix_provider.provider_info import EXTRA_FIELDS, get_provider_info


def schema(name: str) -> dict:
    import airflow

    return json.loads((pathlib.Path(airflow.__file__).parent / name).read_text())


def test_it_is_valid_by_airflows_own_schema():
    jsonschema.validate(get_provider_info(), schema("provider_info.schema.json"))


def test_the_fields_are_valid_by_airflows_own_schema():
    described = schema("provider.yaml.schema.json")
    kind = described["properties"]["connection-types"]["items"]["properties"].get("conn-fields")
    if kind is None:
        pytest.skip("this Airflow does not know conn-fields; the form methods serve it")
    (connection,) = get_provider_info()["connection-types"]
    jsonschema.validate(connection["conn-fields"], kind)


def test_form_methods_and_conn_fields_agree():
    (connection,) = get_provider_info()["connection-types"]
    assert list(connection["conn-fields"]) == [field.name for field in EXTRA_FIELDS]
    behaviour = ConnixHook.get_ui_field_behaviour()
    jsonschema.validate(behaviour, schema("customized_form_field_behaviours.schema.json"))
    assert connection["ui-field-behaviour"]["relabeling"] == behaviour["relabeling"]
    pytest.importorskip("flask_appbuilder", reason="the form methods are used where Flask-AppBuilder is")
    assert list(ConnixHook.get_connection_form_widgets()) == list(connection["conn-fields"])


def test_every_secret_has_a_name_that_airflow_masks():
    from airflow.providers.common.compat.sdk import redact

    secrets = {field.name: "unmistakable" for field in EXTRA_FIELDS if field.secret}
    assert len(secrets) == 3
    assert set(redact(secrets).values()) == {"***"}


def test_every_module_it_names_exists():
    info = get_provider_info()
    modules = [
        name
        for kind in ("hooks", "operators", "sensors", "triggers")
        for entry in info[kind]
        for name in entry["python-modules"]
    ]
    assert len(modules) == 12
    for name in modules:
        assert importlib.import_module(name).__all__
    (connection,) = info["connection-types"]
    module, _, hook = connection["hook-class-name"].rpartition(".")
    assert getattr(importlib.import_module(module), hook) is ConnixHook


def test_it_imports_nothing_heavy():
    code = "import sys, connix_provider.provider_info; print([m for m in sys.modules if m.split('.')[0] in "
    code += "('airflow', 'httpx', 'pydantic', 'pendulum')])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
