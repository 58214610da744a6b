"""
Export the logs and metrics of a team's agents every day.

Each run writes the day before it, so a run that is cleared writes the same files again. `folder` is a local
folder, or a URL such as `s3://my_aws_connection@my-bucket/connix` if that storage's provider is installed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.common.compat.sdk import DAG, Param

from connix_provider.operators.export import ConnixExportAgentLogsOperator, ConnixExportAgentMetricsOperator

with DAG(
    dag_id="connix_daily_export",
    description="Log lines and metrics of agents, one file each a day",
    doc_md=__doc__,
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["connix", "example"],
    params={
        "folder": Param("connix_exports", type="string", description="Where the files go."),
        "agents": Param("*", type="string", description="The names of the agents."),
    },
    default_args={
        "agents": {"name": "{{ params.agents }}"},
        # Airflow 3 gives a daily run no data interval by default, but its end is the time of the run.
        "start_time": "{{ data_interval_end - macros.timedelta(days=1) }}",
        "end_time": "{{ data_interval_end }}",
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
    },
):
    file = "{{ params.folder }}/{{ data_interval_end | ds }}"
    ConnixExportAgentLogsOperator(task_id="logs", path=f"{file}.logs.jsonl.gz")
    ConnixExportAgentMetricsOperator(task_id="metrics", path=f"{file}.metrics.jsonl")
