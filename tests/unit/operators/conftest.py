"""Fixtures that run single tasks in real Airflow."""

from single_task import api_server, connection, database, emulator, exceptions_reach_callbacks, run, warp

__all__ = ["api_server", "connection", "database", "emulator", "exceptions_reach_callbacks", "run", "warp"]
