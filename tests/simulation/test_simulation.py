"""Play seeded histories: ``scripts/simulate`` plays more of them, and shrinks and prints those that fail."""

from __future__ import annotations

import ast
import dataclasses
import pathlib

import hostile
import pytest
from hostile.drawing import draw
from hostile.history import Fault, History, Other
from hostile.player import stage
from hostile.service_behaviour import ServiceBehaviour
from hostile.shrinking import shrink
from hostile.verdicts import judge, minimal

HISTORIES = 5_000
PORTIONS = 20
#: The modules of the service, which must share no code with the provider.
SERVICE = ("service_responses", "gateway", "limits", "record", "service", "service_behaviour")


@pytest.fixture(scope="module")
def playing():
    with stage() as playing:
        yield playing


@pytest.mark.heavy
@pytest.mark.parametrize("number", range(PORTIONS))
def test_no_history_breaks_an_invariant(playing, number):
    for seed in range(number, HISTORIES, PORTIONS):
        verdict = judge(playing, draw(seed))
        if verdict.breaches:
            pytest.fail(minimal(playing, verdict).told())


def test_a_seed_is_the_same_history_each_time(playing):
    for seed in range(20):
        first, second = (judge(playing, draw(seed)).told() for _ in range(2))
        assert first == second


def test_a_failing_history_is_shrunk():
    history = dataclasses.replace(
        draw(0),
        behaviour=ServiceBehaviour(get_lag=2.0, latency=0.9, page=3),
        others=(Other("update", 0, 1.0), Other("delete", 0, 2.0)),
        faults=(Fault("reset", (), 0, 0.0, 20.0, 5), Fault("html 502", (), 0, 0.0, 20.0, 1)),
    )

    def fails(one: History) -> bool:
        return one.behaviour.get_lag > 0 and any(other.what == "delete" for other in one.others)

    smallest = shrink(history, fails)
    assert smallest.behaviour == ServiceBehaviour(get_lag=2.0)
    assert smallest.others == (Other("delete", 0, 2.0),)
    assert smallest.faults == ()


@pytest.mark.parametrize("name", SERVICE)
def test_the_service_shares_no_code_with_the_provider(name):
    tree = ast.parse((pathlib.Path(hostile.__file__).parent / f"{name}.py").read_text("utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    ours = {module for module in imported if module.startswith("hostile.")}
    assert ours <= {f"hostile.{name}" for name in SERVICE}
    assert not any(module.startswith("connix_provider") for module in imported)
