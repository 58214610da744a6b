"""The templates of a selector are rendered, whether it is given as an object or as a mapping."""

from __future__ import annotations

import pytest
from airflow.providers.common.compat.sdk import DAG

from connix_provider.operators.export import ConnixExportAgentLogsOperator
from connix_provider.operators.fleet import ConnixDeleteOrphanedAgentsOperator, ConnixFleetOperator
from connix_provider.rendering import Renderer
from connix_provider.selector import AgentSelector
from connix_provider.sensors.health import ConnixAgentHealthSensor

CRITERIA = [
    ({"name": "{{ params.team }}-*"}, {"name": "alpha-*"}),
    ({"names": ["{{ params.team }}", "b-{{ 1 + 1 }}"]}, {"names": ["alpha", "b-2"]}),
    ({"ids": "{{ params.id }}"}, {"ids": "0123_456"}),
    ({"metadata": {"team": "{{ params.team }}"}}, {"metadata": {"team": "alpha"}}),
    ({"name": "*", "idle_for": 60, "allow_empty": True}, {"name": "*", "idle_for": 60, "allow_empty": True}),
]


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("kind", [dict, AgentSelector])
@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (ConnixFleetOperator, {"action": "restart"}),
        (ConnixDeleteOrphanedAgentsOperator, {}),
        (ConnixExportAgentLogsOperator, {"path": "a.jsonl"}),
        (ConnixAgentHealthSensor, {"health": {"statuses": "running"}}),
    ],
)
@pytest.mark.parametrize(("criteria", "rendered"), CRITERIA)
def test_a_selector_renders_its_templates(criteria, rendered, make, arguments, kind, native):
    with DAG("selectors", schedule=None, render_template_as_native_obj=native):
        task = make(task_id="task", agents=kind(**criteria), **arguments)
    task.render_template_fields({"params": {"team": "alpha", "id": "0123_456"}})
    assert AgentSelector.of(task.agents) == AgentSelector(**rendered)


@pytest.mark.parametrize("nothing", ["{{ params.get('nothing') }}", "{{ '' }}"])
@pytest.mark.parametrize("kind", [dict, AgentSelector])
def test_a_template_that_gives_nothing_is_refused(kind, nothing):
    with DAG("selectors", schedule=None):
        task = ConnixFleetOperator(task_id="task", action="restart", agents=kind(name=nothing))
    task.render_template_fields({"params": {}})
    with pytest.raises(ValueError, match="leave it out, or correct its template"):
        task.check()


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(
    "criteria", [{"name": "{{ 1 }}"}, {"names": ["{{ 1 }}"]}, {"metadata": {"a": "{{ 1 }}"}}]
)
@pytest.mark.parametrize("kind", [dict, AgentSelector])
def test_the_output_of_another_task_holds_no_templates(kind, criteria, native):
    with DAG("selectors", schedule=None, render_template_as_native_obj=native):
        task = ConnixFleetOperator(task_id="task", action="restart", agents={"name": "*"})
    # A mapped task has it as its value, and Airflow passes the identity of what is rendered already.
    output = kind(**criteria)
    renderer = Renderer(task, {}, task.get_template_env(), {id(output)})
    assert renderer.as_selector(output) is output
