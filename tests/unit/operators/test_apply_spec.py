"""A declaration of agents is read from a DAG or a file, or refused with the key and the line."""

from __future__ import annotations

import json

import pytest

from connix_provider.operators._apply.spec import read_specs
from connix_provider.operators._apply.spec_file import read_spec_file
from connix_provider.operators._apply.spec_templates import read_declaration
from connix_provider.operators.apply import ConnixApplyAgentsOperator

pytestmark = pytest.mark.one_airflow

AGENT = {"name": "a"}
CONFIG = {"model": "gpt-4"}


def bodies(declared, **arguments):
    return {spec.name: (spec.body, spec.state) for spec in read_specs(declared, **arguments)}


def test_defaults_are_put_into_each_agent():
    declared = {
        "defaults": {
            "state": "running",
            "config": {"model": "gpt-4", "environment_variables": {"A": "1", "B": "2"}, "tools": ["x", "y"]},
            "metadata": {"team": "one"},
        },
        "agents": [
            {"name": "first"},
            {"name": "second", "state": "Stopped", "description": ""}
            | {"config": {"tools": ["z"], "environment_variables": {"B": "3"}}},
        ],
    }
    variables = {"A": "1", "B": "2"}
    first = {"model": "gpt-4", "environment_variables": variables, "tools": ["x", "y"]}
    second = {"model": "gpt-4", "environment_variables": {**variables, "B": "3"}, "tools": ["z"]}
    assert bodies(declared) == {
        "first": ({"name": "first", "config": first, "metadata": {"team": "one"}}, "running"),
        "second": (
            {"name": "second", "description": "", "config": second, "metadata": {"team": "one"}},
            "stopped",
        ),
    }


def test_values_get_their_documented_types():
    config = {"temperature": "0.5", "max_tokens": "100", "environment_variables": {"N": 3}}
    ((body, _),) = bodies([{"name": "a", "config": config}]).values()
    assert body["config"] == {"temperature": 0.5, "max_tokens": 100, "environment_variables": {"N": "3"}}


def test_no_agents_are_a_declaration_too():
    assert bodies([]) == bodies({"agents": []}) == {}


REFUSED = {
    "None": (None, "spec must be a list of agents, not NoneType"),
    "text": ("[{...", "spec must be a list of agents, not str; a template gives text"),
    "no agents": ({"defaults": {}}, "spec has no 'agents'"),
    "agents is no list": ({"agents": {"a": {}}}, "spec.agents must be a list of agents, not dict"),
    "unknown section": (
        {"agent": []},
        "spec.agent is unknown. Did you mean 'agents'? Known: agents, defaults",
    ),
    "defaults": ({"agents": [], "defaults": []}, "spec.defaults must be a mapping, not list"),
    "a default name": ({"agents": [], "defaults": {"name": "x"}}, "spec.defaults.name is unknown."),
    "a default state": ({"agents": [], "defaults": {"state": "up"}}, "spec.defaults.state is 'up'"),
    "no mapping": (["a"], "spec[0] must be a mapping with at least a name, not str"),
    "no name": ([{"config": CONFIG}], "spec[0].name must be a non-empty string"),
    "twice": ([AGENT, {"name": "b"}, AGENT], "spec[2].name is 'a', as spec[0].name is; names are unique"),
    "an unknown key": (
        [{**AGENT, "descripton": ""}],
        "spec[0].descripton is unknown. Did you mean 'description'?",
    ),
    "a null": ([{**AGENT, "description": None}], "spec[0].description is None; leave it out"),
    "an unknown state": ([{**AGENT, "state": "runing"}], "spec[0].state is 'runing', but a declared state"),
    "the nearest state": (
        [{**AGENT, "state": "runing"}],
        "Did you mean 'running'? Known: paused, running, stopped",
    ),
    "a state by itself": ([{**AGENT, "state": "error"}], "spec[0].state is 'error'"),
    "a description": ([{**AGENT, "description": 1}], "spec[0].description must be a string, not int"),
    "a config": ([{**AGENT, "config": "canary"}], "spec[0].config must be a mapping, not str; a template"),
    "metadata": ([{**AGENT, "metadata": []}], "spec[0].metadata must be a mapping, not list"),
    "the mark": (
        [{**AGENT, "metadata": {"airflow_apply_owner": "x"}}],
        "metadata.airflow_apply_owner is set by",
    ),
    "the key": ([{**AGENT, "metadata": {"airflow_task_run": "x"}}], "metadata.airflow_task_run is set by"),
    "a number": (
        [{**AGENT, "config": {"temperature": "hot"}}],
        "spec[0].config.temperature must be a number",
    ),
    "a whole number": (
        [{**AGENT, "config": {"max_tokens": 1.5}}],
        "spec[0].config.max_tokens must be a whole",
    ),
    "a model": ([{**AGENT, "config": {"model": "None"}}], "spec[0].config.model is empty"),
    "a boolean": (
        [{**AGENT, "config": {"environment_variables": {"A": True}}}],
        "spec[0].config.environment_variables.A must be a string, not a boolean",
    ),
    "no JSON": (
        [{**AGENT, "metadata": {"since": object()}}],
        "spec[0].metadata.since cannot be sent as JSON",
    ),
}


@pytest.mark.parametrize(("declared", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_declaration_is_refused(declared, says):
    with pytest.raises(ValueError, match="spec") as refused:
        read_specs(declared)
    assert says in str(refused.value)
    assert "canary" not in str(refused.value)


YAML = """\
# Agents of one team
defaults: &d
  config: {model: gpt-4}
agents:
  - name: first
    state: stopped
  - name: second
    config:
      <<: {temperature: 0.5}
      system_prompt: |
        Two lines
        of a prompt
"""


@pytest.fixture
def file(tmp_path):
    def write(text, name="agents.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def test_yaml_and_json_files_say_the_same(file):
    content, lines = read_spec_file(file(YAML))
    assert bodies(content)["second"][0]["config"]["system_prompt"] == "Two lines\nof a prompt\n"
    assert lines["agents", 1, "config", "system_prompt"] == 10
    for text in (json.dumps(content), json.dumps(content, indent="\t"), "\ufeff" + json.dumps(content)):
        assert read_spec_file(file(text, "agents.JSON"))[0] == content


UNREADABLE = {
    "a colon": ("agents:\n  - name: a: b\n", "mapping values are not allowed"),
    "a tab": (
        "agents:\n\t- name: a\n",
        "that cannot start any token (line 2, column 1)",
    ),
    "two documents": ("a: 1\n---\nb: 1\n", "found another document (line 2, column 1)"),
    "a key twice": (
        "agents:\n- name: a\n  name: b\n",
        "the key 'name' is repeated in one mapping (lines 2 and 3)",
    ),
    "a tag": ("agents: !!python/object:os.system {}\n", "could not determine a constructor"),
    "no character": (b"agents: \xff\n", "cannot be read: UnicodeDecodeError"),
    "no date": ("agents: [{metadata: {a: 2024-02-30}}]\n", "it is no valid YAML (ValueError)"),
}


@pytest.mark.parametrize(("text", "says"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_unreadable_file_is_refused_with_its_line(text, says, file):
    path = file(text)
    with pytest.raises(ValueError, match="cannot be read") as refused:
        read_spec_file(path)
    assert str(refused.value).startswith(f"spec {path!r} cannot be read: ")
    assert says in str(refused.value)


def test_an_unreadable_json_file_names_the_line(file):
    with pytest.raises(ValueError, match=r"Expecting ',' delimiter \(line 3, column 2\)"):
        read_spec_file(file('{"agents": [\n{"name": "a"}\n {"name": "b"}]}', "agents.json"))
    with pytest.raises(ValueError, match="the key 'name' is repeated in one object"):
        read_spec_file(file('[{"name": "a", "name": "b"}]', "agents.json"))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be read: No such file or directory"):
        read_spec_file(str(tmp_path / "none.yaml"))


WRONG = {
    "a key": (
        "agents:\n- name: a\n  confg: {}\n",
        3,
        "spec.agents[0].confg is unknown. Did you mean 'config'?",
    ),
    "a name": ("- name: a\n- name: a\n", 2, "spec[1].name is 'a', as spec "),
    "a number": ("- name: a\n  config:\n    temperature: hot\n", 3, "spec[0].config.temperature must be"),
    "a list": ("- name: a\n  config:\n    tools: x\n", 3, "spec[0].config.tools must be a list"),
    "a date": ("- name: a\n- name: b\n  metadata: {x: 2024-01-01}\n", 2, "spec[1].metadata.x"),
}


@pytest.mark.parametrize("name", ["agents.yaml", "agents.json"])
@pytest.mark.parametrize(("text", "line", "says"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_key_is_refused_with_its_line(text, line, says, name, file):
    path = file(text)
    if name.endswith(".json"):
        path, line = file(json.dumps(read_spec_file(path)[0], default=lambda day: {"a": 1e999}), name), 1
    with pytest.raises(ValueError, match=r"^spec ") as refused:
        read_declaration(ConnixApplyAgentsOperator(task_id="task", spec=path), {}, path)
    assert str(refused.value).startswith(f"spec {path!r}, line {line}: {says}")


def test_an_empty_file_is_refused(file):
    path = file("")
    with pytest.raises(ValueError, match="spec must be a list of agents, not NoneType"):
        read_declaration(ConnixApplyAgentsOperator(task_id="task", spec=path), {}, path)
