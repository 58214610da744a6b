"""Every operator shows its own parameters, so that an editor completes them."""

from __future__ import annotations

import inspect
import re

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowException

from connix_provider.operators import agent
from connix_provider.operators._base.single_agent import SingleAgentOperator
from connix_provider.operators.apply import ConnixApplyAgentsOperator
from connix_provider.operators.export import ConnixExportAgentLogsOperator, ConnixExportAgentMetricsOperator
from connix_provider.operators.fleet import ConnixDeleteOrphanedAgentsOperator, ConnixFleetOperator
from connix_provider.sensors.agent import ConnixAgentStatusSensor

OPERATORS = [getattr(agent, name) for name in agent.__all__]
OTHERS = [
    ConnixAgentStatusSensor,
    ConnixApplyAgentsOperator,
    ConnixDeleteOrphanedAgentsOperator,
    ConnixExportAgentLogsOperator,
    ConnixExportAgentMetricsOperator,
    ConnixFleetOperator,
]
FLEET = {"action": "restart", "agents": {"name": "*"}}
APPLY = {"spec": []}


def parameters(cls):
    """Return the parameters that an editor shows, without those of Airflow behind ``kwargs``."""
    return {
        name: parameter
        for name, parameter in inspect.signature(cls.__init__).parameters.items()
        if name not in {"self", "kwargs"} and parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


@pytest.mark.parametrize("operator", OPERATORS)
def test_operators_repeat_the_shared_parameters_with_defaults(operator):
    shared, own = parameters(SingleAgentOperator), parameters(operator)
    assert len(shared) == 8
    for name, parameter in shared.items():
        assert own[name].default == parameter.default
        assert own[name].annotation == parameter.annotation


@pytest.mark.parametrize("operator", [*OPERATORS, *OTHERS])
def test_documented_and_shown_parameters_are_the_same(operator):
    shown = set(parameters(operator))
    documented = set(re.findall(r":param (\w+):", operator.__doc__))
    if operator in OPERATORS:
        assert "SingleAgentOperator`" in operator.__doc__
        documented |= set(re.findall(r":param (\w+):", SingleAgentOperator.__doc__))
    assert shown == documented


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_shown_parameter_arrives(operator):
    marks = {name: f"mark of {name}" for name in parameters(operator)}
    task = operator(task_id="task", **marks)
    assert {name: getattr(task, name) for name in marks} == marks


@pytest.mark.parametrize(
    ("operator", "arguments", "name"),
    [
        (ConnixFleetOperator, FLEET, "cancel_on_kill"),
        (ConnixFleetOperator, FLEET, "stream_agent_logs"),
        (ConnixFleetOperator, FLEET, "wait_for_completion"),
        (ConnixApplyAgentsOperator, APPLY, "cancel_on_kill"),
        (ConnixApplyAgentsOperator, APPLY, "deferrable"),
        (ConnixApplyAgentsOperator, APPLY, "stream_agent_logs"),
    ],
)
def test_an_argument_without_effect_is_refused(operator, arguments, name):
    # AirflowException before Airflow 3.
    with pytest.raises((TypeError, AirflowException), match=f"(?s)Invalid arguments .*{name}"):
        operator(task_id="task", **arguments, **{name: True})
    with DAG("defaults", schedule=None, default_args={name: True}):
        assert operator(task_id="task", **arguments)
