"""What the README shows runs as it stands there."""

from __future__ import annotations

import pathlib
import re

import pytest
from dag_store import store

from connix_provider.emulator import Fault

README = (pathlib.Path(__file__).parents[2] / "README.md").read_text()
DAG_BLOCK, HOOK_BLOCK, CLIENT_BLOCK = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.heavy
def test_the_dag(emulator, connection, warp):
    names: dict = {}
    exec(
        DAG_BLOCK.replace(
            'with DAG("one_agent", schedule=None):', 'with DAG("one_agent", schedule=None) as dag:'
        ),
        names,
    )
    dag = names["dag"]
    assert len([line for line in DAG_BLOCK.splitlines() if line.strip()]) <= 10
    store(dag)
    states = {task.task_id: task.state for task in dag.test().get_task_instances()}
    assert states == {"create": "success", "healthy": "success", "delete": "success"}
    assert [entry.call for entry in emulator.journal.executed() if entry.method != "GET"] == [
        "create_agent",
        "delete_agent",
    ]


@pytest.mark.heavy
def test_the_dag_runs_again_after_a_failure(emulator, connection, warp):
    names: dict = {}
    exec(
        DAG_BLOCK.replace(
            'with DAG("one_agent", schedule=None):', 'with DAG("one_agent_again", schedule=None) as dag:'
        ),
        names,
    )
    dag = names["dag"]
    store(dag)
    emulator.faults.add(Fault.ends_in_error(), on="create_agent")
    states = {task.task_id: task.state for task in dag.test().get_task_instances()}
    assert states == {"create": "failed", "healthy": "upstream_failed", "delete": "upstream_failed"}
    states = {task.task_id: task.state for task in dag.test().get_task_instances()}
    assert states == {"create": "success", "healthy": "success", "delete": "success"}
    assert len(emulator.journal.executed("create_agent")) == 1


def test_the_hook(emulator, connection, capsys):
    emulator.seed(name="shown", status="running")
    names: dict = {}
    exec(HOOK_BLOCK, names)
    address = names["report"]("shown")
    printed = capsys.readouterr().out
    assert emulator.project_id in printed
    assert "['shown']" in printed
    assert address.startswith("https://console.connix.io/")


def test_the_client(emulator, capsys):
    emulator.seed(name="shown", status="running")
    shown = CLIENT_BLOCK.replace("proj_1234567890abcdef", emulator.project_id)
    exec(shown.replace('"cx_your_api_key_here"', f'"{emulator.api_key}", "{emulator.url}"'), {})
    # The emulator's thread may log its response a moment later, to the same place in some Airflows.
    assert "shown" in capsys.readouterr().out


def test_every_class_in_the_tables_exists():
    import importlib

    classes = re.findall(r"`((?:operators|sensors|triggers)\.(?:agent|health))\.(Connix\w+)`", README)
    assert len(classes) == 11
    for room, name in classes:
        assert hasattr(importlib.import_module(f"connix_provider.{room}"), name)


def test_every_page_it_links_exists():
    root = pathlib.Path(__file__).parents[2]
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert "docs/waiting.md" in links
    assert [link for link in links if not (root / link).exists()] == []
