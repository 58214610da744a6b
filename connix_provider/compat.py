"""
Two functions that older versions of the common-compat provider lack.

Airflow's constraints pin common-compat to the version of Airflow's release day. With these functions that
version is enough.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from airflow.providers.common.compat.sdk import BaseHook

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

__all__ = ["get_async_connection", "mask_secret"]

#: Airflow 3's default of ``[logging] min_length_masked_secret``; Airflow 2.11 has no such limit.
_MIN_LENGTH: Final = 5
#: Where Airflow keeps ``mask_secret``: 3.1 and later, 3.0, 2.
_MASKS_SECRETS: Final = (
    "airflow.sdk.log",
    "airflow.sdk.execution_time.secrets_masker",
    "airflow.utils.log.secrets_masker",
)


def mask_secret(secret: str) -> None:
    """
    Register a secret with Airflow's masker, which hides it in logs and rendered fields.

    Texts of fewer than five characters are not registered, as in Airflow 3, because hiding each "3" would
    make logs unreadable.

    :param secret: the secret
    :raises ImportError: if Airflow keeps its masker in an unknown module
    """
    if len(secret) < _MIN_LENGTH:
        return
    for name in _MASKS_SECRETS:
        try:
            mask = import_module(name).mask_secret
        except (AttributeError, ImportError):
            continue
        mask(secret)
        return
    raise ImportError("cannot mask secrets: this version of Airflow has no known mask_secret")


async def get_async_connection(conn_id: str) -> Connection:
    """
    Read a connection without blocking the event loop.

    Before Airflow 3.3.2, ``BaseHook.aget_connection`` masks secrets with a synchronous call, which raises
    while another call of the same event loop is under way. On those versions a thread reads the connection.

    :param conn_id: the connection's id
    :return: the connection
    """
    # Not at the top, because parsing a DAG file needs no connection.
    from airflow.providers.common.compat.sdk import Connection

    if hasattr(Connection, "aextra_dejson"):
        return await BaseHook.aget_connection(conn_id)
    from asgiref.sync import sync_to_async

    return await sync_to_async(BaseHook.get_connection)(conn_id)
