"""Run an export: find the agents and the interval, read the rows, and write the file."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from connix_provider.agent_lookup import resolve_agent_id
from connix_provider.client.calls.arguments import period
from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators._base.error_context import completing_errors
from connix_provider.operators._base.identity import identity_key
from connix_provider.operators._export.file import ExportFile, check_path
from connix_provider.polling.selection import describe, select_agents
from connix_provider.selector import selector_of_task

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from connix_provider.client import Agent, Client
    from connix_provider.operators._export.base import ExportOperator
    from connix_provider.operators._export.rows import Rows
    from connix_provider.selector import AgentSelector

__all__ = ["export"]

#: Seconds between two lines of progress in the log.
_PROGRESS = 10.0
#: Seconds by which the clocks of worker and service may differ.
_CLOCK_SKEW = 60.0
#: The remedy for a run without a data interval.
_GIVE_TIMES = (
    "give start_time and end_time to the task, for example start_time="
    "'{{ data_interval_end - macros.timedelta(days=1) }}' and end_time='{{ data_interval_end }}'"
)
_EMPTY = (
    "Airflow 3 gives runs of a cron schedule no data interval, unless [scheduler] create_cron_data_intervals "
    "is true"
)


def export(task: ExportOperator, context: Context, rows: Rows) -> dict[str, Any]:
    """
    Export rows of the task's agents.

    :param rows: reads the rows of an agent
    :return: the path, the counts and the interval, as plain JSON
    :raises ValueError: for a wrong parameter, and without an interval
    :raises ConnixError: if the service refuses a request
    """
    selector = _check(task, rows)
    start, end = _interval(task, context)
    deadline = time.time() + task.seconds_allowed
    counts: dict[str, int] = {}
    with task.open_connection(ConnixHook.get_conn) as (hook, project_id, connection):
        client = connection.with_options(deadline=deadline)
        with completing_errors(hook, project_id, task.error_fields):
            agents = _agents(task, client, project_id, selector)
        with ExportFile(task.path, _key(context), rows.columns) as file:
            for number, (agent_id, name) in enumerate(agents, start=1):
                known = {**task.error_fields(), "agent_id": agent_id, "agent_name": name}
                with completing_errors(hook, project_id, partial(dict, known)):
                    agent = client.agents.get(project_id, agent_id)
                    known["agent_name"] = agent.name
                    progress = _Progress(task.log, task.exported, agent, f"{number} of {len(agents)}")
                    for page, total in rows.pages(client, project_id, agent, start, end):
                        file.write(page)
                        counts[agent_id] = progress.add(len(page), total)
    written = sum(counts.values())
    of = "1 agent" if len(agents) == 1 else f"{len(agents)} agents"
    task.log.info("Wrote %d %s of %s from %s to %s: %s", written, task.exported, of, start, end, task.path)
    return {"path": str(task.path), "rows": written, "agents": counts, **period(start, end)}


class _Progress:
    """Log how far the export of an agent is."""

    def __init__(self, log: Any, what: str, agent: Agent, which: str) -> None:
        self._log = log
        self._what = what
        self._agent = f"{agent.label}, agent {which}"
        self._rows = 0
        self._logged_at = time.monotonic()

    def add(self, rows: int, total: int | None) -> int:
        self._rows += rows
        if time.monotonic() - self._logged_at >= _PROGRESS:
            self._logged_at = time.monotonic()
            of = f" of {total}" if total is not None else ""
            self._log.info("Exported %d%s %s of %s.", self._rows, of, self._what, self._agent)
        return self._rows


def _check(task: ExportOperator, rows: Rows) -> AgentSelector | None:
    task.check()
    check_path(task.path, rows.columns)
    return selector_of_task(task.agent_id, task.agent_name, task.agents)


def _interval(task: ExportOperator, context: Context) -> tuple[datetime, datetime]:
    """Return the interval: the task's own times, or else those of the run's data interval."""
    of_run: tuple[Any, Any] = (context.get("data_interval_start"), context.get("data_interval_end"))
    start = of_run[0] if task.start_time is None else task.start_time
    end = of_run[1] if task.end_time is None else task.end_time
    moments = [datetime.fromisoformat(text) for text in period(start, end).values() if text]
    if len(moments) < 2:
        raise ValueError(f"this run has no data interval, so {_GIVE_TIMES}")
    if moments[0] == moments[1]:
        raise ValueError(
            f"the interval is empty: it begins and ends at {moments[0]}. {_EMPTY}; {_GIVE_TIMES}"
        )
    if moments[1].timestamp() > time.time() + _CLOCK_SKEW:
        task.log.warning("end_time %s lies in the future, so a later export may give more.", moments[1])
    return moments[0], moments[1]


def _agents(
    task: ExportOperator, client: Client, project_id: str, selector: AgentSelector | None
) -> Sequence[tuple[str, str | None]]:
    """Return id and name of each agent; the name is unknown if the task was given an id."""
    if selector is None:
        agent_id = resolve_agent_id(client, project_id, task.agent_id, task.agent_name)
        return [(agent_id, None if task.agent_name is None else str(task.agent_name))]
    selected = client.run_flow(select_agents(client, selector, project_id))
    task.log.info("Selected %s (%s).", describe(selected), selector)
    return [(agent.id, agent.name) for agent in selected]


def _key(context: Context) -> str:
    """Return what distinguishes the file of this task run, while it is written, from those of others."""
    if context.get("ti") is None:
        return uuid.uuid4().hex[:12]
    return hashlib.sha256(identity_key(context).encode()).hexdigest()[:12]
