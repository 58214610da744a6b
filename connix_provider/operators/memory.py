"""
Remember, from one try of a task to the next, what was about to be asked of Connix.

Create needs no such memory: its key is in the agent's metadata. A restart and a delete leave nothing behind
that tells who asked for them, so what is about to be sent is written down first. Airflow 3.3 and later keep
it in the task's ``task_state_store``, older versions in a Variable that lives while the task is unfinished.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import Variable

from connix_provider.client.errors import ConnixError
from connix_provider.operators.once import task_key, try_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow.providers.common.compat.sdk import Context

__all__ = ["forget", "forget_for_good", "recall", "remembered"]

#: What it is called in either place; a task that is cleared meets it again.
_NAME = "connix_unfinished"


@contextmanager
def remembered(context: Context, intent: Mapping[str, Any]) -> Iterator[None]:
    """
    Write down what is about to be sent, and let go of it again where it was refused.

    :param context: Airflow's context
    :param intent: plain JSON, without secrets
    """
    if (store := context.get("task_state_store")) is not None:
        store.set(_NAME, dict(intent))
    elif variable := _variable(context):
        described = f"Kept until the Connix task {task_key(context)} ends"
        Variable.set(variable, json.dumps(intent), description=described)
    try:
        yield
    except ConnixError as error:
        if not error.may_have_executed:
            forget(context)
        raise


def recall(context: Context) -> dict[str, Any] | None:
    """
    Read what an earlier try of this task run was about to send, and did not see the end of.

    :param context: Airflow's context
    :return: what was remembered, or ``None``
    """
    if (store := context.get("task_state_store")) is not None:
        found = store.get(_NAME)
    else:
        variable = _variable(context)
        text = Variable.get(variable, None) if variable else None
        found = json.loads(text) if text else None
    return found if isinstance(found, dict) else None


def forget(context: Context) -> None:
    """
    Let go of what was remembered: its end is known now.

    :param context: Airflow's context
    """
    if (store := context.get("task_state_store")) is not None:
        store.delete(_NAME)
    elif variable := _variable(context):
        Variable.delete(variable)


def forget_for_good(context: Context) -> None:
    """
    Leave nothing behind in Airflow where no try will follow; what is kept with the task itself may stay.

    :param context: Airflow's context
    """
    most = getattr(context.get("ti"), "max_tries", None)
    is_last = try_of(context) > (most if isinstance(most, int) else 0)
    if context.get("task_state_store") is None and is_last:
        forget(context)


def _variable(context: Context) -> str | None:
    """Name the Variable of a task run, where there is one: without a task instance nobody will try again."""
    if context.get("ti") is None:
        return None
    # A digest: Airflow 3.0 finds no Variable with a slash in its key, and no Airflow one of 300 characters.
    return f"{_NAME}_{hashlib.sha256(task_key(context).encode()).hexdigest()[:32]}"
