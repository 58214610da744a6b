"""
Keep, from one start of a task to the next, what was asked of Connix.

A create needs no record: its identity key is in the agent's metadata. A restart, an update and a delete leave
no trace that tells which task asked for them, so each is recorded before it is sent. Airflow 3.3 and later
keep the record in the task's ``task_state_store``, older versions in a Variable that lives while the task is
unfinished.

Invariants, which must not be relaxed:

- A record is written before the request that it speaks of is sent.
- A record counts for the wish that it was written for: a clear begins a new one, a retry does not. A start of
  the same try, which Airflow's stuck-in-queued handling causes, meets the record too.
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
    Hold what a task was about to ask of Connix.

    :param agent_id: the agent
    :param agent_name: the name by which the task found it, if it did
    :param before: the agent before the request
    :param requested_at: epoch seconds of the service's clock at which it was sent, where that is known
    :param accepted_at: epoch seconds of the worker's clock at which the service accepted it, if it did
    :param is_done: whether the task saw what it asked for come true
    """

    agent_id: str
    agent_name: str | None = None
    before: Snapshot | None = None
    requested_at: float | None = None
    accepted_at: float | None = None
    is_done: bool = False

    def to_json(self) -> dict[str, Any]:
        """
        Make what is stored.

        :return: plain JSON
        """
        before = self.before.to_json() if self.before else None
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)} | {
            "before": before
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> ActionRecord:
        """
        Read what :meth:`to_json` made.

        :param stored: the JSON
        :return: the record
        """
        names = {field.name for field in dataclasses.fields(cls)}
        values = {name: value for name, value in stored.items() if name in names}
        return cls(**{**values, "before": Snapshot.from_json(values["before"]) if values["before"] else None})


@contextmanager
def recorded(context: Context, record: ActionRecord) -> Iterator[None]:
    """
    Record a request before it is sent, and what became of it.

    :param context: Airflow's context
    :param record: the request
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
    Record that the service accepted the request.

    :param context: Airflow's context
    :param record: the request
    :param accepted_at: epoch seconds
    """
    _write(context, dataclasses.replace(record, accepted_at=accepted_at))


def finish(context: Context) -> None:
    """
    Record that what was asked for came true. A further start of the same wish has nothing to do.

    A Variable would stay for ever, so there the record is deleted.

    :param context: Airflow's context
    """
    record = recall(context)
    if record is not None and context.get("task_state_store") is not None:
        _write(context, dataclasses.replace(record, is_done=True))
    else:
        forget(context)


def recall(context: Context) -> ActionRecord | None:
    """
    Read what an earlier start of this task, for the same wish, was about to ask.

    :param context: Airflow's context
    :return: the record, or ``None``
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
    Delete the record: the next try begins anew.

    :param context: Airflow's context
    """
    if (store := context.get("task_state_store")) is not None:
        store.delete(_NAME)
    elif variable := _variable(context):
        Variable.delete(variable)


def clean_up_after_last_try(context: Context) -> None:
    """
    Leave no Variable behind where no try will follow; what is kept with the task itself may stay.

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
        described = f"Kept until the Connix task {identity_key(context)} ends"
        Variable.set(variable, json.dumps(stored), description=described)


def _variable(context: Context) -> str | None:
    """Name the Variable of a task run, where there is one: without a task instance there is no next try."""
    if context.get("ti") is None:
        return None
    # A digest: Airflow 3.0 finds no Variable with a slash in its key, and no Airflow one of 300 characters.
    return f"{_NAME}_{hashlib.sha256(identity_key(context).encode()).hexdigest()[:32]}"
