"""
The record of a request, kept from one start of a task to the next.

A restart, an update and a delete leave no trace of the task that requested them, so each is recorded before
it is sent. A create that finds its agent in error restarts it, and records that. Airflow 3.3 and later keep
the record in the task's ``task_state_store``, older versions in a Variable, which is deleted after a success
or the last try. A create is recorded in the store alone: its agent's metadata has the identity key, and the
record says to look for it.

Invariants, which must not be relaxed:

- The record is written before its request is sent.
- The record counts until the task is cleared. It counts in retries, and in a second start of the same try,
  which Airflow's stuck-in-queued handling causes.
- A request that was refused without effect leaves no record.
- A record holds no secret.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from airflow.providers.common.compat.sdk import Variable

from connix_provider.client.errors import ConnixError, ConnixServerError
from connix_provider.operators._base.identity import identity_key, max_tries_of, try_number_of
from connix_provider.poll_state import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.common.compat.sdk import Context

__all__ = [
    "ActionRecord",
    "RecordStore",
    "TaskRecordStore",
    "TaskStore",
    "recorded",
    "was_refused",
]

_NAME = "connix_unfinished"


@dataclasses.dataclass(frozen=True, slots=True)
class ActionRecord:
    """
    A request that a task was about to send.

    :param agent_name: the name by which the task found the agent, if it did
    :param before: the agent before the request
    :param requested_at: epoch seconds of the request by the service's clock, if known
    :param accepted_at: epoch seconds by the worker's clock at which the service accepted it, if it did
    :param was_refused: whether the service responded with an error, so that it probably did not execute it
    :param is_done: whether the wait after the request ended with success
    """

    agent_id: str
    agent_name: str | None = None
    before: Snapshot | None = None
    requested_at: float | None = None
    accepted_at: float | None = None
    was_refused: bool = False
    is_done: bool = False

    def to_json(self) -> dict[str, Any]:
        """Serialize the record."""
        before = self.before.to_json() if self.before else None
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)} | {
            "before": before
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> ActionRecord:
        """Deserialize what :meth:`to_json` made."""
        names = {field.name for field in dataclasses.fields(cls)}
        values = {name: value for name, value in stored.items() if name in names}
        return cls(**{**values, "before": Snapshot.from_json(values["before"]) if values["before"] else None})


class RecordStore(Protocol):
    """Keep the record of one request."""

    def write(self, record: ActionRecord) -> None:
        """Write the record, in place of an earlier one."""

    def delete(self) -> None:
        """Delete the record, so that the next try sends its request."""


class TaskStore:
    """
    A value that a task run keeps from one start to the next, until it is cleared.

    :param name: the name of the value
    """

    def __init__(self, context: Context, name: str) -> None:
        self._context = context
        self._name = name
        self._store = context.get("task_state_store")

    @property
    def is_permanent(self) -> bool:
        """Whether Airflow keeps the value with the task instance; otherwise it is a Variable."""
        return self._store is not None

    def read(self, *, of_any_clear: bool = False) -> Any:
        """
        Read the value.

        :param of_any_clear: whether a value from before a clear counts
        :return: plain JSON, or ``None`` if nothing was written since the last clear
        """
        if self._store is not None:
            found = self._store.get(self._name)
        else:
            text = Variable.get(variable, None) if (variable := self._variable()) else None
            found = json.loads(text) if text else None
        if not isinstance(found, dict):
            return None
        is_current = found.get("max_tries") == max_tries_of(self._context)
        return found.get("record") if is_current or of_any_clear else None

    def write(self, value: Any) -> None:
        """
        Write the value.

        :param value: plain JSON without secrets
        """
        stored: dict[str, Any] = {"max_tries": max_tries_of(self._context), "record": value}
        if self._store is not None:
            self._store.set(self._name, stored)
        elif variable := self._variable():
            description = (
                f"State of the Connix task {identity_key(self._context)}. "
                "It can be deleted if the task will not be retried or cleared."
            )
            Variable.set(variable, json.dumps(stored), description=description)

    def delete(self) -> None:
        """Delete the value."""
        if self._store is not None:
            self._store.delete(self._name)
        elif (variable := self._variable()) and Variable.get(variable, None) is not None:
            Variable.delete(variable)

    def clean_up_after_last_try(self) -> None:
        """Delete the Variable of a task without a further try. A ``task_state_store`` keeps the value."""
        if self._store is None and _is_last_try(self._context):
            self.delete()

    def _variable(self) -> str | None:
        """Return the name of the Variable; ``None`` without a task instance, which has no next try."""
        if self._context.get("ti") is None:
            return None
        # Hashed, because Airflow 3.0 finds no Variable with a slash in its name, and names are at most 250
        # characters.
        return f"{self._name}_{hashlib.sha256(identity_key(self._context).encode()).hexdigest()[:32]}"


class TaskRecordStore:
    """Keep the record of a task with one request."""

    def __init__(self, context: Context) -> None:
        self._store = TaskStore(context, _NAME)

    def read(self) -> ActionRecord | None:
        """
        Read the record of an earlier start of this task.

        :return: the record, or ``None`` if there is none since the last clear
        """
        record = self._store.read()
        return ActionRecord.from_json(record) if isinstance(record, dict) else None

    def write(self, record: ActionRecord) -> None:
        """Write the record, in place of an earlier one."""
        self._store.write(record.to_json())

    def delete(self) -> None:
        """Delete the record, so that the next try sends its request."""
        self._store.delete()

    def mark_done(self) -> None:
        """
        Write that the task is done, so that a second start of the same try has nothing to do.

        Before Airflow 3.3 the record is deleted instead, because a Variable would stay forever.
        """
        if not self._store.is_permanent:
            self.delete()
        elif (record := self.read()) is not None:
            self.write(dataclasses.replace(record, is_done=True))

    def clean_up_after_last_try(self) -> None:
        """Delete the Variable of a task without a further try. A ``task_state_store`` may keep its record."""
        self._store.clean_up_after_last_try()


@contextmanager
def recorded(record_store: RecordStore, record: ActionRecord) -> Iterator[None]:
    """Write a record before a request, and delete it if the request was refused without effect."""
    record_store.write(record)
    try:
        yield
    except ConnixError as error:
        if not error.may_have_executed:
            record_store.delete()
        elif was_refused(error):
            record_store.write(dataclasses.replace(record, was_refused=True))
        raise


def was_refused(error: ConnixError) -> bool:
    """Return whether each request of a call got an error of the service, such as 503, and none was lost."""
    return isinstance(error, ConnixServerError) and not error.has_lost_response


def _is_last_try(context: Context) -> bool:
    """Return whether no further try follows this one."""
    return try_number_of(context) > (max_tries_of(context) or 0)
