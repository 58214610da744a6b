"""
The record of a request, kept from one start of a task to the next.

A create needs no record, because its agent's metadata has the identity key. A restart, an update and a delete
leave no trace of the task that requested them, so each is recorded before it is sent. A create that finds its
agent in error restarts it, and records that. Airflow 3.3 and later
keep the record in the task's ``task_state_store``, older versions in a Variable until the task ends.

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
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import Variable

from connix_provider.client.errors import ConnixError
from connix_provider.lifecycle import Snapshot
from connix_provider.operators.identity import identity_key, max_tries_of, try_number_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.common.compat.sdk import Context

__all__ = ["ActionRecord", "accepted", "clean_up_after_last_try", "finish", "forget", "recall", "recorded"]

_NAME = "connix_unfinished"


@dataclasses.dataclass(frozen=True, slots=True)
class ActionRecord:
    """
    A request that a task was about to send.

    :param agent_id: the agent
    :param agent_name: the name by which the task found the agent, if it did
    :param before: the agent before the request
    :param requested_at: epoch seconds of the request by the service's clock, if known
    :param accepted_at: epoch seconds by the worker's clock at which the service accepted it, if it did
    :param is_done: whether the wait after the request ended with success
    """

    agent_id: str
    agent_name: str | None = None
    before: Snapshot | None = None
    requested_at: float | None = None
    accepted_at: float | None = None
    is_done: bool = False

    def to_json(self) -> dict[str, Any]:
        """
        Serialize the record.

        :return: plain JSON
        """
        before = self.before.to_json() if self.before else None
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)} | {
            "before": before
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> ActionRecord:
        """
        Deserialize what :meth:`to_json` made.

        :param stored: the JSON
        :return: the record
        """
        names = {field.name for field in dataclasses.fields(cls)}
        values = {name: value for name, value in stored.items() if name in names}
        return cls(**{**values, "before": Snapshot.from_json(values["before"]) if values["before"] else None})


@contextmanager
def recorded(context: Context, record: ActionRecord) -> Iterator[None]:
    """
    Write a record before a request, and delete it if the request was refused without effect.

    :param context: Airflow's context
    :param record: the record
    """
    _write(context, record)
    try:
        yield
    except ConnixError as error:
        if not error.may_have_executed:
            forget(context)
        raise


def accepted(context: Context, record: ActionRecord, accepted_at: float) -> None:
    """
    Write that the service accepted the request.

    :param context: Airflow's context
    :param record: the record
    :param accepted_at: epoch seconds by the worker's clock
    """
    _write(context, dataclasses.replace(record, accepted_at=accepted_at))


def finish(context: Context) -> None:
    """
    Write that the task is done, so that a second start of the same try has nothing to do.

    Before Airflow 3.3 the record is deleted instead, because a Variable would stay for ever.

    :param context: Airflow's context
    """
    if context.get("task_state_store") is None:
        forget(context)
    elif (record := recall(context)) is not None:
        _write(context, dataclasses.replace(record, is_done=True))


def recall(context: Context) -> ActionRecord | None:
    """
    Read the record of an earlier start of this task.

    :param context: Airflow's context
    :return: the record, or ``None`` if there is none since the last clear
    """
    if (store := context.get("task_state_store")) is not None:
        found = store.get(_NAME)
    else:
        variable = _variable(context)
        text = Variable.get(variable, None) if variable else None
        found = json.loads(text) if text else None
    if not isinstance(found, dict) or found.get("max_tries") != max_tries_of(context):
        return None
    record = found.get("record")
    return ActionRecord.from_json(record) if isinstance(record, dict) else None


def forget(context: Context) -> None:
    """
    Delete the record, so that the next try sends its request.

    :param context: Airflow's context
    """
    if (store := context.get("task_state_store")) is not None:
        store.delete(_NAME)
    elif (variable := _variable(context)) and Variable.get(variable, None) is not None:
        Variable.delete(variable)


def clean_up_after_last_try(context: Context) -> None:
    """
    Delete the Variable of a task without a further try. A ``task_state_store`` may keep its record.

    :param context: Airflow's context
    """
    is_last = try_number_of(context) > (max_tries_of(context) or 0)
    if context.get("task_state_store") is None and is_last:
        forget(context)


def _write(context: Context, record: ActionRecord) -> None:
    stored: dict[str, Any] = {"max_tries": max_tries_of(context), "record": record.to_json()}
    if (store := context.get("task_state_store")) is not None:
        store.set(_NAME, stored)
    elif variable := _variable(context):
        description = f"Kept until the Connix task {identity_key(context)} ends"
        Variable.set(variable, json.dumps(stored), description=description)


def _variable(context: Context) -> str | None:
    """Return the name of the task run's Variable; ``None`` without a task instance, which has no next try."""
    if context.get("ti") is None:
        return None
    # Hashed, because Airflow 3.0 finds no Variable with a slash in its name, and names are at most 250
    # characters.
    return f"{_NAME}_{hashlib.sha256(identity_key(context).encode()).hexdigest()[:32]}"
