"""
Credentials: an API key, an access token, or OAuth2 tokens that are refreshed (reference: "Authentication").

Each kind is an ``httpx.Auth``. :func:`choose_auth` takes the one that a client's parameters describe.
"""

from connix_provider.client.auth.base import Auth
from connix_provider.client.auth.choose import API_KEY_VARIABLE, TokenOptions, choose_auth
from connix_provider.client.auth.oauth2 import DEFAULT_TOKEN_URL, RefreshingBearerAuth
from connix_provider.client.auth.static import ApiKeyAuth, BearerAuth

__all__ = [
    "API_KEY_VARIABLE",
    "DEFAULT_TOKEN_URL",
    "ApiKeyAuth",
    "Auth",
    "BearerAuth",
    "RefreshingBearerAuth",
    "TokenOptions",
    "choose_auth",
]
