"""Request tokens from an OAuth2 token endpoint, and read its response (RFC 6749 sections 4.4, 5 and 6)."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

import httpx

from connix_provider.client.auth.checks import check_text, check_token_url, json_object, token_in
from connix_provider.client.auth.token_cache import Tokens
from connix_provider.client.calls.steps import Response
from connix_provider.client.errors import (
    ConnixAPIError,
    ConnixAuthenticationError,
    ConnixResponseError,
    ConnixTimeoutError,
    api_error_class,
)
from connix_provider.client.ratelimit.headers import parse_number
from connix_provider.client.ratelimit.retry_after import retry_after_hint
from connix_provider.client.redaction import redact
from connix_provider.client.redaction.quoting import printable
from connix_provider.client.transient import is_transient_status
from connix_provider.client.transport.addresses import warn_in_clear
from connix_provider.client.transport.exchange import HOOKS, exchange
from connix_provider.client.transport.httpx_errors import connection_error
from connix_provider.client.transport.request import USER_AGENT, timeouts

if TYPE_CHECKING:
    import ssl

__all__ = ["REFRESH_TIMEOUT", "TokenEndpoint"]

#: Seconds that a refresh may take. The end of the call that started it does not stop it, because the service
#: may have replaced the refresh token already.
REFRESH_TIMEOUT = 60.0
_READ_TIMEOUT = 30.0
_MAX_QUOTE, _MAX_READ = 200, 2000
#: A service that replaces refresh tokens refuses one that another process has used.
_USED_ELSEWHERE = (
    ". Another process may have used the refresh token: get a new one, or use an API key, which processes "
    "can share."
)


class TokenEndpoint:
    """
    Request tokens for one OAuth2 client.

    :param url: the address, http or https
    :param client_id: the OAuth2 client
    :param client_secret: its secret; a public client has none
    :param scope: the scopes to request, separated by spaces
    :param verify: the certificates, as for ``httpx.Client``
    :raises ValueError: for a value that cannot be right; it is not quoted
    """

    def __init__(
        self,
        url: str,
        client_id: str | None = None,
        client_secret: str | None = None,
        *,
        scope: str | None = None,
        verify: ssl.SSLContext | str | bool = True,
    ) -> None:
        self.url = check_token_url(url)
        self._client_id = check_text(client_id, "client_id")
        self._client_secret = check_text(client_secret, "client_secret")
        self._scope = check_text(scope, "scope")
        self._verify = verify
        warn_in_clear(self.url, "OAuth2 token or client secret")

    def credentials(self) -> tuple[str | None, ...]:
        """
        List the values that the caller gave.

        :return: a secret among them
        """
        return (self._client_id, self._client_secret, self._scope, self.url)

    def secrets(self) -> tuple[str, ...]:
        """
        List the secrets that a response may quote.

        :return: the client's secret, the Basic credentials, form-encoded as they are sent and plain, and the
            values in the query of the address
        """
        values = tuple(value for _, value in parse_qsl(urlsplit(self.url).query))
        if not self._client_secret:
            return values
        client_id = self._client_id or ""
        pairs = (
            f"{quote(client_id, safe='')}:{quote(self._client_secret, safe='')}",
            f"{client_id}:{self._client_secret}",
        )
        basic = (base64.b64encode(pair.encode()).decode() for pair in pairs)
        return (self._client_secret, *basic, *values)

    def fetch(self, refresh_token: str | None, secrets: tuple[str, ...]) -> Tokens:
        """
        Request new tokens on a connection of its own.

        :param refresh_token: the refresh token, or ``None`` for the client credentials grant
        :param secrets: the values that no message may show
        :raises ConnixError: without tokens
        """
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": USER_AGENT}
        try:
            with httpx.Client(verify=self._verify, event_hooks=HOOKS) as http:
                request = httpx.Request(
                    "POST",
                    self.url,
                    data=self._form(refresh_token),
                    headers=headers,
                    extensions={"timeout": timeouts(_READ_TIMEOUT)},
                )
                response = exchange(http, self._basic_auth(), request, REFRESH_TIMEOUT)
        except TimeoutError:
            raise ConnixTimeoutError("the token endpoint did not finish its response in time") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise connection_error(error, missed="new tokens", setting="the connection's token_url") from None
        return self.tokens(response, secrets)

    def tokens(self, response: Response, secrets: tuple[str, ...]) -> Tokens:
        """
        Read a response.

        :param secrets: the values that no message may show
        :raises ConnixAPIError: for a response without a usable access token
        :raises ConnixResponseError: for a success that is no JSON object, such as the page of a gateway
        """
        content = json_object(response.body)
        if response.is_success and content is None:
            raise self._unreadable(response)
        content = content or {}
        access_token = token_in(content, "access_token") if response.is_success else None
        if access_token is None:
            raise self._error(response, content, secrets)
        expires_in = parse_number(content.get("expires_in")) or math.inf
        # An unusable refresh token is dropped here, because httpx would quote it when it refuses to send it.
        return Tokens(access_token, token_in(content, "refresh_token"), expires_in)

    def _form(self, refresh_token: str | None) -> dict[str, str]:
        form = {"grant_type": "client_credentials"}
        if refresh_token is not None:
            form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        if self._scope:
            form["scope"] = self._scope
        if self._client_id and not self._client_secret:
            form["client_id"] = self._client_id
        return form

    def _basic_auth(self) -> httpx.BasicAuth | None:
        if not (self._client_id and self._client_secret):
            return None
        # RFC 6749 section 2.3.1: both are form-encoded before they go into HTTP Basic.
        return httpx.BasicAuth(quote(self._client_id, safe=""), quote(self._client_secret, safe=""))

    def _error(self, response: Response, content: dict[str, Any], secrets: tuple[str, ...]) -> ConnixAPIError:
        status = response.status_code
        # A refusal is final, whatever 4xx the endpoint chose.
        is_transient = is_transient_status(status)
        error_class = api_error_class(status) if is_transient else ConnixAuthenticationError
        stated = (content.get(name) for name in ("error", "error_description"))
        reason = ": ".join(text for text in stated if isinstance(text, str) and text)[:_MAX_READ]
        missing = "the response redirects" if 300 <= status < 400 else "no usable token in the response"
        reason = printable(redact(reason, secrets))[:_MAX_QUOTE] or missing
        advice = _USED_ELSEWHERE if content.get("error") == "invalid_grant" else ""
        message = f"no access token from {self._address()}: {reason}{advice}"
        error = error_class(status, "token_not_refreshed", message)
        error.request = "POST to the token endpoint"
        # RFC 6749 section 5.2: a refusal of the endpoint names its error; that of a gateway does not.
        error.has_error_body = isinstance(content.get("error"), str) or response.is_success
        if is_transient:
            is_limited = status == httpx.codes.TOO_MANY_REQUESTS
            error.retry_after = retry_after_hint(response.headers, refused=is_limited)
        return error

    def _unreadable(self, response: Response) -> ConnixResponseError:
        return ConnixResponseError(
            f"no access token from {self._address()}: the {response.status_code} response of "
            f"{len(response.body)} bytes is no JSON object"
        )

    def _address(self) -> str:
        """Return the address without its query, because that may hold a secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}"
