"""What a token endpoint's response means, for every status."""

import json

import pytest

from connix_provider.client import ConnixAuthenticationError
from connix_provider.client.attempts.gateway_refusals import is_from_gateway
from connix_provider.client.auth.token_cache import Tokens
from connix_provider.client.auth.token_endpoint import TokenEndpoint
from connix_provider.client.calls.steps import Response
from connix_provider.client.errors import ConnixAPIError, api_error_class
from connix_provider.client.transient import is_transient

TOKENS = {"access_token": "new-access", "refresh_token": "new-refresh", "expires_in": 60}
REFUSED = {"error": "invalid_grant", "error_description": "expired"}


def read(status, body):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return TokenEndpoint("https://login.example.com/token").tokens(Response(status, {}, content), ())


def error_of(status, body):
    with pytest.raises(ConnixAPIError) as caught:
        read(status, body)
    return caught.value


@pytest.mark.parametrize("client_secret", [None, "client-secret"])
def test_the_query_of_the_address_is_secret(client_secret):
    endpoint = TokenEndpoint(
        "https://login.example.com/token?api_key=canary-1&x=canary-2", "c", client_secret
    )
    assert {"canary-1", "canary-2"} <= {*endpoint.secrets()}
    refused = Response(400, {}, b'{"error": "bad", "error_description": "canary-1 is unknown"}')
    with pytest.raises(ConnixAPIError) as caught:
        endpoint.tokens(refused, endpoint.secrets())
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("status", range(200, 207))
def test_any_success_brings_tokens(status):
    assert read(status, TOKENS) == Tokens("new-access", "new-refresh", 60)


@pytest.mark.parametrize("status", range(200, 207))
def test_a_success_without_tokens_is_final(status):
    for body in (REFUSED, {}):
        error = error_of(status, body)
        assert type(error) is ConnixAuthenticationError
        assert not is_transient(error)
        assert not is_from_gateway(error)


@pytest.mark.parametrize("body", [REFUSED, b"<html>", b""])
def test_temporary_statuses_are_transient_errors_except_501(body):
    for status in (408, 425, 429, *range(500, 600)):
        error = error_of(status, body)
        assert is_transient(error) is (status != 501), status
        if status != 501:
            assert type(error) is api_error_class(status), status


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_a_refusal_of_the_endpoint_is_final(status):
    error = error_of(status, REFUSED)
    assert type(error) is ConnixAuthenticationError
    assert not is_transient(error)
    assert not is_from_gateway(error)


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("body", [b"<html>", b"", {"message": "no route"}, {"error": None}])
def test_a_refusal_of_a_gateway_is_foreign(status, body):
    error = error_of(status, body)
    assert type(error) is ConnixAuthenticationError
    assert is_from_gateway(error)
