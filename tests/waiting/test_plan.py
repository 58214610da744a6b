"""How many agents are watched with few requests."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connix_provider.waiting.plan import PAGE, Rates, pages_of, singly_up_to, windows

#: What the reference allows, in requests a second.
RATES = Rates(get=200 / 60, list=100 / 60)


@pytest.mark.parametrize(
    ("intervals", "pages", "expected"),
    [
        pytest.param({5.0: 1}, 1, math.inf, id="one"),
        pytest.param({5.0: 10}, 500, math.inf, id="ten in a large project"),
        pytest.param({10.0: 20}, 1, math.inf, id="as many as Gets are enough for"),
        pytest.param({5.0: 1000}, 10, 0.0, id="a thousand"),
        pytest.param({60.0: 10_000}, 100, 0.0, id="ten thousand"),
        pytest.param({5.0: 30}, 1, 0.0, id="more than Gets are enough for"),
        pytest.param({5.0: 20}, 500, math.inf, id="too few for so long a listing"),
        pytest.param({5.0: 5, 60.0: 10_000}, 100, 5.0, id="some in a hurry beside many who are not"),
        pytest.param({5.0: 500, 60.0: 10_000}, 100, 0.0, id="too many in a hurry"),
    ],
)
def test_the_cheaper_way_is_chosen(intervals, pages, expected):
    assert singly_up_to(intervals, pages=pages, rates=RATES) == expected


def test_what_must_not_be_sent_is_not_chosen():
    assert singly_up_to({5.0: 10}, pages=1, rates=Rates(get=0, list=1)) == 0.0
    assert singly_up_to({5.0: 1000}, pages=1, rates=Rates(get=1, list=0)) == math.inf


@pytest.mark.parametrize(("agents", "pages"), [(0, 1), (1, 1), (100, 1), (101, 2), (10_000, 100)])
def test_pages_are_counted(agents, pages):
    assert pages_of(agents) == pages


@given(st.sets(st.integers(0, 20_000), min_size=1, max_size=300))
def test_windows_show_every_place_with_no_more_pages_than_all_of_them(places):
    offsets = windows(places)
    assert all(any(offset <= place < offset + PAGE for offset in offsets) for place in places)
    assert len(offsets) <= min(len(places), 1 + math.ceil((max(places) + 1) / (PAGE - 5)))
