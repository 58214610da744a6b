"""What Airflow stores and shows of a task: the shape of a configuration, not its secrets."""

from __future__ import annotations

import json
import os

import pytest
from dag_store import airflow_version, store

from connix_provider.operators.agent import ConnixCreateAgentOperator, ConnixUpdateAgentOperator

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


def stored_fields(session_factory, dag_run_of):
    from airflow.models.renderedtifields import RenderedTaskInstanceFields as Rendered

    with session_factory() as session:
        rows = session.query(Rendered).filter(Rendered.dag_id == dag_run_of).all()
        return [row.rendered_fields for row in rows]


def test_rendered_fields_hide_what_is_secret(emulator, run, warp, monkeypatch):
    from airflow.utils.session import create_session

    ran = run(ConnixCreateAgentOperator, name="rendered", config=CONFIG, params=SECRETS)
    assert ran.state == "success", ran.log
    dag_id = emulator.agent(ran.result)["metadata"]["airflow_task_run"].split("/")[0]
    (fields,) = stored_fields(create_session, dag_id)
    shown = fields["config"] if isinstance(fields["config"], dict) else json.loads(fields["config"])
    assert shown["model"] == "gpt-4"
    assert list(shown["environment_variables"]) == ["DATA_SOURCE"]
    for secret in SECRETS.values():
        assert secret not in json.dumps(fields)
        assert secret not in ran.log
    assert emulator.agent(ran.result)["config"]["system_prompt"] == SECRETS["prompt"]


def test_an_update_hides_them_too(emulator, run, warp):
    (agent_id,) = emulator.seed(status="running")
    ran = run(ConnixUpdateAgentOperator, agent_id=agent_id, config=CONFIG, params=SECRETS)
    assert ran.state == "success", ran.log
    assert emulator.agent(agent_id)["config"]["environment_variables"] == {"DATA_SOURCE": SECRETS["url"]}
    assert all(secret not in ran.log for secret in SECRETS.values())


def test_mapped_tasks_hide_them_too(emulator, connection, warp, monkeypatch):
    import pendulum
    from airflow.providers.common.compat.sdk import DAG
    from airflow.utils.session import create_session

    secret = "postgres://mapped:canary@host/db"
    # Of its own for each process: the database may be that of an earlier run of the tests.
    dag_id = f"mapped_secrets_{os.getpid()}"
    with DAG(dag_id, schedule=None, start_date=pendulum.datetime(2024, 1, 1)) as dag:
        ConnixCreateAgentOperator.partial(
            task_id="create", config={"model": "gpt-4", "environment_variables": {"URL": secret}}
        ).expand(name=["first", "second"])
    store(dag)
    dag_run = dag.test()
    assert [task.state for task in dag_run.get_task_instances()] == ["success", "success"]
    rows = stored_fields(create_session, dag_id)
    assert len(rows) == 2
    assert secret not in json.dumps(rows)
    assert "gpt-4" in json.dumps(rows)


def test_a_template_that_fails_shows_no_secret(emulator, run, warp):
    secret = "postgres://failing:canary@host/db"
    config = {"model": "{{ nope.nope.x }}", "environment_variables": {"URL": secret}}
    ran = run(ConnixCreateAgentOperator, name="failing", config=config)
    assert ran.state == "failed"
    assert secret not in ran.log


def test_a_long_configuration_shows_no_secret(emulator, run, warp):
    from airflow.utils.session import create_session

    prompt = "canary of a prompt\nwith lines\nand 'quotes'"
    config = {"system_prompt": prompt, "environment_variables": {"FILL": "x" * 9000}}
    ran = run(ConnixCreateAgentOperator, name="long", config=config)
    dag_id = emulator.agent(ran.result)["metadata"]["airflow_task_run"].split("/")[0]
    assert "canary of a prompt" not in json.dumps(stored_fields(create_session, dag_id))


def test_a_configuration_that_is_one_template_is_masked_in_every_form(monkeypatch):
    masked = []
    monkeypatch.setattr("connix_provider.compat.mask_secret", masked.append)
    config = json.dumps({"model": "gpt-4", "system_prompt": "canary of a text\nwith lines and 'quotes'"})
    task = ConnixCreateAgentOperator(task_id="text", name="text", config=config)
    task._mask(task)
    for shown in (config, repr({"config": config}), json.dumps({"config": config}), repr(json.loads(config))):
        for secret in sorted(masked, key=len, reverse=True):
            shown = shown.replace(secret, "***")
        assert "canary" not in shown
