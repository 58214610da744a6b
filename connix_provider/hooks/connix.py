"""The hook: a Connix client with the settings of an Airflow connection, and the reads that DAGs use."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from connix_provider import client as connix
from connix_provider.agent_lookup import resolve_agent_id
from connix_provider.compat import get_async_connection, mask_secret
from connix_provider.hooks import settings
from connix_provider.hooks.diagnosis import as_sentence, with_connection_hint
from connix_provider.params import resolve_project_id
from connix_provider.provider_info import EXTRA_FIELDS, ui_field_behaviour

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.providers.common.compat.sdk import Connection

    from connix_provider.client import Agent, AgentMetrics, AsyncClient, Client, LogEntry

__all__ = ["ConnixHook"]

#: Seconds that Airflow may take to return a connection to a trigger.
_READ_TIMEOUT = 30.0
#: Connections and warnings that this process has logged.
_warned: set[tuple[str, str]] = set()


class ConnixHook(BaseHook):
    """
    Connect to Connix with an Airflow connection.

    The connection's password is the API key, its host the base URL. ``project_id``, OAuth2 tokens, timeout,
    TLS settings and the console's address are in its extra. Without key and token the environment's
    ``CONNIX_API_KEY`` is used.

    :param connix_conn_id: the connection's id
    """

    conn_name_attr = "connix_conn_id"
    default_conn_name = "connix_default"
    conn_type = "connix"
    hook_name = "Connix"

    def __init__(self, connix_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.connix_conn_id = connix_conn_id

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """
        Return how the connection form shows Airflow's own fields.

        :return: hidden fields, labels and placeholders
        """
        return ui_field_behaviour()

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """
        Return the form's fields for Airflow versions that do not read ``conn-fields``.

        :return: a widget for each field of the extra
        """
        from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import PasswordField, StringField

        return {
            field.name: (PasswordField if field.secret else StringField)(
                lazy_gettext(field.label),
                widget=BS3PasswordFieldWidget() if field.secret else BS3TextFieldWidget(),
                description=field.description,
            )
            for field in EXTRA_FIELDS
        }

    def get_conn(self) -> Client:
        """
        Open a client. The caller closes it, or uses it in a ``with`` block.

        :return: a new client
        :raises ValueError: for a connection with an invalid setting
        :raises AirflowNotFoundException: for a connection id that is not defined
        """
        with self._adding_connection_id():
            return self._open()

    def _open(self) -> Client:
        return connix.Client(**self._options(self._connection))

    @contextlib.contextmanager
    def _adding_connection_id(self) -> Iterator[None]:
        """Add the connection's id to the error of an invalid setting."""
        try:
            yield
        except ValueError as error:
            raise ValueError(f"{error} (Airflow connection {self.connix_conn_id!r})") from None

    @cached_property
    def client(self) -> Client:
        """
        Return the hook's client, which is opened by :meth:`get_conn` on first use.

        :return: the client
        """
        return self.get_conn()

    async def get_async_conn(self) -> AsyncClient:
        """
        Open an asynchronous client without blocking the event loop.

        :return: a new client; the caller closes it, or uses it in an ``async with`` block
        :raises ValueError: for a connection with an invalid setting
        :raises AirflowNotFoundException: for a connection id that is not defined, or if Airflow does not
            return the connection within 30 seconds
        """
        try:
            with self._adding_connection_hint():
                async with asyncio.timeout(_READ_TIMEOUT):
                    connection = await get_async_connection(self.connix_conn_id)
        except TimeoutError:
            # The next poll reads it again. Otherwise a read without a response would hold the wait forever.
            raise AirflowNotFoundException(
                f"Airflow did not return the connection {self.connix_conn_id!r} within {_READ_TIMEOUT:.0f} s"
            ) from None
        loop = asyncio.get_running_loop()

        def mask(secret: str) -> None:
            loop.run_in_executor(None, self._mask, secret)

        # Kept, because project and console are read from it later.
        self._connection = connection
        return await asyncio.to_thread(self._async_client, connection, mask)

    def _async_client(self, connection: Connection, on_new_secret: Callable[[str], None]) -> AsyncClient:
        """Open a client in a thread, because reading the extra calls Airflow synchronously."""
        # In the thread as well: the first use imports httpx's parts, and reads certificates.
        with self._adding_connection_id():
            return connix.AsyncClient(**{**self._options(connection), "on_new_secret": on_new_secret})

    @property
    def console_url(self) -> str:
        """
        Return the address of the Connix console.

        It is read from the connection, so in a trigger call :meth:`get_async_conn` first.

        :return: the extra's ``console_url``, default ``https://console.connix.io``; without a slash at its
            end
        :raises ValueError: for an address that is not http or https
        """
        with self._adding_connection_id():
            return settings.console_url(settings.read_extra(self._connection).get("console_url"))

    def agent_url(self, project_id: str, agent_id: str) -> str:
        """
        Return the address of an agent's page in the Connix console.

        :param project_id: the project
        :param agent_id: the agent
        :return: the address
        """
        return settings.agent_url(self.console_url, project_id, agent_id)

    @property
    def project_id(self) -> str:
        """
        Return the project of the connection.

        :return: the project's id
        :raises ValueError: for a connection without ``project_id``; see :attr:`default_project_id`
        """
        return self.project_id_for(None)

    @property
    def default_project_id(self) -> str | None:
        """
        Return the project of the connection, if it has one.

        :return: the project's id, or ``None``
        """
        with self._adding_connection_id():
            return settings.project_id(settings.read_extra(self._connection))

    def project_id_for(self, project_id: str | None) -> str:
        """
        Return the project of a task.

        :param project_id: the task's; default the connection's
        :return: the project's id
        :raises ValueError: if both are missing, or the id is invalid
        """
        return resolve_project_id(project_id, self.default_project_id, self.connix_conn_id)

    def get_agent_by_name(self, name: str, *, project_id: str | None = None) -> Agent:
        """
        Find an agent by its name. This lists the whole project, because the service has no filter for names.

        :param name: the exact name
        :param project_id: the project; default the connection's
        :return: the agent, from Get Agent
        :raises ValueError: if two agents have the name
        :raises AgentNameNotFoundError: if no agent has the name
        """
        project = project_id or self.project_id
        return self.client.agents.get(project, resolve_agent_id(self.client, project, None, name))

    def iter_agents(
        self, *, status: str | None = None, sort: str | None = None, project_id: str | None = None
    ) -> Iterator[Agent]:
        """
        Iterate over all agents of a project.

        :param status: only agents in this status
        :param sort: ``created_at``, ``-created_at``, ``name`` or ``-name``
        :param project_id: the project; default the connection's
        :return: the agents, without ``stats``, which only Get Agent returns
        """
        return self.client.agents.iter(project_id or self.project_id, status=status, sort=sort)

    def iter_logs(
        self,
        agent_id: str,
        *,
        level: str | None = None,
        start_time: str | datetime | None = None,
        end_time: str | datetime | None = None,
        project_id: str | None = None,
    ) -> Iterator[LogEntry]:
        """
        Iterate over an agent's log in the service's order: newest first.

        :param agent_id: the agent
        :param level: ``debug``, ``info``, ``warn`` or ``error``
        :param start_time: ISO 8601 text or a datetime; without a zone it is UTC
        :param end_time: likewise
        :param project_id: the project; default the connection's
        :return: the entries
        """
        return self.client.agents.iter_logs(
            project_id or self.project_id, agent_id, level=level, start_time=start_time, end_time=end_time
        )

    def get_metrics(
        self,
        agent_id: str,
        *,
        start_time: str | datetime | None = None,
        end_time: str | datetime | None = None,
        interval: str | None = None,
        project_id: str | None = None,
    ) -> AgentMetrics:
        """
        Get an agent's metrics. ``success_rate`` is between 0 and 1, response times are in seconds.

        :param agent_id: the agent
        :param start_time: ISO 8601 text or a datetime; without a zone it is UTC
        :param end_time: likewise
        :param interval: ``1m``, ``5m``, ``15m``, ``1h`` or ``1d``
        :param project_id: the project; default the connection's
        :return: the metrics
        """
        return self.client.agents.metrics(
            project_id or self.project_id,
            agent_id,
            start_time=start_time,
            end_time=end_time,
            interval=interval,
        )

    def test_connection(self) -> tuple[bool, str]:
        """
        Test the connection with one request.

        :return: whether it works, and a sentence that says so or names the fault
        """
        # Here, because it imports the models, and parsing a DAG file needs none.
        from connix_provider.hooks.connection_check import check_connection

        try:
            with self._open() as client:
                return check_connection(client, settings.read_extra(self._connection))
        except ValueError as error:
            return False, as_sentence(error)

    @cached_property
    def _connection(self) -> Connection:
        with self._adding_connection_hint():
            return self.get_connection(self.connix_conn_id)

    @contextlib.contextmanager
    def _adding_connection_hint(self) -> Iterator[None]:
        """Add a hint to the error for a connection that is not defined."""
        try:
            yield
        except AirflowNotFoundException as error:
            raise AirflowNotFoundException(with_connection_hint(error, self.connix_conn_id)) from None

    def _options(self, connection: Connection) -> dict[str, Any]:
        """Return the client's options, and mask their secrets."""
        options = settings.client_options(connection)
        self._mask(
            *(options.get(name) for name in ("api_key", "access_token", "refresh_token", "client_secret"))
        )
        self._mask(os.environ.get("CONNIX_API_KEY"))
        options["on_new_secret"] = self._mask
        for warning in settings.unknown_fields(settings.read_extra(connection)):
            if (self.connix_conn_id, warning) not in _warned:
                _warned.add((self.connix_conn_id, warning))
                self.log.warning("Airflow connection %r: %s", self.connix_conn_id, warning)
        return options

    @staticmethod
    def _mask(*secrets: str | None) -> None:
        """Register secrets with Airflow's masker."""
        for secret in secrets:
            # The client refuses values of other types.
            if secret and isinstance(secret, str):
                mask_secret(secret)
