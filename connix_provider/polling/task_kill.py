"""
Decide what a killed task does: whether its action is undone, and how its process ends.

Airflow calls ``on_kill`` when a task is killed, marked or cleared, at ``execution_timeout``, and when its
worker shuts down. Airflow 3.3 also calls it in a triggerer that stalled while another one took its triggers
over. The state of the task instance decides: only the action of a ``failed`` task is undone. In every other
state the agent is left to the task's next try.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

__all__ = ["exit_on_sigterm", "reason_not_to_cancel", "reason_not_to_cancel_async"]

#: The one state in which ``cancel_on_kill`` undoes.
_FAILED = "failed"
#: Seconds that Airflow may take to return a task's state; it sends SIGKILL five seconds after SIGTERM.
_STATE_TIMEOUT = 2.0
#: The same in a trigger, which Airflow gives 30 seconds for all of ``on_kill``.
_STATE_TIMEOUT_ASYNC = 10.0
#: Where Airflow 3 installs the handler of SIGTERM that calls ``on_kill`` and then lets the task run on.
_TASK_RUNNER = "airflow.sdk.execution_time.task_runner"


def reason_not_to_cancel(ti: Any) -> str | None:
    """
    Say why the action of a killed task is not undone.

    A thread asks for the state. The signal may have interrupted this thread while it held the lock of the
    channel to Airflow, so a call here would deadlock.

    :return: the reason as one clause, or ``None`` where the task is failed, so the action is undone
    """
    state_future: Future[str | None] = Future()

    def ask() -> None:
        try:
            state_future.set_result(_state_of(ti))
        except Exception as error:
            state_future.set_exception(error)

    threading.Thread(target=ask, daemon=True, name="connix-task-state").start()
    try:
        return _reason(state_future.result(_STATE_TIMEOUT))
    except Exception as error:
        return _unknown(error)


async def reason_not_to_cancel_async(ti: Any) -> str | None:
    """
    Say the same in a trigger, without blocking its event loop.

    :param ti: the trigger's task instance
    :return: the reason as one clause, or ``None`` where the task is failed
    """
    try:
        return _reason(await asyncio.wait_for(asyncio.to_thread(_state_of, ti), _STATE_TIMEOUT_ASYNC))
    except Exception as error:
        return _unknown(error)


def _reason(state: str | None) -> str | None:
    if state == _FAILED:
        return None
    return f"cancel_on_kill applies only to a failed task, and this task is {state or 'cleared'}"


def _unknown(error: Exception) -> str:
    return f"Airflow did not return the state of the task ({type(error).__name__} {error})"


def _state_of(ti: Any) -> str | None:
    """Ask Airflow for the current state; a cleared task has none."""
    if ti is None:
        raise LookupError("there is no task instance")
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    except ImportError:  # Airflow 2
        state: str | None = ti.current_state()
        return state
    map_index = -1 if ti.map_index is None else ti.map_index
    states: dict[str, dict[str, str | None]] = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=map_index
    )
    # Airflow names a mapped task instance this way in its response.
    return states[ti.run_id][ti.task_id if map_index < 0 else f"{ti.task_id}_{map_index}"]


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """
    Let SIGTERM end a task of Airflow 3 at once, after ``on_kill``.

    Airflow's own handler returns, and the interrupted sleep or request continues until SIGKILL comes five
    seconds later. Here SIGTERM ends the process, as Airflow's supervisor expects. The state that a
    user gave the task stands, and a task whose worker shuts down is retried. Nothing is raised: Airflow would
    log an exception, and report it as a failure of the task.
    """
    handler = signal.getsignal(signal.SIGTERM)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not callable(handler) or getattr(handler, "__module__", None) != _TASK_RUNNER:
        yield
        return
    task_pid = os.getpid()

    def end_by_signal(signum: int, frame: Any) -> None:
        handler(signum, frame)
        # A process that the task forked is left to Airflow's rules.
        if os.getpid() == task_pid:
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)

    signal.signal(signal.SIGTERM, end_by_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
