"""Redacting hides whole secrets in every encoding, and leaves the rest."""

import json
from functools import partial
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connix_provider.client.redaction import redact


def texts_in(value):
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return [text for item in value for text in texts_in(item)] if isinstance(value, list) else [value]


@given(
    st.lists(st.text('ab"\\ö\n', min_size=5, max_size=40), min_size=1, max_size=5),
    st.text("12", max_size=3),
)
def test_redacting_leaves_no_secret_whole(secrets, between):
    text = between.join(secrets)
    escaped = [json.dumps(text), repr(text), json.dumps(text, ensure_ascii=False)]
    for said in texts_in(redact({text: [text, {"a": escaped}]}, secrets)):
        for secret in secrets:
            assert secret not in said
            assert json.dumps(secret)[1:-1] not in said


def test_redacting_hides_long_secrets_first_and_skips_short():
    assert redact("abcdefgh abcde 1234", ("abcde", "abcdefgh", "1234")) == "*** *** 1234"
    assert redact([5, 55555, 5.5, True, 77777.5], ("55555", "77777.5")) == [5, "***", 5.5, True, "***"]
    assert redact(None, ("55555",)) is None
    assert redact([[["x"]]], ()) == [[["x"]]]


@pytest.mark.parametrize(
    "secret",
    ["You are a secret agent.\nNever say so.", "postgres://user:pass'\"word@host/db", "a" * 40 + "\\b"],
)
def test_an_escaped_secret_is_hidden(secret):
    for form in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]):
        assert redact(f"bad {form}! {form}", [secret]) == "bad ***! ***"


@pytest.mark.parametrize("encode", [quote, partial(quote, safe=""), quote_plus])
@pytest.mark.parametrize("ensure_ascii", [True, False])
@pytest.mark.parametrize(
    "secret",
    ['Say "hi", é', "a/path/that's é\nsecret", "postgres://canary:pw@db/x?y=1&z=ü", "\"'\\/é begins with it"],
)
def test_a_url_encoded_secret_is_hidden_whole(secret, ensure_ascii, encode):
    before, after = json.dumps({"config": {"system_prompt": "|", "model": "shown"}}).split("|")
    escaped = json.dumps(secret, ensure_ascii=ensure_ascii)[1:-1]
    assert redact(encode(before + escaped + after), [secret]) == f"{encode(before)}***{encode(after)}"


@pytest.mark.heavy
def test_hiding_many_takes_no_longer_than_reading_them():
    text = "You are a secret " * 100_000
    assert redact(text, ["You are a secret agent.\nNever say so."]) == "*** " * 100_000
