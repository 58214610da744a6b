"""The guide's examples run, and the guide names every option."""

import dataclasses
import re
from pathlib import Path

import pytest

from connix_provider.emulator import Durations, Limits
from connix_provider.emulator.faults import CALLS, KINDS
from connix_provider.emulator.journal import Entry
from connix_provider.emulator.metrics import METRICS

GUIDE = (Path(__file__).parents[3] / "docs" / "emulator.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_runs(example, connix_emulator):
    names = {"__name__": "example"}
    exec(compile(example, "docs/emulator.md", "exec"), names)
    for name, function in names.items():
        if name.startswith("test_"):
            function(connix_emulator)


def test_guide_names_every_fault_call_and_option():
    assert len(EXAMPLES) == 6
    fields = [field.name for kind in (Durations, Entry) for field in dataclasses.fields(kind)]
    limits = {field.name for field in dataclasses.fields(Limits)} - {"projects"}
    for name in (*KINDS, *CALLS, *METRICS, *fields, *limits):
        assert re.search(rf"`{name}\b", GUIDE), name
