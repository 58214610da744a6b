"""The rate limits of a key, as in the reference's table "Rate Limits"."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

__all__ = ["DOCUMENTED", "Bucket"]


class Bucket(StrEnum):
    """The rate limits of a key (reference: "Rate Limits"); the four actions share one."""

    LIST = "list"
    CREATE = "create"
    GET = "get"
    UPDATE = "update"
    DELETE = "delete"
    ACTION = "action"
    LOGS = "logs"
    METRICS = "metrics"
    #: List Projects, which the reference's table does not have.
    PROJECTS = "projects"


#: Requests a minute (reference: "Rate Limits"), which count until a response tells the limit.
DOCUMENTED: Mapping[Bucket, int] = {
    Bucket.LIST: 100,
    Bucket.CREATE: 10,
    Bucket.GET: 200,
    Bucket.UPDATE: 20,
    Bucket.DELETE: 10,
    Bucket.ACTION: 50,
    Bucket.LOGS: 100,
    Bucket.METRICS: 50,
}
