"""Turn an Airflow connection into a Connix client, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import BaseHook

from connix_provider.provider_info import EXTRA_FIELDS, ui_field_behaviour

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from connix_provider.client import AsyncClient, Client

__all__ = ["ConnixHook"]

#: Seconds that the connection's test may take: somebody is looking at a form.
_TEST_TIMEOUT = 15.0


class ConnixHook(BaseHook):
    """
    Connect to Connix with what an Airflow connection says.

    The connection's password is the API key, its host the base URL; ``project_id``, OAuth2 tokens, timeout,
    TLS settings and the console's address are in its extra. Without key and token, ``CONNIX_API_KEY`` is
    tried.

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
        Describe how the connection form shows Airflow's own fields.

        :return: hidden fields, labels and placeholders
        """
        return ui_field_behaviour()

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """
        Make the form's fields for Airflow versions that do not read ``conn-fields``.

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
        Open a client; the caller closes it, or uses it in a ``with`` block.

        :return: a new client
        :raises ValueError: for a connection whose settings cannot be right
        :raises AirflowNotFoundException: for a connection id that is not defined
        """
        with self._named():
            return self._open()

    def _open(self) -> Client:
        from connix_provider.client import Client

        return Client(**self._options(self._connection))

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Say which connection it is that cannot be right: whoever reads a task's log has many."""
        try:
            yield
        except ValueError as error:
            raise ValueError(f"{error} (Airflow connection {self.connix_conn_id!r})") from None

    @cached_property
    def client(self) -> Client:
        """
        Return one client for this hook's life; see :meth:`get_conn`.

        :return: the client
        """
        return self.get_conn()

    async def get_async_conn(self) -> AsyncClient:
        """
        Open an asynchronous client without blocking the event loop.

        :return: a new client; the caller closes it, or uses it in an ``async with`` block
        :raises ValueError: for a connection whose settings cannot be right
        :raises AirflowNotFoundException: for a connection id that is not defined
        """
        from connix_provider.compat import get_async_connection

        connection = await get_async_connection(self.connix_conn_id)
        loop = asyncio.get_running_loop()

        def mask(secret: str) -> None:
            loop.run_in_executor(None, self._mask, secret)

        # Kept, because project and console are read from it without asking Airflow again.
        self._connection = connection
        return await asyncio.to_thread(self._async_client, connection, mask)

    def _async_client(self, connection: Connection, on_new_secret: Callable[[str], None]) -> AsyncClient:
        """Make a client off the event loop: reading the extra masks it, which asks the supervisor."""
        # What is imported for the first time, and certificates that are read, take a while, too.
        from connix_provider.client import AsyncClient

        with self._named():
            return AsyncClient(**{**self._options(connection), "on_new_secret": on_new_secret})

    @property
    def console_url(self) -> str:
        """
        Return the address of the Connix console.

        It is read from the connection, so ask for it in a trigger only after :meth:`get_async_conn`.

        :return: the extra's ``console_url``, default ``https://console.connix.io``; no slash at its end
        :raises ValueError: for an address that is not http or https
        """
        from connix_provider.hooks.settings import console_url

        with self._named():
            return console_url(self._extra(self._connection).get("console_url"))

    def agent_url(self, project_id: str, agent_id: str) -> str:
        """
        Return the address of an agent's page in the Connix console.

        :param project_id: the project
        :param agent_id: the agent
        :return: the address
        """
        from connix_provider.hooks.settings import agent_url

        return agent_url(self.console_url, project_id, agent_id)

    @property
    def project_id(self) -> str | None:
        """
        Return the project that the connection names.

        :return: the project's id, or ``None``
        """
        with self._named():
            return self._extra(self._connection).get("project_id") or None

    def test_connection(self) -> tuple[bool, str]:
        """
        Try the connection and say in one sentence what is wrong, if anything is.

        :return: whether it works, and the sentence
        """
        from connix_provider.client import ConnixError

        try:
            with self._open() as client:
                return True, self._try(client.with_options(max_attempts=1, total_timeout=_TEST_TIMEOUT))
        except ConnixError as error:
            return False, _plain(error, self.project_id)
        except ValueError as error:
            return False, _as_sentence(error)

    def _try(self, client: Client) -> str:
        from connix_provider.client.calls import list_projects

        if self.project_id:
            page = client.agents.list(self.project_id, limit=1)
            total = "some" if page.pagination.total is None else page.pagination.total
            return f"Connix answers at {client.base_url}; project {self.project_id} has {total} agents."
        client.perform(list_projects(limit=1))
        return (
            f"Connix answers at {client.base_url}; the connection names no project_id, so every operator "
            "must name one."
        )

    @cached_property
    def _connection(self) -> Connection:
        return self.get_connection(self.connix_conn_id)

    @staticmethod
    def _extra(connection: Connection) -> dict[str, Any]:
        extra = connection.extra_dejson
        if not isinstance(extra, dict):
            raise ValueError(f"the connection's extra must be a JSON object, not a {type(extra).__name__}")
        return {name: value for name, value in extra.items() if value not in (None, "")}

    def _options(self, connection: Connection) -> dict[str, Any]:
        """Read the client's options off the connection."""
        from connix_provider.hooks.settings import console_url

        extra = self._extra(connection)
        options: dict[str, Any] = {
            name: extra[name]
            for name in ("access_token", "refresh_token", "client_id", "client_secret", "token_url")
            if name in extra
        }
        if "timeout" in extra:
            options["timeout"] = _number(extra["timeout"], "timeout", "a number of seconds")
        if "rate_limit_share" in extra:
            share = extra["rate_limit_share"]
            options["rate_limit_share"] = _number(share, "rate_limit_share", "a number from 0 to 1")
        if "verify" in extra:
            options["verify"] = _verify(extra["verify"])
        console_url(extra.get("console_url"))
        options["api_key"] = connection.password or None
        options["base_url"] = _address(connection)
        self._mask(
            *(options.get(name) for name in ("api_key", "access_token", "refresh_token", "client_secret"))
        )
        self._mask(os.environ.get("CONNIX_API_KEY"))
        options["on_new_secret"] = self._mask
        return options

    @staticmethod
    def _mask(*secrets: str | None) -> None:
        """Have Airflow hide these values in every log, whatever field they came from."""
        from connix_provider.compat import mask_secret

        for secret in secrets:
            # Anything else is refused when a client is made of it.
            if secret and isinstance(secret, str):
                mask_secret(secret)


def _address(connection: Connection) -> str | None:
    """Put the base URL together; a connection written as a URI has scheme and port in fields of their own."""
    host = (connection.host or "").strip()
    if not host:
        return None
    if "://" not in host and connection.schema in {"http", "https"}:
        host = f"{connection.schema}://{host}"
    if connection.port and "://" in host:
        try:
            parts = urlsplit(host)
            if parts.port is None and not parts.query:
                host = parts._replace(netloc=f"{parts.netloc}:{connection.port}").geturl()
        except ValueError:
            # Its own words quote what was typed, which may be a password in the wrong place.
            raise ValueError("the connection's host cannot be read as an address") from None
    return host


def _number(value: Any, name: str, what: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        # Not quoted: what stands in the wrong field may be the key.
        raise ValueError(
            f"{name} in the connection's extra must be {what}, and what stands there is not"
        ) from None


def _verify(value: Any) -> bool | str:
    if isinstance(value, bool):
        return value
    text = str(value).strip()
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(
        text.lower(), text
    )


def _plain(error: Exception, project_id: str | None) -> str:
    """Say for somebody at the form what an error means there."""
    from connix_provider.client import errors

    match error:
        case errors.ConnixAuthenticationError():
            hint = "The API key or token is refused"
        case errors.ConnixPermissionError():
            what = "this project's agents" if project_id else "projects"
            hint = f"The key is good but may not list {what}"
        case errors.ConnixNotFoundError() if project_id:
            hint = f"There is no project {project_id!r} at this address, or the address is not Connix's API"
        case errors.ConnixNotFoundError():
            hint = (
                "The address is not Connix's API, or does not list projects; name a project_id to test with"
            )
        case errors.ConnixResponseError():
            hint = "Something answers, but it does not speak Connix's API; check the host"
        case errors.ConnixRateLimitError():
            hint = "The key is good, but its budget for this minute is used up"
        case _:
            return _as_sentence(error)
    return f"{hint}: {error}"


def _as_sentence(error: Exception) -> str:
    said = str(error)
    return said[:1].upper() + said[1:]
