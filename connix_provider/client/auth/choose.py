"""Choose the credentials of a client."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

from connix_provider.client.auth.base import Auth
from connix_provider.client.auth.oauth2 import RefreshingBearerAuth
from connix_provider.client.auth.static import ApiKeyAuth, BearerAuth
from connix_provider.client.transport.addresses import is_default_host

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["API_KEY_VARIABLE", "TokenOptions", "choose_auth"]

API_KEY_VARIABLE = "CONNIX_API_KEY"


class TokenOptions(TypedDict, total=False):
    """
    Options of a client that uses OAuth2 tokens.

    The parameters of :class:`~connix_provider.client.client.Client` and
    :class:`~connix_provider.client.auth.oauth2.RefreshingBearerAuth` document them.
    """

    access_token: str | None
    refresh_token: str | None
    client_id: str | None
    client_secret: str | None
    token_url: str | None
    scope: str | None
    on_new_secret: Callable[[str], None] | None


def choose_auth(
    api_key: str | None = None,
    *,
    base_url: str | None = None,
    verify: ssl.SSLContext | str | bool = True,
    **tokens: Unpack[TokenOptions],
) -> Auth:
    """
    Return the first credentials that are given: API key, refresh token, access token, client, environment.

    :param base_url: the service's address, or ``None`` for the default; the environment's key is sent to the
        default host only
    :param verify: the certificates of the token endpoint, as for ``httpx.Client``
    :param tokens: see :class:`TokenOptions`
    :raises ValueError: for missing credentials, or an invalid value
    """
    if api_key:
        return ApiKeyAuth(api_key)
    access_token = tokens.get("access_token")
    has_client = bool(tokens.get("client_id") and tokens.get("client_secret"))
    if tokens.get("refresh_token") or (has_client and not access_token):
        # An empty setting is no setting.
        tokens["refresh_token"] = tokens.get("refresh_token") or None
        tokens["token_url"] = tokens.get("token_url") or None
        return RefreshingBearerAuth(**tokens, verify=verify)
    if access_token:
        return BearerAuth(access_token)
    if from_environment := os.environ.get(API_KEY_VARIABLE):
        if is_default_host(base_url):
            return ApiKeyAuth(from_environment)
        raise ValueError(
            f"there is no Connix API key for this host: {API_KEY_VARIABLE} is sent to "
            "https://api.connix.io only; give the key itself (in Airflow: the connection's password)"
        )
    raise ValueError(
        "there is no Connix API key: give one (in Airflow: the connection's password), or an access_token "
        f"or refresh_token, or set {API_KEY_VARIABLE}"
    )
