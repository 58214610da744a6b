"""
Drive a wait on a worker: send a poll, sleep, and again.

The loop of triggers is :mod:`connix_provider.polling.trigger_loop`.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from connix_provider.client.attempts.limit_log import SHORT_WAIT
from connix_provider.client.errors import ConnixAuthenticationError, ConnixError
from connix_provider.polling.agent_log import stream_log
from connix_provider.polling.deadlines import time_after
from connix_provider.polling.health_poller import HealthPoller
from connix_provider.polling.last_errors import FAILURES, add_last_errors, read_last_errors
from connix_provider.polling.poll_result import PollResult
from connix_provider.polling.poll_schedule import MAX_POLL
from connix_provider.values import quoted

if TYPE_CHECKING:
    from connix_provider.client import Agent, Client
    from connix_provider.hooks.connix import ConnixHook
    from connix_provider.polling.status_poller import StatusPoller

__all__ = [
    "Locate",
    "PollingSession",
    "poll_once",
    "poll_until_done",
    "result_of_event",
    "send_with_new_keys",
]

T = TypeVar("T")
#: Finds an agent that may only be known by name; returns project and agent.
Locate = Callable[["Client"], tuple[str, str]]


class PollingSession:
    """
    Hold a worker's client, and notice when the key in its Airflow connection changes.

    :param hook: the connection; it is read at once
    :param deadline: epoch seconds after which nothing is sent
    :param is_resumed: whether the connection was read before, by another process of the task: where it is not
        defined now, each poll tries again
    :raises ValueError: for a connection whose settings cannot be right
    :raises AirflowNotFoundException: for a connection id that is not defined
    """

    def __init__(
        self,
        hook: ConnixHook,
        *,
        deadline: float,
        is_resumed: bool = False,
    ) -> None:
        self._hook = hook
        self._deadline = deadline
        self._open = ExitStack()
        self._client: Client | None = None
        try:
            self._take(hook.get_conn())
        except AirflowNotFoundException:
            if not is_resumed:
                raise

    @property
    def client(self) -> Client:
        """The client of the present key; it is opened where that failed before."""
        if self._client is None:
            # A hook of its own: this one keeps what it has read.
            self._take(type(self._hook)(self._hook.connix_conn_id).get_conn())
        assert self._client is not None
        return self._client

    @property
    def is_open(self) -> bool:
        """Whether a client is open."""
        return self._client is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def reload_key(self) -> bool:
        """
        Read the connection again, because Connix refused the key.

        :return: whether there is another key to continue with
        :raises AirflowNotFoundException: where it is not defined any more
        """
        fresh = type(self._hook)(self._hook.connix_conn_id).get_conn()
        if fresh.is_like(self.client):
            fresh.close()
            return False
        self._take(fresh)
        return True

    def agent_url(self, project_id: str, agent_id: str | None) -> str | None:
        """
        Return the address of an agent's page in the Connix console.

        :param agent_id: the agent, where its id is known
        """
        return self._hook.agent_url(project_id, agent_id) if agent_id else None

    def locate(
        self, client: Client, project_id: str | None, poller: StatusPoller, find: Locate | None
    ) -> None:
        """
        Set project, agent id and link of a wait.

        :param client: a client with the bounds of a poll
        :param project_id: the project, if known
        :param find: finds the agent, where the wait does not know it yet
        """
        project_id, agent_id = find(client) if find else (str(project_id), poller.agent_id)
        poller.connix_conn_id = self._hook.connix_conn_id
        link = self._hook.agent_url(project_id, agent_id)
        poller.located(agent_id=agent_id, project_id=project_id, link=link)

    def _take(self, client: Client) -> None:
        is_first = self._client is None
        self._open.enter_context(client)
        self._client = client.with_options(deadline=self._deadline)
        if is_first:
            # A refused key or an unknown host further down is this connection's.
            self._hook.log.info(
                "Using Connix at %s (Airflow connection %r).", client.base_url, self._hook.connix_conn_id
            )


def poll_once(
    polling_session: PollingSession,
    project_id: str | None,
    poller: StatusPoller,
    *,
    locate: Locate | None = None,
) -> PollResult | None:
    """
    Send one poll from a worker and judge it.

    :param poller: the wait that the poll is for
    :param locate: finds the agent, where the wait does not know it yet
    :return: the result, or ``None`` while the wait continues
    """
    if (poll_result := poller.check_deadline()) is None:
        # Where the poll took all of the time, another process would not know what it failed with.
        poll_result = poller.observe(_poll(polling_session, project_id, poller, locate))
        if polling_session.is_open:
            polling_session.client.run_flow(stream_log(polling_session.client, poller, poll_result))
            poller.met_secrets = polling_session.client.secrets_digest(poller.agent.agent_id)
        poll_result = poll_result or poller.check_deadline()
    if not polling_session.is_open:
        return poll_result
    client = polling_session.client
    return client.run_flow(add_last_errors(client, poller, poll_result, may_read_agent=True))


def result_of_event(
    hook: ConnixHook,
    event: Any,
    *,
    agent_id: Any,
    allowed: float,
    execution_timeout: timedelta | None,
    log: Any,
) -> PollResult:
    """
    Read how a deferred wait ended, and add the agent's last errors to a failure if the trigger left that.

    :param agent_id: the agent of the task, if it names one by id
    :param allowed: seconds from the start of the task to its deadline
    :return: how it ended
    :raises ValueError: for an event that no trigger of this provider sends, or about another agent
    """
    poll_result = PollResult.from_event(event)
    if agent_id is not None and str(agent_id).strip() != poll_result.agent_id:
        raise ValueError(f"the task was resumed with an event about agent {quoted(poll_result.agent_id)}")
    is_missing = poll_result.outcome in FAILURES and poll_result.last_errors is None
    if not is_missing or poll_result.project_id is None:
        return poll_result
    project_id, agent_id = poll_result.project_id, poll_result.agent_id
    seconds = time_after(event.get("deadline"), allowed, execution_timeout)
    try:
        with hook.get_conn() as client:
            reading = read_last_errors(
                client,
                project_id,
                agent_id,
                seconds=seconds,
                secrets_digest=event.get("secrets_digest"),
                task_log=log,
            )
            lines = client.run_flow(reading)
    except (AirflowNotFoundException, ValueError) as error:
        hook.log.debug("The agent's log could not be read: %s", error)
        return poll_result
    return dataclasses.replace(poll_result, last_errors=lines)


def poll_until_done(
    polling_session: PollingSession,
    project_id: str | None,
    poller: StatusPoller,
) -> PollResult:
    """
    Wait on a worker.

    :param poller: what to wait for
    :return: how it ended
    """
    while (poll_result := poll_once(polling_session, project_id, poller)) is None:
        time.sleep(poller.schedule.sleep_seconds())
    return poll_result


def _poll(
    polling_session: PollingSession, project_id: str | None, poller: StatusPoller, locate: Locate | None
) -> Agent | Exception:
    def send() -> Agent:
        seconds = poller.schedule.begin_poll()
        # One attempt, because the wait repeats the poll at its interval. The deadline is the wait's.
        client = polling_session.client.with_options(
            max_attempts=1,
            total_timeout=seconds,
            deadline=time.time() + seconds + 1.0,
            background=True,
            max_permit_wait=min(SHORT_WAIT, seconds),
            # Only the last poll ends with the deadline; any other one may take a minute.
            response_grace=poller.response_grace if seconds < MAX_POLL else 0.0,
        )
        if poller.agent.link is None:
            polling_session.locate(client, project_id, poller, locate)
        agent = client.agents.get(str(poller.agent.project_id), poller.agent_id)
        return client.run_flow(poller.measure(client, agent)) if isinstance(poller, HealthPoller) else agent

    return send_with_new_keys(polling_session, poller, send)


def send_with_new_keys(
    polling_session: PollingSession, poller: StatusPoller, send: Callable[[], T]
) -> T | ConnixError | AirflowNotFoundException:
    """
    Send a request, and once more for each key that the connection got meanwhile.

    :param poller: the wait, which logs a new key
    :param send: sends the request with the session's client
    :return: the result, or the error for the poller to judge
    """
    while True:
        refused: ConnixAuthenticationError
        try:
            return send()
        except ConnixAuthenticationError as error:
            refused = error
        except (ConnixError, AirflowNotFoundException) as error:
            return error
        try:
            if not polling_session.reload_key():
                return refused
        except AirflowNotFoundException as error:
            return error
        poller.log.new_key(poller.agent)
