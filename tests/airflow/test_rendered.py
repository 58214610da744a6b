"""What Airflow stores and shows of a task: the shape of a configuration, not its secrets."""

from __future__ import annotations

import json

from connix_provider.operators.agent import ConnixCreateAgentOperator, ConnixUpdateAgentOperator

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
