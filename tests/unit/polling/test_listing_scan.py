"""How many pages a listing has, whatever the service states."""

from __future__ import annotations

import pytest

from connix_provider.polling.watching.listing_scan import PAGE, DuePages, ListingScan

ABSURD = [10**6, 2**31 - 1, 2**63 - 1, 10**18]


@pytest.mark.parametrize("total", ABSURD)
def test_an_incomplete_page_is_the_last(total):
    scan = ListingScan()
    scan.record_page(0, 1, size=60, total=total, has_more=False)
    assert scan.pages == 1


@pytest.mark.parametrize("total", ABSURD)
@pytest.mark.parametrize("has_more", [False, True])
def test_an_absurd_total_is_bounded(total, has_more):
    scan = ListingScan()
    scan.record_page(0, 1, size=PAGE, total=total, has_more=has_more)
    # Each choice of a page goes through all of them.
    assert scan.pages <= 2_000
    assert len(list(DuePages(scan).pages())) == 1


def test_an_endless_listing_is_bounded():
    scan = ListingScan()
    for page in range(0, 5_000, 100):
        scan.record_page(page, page + 1, size=PAGE, total=None, has_more=True)
    assert scan.pages <= 2_000
