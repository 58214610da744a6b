"""Drive a wait: the few lines that look and sleep, on a worker and in a trigger."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from connix_provider.waiting.wait import Look, Rest, Wait

if TYPE_CHECKING:
    from connix_provider.client import Agent, Client, ConnixError
    from connix_provider.hooks.connix import ConnixHook
    from connix_provider.waiting.ending import Ending

__all__ = ["Connected", "look", "wait_async", "wait_sync"]


class Connected:
    """
    Hold a worker's client, and notice when the key in its Airflow connection changes.

    :param hook: the connection; it is read at once
    :param max_attempts: how often a call is sent at most
    :param deadline: epoch seconds after which nothing is sent
    :raises ValueError: for a connection whose settings cannot be right
    :raises AirflowNotFoundException: for a connection id that is not defined
    """

    def __init__(self, hook: ConnixHook, *, deadline: float, max_attempts: int | None = None) -> None:
        self._hook = hook
        self._deadline = deadline
        self._max_attempts = max_attempts
        self._open = ExitStack()
        self._take(hook.get_conn())
        # Whoever reads of a refused key or an unknown host further down wants to know whose.
        hook.log.info("Connix at %s (Airflow connection %r).", self.client.base_url, hook.connix_conn_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def renew(self) -> bool:
        """
        Read the connection again, because Connix refused the key.

        :return: whether there is another key to go on with
        """
        # A hook of its own: this one keeps what it has read.
        fresh = type(self._hook)(self._hook.connix_conn_id).get_conn()
        if fresh.is_like(self.client):
            fresh.close()
            return False
        self._take(fresh)
        return True

    def _take(self, client: Client) -> None:
        self._open.enter_context(client)
        self.client = client.with_options(max_attempts=self._max_attempts, deadline=self._deadline)


def look(
    connected: Connected, project_id: str, wait: Wait, *, longest_pause: float | None = None
) -> Ending | None:
    """
    Take one look from a worker and judge it.

    :param connected: the connection
    :param project_id: the agent's project
    :param wait: the wait that the look is for
    :param longest_pause: seconds to wait for the key's budget at most, where something else can wait for it
    :return: the ending, or ``None`` while the wait goes on
    """
    if (ending := wait.overdue()) is not None:
        return ending
    return wait.observe(_get(connected, project_id, wait, longest_pause))


def wait_sync(connected: Connected, project_id: str, wait: Wait) -> Ending:
    """
    Wait on a worker.

    :param connected: the connection
    :param project_id: the agent's project
    :param wait: what to wait for
    :return: how it ended
    """
    steps = wait.steps()
    seen: Agent | ConnixError | None = None
    while True:
        try:
            step = steps.send(seen)
        except StopIteration as end:
            ending: Ending = end.value
            return ending
        seen = None
        if isinstance(step, Look):
            seen = _get(connected, project_id, wait)
        else:
            time.sleep(step.seconds)


async def wait_async(
    connix_conn_id: str, project_id: str, wait: Wait, *, first_look_at: float = 0.0
) -> Ending:
    """
    Wait in a trigger, without blocking its event loop, and together with all other waits there.

    :param connix_conn_id: the Airflow connection
    :param project_id: the agent's project
    :param wait: what to wait for
    :param first_look_at: epoch seconds before which there is nothing new to see
    :return: how it ended
    :raises ValueError: for a connection whose settings cannot be right
    :raises AirflowNotFoundException: for a connection id that is not defined
    """
    from connix_provider.client import ConnixAuthenticationError
    from connix_provider.waiting.line import line_to

    if (ending := wait.overdue()) is not None:
        return ending
    async with (
        line_to(connix_conn_id) as line,
        line.seat(project_id, wait.agent_id, wait.poll_interval, wait.deadline) as seat,
    ):
        steps, due = wait.steps(), first_look_at
        seen: Agent | ConnixError | None = None
        while True:
            try:
                step = steps.send(seen)
            except StopIteration as end:
                ended: Ending = end.value
                return ended
            seen = None
            if isinstance(step, Rest):
                due = time.time() + step.seconds
                continue
            seen = await seat.look(due)
            while isinstance(seen, ConnixAuthenticationError) and await line.renew(seat.version):
                wait.tell_of_new_key()
                seen = await seat.look(0.0)
            if seen is None:
                return wait.timed_out()


def _get(
    connected: Connected, project_id: str, wait: Wait, longest_pause: float | None = None
) -> Agent | ConnixError:
    from connix_provider.client import ConnixAuthenticationError, ConnixError

    while True:
        # One attempt: the wait itself is what repeats, at its own pace.
        one_look = connected.client.with_options(
            max_attempts=1,
            total_timeout=wait.look_timeout(),
            background=True,
            longest_pause=longest_pause,
        )
        try:
            return one_look.agents.get(project_id, wait.agent_id)
        except ConnixError as error:
            if not isinstance(error, ConnixAuthenticationError) or not connected.renew():
                return error
            wait.tell_of_new_key()
