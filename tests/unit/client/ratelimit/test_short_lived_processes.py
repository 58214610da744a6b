"""Restart 200 agents, each in a process of its own as Airflow does, in virtual time: count the 429s."""

import json
import time
from collections import deque

import pytest
from rate_limit_simulator import ServiceLimit, Simulation

from connix_provider.client.ratelimit import Bucket, RateLimiter, recheck_delay, retry_after_hint

TASKS = 200
#: Seconds that a deferrable task waits on its worker at most.
PATIENCE = 10.0


class Airflow:
    """
    Run tasks in worker slots, and their deferrals in one triggerer.

    :param slots: how many processes run at a time
    :param file: what all processes share; ``None``: each is on a machine of its own
    :param deferrable: whether a task that has to wait gives its slot back
    """

    def __init__(self, simulation, service, *, slots, file, deferrable):
        self.simulation, self.service, self.file, self.deferrable = simulation, service, file, deferrable
        self.triggerer = RateLimiter(clock=self.clock, shared=file)
        self.queue = deque((number, None) for number in range(TASKS))
        self.done_at = []
        for _ in range(slots):
            simulation.start(self.slot())

    def clock(self):
        return self.simulation.now

    def slot(self):
        while len(self.done_at) < TASKS:
            if not self.queue:
                yield 0.5
                continue
            task, event = self.queue.popleft()
            yield self.simulation.random.uniform(1, 3)
            limiter = RateLimiter(clock=self.clock, shared=self.file)
            if event is not None:
                limiter.restore(Bucket.ACTION, event["rate_limit"], granted=event["has_permit"])
            if (deferred := (yield from self.restart(limiter))) is None:
                self.done_at.append(self.simulation.now)
            else:
                self.simulation.start(self.trigger(task, *json.loads(json.dumps(deferred))))

    def restart(self, limiter):
        """Send the action; return what travels to the trigger where the task defers."""
        with limiter.permit(Bucket.ACTION) as permit:
            while True:
                while wait := permit.try_acquire():
                    if self.deferrable and wait > PATIENCE:
                        return self.simulation.now + wait, limiter.snapshot(Bucket.ACTION)
                    yield recheck_delay(wait)
                yield self.simulation.random.uniform(0.02, 0.1)
                good, headers = self.service.request("worker")
                yield self.simulation.random.uniform(0.02, 0.1)
                hint = None if good else retry_after_hint(headers)
                permit.on_response(headers, back_off=hint)
                if good:
                    return None

    def trigger(self, task, not_before, snapshot):
        yield max(0.0, not_before - self.simulation.now)
        self.triggerer.restore(Bucket.ACTION, snapshot)
        with self.triggerer.permit(Bucket.ACTION, paced=True) as permit:
            while wait := permit.try_acquire():
                yield recheck_delay(wait)
        self.queue.append((task, {"has_permit": True, "rate_limit": self.triggerer.snapshot(Bucket.ACTION)}))


def run(tmp_path, monkeypatch, *, slots, one_machine, deferrable, limit):
    simulation = Simulation()
    service = ServiceLimit(simulation, limit)
    monkeypatch.setattr(time, "time", lambda: service.epoch + simulation.now)
    file = tmp_path / "key" if one_machine else None
    airflow = Airflow(simulation, service, slots=slots, file=file, deferrable=deferrable)
    simulation.run(3600)
    assert len(airflow.done_at) == TASKS
    return len(service.refused) / (TASKS + len(service.refused)), max(airflow.done_at)


@pytest.mark.parametrize("slots", [1, 8, 32])
@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("limit", [50, 20, 300])
def test_processes_of_a_machine_meet_hardly_a_429(tmp_path, monkeypatch, slots, deferrable, limit):
    refused, took = run(
        tmp_path, monkeypatch, slots=slots, one_machine=True, deferrable=deferrable, limit=limit
    )
    assert refused <= 0.01
    assert took < 1.1 * max(60 * TASKS / limit, 2.2 * TASKS / slots) + 60


@pytest.mark.parametrize(("slots", "part"), [(1, 0.01), (8, 0.15)])
def test_each_machine_meets_one_429_in_a_window(tmp_path, monkeypatch, slots, part):
    refused, _ = run(tmp_path, monkeypatch, slots=slots, one_machine=False, deferrable=False, limit=50)
    assert refused <= part


@pytest.mark.parametrize("slots", [8, 32])
@pytest.mark.parametrize("limit", [50, 20])
def test_resumed_tasks_on_many_machines_are_refused_once(tmp_path, monkeypatch, slots, limit):
    refused, took = run(tmp_path, monkeypatch, slots=slots, one_machine=False, deferrable=True, limit=limit)
    # Each task of a machine that knows nothing may be refused once.
    assert refused / (1 - refused) <= 1.1
    assert took < 1.1 * 60 * TASKS / limit
