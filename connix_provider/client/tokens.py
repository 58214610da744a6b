"""Ask a token endpoint for new tokens, and read what it answers (RFC 6749 sections 5 and 6)."""

from __future__ import annotations

import base64
import math
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from connix_provider.client.credentials import endpoint, json_object, text, token_in
from connix_provider.client.errors import ConnixAPIError, ConnixAuthenticationError, api_error_class
from connix_provider.client.punctual import with_grace
from connix_provider.client.quoting import printable
from connix_provider.client.ratelimit import number, retry_after_hint
from connix_provider.client.redaction import redact
from connix_provider.client.retry import is_transient_status

__all__ = ["TokenEndpoint"]

#: A service that replaces refresh tokens refuses one that another process has renewed with.
_USED_ELSEWHERE = (
    ". The refresh token may have been used elsewhere, by another process for one: get a new one, or use an "
    "API key, which processes can share."
)


class TokenEndpoint:
    """
    Speak with a token endpoint in the name of one OAuth2 client.

    :param url: its address, http or https
    :param client_id: the OAuth2 client
    :param client_secret: its secret; without one the client is a public one
    :raises ValueError: for what cannot be right; it is not shown
    """

    def __init__(self, url: str, client_id: str | None = None, client_secret: str | None = None) -> None:
        self.client_id = text(client_id, "client_id")
        self.client_secret = text(client_secret, "client_secret")
        self.url = endpoint(url)

    def secrets(self) -> tuple[str, ...]:
        """
        List what an answer of the endpoint may quote.

        :return: the client's secret, and the Basic credentials, form-encoded as they are sent and plain
        """
        if not self.client_secret:
            return ()
        client_id = self.client_id or ""
        pairs = (
            f"{quote(client_id, safe='')}:{quote(self.client_secret, safe='')}",
            f"{client_id}:{self.client_secret}",
        )
        return (self.client_secret, *(base64.b64encode(pair.encode()).decode() for pair in pairs))

    def request(self, refresh_token: str, call: httpx.Request) -> httpx.Request:
        """
        Ask for new tokens within the bounds of the request that needs them, and a little beyond.

        :param refresh_token: what they are asked for with
        :param call: the request that needs them
        :return: the request to send
        """
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        headers = {"Accept": "application/json", "User-Agent": call.headers.get("User-Agent", "")}
        # The service may use the old one up as soon as it is asked: its answer is worth some more seconds.
        timeout = call.extensions["timeout"]
        extensions = {
            **call.extensions,
            "renewal": True,
            "deadline": with_grace(call.extensions["deadline"]),
            "timeout": {**timeout, "read": with_grace(timeout["read"])},
        }
        if self.client_id and self.client_secret:
            # RFC 6749 section 2.3.1: both are form-encoded before they go into HTTP Basic.
            credentials = httpx.BasicAuth(quote(self.client_id, safe=""), quote(self.client_secret, safe=""))
            return next(
                credentials.auth_flow(
                    httpx.Request("POST", self.url, data=form, headers=headers, extensions=extensions)
                )
            )
        if self.client_id:
            form["client_id"] = self.client_id
        return httpx.Request("POST", self.url, data=form, headers=headers, extensions=extensions)

    def tokens(self, response: httpx.Response, secrets: tuple[str, ...]) -> tuple[str, str | None, float]:
        """
        Find the new tokens in an answer.

        :param response: the answer, read
        :param secrets: the values that no message may show
        :return: the access token, the refresh token where it was replaced, and the seconds the former lives
        :raises ConnixAPIError: where there are none; it says why
        """
        answer = json_object(response)
        token = token_in(answer) if response.is_success else None
        if token is None:
            raise self._refused(response, answer, secrets)
        lifetime = number(answer.get("expires_in")) or math.inf
        # A refresh token that cannot be sent would only fail later, in words that quote it.
        return token, token_in(answer, "refresh_token"), lifetime

    def _refused(
        self, response: httpx.Response, answer: dict[str, Any], secrets: tuple[str, ...]
    ) -> ConnixAPIError:
        status = response.status_code
        # The endpoint's trouble may pass; its refusal will not, whatever 4xx it chose.
        passing = is_transient_status(status)
        kind = api_error_class(status) if passing else ConnixAuthenticationError
        words = (answer.get(name) for name in ("error", "error_description"))
        said = ": ".join(word for word in words if isinstance(word, str) and word)
        why = printable(redact(said[:2000], secrets))[:200] or "no usable token in the answer"
        # Without a query or a user: those may be secrets too.
        place = urlsplit(self.url)
        where = f"{place.scheme}://{place.netloc.rpartition('@')[2]}{place.path}"
        advice = _USED_ELSEWHERE if answer.get("error") == "invalid_grant" else ""
        told = f"the access token could not be renewed at {where}: {why}{advice}"
        error = kind(status, "token_not_renewed", told)
        error.request = "POST to the token endpoint"
        # RFC 6749 section 5.2: a refusal of the endpoint names its error; a gateway's does not.
        error.has_error_body = isinstance(answer.get("error"), str) or response.is_success
        if passing:
            limited = status == httpx.codes.TOO_MANY_REQUESTS
            error.retry_after = retry_after_hint(response.headers, refused=limited)
        return error
