"""Templates: text stays text, numbers become numbers, and nothing is not a name."""

from __future__ import annotations

import collections
import enum
import json
import types
from datetime import timedelta

import pendulum
import pytest
from airflow.providers.common.compat.sdk import XComArg

from connix_provider.operators.agent import (
    ConnixCreateAgentOperator,
    ConnixDeleteAgentOperator,
    ConnixStartAgentOperator,
    ConnixUpdateAgentOperator,
)
from connix_provider.sensors.agent import ConnixAgentStatusSensor

CREATE, UPDATE, START = ConnixCreateAgentOperator, ConnixUpdateAgentOperator, ConnixStartAgentOperator
AGENT = {"agent_id": "agent_1"}
#: What Python reads as something else than text.
LOOKALIKES = [
    "3",
    "True",
    "1.10",
    "None",
    "null",
    "123_456",
    "1e5",
    "0x10",
    "[1]",
    "{'a': 1}",
    "'x'",
    "007",
    "(1,)",
]


def rendered(make, *, native=False, params=None, **arguments):
    """Render a task as Airflow does when it starts the task."""
    from airflow.providers.common.compat.sdk import DAG

    with DAG(
        "templates",
        schedule=None,
        start_date=pendulum.datetime(2024, 1, 1),
        render_template_as_native_obj=native,
    ):
        task = make(task_id="task", **arguments)
    task.render_template_fields({"params": params or {}})
    return task


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("text", LOOKALIKES)
def test_text_is_sent_as_the_template_gives_it(text, native):
    for template in ("{{ params.text }}", "{% set x = params.text %}{{ x }}", text):
        config = {
            "model": "m" + template,
            "system_prompt": template if text != "None" else "-" + template,
            "tools": [template],
            "environment_variables": {"A": template},
        }
        body = rendered(
            CREATE,
            native=native,
            params={"text": text},
            name="n" + template,
            description="d" + template,
            config=config,
        ).body()
        assert body == {
            "name": "n" + text,
            "description": "d" + text,
            "config": {
                "model": "m" + text,
                "system_prompt": text if text != "None" else "-" + text,
                "tools": [text],
                "environment_variables": {"A": text},
            },
        }, template


class Model(str, enum.Enum):  # noqa: UP042 - its text is its name
    LARGE = "large"


@pytest.mark.parametrize("native", [False, True])
def test_an_enum_member_is_sent_as_its_value(native):
    config = {"model": Model.LARGE, "tools": [Model.LARGE], "environment_variables": {"A": Model.LARGE}}
    body = rendered(
        CREATE, native=native, name=Model.LARGE, metadata={"m": Model.LARGE}, config=config
    ).body()
    sent = {"model": "large", "tools": ["large"], "environment_variables": {"A": "large"}}
    assert json.loads(json.dumps(body)) == {"name": "large", "metadata": {"m": "large"}, "config": sent}
    assert "Model" not in str(body)


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("field", ["agent_id", "agent_name", "project_id", "connix_conn_id"])
@pytest.mark.parametrize("make", [START, ConnixDeleteAgentOperator, ConnixAgentStatusSensor])
def test_ids_and_names_stay_text(make, field, native):
    for text in ("123_456", "007", "1e5", "true"):
        task = rendered(make, native=native, params={"x": text}, **{**AGENT, field: "{{ params.x }}"})
        assert getattr(task, field) == text


@pytest.mark.parametrize("text", ["1.10", "123_456", "True"])
def test_plain_metadata_stays_text_in_native_dags(text):
    assert rendered(CREATE, native=True, name="a", metadata={"version": text}).body()["metadata"] == {
        "version": text
    }


def test_other_fields_follow_the_dag():
    arguments = {
        "name": "a",
        "params": {"n": 3, "tags": ["x"], "tools": ["search"], "env": {"A": "3"}},
        "config": {
            "tools": "{{ params.tools }}",
            "environment_variables": "{{ params.env }}",
            "top_k": "{{ params.n }}",
        },
        "metadata": {"tags": "{{ params.tags }}"},
    }
    body = rendered(CREATE, native=True, **arguments).body()
    assert body["config"] == {"tools": ["search"], "environment_variables": {"A": "3"}, "top_k": 3}
    assert body["metadata"] == {"tags": ["x"]}
    plain = rendered(CREATE, **{**arguments, "config": {"top_k": "{{ params.n }}"}}).body()
    assert plain["config"] == {"top_k": "3"}
    assert plain["metadata"] == {"tags": "['x']"}


NUMBERS = [
    ("temperature", "{{ params.x }}", 0.3, 0.3),
    ("temperature", "{{ params.x }}", "1", 1.0),
    ("temperature", "0.3", None, 0.3),
    ("temperature", " 0.3 ", None, 0.3),
    ("temperature", 1, None, 1),
    ("max_tokens", "{{ params.x }}", 2048, 2048),
    ("max_tokens", "{{ params.x }}", "2048", 2048),
    ("max_tokens", "{{ params.x }}", 2048.0, 2048),
    ("max_tokens", "9007199254740993", None, 9007199254740993),
    ("model", 4, None, "4"),
    ("environment_variables", {"TTL": 3600, "RATE": 0.5}, None, {"TTL": "3600", "RATE": "0.5"}),
]


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(("field", "written", "param", "sent"), NUMBERS)
@pytest.mark.parametrize(("make", "target"), [(CREATE, {"name": "a"}), (UPDATE, AGENT)])
def test_documented_types_reach_the_service(make, target, field, written, param, sent, native):
    task = rendered(make, native=native, params={"x": param}, config={field: written}, **target)
    task.check()
    value = task.body()["config"][field]
    assert value == sent
    assert type(value) is type(sent)


WRONG_TYPES = [
    ({"temperature": "warm"}, "config.temperature must be a number, and its text is not"),
    ({"temperature": True}, "config.temperature must be a number, not a boolean"),
    ({"temperature": "{{ params.get('x') }}"}, "config.temperature must be a number; its template"),
    ({"temperature": "nan"}, "config.temperature must be a number"),
    ({"temperature": "inf"}, "config.temperature must be a number"),
    ({"max_tokens": "10.5"}, "config.max_tokens must be a whole number"),
    ({"max_tokens": 10.5}, "config.max_tokens must be a whole number"),
    ({"max_tokens": False}, "config.max_tokens must be a whole number, not a boolean"),
    ({"max_tokens": ""}, "config.max_tokens must be a whole number"),
    ({"tools": "{{ params.tools }}"}, "config.tools must be a list, not str"),
    (
        {"environment_variables": "{{ params.env }}"},
        "config.environment_variables must be a mapping, not str",
    ),
    (
        {"environment_variables": {"A": True}},
        "config.environment_variables.A must be a string, not a boolean",
    ),
    ({"model": "{{ params.get('x') }}"}, "config.model must be a non-empty string, not 'None'"),
    ({"system_prompt": "{{ params.get('x') }}"}, "config.system_prompt must be a non-empty string"),
]


@pytest.mark.parametrize(("config", "says"), WRONG_TYPES)
@pytest.mark.parametrize(("make", "target"), [(CREATE, {"name": "a"}), (UPDATE, AGENT)])
def test_a_wrong_type_is_refused_before_sending(make, target, config, says):
    task = rendered(make, params={"tools": ["search"], "env": {"A": "secret words"}}, config=config, **target)
    with pytest.raises(ValueError, match="config") as caught:
        task.check()
    assert says in str(caught.value)
    assert "secret words" not in str(caught.value)


NOTHING = ["", " ", "None", "none", "null", "NULL", "nan", "NaN", "Undefined", " None "]
NOTHING_TEMPLATES = [
    "{{ none }}",
    "{{ params.get('x') }}",
    "{{ '' }}",
    "{{ params.nan }}",
    "{{ params.x or '' }}",
]
NAMED = [
    (CREATE, {}, "name"),
    (UPDATE, AGENT, "name"),
    (START, {}, "agent_id"),
    (START, {}, "agent_name"),
    (ConnixAgentStatusSensor, {}, "agent_id"),
    (ConnixAgentStatusSensor, {}, "agent_name"),
    (UPDATE, {"description": "d"}, "agent_name"),
]


def check(task):
    """Check a task as it does before it sends anything."""
    from connix_provider.agent_lookup import resolve_agent_id

    if isinstance(task, ConnixAgentStatusSensor):
        task._make_poller(None)
    else:
        task.check()
    if hasattr(task, "agent_id"):
        resolve_agent_id(None, "proj_1", task.agent_id, task.agent_name)


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(("make", "others", "field"), NAMED)
def test_nothing_is_not_a_name(make, others, field, native):
    params = {"nan": float("nan"), "x": None}
    for value in (*NOTHING, *NOTHING_TEMPLATES):
        task = rendered(make, native=native, params=params, **others, **{field: value})
        with pytest.raises(ValueError, match=f"^{field} must be a non-empty string, not ") as caught:
            check(task)
        said = str(caught.value)
        assert "that returned no value" in said, value
        assert ("it came from" in said) is ("{{" in value), value
        if field == "agent_name" and getattr(task, field).strip():
            assert "can be given by its agent_id" in said, value


@pytest.mark.parametrize(
    "field", ["project_id", "connix_conn_id", "description", "config", "metadata", "if_exists"]
)
@pytest.mark.parametrize("value", ["{{ none }}", "{{ params.get('x') }}"])
@pytest.mark.parametrize("native", [False, True])
def test_a_template_that_renders_nothing_is_refused(field, value, native):
    task = rendered(CREATE, native=native, **{"name": "a", field: value})
    with pytest.raises(ValueError, match=f"^{field} must be .* it came from a template or another task"):
        task.check()


@pytest.mark.parametrize("text", ["", "None of your business", "nothing"])
def test_a_description_may_be_empty(text):
    task = rendered(UPDATE, params={"x": text}, description="{{ params.x }}", **AGENT)
    task.check()
    assert task.body() == {"description": text}


FLAGS = [
    *[(word, True) for word in (True, 1, "true", "True", "TRUE", "t", "1", "yes", "y", "on", " on ")],
    *[(word, False) for word in (False, 0, "false", "False", "f", "0", "no", "n", "off", "OFF")],
]
NO_FLAGS = [None, 2, -1, 1.0, "", "maybe", "None", [], "{{ params.x }}"]
FLAG_FIELDS = [
    *[
        (ConnixDeleteAgentOperator, name)
        for name in ("ignore_if_missing", "wait_for_completion", "cancel_on_kill")
    ],
    (START, "deferrable"),
    (ConnixAgentStatusSensor, "deferrable"),
    (ConnixAgentStatusSensor, "soft_fail"),
    (ConnixAgentStatusSensor, "silent_fail"),
    (ConnixAgentStatusSensor, "never_fail"),
    (ConnixAgentStatusSensor, "exponential_backoff"),
]


@pytest.mark.parametrize(("make", "flag"), FLAG_FIELDS)
def test_flags_are_read_as_airflow_reads_booleans(make, flag):
    for word, means in FLAGS:
        task = rendered(make, **AGENT, **{flag: word})
        check(task)
        assert getattr(task, flag) is means, word


@pytest.mark.parametrize(("make", "flag"), FLAG_FIELDS)
def test_a_wrong_flag_is_refused(make, flag):
    for word in NO_FLAGS:
        task = rendered(make, **AGENT, **{flag: word})
        with pytest.raises(ValueError, match=f"^{flag} must be true or false, not "):
            check(task)


class Words(collections.UserDict):
    """A mapping that is no dict."""


MAPPINGS = [
    types.MappingProxyType({"a": types.MappingProxyType({"b": ("x", "y")})}),
    collections.OrderedDict(a=collections.ChainMap({"b": collections.deque(["x", "y"])})),
    Words(a=Words(b=collections.UserList(["x", "y"]))),
]


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_any_mapping_and_sequence_is_sent(mapping):
    task = rendered(UPDATE, config=mapping, metadata=mapping, **AGENT)
    task.check()
    assert task.body() == {"config": {"a": {"b": ["x", "y"]}}, "metadata": {"a": {"b": ["x", "y"]}}}


class Output(XComArg):
    """The output of another task, as Airflow resolves it when it renders."""

    operator = None

    def __init__(self, value):
        self.value = value

    def resolve(self, context, **options):
        return self.value

    def iter_references(self):
        return iter(())


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("tools", [("{{ params.x }}",), collections.UserList, collections.deque])
def test_templates_in_any_sequence_are_rendered(tools, native):
    listed = tools if isinstance(tools, tuple) else tools(["{{ params.x }}"])
    config = types.MappingProxyType({"tools": listed, "own": Words(a=[listed])})
    task = rendered(UPDATE, native=native, params={"x": "search"}, config=config, **AGENT)
    task.check()
    assert task.body()["config"] == {"tools": ["search"], "own": {"a": [["search"]]}}


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model": Output(None)}, "config.model must be a non-empty string"),
        ({"system_prompt": Output(None)}, "config.system_prompt must be a non-empty string"),
        (
            {"environment_variables": {"A": Output(None)}},
            "config.environment_variables.A must be a non-empty string",
        ),
        ({"environment_variables": Output(None)}, "config.environment_variables must be a mapping"),
        ({"tools": ["a", Output(None)]}, "config.tools.1 must be a non-empty string"),
        ({"tools": Output(None)}, "config.tools must be a list"),
        ({"temperature": Output(None)}, "config.temperature must be a number"),
        ({"max_tokens": Output(None)}, "config.max_tokens must be a whole number"),
    ],
)
def test_a_task_that_gave_nothing_is_no_setting(config, says, native):
    task = rendered(UPDATE, native=native, config=config, **AGENT)
    with pytest.raises(ValueError, match="not None; it came from a template or another task") as caught:
        task.check()
    assert says in str(caught.value)


@pytest.mark.parametrize("value", [Output("{{ params.x }}"), Output(["{{ params.x }}"])])
def test_the_output_of_a_task_is_not_rendered(value):
    task = rendered(UPDATE, params={"x": "secret"}, metadata={"a": value}, **AGENT)
    assert task.body()["metadata"] == {"a": value.value}


REMEDIES = [
    ("config", '{"model": "gpt-4"}', {"model": "gpt-4"}),
    ("config", '{"tools": ["a"], "x": true}', {"tools": ["a"], "x": True}),
    ("metadata", '{"team": null}', {"team": None}),
]


@pytest.mark.parametrize(("field", "text", "value"), REMEDIES)
def test_the_remedy_for_json_text_works(field, text, value):
    """The error's own words, followed."""
    task = rendered(CREATE, name="a", params={"x": text}, **{field: "{{ params.x }}"})
    with pytest.raises(ValueError, match=f"^{field} must be a mapping, not str") as caught:
        task.check()
    assert "render_template_as_native_obj=True" in str(caught.value)
    assert "macros.json.loads(" in str(caught.value)
    import json

    macros = types.SimpleNamespace(json=json)
    mended = rendered(
        CREATE,
        native=True,
        name="a",
        params={"x": text, "macros": macros},
        **{field: "{{ params.macros.json.loads(params.x) }}"},
    )
    mended.check()
    assert mended.body()[field] == value


SECONDS = [30, 30.0, timedelta(seconds=30), timedelta(minutes=0.5)]


@pytest.mark.parametrize("value", SECONDS)
def test_seconds_may_be_a_timedelta(value):
    task = rendered(START, timeout=value, poll_interval=value, **AGENT)
    task.check()
    assert task.poll_seconds == 30
    sensor = rendered(ConnixAgentStatusSensor, timeout=value, poke_interval=value, stable_for=value, **AGENT)
    assert sensor._make_poller(None)[0].goal.stable_for == 30
    assert sensor.poke_interval == sensor.timeout == 30


@pytest.mark.parametrize("value", [True, timedelta(seconds=-1), "30", None, float("nan")])
def test_a_wrong_time_is_refused(value):
    with pytest.raises(ValueError, match="timeout must be"):
        rendered(START, timeout=value, **AGENT).check()
    with pytest.raises(ValueError, match="stable_for must be"):
        rendered(ConnixAgentStatusSensor, stable_for=value, **AGENT)._make_poller(None)


@pytest.mark.parametrize("value", [1e12, timedelta.max, 10**400])
def test_a_time_beyond_any_calendar_is_refused(value):
    with pytest.raises(ValueError, match="timeout must be"):
        rendered(START, timeout=value, **AGENT).check()
    with pytest.raises(ValueError, match="stable_for must be"):
        rendered(ConnixAgentStatusSensor, stable_for=value, **AGENT)._make_poller(None)
