"""An apply in real Airflow: its templates and files, and that no secret is in what Airflow keeps."""

from __future__ import annotations

import json

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from dag_store import airflow_version, store
from rendered_fields import masker, stored_fields

from connix_provider.client.errors import ConnixValidationError
from connix_provider.emulator import Fault
from connix_provider.operators._base.identity import APPLY_OWNER_FIELD
from connix_provider.operators.apply import ConnixApplyAgentsOperator

__all__ = ["masker"]

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(
        airflow_version() == (3, 0),
        reason="dag.test() of Airflow 3.0 prints what task and supervisor tell each other, unmasked",
    ),
]

PROMPT, URL, PIN = "You are the canary-of-the-prompt", "postgres://user:canary-of-the-url@host/db", "48151623"
SECRETS = {"prompt": PROMPT, "url": URL, "pin": PIN}
SPEC = {
    "defaults": {"config": {"model": "gpt-4", "environment_variables": {"URL": "{{ params.url }}"}}},
    "agents": [
        {
            "name": "agent {{ params.n }}",
            "description": "{{ params.n }}",
            "state": "{{ params.state }}",
            "config": {
                "temperature": "{{ 0.25 }}",
                "system_prompt": "{{ params.prompt }}",
                "environment_variables": {"PIN": "{{ params.pin }}"},
            },
            "metadata": {"number": 7},
        }
    ],
}
YAML = """
defaults:
  config: {model: gpt-4, environment_variables: {URL: "{{ params.url }}"}}
agents:
- name: agent {{ params.n }}
  description: "{{ params.n }}"
  state: "{{ params.state }}"
  config:
    temperature: "{{ 0.25 }}"
    system_prompt: "{{ params.prompt }}"
    environment_variables: {PIN: "{{ params.pin }}"}
  metadata: {number: 7}
"""


def assert_no_secret(*texts):
    for text in texts:
        for secret in ("canary-of-the-prompt", "canary-of-the-url", PIN):
            assert secret not in text


@pytest.fixture
def spec(request, tmp_path):
    if request.param == "inline":
        return SPEC
    path = tmp_path / "agents_1.yaml"
    path.write_text(YAML)
    if request.param == "text":
        return f"{tmp_path}/agents_{{{{ params.n }}}}.yaml"
    return {"path": path, "url": f"file://{path}", "storage": ObjectStoragePath(f"file://{path}")}[
        request.param
    ]


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("spec", ["inline", "text", "path", "url", "storage"], indirect=True)
def test_templates_are_rendered_and_no_secret_leaves(spec, native, emulator, run, warp):
    arguments = {
        "spec": spec,
        "owner": "team {{ params.n }}",
        "params": {**SECRETS, "n": 1, "state": "paused"},
        "dag_options": {"render_template_as_native_obj": native},
    }
    ran = run(ConnixApplyAgentsOperator, dry_run="{{ True }}", **arguments)
    assert (ran.state, ran.result["summary"]["create"]) == ("success", 1), ran.log
    assert not [entry for entry in emulator.journal.entries() if entry.method != "GET"]
    assert_no_secret(ran.log, json.dumps(ran.result))
    ran = run(ConnixApplyAgentsOperator, **arguments)
    assert ran.state == "success", ran.log
    agent = emulator.agent(ran.result["agents"]["agent 1"])
    assert (agent["status"], agent["description"]) == ("paused", "1")
    assert agent["config"] == {
        "model": "gpt-4",
        "temperature": 0.25,
        "system_prompt": PROMPT,
        "environment_variables": {"URL": URL, "PIN": PIN},
    }
    assert agent["metadata"]["number"] == 7
    assert agent["metadata"][APPLY_OWNER_FIELD].endswith("/team 1")
    assert "    config.system_prompt: set (secret)" in ran.log
    (fields,) = stored_fields(ran.instance)
    assert_no_secret(ran.log, json.dumps(ran.result), json.dumps(fields))


@pytest.mark.parametrize("spec", ["inline", "text"], indirect=True)
def test_a_changed_secret_shows_as_changed_alone(spec, emulator, run, warp):
    config = {"model": "gpt-4", "system_prompt": PROMPT, "environment_variables": {"URL": URL, "PIN": "old"}}
    (agent_id,) = emulator.seed(
        name="agent 1", config=config, description=f"Knows {URL}", metadata={"number": 7}
    )
    ran = run(ConnixApplyAgentsOperator, spec=spec, params={**SECRETS, "n": 1, "state": "running"})
    assert ran.state == "success", ran.log
    (change,) = ran.result["changes"]
    assert change["fields"] == [
        {"field": "description", "from": "Knows ***", "to": "1"},
        {"field": "config.environment_variables.URL", "secret": "unchanged"},
        {"field": "config.environment_variables.PIN", "secret": "changed"},
        {"field": "config.temperature", "from": None, "to": 0.25},
        {"field": "config.system_prompt", "secret": "unchanged"},
    ]
    assert emulator.agent(agent_id)["config"]["environment_variables"]["PIN"] == PIN
    assert_no_secret(ran.log, json.dumps(ran.result))


@pytest.mark.parametrize("spec", ["inline", "text"], indirect=True)
def test_a_refusal_quotes_no_secret(spec, emulator, run, warp):
    fault = Fault.status(400, code="validation_error", message=f"Wrong: {PROMPT} and {URL} and {PIN}")
    emulator.faults.add(fault, on="create_agent", times=None)
    ran = run(ConnixApplyAgentsOperator, spec=spec, params={**SECRETS, "n": 1, "state": "paused"})
    assert type(ran.error) is ConnixValidationError
    assert "Could not apply agent 'agent 1'" in str(ran.error)
    assert_no_secret(ran.said)


def test_a_wrong_declaration_shows_no_secret(emulator, run, warp):
    wrong = {"agents": [{**SPEC["agents"][0], "confg": {}}], "defaults": SPEC["defaults"]}
    for spec in (wrong, json.dumps({"agents": [{"name": "a", "config": {"system_prompt": PROMPT}}]})):
        ran = run(ConnixApplyAgentsOperator, spec=spec, params={**SECRETS, "n": 1, "state": "running"})
        assert type(ran.error) is ValueError
        assert_no_secret(ran.said, json.dumps(stored_fields(ran.instance)))
    assert not emulator.journal.entries()


def test_the_owner_of_default_args_owns_no_agents(emulator, run, warp):
    options = {"default_args": {"owner": "everything"}}
    ran = run(ConnixApplyAgentsOperator, spec=[{"name": "a"}], dag_options=options)
    mark = emulator.agent(ran.result["agents"]["a"])["metadata"][APPLY_OWNER_FIELD]
    assert mark.endswith(f"/{ran.instance.dag_id}.task")
    ran = run(ConnixApplyAgentsOperator, spec=[{"name": "b"}], owner="mine", dag_options=options)
    assert emulator.agent(ran.result["agents"]["b"])["metadata"][APPLY_OWNER_FIELD].endswith("/mine")


def test_a_plan_of_another_task_is_carried_out(emulator, connection, warp):
    import pendulum
    from airflow.providers.common.compat.sdk import DAG

    with DAG("plan_and_apply", schedule=None, start_date=pendulum.datetime(2024, 1, 1)) as dag:
        arguments = {"spec": [{"name": "planned", "state": "stopped"}], "owner": "team"}
        plan = ConnixApplyAgentsOperator(task_id="plan", dry_run=True, **arguments)
        ConnixApplyAgentsOperator(task_id="apply", plan=plan.output, **arguments)
    store(dag)
    instances = {ti.task_id: ti for ti in dag.test().get_task_instances()}
    assert {str(ti.state) for ti in instances.values()} == {"success"}
    agent_id = instances["apply"].xcom_pull(task_ids="apply")["agents"]["planned"]
    assert emulator.agent(agent_id)["status"] == "stopped"


def test_a_mapped_apply_takes_declarations_of_another_task(emulator, connection, warp):
    import pendulum
    from airflow.providers.common.compat.sdk import DAG, task

    config = {"model": "gpt-4", "system_prompt": PROMPT}

    @task
    def teams():
        return [[{"name": f"of {team}", "config": config, "state": "stopped"}] for team in ("a", "b")]

    with DAG("mapped_apply", schedule=None, start_date=pendulum.datetime(2024, 1, 1)) as dag:
        ConnixApplyAgentsOperator.partial(task_id="apply", owner="teams").expand(spec=teams())
    store(dag)
    applied = [ti for ti in dag.test().get_task_instances() if ti.task_id == "apply"]
    assert [str(ti.state) for ti in applied] == 2 * ["success"]
    assert_no_secret(json.dumps(stored_fields(*applied)))
    names = set()
    for ti in applied:
        ((name, agent_id),) = ti.xcom_pull(task_ids="apply", map_indexes=ti.map_index)["agents"].items()
        agent = emulator.agent(agent_id)
        assert (agent["status"], agent["config"]) == ("stopped", config)
        assert agent["metadata"][APPLY_OWNER_FIELD].endswith("/teams")
        names.add(name)
    assert names == {"of a", "of b"}


def test_a_plan_that_is_missing_is_refused(emulator, run, warp):
    ran = run(ConnixApplyAgentsOperator, spec=[], plan="{{ params.plan }}", params={"plan": None})
    assert type(ran.error) is ValueError
    assert "plan must be" in str(ran.error)


def test_an_agent_in_error_is_restarted_in_airflow(emulator, run, warp):
    (agent_id,) = emulator.seed(name="a", status="error")
    ran = run(ConnixApplyAgentsOperator, spec=[{"name": "a", "state": "running"}])
    assert ran.state == "success", ran.log
    assert emulator.agent(agent_id)["status"] == "running"
