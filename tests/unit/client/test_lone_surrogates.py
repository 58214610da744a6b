"""A response with half a character is read, and loses nothing else."""

from __future__ import annotations

import json

import pytest

from connix_provider.client import Client
from connix_provider.client.responses.surrogates import replace_lone_surrogates

TEXTS = [
    ("cut \ud83d", "cut \ufffd"),
    ("\ude00 tail", "\ufffd tail"),
    ("\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
    ("\ude00\ud83d", "\ufffd\ufffd"),
    ("whole \U0001f600", "whole \U0001f600"),
    ("written \\ud83d and \\\\", "written \\ud83d and \\\\"),
    ("a backslash before \\\ud83d", "a backslash before \\\ufffd"),
    ("plain", "plain"),
]


@pytest.mark.parametrize(("text", "read"), TEXTS)
def test_half_a_character_is_replaced(text, read):
    body = json.dumps([text]).encode()
    assert json.loads(replace_lone_surrogates(body)) == [read]


def test_escapes_in_capitals_are_replaced():
    assert replace_lone_surrogates(rb'["\uD83D \uD83D\uDE00"]') == rb'["\ufffd \uD83D\uDE00"]'


def test_a_log_line_that_was_cut_is_read(emulator):
    agents = emulator.seed(2, description="cut \ud83d")
    emulator.add_logs(agents[0], ["cut \ud83d"])
    with Client(emulator.api_key, emulator.url) as client:
        (entry,) = client.agents.logs(emulator.project_id, agents[0], limit=1).logs
        assert entry.message == "cut \ufffd"
        assert client.agents.get(emulator.project_id, agents[1]).description == "cut \ufffd"
        assert len(client.agents.list(emulator.project_id)) == 2
