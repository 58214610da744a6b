"""Which pages a sweep reads of listings as no emulator gives them."""

from __future__ import annotations

import datetime as dt
import json
import random
import time

import pytest

from connix_provider.client.errors import ConnixPermissionError, ConnixServerError
from connix_provider.client.models import AgentPage
from connix_provider.waiting.plan import PAGE, Rates
from connix_provider.waiting.survey import Survey
from connix_provider.waiting.sweep import Sweep

#: What the reference allows, in requests a second.
RATES = Rates(get=200 / 60, list=100 / 60)


def entry(number):
    return {"id": f"agent_{number}", "name": f"agent {number}", "project_id": "p", "status": "running"}


def ids(*numbers):
    return {f"agent_{number}" for number in numbers}


class Listing:
    """Give pages of entries as the service would, and note what was asked."""

    def __init__(self, entries):
        self.entries = entries
        self.asked = []
        self.asked_singly = set()
        self.survey = Survey()

    def page(self, status, offset):
        return self.entries[offset : offset + PAGE]

    def pagination(self, end):
        return {"total": len(self.entries), "has_more": end < len(self.entries)}

    async def read(self, status, offset):
        self.asked.append((status, offset))
        entries = self.page(status, offset)
        body = {"agents": entries, "pagination": self.pagination(offset + len(entries))}
        page = AgentPage.read(json.dumps(body).encode(), offset=offset)
        self.survey.counted(status, page.pagination.total, time.time())
        return page

    async def look_for(self, wanted, waited=None):
        self.missed = []
        sweep = Sweep(
            self.survey,
            "p",
            read=self.read,
            rates=lambda: RATES,
            miss=self.miss,
            waited=dict.fromkeys(waited or wanted),
            asked=self.asked_singly,
        )
        await sweep.look_for(wanted)
        return set().union(*(agent_ids for _, agent_ids in self.missed))

    def miss(self, agent_ids):
        self.missed.append((len(self.asked), set(agent_ids)))


async def test_entries_that_cannot_be_read_do_not_shift_the_pages():
    listing = Listing([entry(n) if n % 3 else {"id": None} for n in range(500)])
    wanted = ids(*(n for n in range(500) if n % 3))
    assert await listing.look_for(wanted) == set()
    assert listing.asked == [(None, offset) for offset in range(0, 500, PAGE)]


async def test_one_more_than_9_999_costs_no_request():
    listing = Listing([entry(n) for n in range(10_000)])
    for waits in (9_999, 10_000):
        listing.asked.clear()
        assert await listing.look_for(ids(*range(waits))) == set()
        assert listing.asked == [(None, offset) for offset in range(0, 10_000, PAGE)]


class Reordered(Listing):
    """Take no notice of the offset, and give the same agents in another order each time."""

    def page(self, status, offset):
        return random.Random(offset).sample(self.entries[:PAGE], PAGE)


async def test_a_service_that_takes_no_notice_of_the_offset_is_not_read_for_ever():
    listing = Reordered([entry(n) for n in range(5000)])
    wanted = ids(*range(PAGE - 50, PAGE + 200))
    assert await listing.look_for(wanted) == ids(*range(PAGE, PAGE + 200))
    assert len(listing.asked) < 10, "all pages are fifty"


async def test_a_page_that_shows_nobody_who_can_be_read_ends_the_walk():
    listing = Listing([{"id": None}] * 300 + [entry(n) for n in range(300)])
    assert await listing.look_for(ids(*range(300))) == ids(*range(300))
    assert listing.asked == [(None, 0)]


async def test_who_is_not_waited_for_any_more_is_not_looked_for():
    listing = Listing([entry(n) for n in range(500)])
    assert await listing.look_for(ids(*range(500)), waited=ids(*range(100), 9999)) == set()
    assert listing.asked == [(None, 0)]


class Uncounted(Listing):
    """Say that more follows, but not how much."""

    def pagination(self, end):
        return {"has_more": end < len(self.entries)}


async def test_a_listing_of_unknown_length_is_given_up_where_single_looks_are_quicker():
    listing = Uncounted([entry(n) for n in range(100_000)])
    wanted = ids(*range(99_900, 100_000))
    assert await listing.look_for(wanted) == wanted
    # A hundred Gets take half a minute, and to know where all stand is worth five of these.
    assert len(listing.asked) < 300
    read = len(listing.asked)
    assert await listing.look_for(wanted) == wanted
    # From then on it is known to be long.
    assert [status for status, _ in listing.asked[read:]].count(None) == 0


@pytest.mark.parametrize(("size", "entries", "step"), [(20, 56, 18), (9, 96, 9)])
async def test_small_pages_of_a_status_overlap_by_less(size, entries, step):
    listing = ByStatus(paused(*range(entries)))
    listing.page = lambda status, offset: listing.entries[offset : offset + size]
    assert await listing.look_for(listing.knows(range(entries))) == set()
    assert listing.asked == [("paused", offset) for offset in range(0, entries - size + step, step)]


class Refusing(Listing):
    def __init__(self, entries, error):
        super().__init__(entries)
        self.error = error

    def page(self, status, offset):
        raise self.error


@pytest.mark.parametrize(
    ("error", "is_over"),
    [
        pytest.param(ConnixServerError(503, "down", "try later"), True, id="may pass"),
        pytest.param(ConnixPermissionError(403, "forbidden", "no"), False, id="will not"),
    ],
)
async def test_a_listing_that_fails(error, is_over):
    listing = Refusing([], error)
    wanted = ids(*range(300))
    if is_over:
        with pytest.raises(ConnixServerError):
            await listing.look_for(wanted)
    else:
        assert await listing.look_for(wanted) == wanted
    assert listing.survey.can_list == is_over


class ByStatus(Listing):
    """List the paused agents of a project that has very many others."""

    total = 100_000

    async def read(self, status, offset):
        page = await super().read(status, offset)
        self.survey.counted(None, self.total, time.time())
        return page

    def knows(self, numbers):
        """Remember agents as paused, as a sweep before would."""
        for number in numbers:
            # Each behind three others, so that no page shows many of them.
            self.survey.saw(f"agent_{number}", "paused", 4 * number, born(number))
        self.survey.counted("paused", len(self.entries), time.time())
        self.survey.counted(None, self.total, time.time())
        return ids(*numbers)


def born(number):
    return dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=number)


def paused(*numbers):
    return [entry(n) | {"status": "paused", "created_at": born(n).isoformat()} for n in numbers]


async def test_pages_of_a_status_overlap_by_a_few_who_may_have_moved_forward():
    listing = ByStatus(paused(*range(300)))
    assert await listing.look_for(listing.knows(range(300))) == set()
    assert listing.asked == [("paused", 0), ("paused", 95), ("paused", 190), ("paused", 285)]


async def test_whoever_has_left_a_status_is_missed_as_soon_as_the_walk_is_past_the_place():
    still_there = [n for n in range(500) if n not in {7, 8, 300}]
    listing = ByStatus(paused(*still_there))
    assert await listing.look_for(listing.knows(range(500))) == ids(7, 8, 300)
    early = [(pages, agent_ids) for pages, agent_ids in listing.missed if agent_ids]
    assert early == [(1, ids(7, 8)), (4, ids(300))]
    # Who is missed once is asked for singly, and not looked for on more pages.
    assert len(listing.asked) == 6


async def test_where_many_have_left_there_may_be_a_quicker_way_than_to_ask_for_each():
    listing = ByStatus(paused(*range(250, 500)))
    listing.total = 2000
    assert await listing.look_for(listing.knows(range(500))) == ids(*range(250))
    assert listing.missed[-1] == (len(listing.asked), ids(*range(250)))
    assert not any(agent_ids for _, agent_ids in listing.missed[:-1])


async def test_nobody_is_missed_early_where_others_are_asked_for_until_the_walk_ends():
    listing = ByStatus(paused(*(n for n in range(500) if n != 7)))
    listing.asked_singly = ids(*range(1000, 1100))
    listing.total = 2000
    assert await listing.look_for(listing.knows(range(500))) == ids(7)
    assert [pages for pages, agent_ids in listing.missed if agent_ids] == [len(listing.asked)]


async def test_where_no_other_way_is_left_nobody_is_kept_until_the_walk_ends():
    listing = ByStatus(paused(*(n for n in range(500) if n != 7)))
    for number in range(500):
        listing.survey.saw(f"agent_{number}", "paused", created=born(number))
    listing.survey.counted("paused", 500, time.time())
    # Others under way take longer than the walk, but nothing else would show who has left.
    listing.asked_singly = ids(*range(1000, 1100))
    assert await listing.look_for(ids(*range(500))) == ids(7)
    # The whole listing seemed short before its first page told its length.
    assert [status for status, _ in listing.asked] == [None] + 6 * ["paused"]
    assert (2, ids(7)) in listing.missed


async def test_nobody_is_missed_early_where_all_were_created_at_the_same_moment():
    listing = ByStatus([entry | {"created_at": born(600).isoformat()} for entry in paused(*range(1, 500))])
    assert await listing.look_for(listing.knows(range(500))) == ids(0)
    assert [pages for pages, agent_ids in listing.missed if agent_ids] == [len(listing.asked)]


async def test_nobody_is_missed_early_where_the_order_is_another():
    listing = ByStatus(paused(*(n for n in reversed(range(500)) if n != 300)))
    assert await listing.look_for(listing.knows(range(500))) == ids(300)
    assert [agent_ids for _, agent_ids in listing.missed if agent_ids] == [ids(300)]
    assert listing.missed[-1][0] == len(listing.asked)
