"""Fixtures that run single tasks in real Airflow."""

from single_task import api_server, callbacks_know_the_exception, connection, database, emulator, run, warp

__all__ = ["api_server", "callbacks_know_the_exception", "connection", "database", "emulator", "run", "warp"]
