"""
Read the settings of an Airflow connection.

Every setting is used, refused, or (in the extra) reported as unknown. An error names the field and quotes no
value, because a value in the wrong field may be the key.
"""

from __future__ import annotations

import ipaddress
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from connix_provider.client.transport.addresses import has_two_schemes
from connix_provider.provider_info import EXTRA_FIELDS
from connix_provider.values import check_flag, looks_like_a_key, nearest

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

__all__ = [
    "DEFAULT_CONSOLE_URL",
    "agent_url",
    "base_url",
    "client_options",
    "console_url",
    "project_id",
    "read_extra",
    "unknown_fields",
]

DEFAULT_CONSOLE_URL = "https://console.connix.io"
#: Names that users give the field of the API key.
_KEY_NAMES = frozenset({"api_key", "apikey", "key", "password", "connix_api_key", "x_api_key"})
#: Prefix of the form's fields in Airflow 2.
_AIRFLOW_2_PREFIX = "extra__connix__"
_LONGEST_NAME = 40


def read_extra(connection: Connection) -> dict[str, Any]:
    """
    Read the extra of a connection.

    :return: its fields, without empty ones
    :raises ValueError: for an extra that is not a JSON object
    """
    # Airflow masks these values, and takes an extra that is not JSON for empty.
    extra = connection.extra_dejson
    if not extra and connection.extra:
        try:
            extra = json.loads(connection.extra)
        except ValueError:
            raise ValueError("the connection's extra is not JSON") from None
    if extra is None:
        return {}
    if not isinstance(extra, dict):
        raise ValueError(f"the connection's extra must be a JSON object, not a {type(extra).__name__}")
    return {name: value for name, value in extra.items() if value not in (None, "")}


def unknown_fields(extra: Mapping[str, Any]) -> list[str]:
    """
    Describe the fields of an extra that this provider does not know.

    :return: a warning for each
    """
    known = [field.name for field in EXTRA_FIELDS]
    warnings = []
    for name in extra:
        if name in known:
            continue
        if looks_like_a_key(name) or len(name) > _LONGEST_NAME:
            warnings.append(
                "The extra has a field whose name is not a setting; the API key belongs in the password."
            )
            continue
        plain = name.lower().removeprefix(_AIRFLOW_2_PREFIX).replace("-", "_")
        near = nearest(plain, known, cutoff=0.6)
        if plain in _KEY_NAMES:
            advice = "The API key belongs in the connection's password."
        elif plain in {"token", "bearer_token"}:
            advice = "Did you mean 'access_token'?"
        elif plain in {"host", "base_url", "url", "endpoint"}:
            advice = "The address belongs in the connection's host."
        elif near:
            advice = f"Did you mean {near!r}?"
        else:
            advice = f"Known fields are {', '.join(known)}."
        warnings.append(f"The extra's field {name!r} is unknown and ignored. {advice}")
    return warnings


def client_options(connection: Connection) -> dict[str, Any]:
    """
    Return the options of a client.

    :return: keyword arguments of :class:`~connix_provider.client.Client`
    :raises ValueError: for an invalid setting
    """
    extra = read_extra(connection)
    options: dict[str, Any] = {
        name: _text(extra[name], name)
        for name in ("access_token", "refresh_token", "client_id", "client_secret", "token_url", "scope")
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
    options["base_url"] = base_url(connection)
    options["api_key"] = connection.password or None
    has_client = bool(options.get("client_id") and options.get("client_secret"))
    if not has_client and not any(options.get(name) for name in ("api_key", "access_token", "refresh_token")):
        _refuse_misplaced_key(connection, extra)
    return options


def _refuse_misplaced_key(connection: Connection, extra: Mapping[str, Any]) -> None:
    """Raise for a key in the wrong field, because otherwise the environment's key would be used."""
    fields = [f"the extra's {name!r}" for name in extra if name.lower().replace("-", "_") in _KEY_NAMES]
    if connection.login:
        fields.insert(0, "the login")
    if fields:
        raise ValueError(
            f"there is no Connix API key: it belongs in the connection's password, not in {fields[0]}"
        )


def project_id(extra: Mapping[str, Any]) -> str | None:
    """
    Read the extra's ``project_id``.

    :raises ValueError: for a value that is neither text nor an integer
    """
    project = _text(extra["project_id"], "project_id").strip() if "project_id" in extra else ""
    if looks_like_a_key(project):
        raise ValueError("the extra's 'project_id' looks like an API key; the key belongs in the password")
    return project or None


def base_url(connection: Connection) -> str | None:
    """
    Join host, schema and port to the base URL.

    The ``schema`` is the scheme if it is ``http`` or ``https``, and the path otherwise, because Airflow
    stores the path of a connection's URI there.

    :return: the URL, or ``None`` for the default
    :raises ValueError: for fields that contradict each other, or belong to no host
    """
    host, schema = (connection.host or "").strip(), (connection.schema or "").strip()
    for field, text in (("host", host.rpartition("://")[2]), ("schema", schema.lstrip("/"))):
        if looks_like_a_key(text):
            raise ValueError(
                f"the connection's {field} looks like an API key; the key belongs in the password"
            )
    if not host:
        if schema.strip("/") or connection.port:
            raise ValueError("the connection has a schema or a port, but no host that they belong to")
        return None
    scheme, separator, rest = host.rpartition("://")
    if schema.lower() in {"http", "https"}:
        if separator and scheme.lower() != schema.lower():
            raise ValueError(
                "the connection's host and schema name different schemes; leave the schema empty"
            )
        scheme, schema, separator = schema, "", "://"
    if not separator:
        # The client refuses it, and says how to write it.
        return host
    authority, slash, path = rest.partition("/")
    if schema.strip("/"):
        if path.strip("/"):
            raise ValueError("the connection's host and schema both hold a path; put all of it in the host")
        path = schema.strip("/")
    return f"{scheme}://{_with_port(authority, connection.port)}{'/' if path else slash}{path}"


def _with_port(authority: str, port: int | None) -> str:
    """Add the connection's port to a host, and brackets to an IPv6 address."""
    bare = authority.rstrip("]").lstrip("[") if authority.endswith("]") else authority
    try:
        is_ipv6 = ipaddress.ip_address(bare).version == 6
    except ValueError:
        is_ipv6 = False
    if is_ipv6:
        authority = f"[{bare}]"
    if not port:
        return authority
    try:
        given = urlsplit(f"//{authority}").port
    except ValueError:
        # Without urlsplit's error, because it quotes the host, which may be a password.
        raise ValueError("the connection's host cannot be read as an address") from None
    if given is not None and given != port:
        raise ValueError("the connection's host and port name different ports")
    return authority if given is not None else f"{authority}:{port}"


def console_url(value: Any) -> str:
    """
    Read the extra's ``console_url``.

    :param value: the value, or ``None``
    :return: the address without a slash at its end
    :raises ValueError: for an address that is not http or https, or has a user, a query or a fragment
    """
    if value is None:
        return DEFAULT_CONSOLE_URL
    try:
        parts = urlsplit(str(value).strip())
        is_valid = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        is_valid = is_valid and not has_two_schemes(parts)
    except ValueError:
        is_valid = False
    if not is_valid or parts.username is not None or parts.query or parts.fragment:
        raise ValueError(
            f"console_url in the connection's extra must be an address such as {DEFAULT_CONSOLE_URL}"
        )
    return parts.geturl().rstrip("/")


def agent_url(console: str, project_id: str, agent_id: str) -> str:
    """
    Return the address of an agent's page in the Connix console.

    :param console: the console's address, see :func:`console_url`
    """
    return f"{console}/projects/{quote(project_id, safe='')}/agents/{quote(agent_id, safe='')}"


def _text(value: Any, name: str) -> str:
    """Read text, and digits, which the extra of a URI turns into a number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"{name} in the connection's extra must be a string, not {type(value).__name__}")
    return value


def _number(value: Any, name: str, kind: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name} in the connection's extra must be {kind}")
    return number


def _verify(value: Any) -> bool | str:
    if isinstance(value, str):
        value = value.strip()
    try:
        return check_flag("verify", value)
    except ValueError:
        if isinstance(value, str) and not looks_like_a_key(value):
            return value
    raise ValueError("verify in the connection's extra must be true, false or the path of a CA bundle")
