"""Restart 200 agents, each in a process of its own, where a window takes 20 of them."""

import multiprocessing

import pytest
from fresh_process import restart

from connix_provider.emulator import Emulator, Limits

pytestmark = pytest.mark.slow

AGENTS = 200


@pytest.mark.parametrize(("processes", "part"), [(1, 0.01), (8, 0.15)])
def test_fresh_processes_are_hardly_refused(processes, part, tmp_path, monkeypatch):
    monkeypatch.setenv("CONNIX_RATE_LIMIT_DIR", str(tmp_path / "limits"))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["connix_provider.client.client"])
    with Emulator(limits=Limits(window=6.0, actions=20)) as emulator:
        agent_ids = emulator.seed(AGENTS, status="running")
        tasks = [(emulator.url, emulator.api_key, emulator.project_id, agent_id) for agent_id in agent_ids]
        with context.Pool(processes, maxtasksperchild=1) as pool:
            pool.starmap(restart, tasks, chunksize=1)
        statuses = [entry.status for entry in emulator.journal.entries()]
    print(f"{processes} processes: {statuses.count(429)} of {len(statuses)} refused")
    assert len(statuses) - statuses.count(429) == 2 * AGENTS
    assert statuses.count(429) <= part * len(statuses)
