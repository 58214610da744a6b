"""What Airflow stores and shows of a task: the shape of a configuration, not its secrets."""

from __future__ import annotations

import json
import os
from contextlib import suppress

import pytest
from dag_store import airflow_version, store
from jinja2 import UndefinedError
from rendered_fields import masker, stored_fields

from connix_provider.operators._agent.config import hidden_when_stored
from connix_provider.operators._apply.spec_templates import read_declaration
from connix_provider.operators.agent import ConnixCreateAgentOperator, ConnixUpdateAgentOperator
from connix_provider.operators.apply import ConnixApplyAgentsOperator

__all__ = ["masker"]

pytestmark = pytest.mark.skipif(
    airflow_version() == (3, 0),
    reason="dag.test() of Airflow 3.0 prints what task and supervisor tell each other, with nothing masked",
)

SECRETS = {"prompt": "canary prompt of many words", "url": "postgres://canary:secret@host/db"}
CONFIG = {
    "model": "gpt-4",
    "system_prompt": "{{ params.prompt }}",
    "environment_variables": {"DATA_SOURCE": "{{ params.url }}"},
}


def shape(fields):
    """Return the stored configuration; Airflow 2 stores its JSON as text."""
    return fields["config"] if isinstance(fields["config"], dict) else json.loads(fields["config"])


@pytest.mark.heavy
def test_rendered_fields_hide_secrets(emulator, run, warp):
    ran = run(ConnixCreateAgentOperator, name="rendered", config=CONFIG, params=SECRETS)
    assert ran.state == "success", ran.log
    (fields,) = stored_fields(ran.instance)
    assert shape(fields) == {
        "model": "gpt-4",
        "system_prompt": "***",
        "environment_variables": {"DATA_SOURCE": "***"},
    }
    for secret in SECRETS.values():
        assert secret not in json.dumps(fields)
        assert secret not in ran.log
    assert emulator.agent(ran.result)["config"]["system_prompt"] == SECRETS["prompt"]


#: Values of which Airflow's own masker knows nothing, or which lie too deep for it.
DEEP = {"a": {"b": {"c": {"d": {"e": {"f": ["deep canary of seven steps"]}}}}}}
HIDDEN = [
    ({"environment_variables": {"PIN": 48151623}}, {"environment_variables": {"PIN": "***"}}, "48151623"),
    ({"environment_variables": {"RATE": 4815.1623}}, {"environment_variables": {"RATE": "***"}}, "4815.1623"),
    (
        {"environment_variables": {"PIN": "{{ params.pin }}"}},
        {"environment_variables": {"PIN": "***"}},
        "23421516",
    ),
    ({"environment_variables": {"P": "abc"}}, {"environment_variables": {"P": "***"}}, '"abc"'),
    ({"system_prompt": "canary " * 2000}, {"system_prompt": "***"}, "canary"),
    ({"system_prompt": "first canary\r\nsecond canary"}, {"system_prompt": "***"}, "second canary"),
    (
        {"environment_variables": DEEP},
        {"environment_variables": {"a": {"b": {"c": {"d": {"e": {"f": ["***"]}}}}}}},
        "deep canary",
    ),
    (
        {"agents": [{"system_prompt": "inner canary", "environment_variables": {"A": 4815162}}]},
        {"agents": [{"system_prompt": "***", "environment_variables": {"A": "***"}}]},
        "4815162",
    ),
]


@pytest.mark.heavy
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(("config", "shows", "canary"), HIDDEN)
def test_secret_leaves_are_hidden_and_the_shape_shown(config, shows, canary, native, emulator, run, warp):
    config = {"model": "gpt-4", "temperature": 0.5, "tools": ["search"], **config}
    arguments = {"params": {"pin": 23421516}, "dag_options": {"render_template_as_native_obj": native}}
    ran = run(ConnixCreateAgentOperator, name="shape", config=config, metadata={"team": "a"}, **arguments)
    (fields,) = stored_fields(ran.instance)
    assert shape(fields) == {"model": "gpt-4", "temperature": 0.5, "tools": ["search"], **shows}
    assert fields["name"] == "shape"
    assert fields["metadata"] == {"team": "a"}
    assert canary not in json.dumps(fields)


@pytest.mark.heavy
@pytest.mark.parametrize("native", [False, True])
def test_a_configuration_that_is_one_template_is_hidden(native, emulator, run, warp):
    secret = {"model": "gpt-4", "environment_variables": {"PIN": 48151623, "URL": "postgres://canary"}}
    options = {"render_template_as_native_obj": native}
    arguments = {"config": "{{ params.config }}", "params": {"config": secret}, "dag_options": options}
    ran = run(ConnixCreateAgentOperator, name="whole", **arguments)
    assert ran.state == ("success" if native else "failed")
    (fields,) = stored_fields(ran.instance)
    assert "48151623" not in json.dumps(fields)
    assert "canary" not in json.dumps(fields)
    assert fields["name"] == "whole"


@pytest.mark.parametrize("config", ["abc", "canary of a text", 4711])
def test_a_configuration_of_another_type_is_hidden(config):
    assert hidden_when_stored(config).serialize() == "***"


@pytest.mark.heavy
def test_an_update_hides_them_too(emulator, run, warp):
    (agent_id,) = emulator.seed(status="running")
    ran = run(ConnixUpdateAgentOperator, agent_id=agent_id, config=CONFIG, params=SECRETS)
    assert ran.state == "success", ran.log
    assert emulator.agent(agent_id)["config"]["environment_variables"] == {"DATA_SOURCE": SECRETS["url"]}
    assert all(secret not in ran.log for secret in SECRETS.values())


@pytest.mark.heavy
def test_mapped_tasks_hide_them_too(emulator, connection, warp, monkeypatch):
    import pendulum
    from airflow.providers.common.compat.sdk import DAG

    secret = "postgres://mapped:canary@host/db"
    # Of its own for each process: the database may be that of an earlier run of the tests.
    dag_id = f"mapped_secrets_{os.getpid()}"
    with DAG(dag_id, schedule=None, start_date=pendulum.datetime(2024, 1, 1)) as dag:
        ConnixCreateAgentOperator.partial(
            task_id="create",
            config={"model": "gpt-4", "environment_variables": {"URL": secret, "PIN": 48151623}},
        ).expand(name=["first", "second"])
    store(dag)
    instances = dag.test().get_task_instances()
    assert [task.state for task in instances] == ["success", "success"]
    rows = stored_fields(*instances)
    assert len(rows) == 2
    assert secret not in json.dumps(rows)
    for fields in rows:
        assert shape(fields) == {"model": "gpt-4", "environment_variables": {"URL": "***", "PIN": "***"}}


def test_a_template_that_fails_shows_no_secret(emulator, run, warp):
    secret = "postgres://failing:canary@host/db"
    config = {"model": "{{ nope.nope.x }}", "environment_variables": {"URL": secret, "PIN": 48151623}}
    ran = run(ConnixCreateAgentOperator, name="failing", config=config)
    assert ran.state == "failed"
    assert "The template in config could not be rendered (UndefinedError)" in ran.log
    assert secret not in ran.log
    assert "48151623" not in ran.log


def test_a_long_configuration_shows_no_secret(emulator, run, warp):
    prompt = "canary of a prompt\nwith lines\nand 'quotes'"
    config = {"system_prompt": prompt, "environment_variables": {"FILL": "x" * 9000}}
    ran = run(ConnixCreateAgentOperator, name="long", config=config)
    assert ran.state == "success", ran.log
    assert "canary of a prompt" not in json.dumps(stored_fields(ran.instance))


@pytest.fixture
def masked(monkeypatch):
    """Record the values that are registered with Airflow's masker."""
    told = []
    monkeypatch.setattr("connix_provider.compat.mask_secret", told.append)
    return told


def test_a_templated_configuration_is_masked_in_every_form(masked):
    prompt, pattern = "canary of a text\nwith lines and 'quotes'", r"canary\d"
    given = {"model": "gpt-4", "system_prompt": prompt, "environment_variables": {"PATTERN": pattern}}
    config = json.dumps(given)
    task = ConnixCreateAgentOperator(task_id="text", name="text", config=config)
    task._mask(task)
    for shown in (config, repr({"config": config}), json.dumps({"config": config}), repr(given), pattern):
        for secret in sorted(masked, key=len, reverse=True):
            shown = shown.replace(secret, "***")
        assert "canary" not in shown


OPERATORS = pytest.mark.parametrize(
    "make",
    [
        lambda config: ConnixCreateAgentOperator(task_id="task", name="a", config=config),
        lambda config: ConnixApplyAgentsOperator(task_id="task", spec=[{"name": "a", "config": config}]),
    ],
    ids=["create", "apply"],
)


@OPERATORS
def test_secrets_are_masked_before_a_template_fails(make, masked):
    config = {"model": "{{ nope.nope.x }}", "system_prompt": "canary of a prompt"}
    with pytest.raises(UndefinedError):
        make(config).render_template_fields({})
    assert "canary of a prompt" in masked


@OPERATORS
def test_rendered_secrets_are_masked_too(make, masked):
    make({"system_prompt": "{{ prompt }}"}).render_template_fields({"prompt": "canary of a prompt"})
    assert "canary of a prompt" in masked


@pytest.mark.parametrize(
    "config",
    ['{system_prompt: "{{ prompt }}"}', '{model: "{{ nope.nope.x }}", system_prompt: canary of a prompt}'],
    ids=["rendered", "a template that fails"],
)
def test_secrets_of_a_file_are_masked_too(config, tmp_path, masked):
    path = tmp_path / "agents.yaml"
    path.write_text(f"[{{name: a, config: {config}}}]")
    task = ConnixApplyAgentsOperator(task_id="task", spec=str(path))
    with suppress(UndefinedError):
        read_declaration(task, {"prompt": "canary of a prompt"}, task.spec)
    assert "canary of a prompt" in masked
