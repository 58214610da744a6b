"""The guide's examples run, and it leaves nothing out."""

import dataclasses
import re
from pathlib import Path

import pytest

from connix_provider.emulator import Durations, Limits
from connix_provider.emulator.faults import CALLS, KINDS
from connix_provider.emulator.journal import Entry

GUIDE = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs(example):
    exec(compile(example, "docs/emulator.md", "exec"), {"__name__": "example"})


def test_the_guide_names_everything():
    assert len(EXAMPLES) == 4
    fields = [field.name for kind in (Durations, Entry) for field in dataclasses.fields(kind)]
    limits = {field.name for field in dataclasses.fields(Limits)} - {"projects"}
    for name in (*KINDS, *CALLS, *fields, *limits):
        assert re.search(rf"`{name}\b", GUIDE), name
