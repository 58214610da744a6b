"""Run single tasks in real Airflow against the emulator, with a clock that jumps instead of sleeping."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pendulum
import pytest
from dag_store import airflow_version, store
from timewarp import Timewarp

from connix_provider.emulator import Clock, Durations, Emulator
from connix_provider.sensors import base as sensor


@pytest.fixture
def emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    # Where the clock jumps it does nothing else: how slow the machine is must not be part of a time.
    clock = Clock(frozen="warp" in request.fixturenames)
    with Emulator(clock=clock, durations=Durations()) as running:
        yield running


@pytest.fixture
def warp(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Timewarp:
    warp = Timewarp(emulator.clock)
    warp.install(monkeypatch)
    reschedule = sensor.AirflowRescheduleException

    def at_once(when: Any) -> BaseException:
        warp.sleep(when.timestamp() - warp.time())
        return reschedule(pendulum.now("UTC"))

    monkeypatch.setattr(sensor, "AirflowRescheduleException", at_once)
    return warp


@pytest.fixture(scope="session", autouse=True)
def database() -> None:
    """Migrate the database of the test run, once."""
    from airflow.utils.db import initdb

    level = logging.getLogger().level
    # Alembic and SQLAlchemy warn of Airflow's own models.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        initdb()
    # The migrations of Airflow 2.11 raise it to WARNING, which no task of a worker meets.
    logging.getLogger().setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def api_server() -> None:
    """Have ``dag.test()`` make one API server for all tasks, as newer Airflows do: each takes seconds."""
    if (3,) <= airflow_version() < (3, 3):
        from airflow.sdk.execution_time import supervisor

        supervisor.in_process_api_server = functools.lru_cache(maxsize=1)(supervisor.in_process_api_server)
    if airflow_version() == (3, 0):
        from airflow.sdk.api.client import TaskInstanceOperations

        ask = TaskInstanceOperations.get_reschedule_start_date

        def get_reschedule_start_date(self: Any, *args: Any, **kwargs: Any) -> Any:
            # Between two processes the text becomes a time on its way; within one process it stays text.
            started = ask(self, *args, **kwargs)
            return type(started).model_validate({"start_date": started.start_date})

        TaskInstanceOperations.get_reschedule_start_date = get_reschedule_start_date


@pytest.fixture
def connection(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Define ``connix_default`` for the emulator; call it to change something."""

    def define(conn_id: str = "connix_default", **changes: Any) -> None:
        fields = {
            "conn_type": "connix",
            "host": emulator.url,
            "password": emulator.api_key,
            "extra": {"project_id": emulator.project_id},
            **changes,
        }
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))

    define()
    return define


@dataclasses.dataclass
class TaskOutcome:
    """What became of a task."""

    state: str
    result: Any = None
    error: BaseException | None = None
    log: str = ""
    instance: Any = None

    @property
    def said(self) -> str:
        """Everything that a user may read of it."""
        # dag.test() of Airflow 3.0 prints what goes between task and supervisor before anything is masked.
        log = "" if airflow_version() == (3, 0) else self.log
        return f"{self.error} {self.error!r} {log}"


_numbers = itertools.count()


@pytest.fixture
def exceptions_reach_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let failure callbacks find the exception in their context, as newer versions of Airflow do."""
    if (3,) <= airflow_version() < (3, 3):
        pass_exception_to_callbacks(monkeypatch)


@pytest.fixture
def run(
    connection: Any,
    exceptions_reach_callbacks: None,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Callable[..., TaskOutcome]:
    """Run one task in a DAG of its own by ``dag.test()``; a deferred trigger runs in line."""

    def run_task(
        make: Callable[..., Any],
        *,
        params: dict[str, Any] | None = None,
        dag_options: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> TaskOutcome:
        from airflow.providers.common.compat.sdk import DAG

        errors: list[BaseException] = []

        def keep(context: Any) -> None:
            errors.append(context["exception"])

        capfd.readouterr()
        caplog.clear()
        with DAG(
            f"case_{os.getpid()}_{next(_numbers)}",
            schedule=None,
            start_date=pendulum.datetime(2024, 1, 1),
            params=params or {},
            **(dag_options or {}),
        ) as dag:
            task = make(
                task_id="task",
                on_failure_callback=keep,
                retry_delay=pendulum.duration(seconds=0),
                **arguments,
            )
        store(dag)
        dag_run = dag.test()
        (instance,) = dag_run.get_task_instances()
        instance.refresh_from_db()
        result = instance.xcom_pull(task_ids=task.task_id)
        out, err = capfd.readouterr()
        return TaskOutcome(
            str(instance.state), result, errors[-1] if errors else None, out + err + caplog.text, instance
        )

    return run_task


def pass_exception_to_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what newer versions of Airflow do."""
    from airflow.sdk.execution_time import task_runner

    finalize = task_runner.finalize

    def tell(ti: Any, state: Any, context: Any, log: Any, error: BaseException | None = None) -> None:
        if error is not None:
            context["exception"] = error
        finalize(ti, state, context, log, error)

    monkeypatch.setattr(task_runner, "finalize", tell)
