"""Each history of a repaired fault breaks no invariant, and breaks one with the fault put back."""

from __future__ import annotations

import pytest
from hostile.cases import CASES
from hostile.old_faults import OLD_FAULTS
from hostile.player import stage
from hostile.verdicts import judge


@pytest.fixture(scope="module")
def playing():
    with stage() as playing:
        yield playing


@pytest.mark.heavy
@pytest.mark.parametrize("what", CASES)
def test_a_mended_history_breaks_no_invariant(playing, what):
    verdict = judge(playing, CASES[what])
    assert not verdict.breaches, verdict.told()


@pytest.mark.parametrize("fault", OLD_FAULTS, ids=lambda fault: f"{fault.line}: {fault.what}")
def test_a_fault_that_is_put_back_is_found(playing, fault):
    with fault.installed():
        verdict = judge(playing, CASES[fault.what])
    assert verdict.breaches, verdict.told()
