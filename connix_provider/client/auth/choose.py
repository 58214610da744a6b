"""Choose the credentials of a client."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable

from connix_provider.client.auth.base import Auth
from connix_provider.client.auth.oauth2 import DEFAULT_TOKEN_URL, RefreshingBearerAuth
from connix_provider.client.auth.static import ApiKeyAuth, BearerAuth
from connix_provider.client.transport.addresses import is_default_host

__all__ = ["API_KEY_VARIABLE", "choose_auth"]

API_KEY_VARIABLE = "CONNIX_API_KEY"


def choose_auth(
    api_key: str | None = None,
    *,
    access_token: str | None = None,
    refresh_token: str | None = None,
    client_id: str | None = None,
    client_secret: str | None = None,
    token_url: str | None = None,
    scope: str | None = None,
    verify: ssl.SSLContext | str | bool = True,
    on_new_secret: Callable[[str], None] | None = None,
    base_url: str | None = None,
) -> Auth:
    """
    Take the first credentials that are there: API key, refresh token, access token, client, environment.

    :param api_key: an API key
    :param access_token: an OAuth2 access token
    :param refresh_token: an OAuth2 refresh token
    :param client_id: the OAuth2 client
    :param client_secret: its secret
    :param token_url: the token endpoint; default ``https://console.connix.io/oauth2/token``
    :param scope: the scopes to request, separated by spaces
    :param verify: the certificates of the token endpoint, as for ``httpx.Client``
    :param on_new_secret: called with each refreshed token
    :param base_url: the service's address, or ``None`` for the default; the environment's key is sent to the
        default host only
    :return: the auth
    :raises ValueError: where there are no credentials, or a value that cannot be right
    """
    if api_key:
        return ApiKeyAuth(api_key)
    if refresh_token or (not access_token and client_id and client_secret):
        return RefreshingBearerAuth(
            refresh_token or None,
            access_token=access_token,
            client_id=client_id,
            client_secret=client_secret,
            token_url=token_url or DEFAULT_TOKEN_URL,
            scope=scope,
            verify=verify,
            on_new_secret=on_new_secret,
        )
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
