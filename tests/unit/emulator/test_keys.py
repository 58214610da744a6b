"""Keys, tokens, scopes, projects, and the refusals that name them."""

import base64

import httpx
import pytest

UNAUTHORIZED = ("unauthorized", "Invalid API key or expired token")


def said(response):
    error = response.json()["error"]
    assert error["request_id"] == response.headers["X-Request-ID"]
    assert "details" not in error
    return error["code"], error["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "cx_wrong"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic wrong"},
    ],
)
def test_request_without_valid_key_is_refused(emulator, connect, headers):
    api = connect(emulator, headers)
    for response in (api.list(), api.create(), api.get("x"), api.delete("x"), api.http.get("/projects")):
        assert response.status_code == 401
        assert said(response) == UNAUTHORIZED
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="connix"'
        assert "X-RateLimit-Limit" not in response.headers
    assert emulator.journal.executed() == []


def test_default_key_has_the_documented_shape(emulator):
    assert emulator.api_key.startswith("cx_")
    assert len(emulator.api_key) == 35
    int(emulator.api_key[3:], 16)
    assert emulator.project_id.startswith("proj_")
    int(emulator.project_id[5:], 16)


def test_key_decides_before_a_token(emulator, connect):
    grant = emulator.add_token()
    api = connect(emulator, {"X-API-Key": "cx_wrong", "Authorization": f"Bearer {grant.access_token}"})
    assert api.list().status_code == 401


def test_revoked_key_is_refused(emulator, connect):
    key = emulator.add_key()
    api = connect(emulator, {"X-API-Key": key})
    assert api.list().status_code == 200
    emulator.revoke_key(key)
    assert api.list().status_code == 401


def test_scopes_separate_get_from_changes(emulator, connect):
    (agent_id,) = emulator.seed()
    reader = connect(emulator, {"X-API-Key": emulator.add_key(scopes=("read",))})
    assert reader.list().status_code == 200
    assert reader.get(agent_id).status_code == 200
    for response in (
        reader.create(),
        reader.update(agent_id),
        reader.delete(agent_id),
        reader.act(agent_id, "stop"),
    ):
        assert response.status_code == 403
        assert said(response)[0] == "insufficient_permissions"
    assert said(response)[1] == "You don't have permission to access this agent"

    writer = connect(emulator, {"X-API-Key": emulator.add_key(scopes=("write",))})
    assert writer.act(agent_id, "stop").status_code == 200
    assert writer.get(agent_id).status_code == 403
    assert said(writer.list())[1] == "You don't have permission to access this project"
    with pytest.raises(ValueError, match="admin"):
        emulator.add_key(scopes=("admin",))


def test_project_is_hidden_unknown_or_open(emulator, connect):
    other = emulator.add_project(name="Other")
    (agent_id,) = emulator.seed(project_id=other)
    api = connect(emulator, {"X-API-Key": emulator.add_key(projects=[emulator.project_id])})
    assert api.list().status_code == 200
    hidden = api.http.get(f"/projects/{other}/agents")
    assert (hidden.status_code, said(hidden)[0]) == (403, "insufficient_permissions")
    hidden = api.http.get(f"/projects/{other}/agents/{agent_id}")
    assert said(hidden) == ("insufficient_permissions", "You don't have permission to access this agent")
    unknown = api.http.get("/projects/proj_0/agents")
    assert unknown.status_code == 404
    assert said(unknown) == ("project_not_found", "Project with ID 'proj_0' not found")
    projects = api.http.get("/projects").json()["projects"]
    assert [project["id"] for project in projects] == [emulator.project_id]


def test_bearer_token_works_until_expired_or_revoked(emulator, connect):
    grant = emulator.add_token(expires_in=60)
    api = connect(emulator, {"Authorization": f"bearer {grant.access_token}"})
    assert api.create().status_code == 201
    emulator.clock.advance(59.999)
    assert api.list().status_code == 200
    emulator.clock.advance(0.001)
    assert said(api.list()) == UNAUTHORIZED

    grant = emulator.add_token()
    api = connect(emulator, {"Authorization": f"Bearer {grant.access_token}"})
    assert api.list().status_code == 200
    emulator.revoke_token(grant.access_token)
    assert api.list().status_code == 401


def refresh(emulator, **request):
    return httpx.post(emulator.token_url, verify=False, trust_env=False, **request)


def form(grant, **changes):
    fields = {
        "grant_type": "refresh_token",
        "refresh_token": grant.refresh_token,
        "client_id": grant.client_id,
        "client_secret": grant.client_secret,
    }
    return {name: value for name, value in (fields | changes).items() if value is not None}


def test_refresh_rotates_both_tokens(emulator, connect):
    grant = emulator.add_token(expires_in=60)
    emulator.clock.advance(61)
    response = refresh(emulator, data=form(grant))
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Content-Type"] == "application/json"
    issued = response.json()
    assert issued.keys() == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}
    assert (issued["token_type"], issued["expires_in"], issued["scope"]) == ("Bearer", 60, "read write")
    assert connect(emulator, {"Authorization": f"Bearer {issued['access_token']}"}).list().status_code == 200

    again = refresh(emulator, data=form(grant))
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    once_more = refresh(emulator, data=form(grant, refresh_token=issued["refresh_token"]))
    assert once_more.status_code == 200


def test_client_may_use_http_basic(emulator):
    grant = emulator.add_token()
    fields = form(grant, client_id=None, client_secret=None)
    # RFC 6749 section 2.3.1 encodes both before they are joined.
    quoted = base64.b64encode(
        f"{grant.client_id.replace('_', '%5F')}:{grant.client_secret}".encode()
    ).decode()
    response = refresh(emulator, data=fields, headers={"Authorization": f"Basic {quoted}"})
    assert response.status_code == 200
    response = refresh(emulator, data=fields, auth=(grant.client_id, "wrong"))
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert response.headers["WWW-Authenticate"] == 'Basic realm="connix"'


def test_scope_may_be_narrowed_but_not_widened(emulator, connect):
    grant = emulator.add_token(scopes=("read", "write"))
    response = refresh(emulator, data=form(grant, scope="admin"))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_scope")
    issued = refresh(emulator, data=form(grant, scope="read")).json()
    assert issued["scope"] == "read"
    api = connect(emulator, {"Authorization": f"Bearer {issued['access_token']}"})
    assert (api.list().status_code, api.create().status_code) == (200, 403)


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"client_id": None}, 401, "invalid_client"),
        ({"client_id": "client_x"}, 401, "invalid_client"),
        ({"client_secret": None}, 401, "invalid_client"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"refresh_token": "wrong"}, 400, "invalid_grant"),
        ({"refresh_token": None}, 400, "invalid_request"),
        ({"refresh_token": ""}, 400, "invalid_request"),
        ({"grant_type": None}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": ["refresh_token", "refresh_token"]}, 400, "invalid_request"),
    ],
)
def test_refusals_of_the_token_endpoint(emulator, changes, status, error):
    grant = emulator.add_token()
    response = refresh(emulator, data=form(grant, **changes))
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert response.json().keys() == {"error", "error_description"}
    assert response.headers["Cache-Control"] == "no-store"
    assert refresh(emulator, data=form(grant)).status_code == 200, "nothing was used up"


@pytest.mark.parametrize(
    ("authorization", "status", "error"),
    [
        ("Basic ???", 401, "invalid_client"),
        ("Basic /w==", 401, "invalid_client"),
        ("Digest x", 401, "invalid_client"),
    ],
)
def test_unreadable_client_credentials(emulator, authorization, status, error):
    fields = form(emulator.add_token(), client_id=None, client_secret=None)
    response = refresh(emulator, data=fields, headers={"Authorization": authorization})
    assert (response.status_code, response.json()["error"]) == (status, error)


def test_token_client_authenticates_once_and_with_a_form(emulator):
    grant = emulator.add_token()
    response = refresh(emulator, data=form(grant), auth=(grant.client_id, grant.client_secret))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    response = refresh(emulator, json=form(grant))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


def test_refresh_token_is_its_own_client_s(emulator):
    mine, other = emulator.add_token(), emulator.add_token()
    response = refresh(emulator, data=form(mine, refresh_token=other.refresh_token))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")


def test_request_ids_are_echoed_or_made_up(api):
    assert api.http.get("/projects", headers={"X-Request-ID": "mine-1"}).headers["X-Request-ID"] == "mine-1"
    for odd in ("", "a b", 201 * "x"):
        assert (
            api.http.get("/projects", headers={"X-Request-ID": odd})
            .headers["X-Request-ID"]
            .startswith("req_")
        )


def test_unknown_paths_and_methods_are_errors(api):
    response = api.http.get("/nothing")
    assert (response.status_code, said(response)[0]) == (404, "not_found")
    response = api.http.patch(api.agents)
    assert (response.status_code, said(response)[0]) == (405, "method_not_allowed")
    assert response.headers["Allow"] == "GET, POST"
    assert api.http.post(api.path("x")).headers["Allow"] == "DELETE, GET, PUT"
    assert api.http.get(api.agents + "/").status_code == 404, "no redirect to the path without the slash"


def test_no_representation_shows_a_secret(emulator):
    grant = emulator.add_token()
    for secret in (grant.access_token, grant.refresh_token, grant.client_secret):
        assert secret not in repr(grant)
