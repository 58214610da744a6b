"""Export the logs and metrics of agents to files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

from connix_provider.hooks.connix import ConnixHook
from connix_provider.operators._export.base import ExportOperator
from connix_provider.selector import AgentSelector

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


__all__ = ["ConnixExportAgentLogsOperator", "ConnixExportAgentMetricsOperator"]


class ConnixExportAgentLogsOperator(ExportOperator):
    """
    Write the log lines of agents to a file of JSON Lines.

    A line holds ``agent_id``, ``agent_name`` and the log entry: ``timestamp``, ``level``, ``message``,
    ``context``. The agents follow each other, and each agent's lines are in the service's order, newest
    first. Secrets of the agent's configuration that a line quotes are hidden.

    It writes a temporary file in the same directory, and renames it at the end. The same interval gives
    the same bytes. Memory does not grow with the number of lines. Reference: "Get Agent Logs".

    :param path: the file, local or a URL of Airflow's ``ObjectStoragePath``; with a name ending in ``.gz`` it
        is compressed
    :param agent_id: the agent
    :param agent_name: its name, instead of its id
    :param agents: instead of both: an :class:`~connix_provider.selector.AgentSelector` or a mapping with its
        names
    :param start_time: the start of the interval, ISO 8601 text or a datetime, without a zone in UTC; default
        the start of the run's data interval
    :param end_time: its end, which belongs to the next interval; default the end of the run's data interval
    :param level: only lines of this level: ``debug``, ``info``, ``warn`` or ``error``
    :param project_id: the project; default the connection's ``project_id``
    :param connix_conn_id: the Airflow connection
    :param timeout: seconds, or a timedelta, for the whole task, rate limits included; default 3600
    """

    template_fields: Sequence[str] = (*ExportOperator.template_fields, "level")
    text_fields: ClassVar[tuple[str, ...]] = (*ExportOperator.text_fields, "level")
    exported = "log lines"

    def __init__(
        self,
        *,
        path: str | PathLike[str],
        agent_id: str | None = None,
        agent_name: str | None = None,
        agents: AgentSelector | Mapping[str, Any] | None = None,
        start_time: str | datetime | None = None,
        end_time: str | datetime | None = None,
        level: str | None = None,
        project_id: str | None = None,
        connix_conn_id: str = ConnixHook.default_conn_name,
        timeout: float | timedelta = 3600.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            path=path,
            agent_id=agent_id,
            agent_name=agent_name,
            agents=agents,
            start_time=start_time,
            end_time=end_time,
            project_id=project_id,
            connix_conn_id=connix_conn_id,
            timeout=timeout,
            **kwargs,
        )
        self.level = level

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Write the file.

        :param context: Airflow's context
        :return: plain JSON: ``path``, ``rows``, ``agents`` (the rows of each agent id), ``start_time`` and
            ``end_time``
        :raises ValueError: for a wrong parameter, and without an interval
        :raises ConnixError: if the service refuses a request
        """
        from connix_provider.operators._export.rows import LogRows
        from connix_provider.operators._export.task import export

        return export(self, context, LogRows(self.level))


class ConnixExportAgentMetricsOperator(ExportOperator):
    """
    Write the metrics of agents to a file of JSON Lines or Parquet.

    Each agent has one row with ``record`` ``period``, which holds the totals of the interval, and a row
    ``point`` for each point of its time series. ``timestamp`` is the start of either. Rates and usages are
    between 0 and 1, times are in seconds. Parquet has the columns of the reference; JSON Lines also has
    fields that the service may add.

    It writes a temporary file in the same directory, and renames it at the end. The same interval gives
    the same bytes. Reference: "Get Agent Metrics".

    :param path: the file, local or a URL of Airflow's ``ObjectStoragePath``; with a name ending in ``.gz`` it
        is compressed, ``.parquet`` is Parquet and needs ``pyarrow``
    :param agent_id: the agent
    :param agent_name: its name, instead of its id
    :param agents: instead of both: an :class:`~connix_provider.selector.AgentSelector` or a mapping with its
        names
    :param start_time: the start of the interval, ISO 8601 text or a datetime, without a zone in UTC; default
        the start of the run's data interval
    :param end_time: its end; default the end of the run's data interval
    :param interval: the distance of the points: ``1m``, ``5m``, ``15m``, ``1h`` (default) or ``1d``
    :param project_id: the project; default the connection's ``project_id``
    :param connix_conn_id: the Airflow connection
    :param timeout: seconds, or a timedelta, for the whole task, rate limits included; default 3600
    """

    template_fields: Sequence[str] = (*ExportOperator.template_fields, "interval")
    text_fields: ClassVar[tuple[str, ...]] = (*ExportOperator.text_fields, "interval")
    exported = "rows of metrics"

    def __init__(
        self,
        *,
        path: str | PathLike[str],
        agent_id: str | None = None,
        agent_name: str | None = None,
        agents: AgentSelector | Mapping[str, Any] | None = None,
        start_time: str | datetime | None = None,
        end_time: str | datetime | None = None,
        interval: str = "1h",
        project_id: str | None = None,
        connix_conn_id: str = ConnixHook.default_conn_name,
        timeout: float | timedelta = 3600.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            path=path,
            agent_id=agent_id,
            agent_name=agent_name,
            agents=agents,
            start_time=start_time,
            end_time=end_time,
            project_id=project_id,
            connix_conn_id=connix_conn_id,
            timeout=timeout,
            **kwargs,
        )
        self.interval = interval

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Write the file.

        :param context: Airflow's context
        :return: plain JSON: ``path``, ``rows``, ``agents`` (the rows of each agent id), ``start_time`` and
            ``end_time``
        :raises ValueError: for a wrong parameter, and without an interval
        :raises ConnixError: if the service refuses a request
        """
        from connix_provider.operators._export.rows import MetricRows
        from connix_provider.operators._export.task import export

        return export(self, context, MetricRows(self.interval))
