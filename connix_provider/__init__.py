"""Run, watch and schedule Connix AI agents from Apache Airflow."""

__version__ = "0.1.0"
