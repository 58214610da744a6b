"""Keep values from one process of a sensor's try to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["TryStore"]


class TryStore:
    """
    Keep values for one try of a task in Airflow's ``task_state_store``, which Airflow 3.3 and later have.

    A clear and a retry begin a new try, for which nothing is kept.
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._store = context.get("task_state_store")
        self._try_number = getattr(context.get("ti"), "try_number", None)

    @property
    def is_available(self) -> bool:
        """Whether this version of Airflow has a place to keep values."""
        return self._store is not None

    def read(self, key: str) -> Any:
        """
        Read a value.

        :return: the value, ``None`` if this try kept none
        """
        kept = self._store.get(key) if self._store is not None else None
        if not isinstance(kept, dict) or kept.get("try_number") != self._try_number:
            return None
        return kept.get("value")

    def write(self, key: str, value: Any) -> None:
        """
        Keep a value; without a place for it, nothing happens.

        :param value: plain JSON without tuples
        """
        if self._store is not None:
            self._store.set(key, {"try_number": self._try_number, "value": value})
