"""Read what an Airflow connection says; every complaint names the field, and none quotes a value."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

__all__ = ["DEFAULT_CONSOLE_URL", "agent_url", "console_url"]

DEFAULT_CONSOLE_URL = "https://console.connix.io"


def console_url(value: Any) -> str:
    """
    Read the extra's ``console_url``.

    :param value: the value, or ``None``
    :return: the address without a slash at its end
    :raises ValueError: for an address that is not http or https, or holds a user, a query or a fragment
    """
    if value is None:
        return DEFAULT_CONSOLE_URL
    try:
        parts = urlsplit(str(value).strip())
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username is not None or parts.query or parts.fragment:
        raise ValueError(
            f"console_url in the connection's extra must be an address such as {DEFAULT_CONSOLE_URL}"
        )
    return parts.geturl().rstrip("/")


def agent_url(console: str, project_id: str, agent_id: str) -> str:
    """
    Return the address of an agent's page in the Connix console.

    :param console: the console's address, see :func:`console_url`
    :param project_id: the project
    :param agent_id: the agent
    :return: the address
    """
    return f"{console}/projects/{quote(project_id, safe='')}/agents/{quote(agent_id, safe='')}"
