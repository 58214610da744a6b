"""Which pages show agents again with the least to ask for."""

from __future__ import annotations

import pytest

from connix_provider.lifecycle import AgentStatus
from connix_provider.waiting.plan import Rates
from connix_provider.waiting.survey import Survey

#: What the reference allows, in requests a second.
RATES = Rates(get=200 / 60, list=100 / 60)
MINUTES = 60.0


def survey(total, *, statuses=None, sizes=None, places=None):
    made = Survey()
    made.counted(None, total, 0.0)
    for status, size in (sizes or {}).items():
        made.counted(status, size, 0.0)
    for agent_id, status in (statuses or {}).items():
        made.saw(agent_id, status)
    for agent_id, place in (places or {}).items():
        made.saw(agent_id, (statuses or {}).get(agent_id, "running"), place)
    return made


def ids(count):
    return [f"agent_{number}" for number in range(count)]


def all_in(status, count):
    return dict.fromkeys(ids(count), status)


def test_a_few_are_asked_for_singly():
    assert survey(50_000).route(ids(10), RATES, 0.0).kind == "singly"


def test_what_is_out_of_the_question_is_not_chosen():
    route = survey(50_000).route(ids(10), RATES, 0.0, besides=["singly"])
    assert (route.kind, route.pages) == ("whole", 500)
    route = survey(50_000).route(
        ids(10), RATES, 0.0, besides=["singly", "places", "statuses", "sizes", "whole"]
    )
    assert route.kind == "singly", "there must be a way"


def test_who_stands_together_is_read_where_they_stand():
    places = {agent_id: 2000 + n for n, agent_id in enumerate(ids(150))}
    route = survey(5000, places=places).route(ids(150), RATES, 0.0)
    assert (route.kind, route.pages, route.walks[0].offsets) == ("places", 2, (1995, 2090))


def test_the_whole_listing_is_read_where_nothing_shorter_is_known():
    assert survey(500).route(ids(450), RATES, 0.0).kind == "whole"


@pytest.mark.parametrize(
    ("sizes", "kind"),
    [
        pytest.param({"creating": 1000}, "statuses", id="few are in the status"),
        pytest.param({}, "sizes", id="nobody knows how many are"),
        pytest.param({"creating": 49_000}, "whole", id="nearly all are"),
    ],
)
def test_a_large_project_is_read_by_status_where_that_pays(sizes, kind):
    known = survey(50_000, statuses=all_in("creating", 900), sizes=sizes)
    assert known.route(ids(900), RATES, 0.0).kind == kind


@pytest.mark.parametrize(("paused", "kind"), [(600, "whole"), (400, "statuses")])
def test_pages_of_a_status_must_be_much_quicker_as_they_do_not_show_who_left_it(paused, kind):
    # Each fourth agent of a thousand: all pages are needed.
    places = {agent_id: 4 * n for n, agent_id in enumerate(ids(250))}
    known = survey(1000, statuses=all_in("paused", 250), sizes={"paused": paused}, places=places)
    assert known.route(ids(250), RATES, 0.0).kind == kind


def test_a_size_is_not_known_for_ever():
    known = survey(50_000, statuses=all_in("creating", 900), sizes={"creating": 1000})
    assert known.route(ids(900), RATES, 4 * MINUTES).kind == "statuses"
    assert known.route(ids(900), RATES, 6 * MINUTES).kind == "sizes"


def test_those_of_whom_nothing_is_known_are_looked_for_in_the_smallest_statuses_first():
    sizes = dict.fromkeys(AgentStatus, 0) | {"running": 15_000, "paused": 900, "error": 300}
    route = survey(16_200, sizes=sizes).route(ids(900), RATES, 0.0)
    assert route.kind == "statuses"
    # What is not found before the largest is looked for in the way that is quickest then.
    assert [walk.status for walk in route.walks][-2:] == ["error", "paused"]


def test_a_few_newcomers_do_not_make_the_whole_listing_be_read():
    known = survey(50_000, statuses=all_in("creating", 900), sizes={"creating": 1000})
    route = known.route([*ids(900), "new_1", "new_2"], RATES, 0.0)
    assert (route.kind, route.singly) == ("statuses", 2)


@pytest.mark.parametrize(("unplaced", "kind"), [(2, "places"), (100, "whole")])
def test_places_are_looked_for_where_many_would_be_asked_for_singly_from_then_on(unplaced, kind):
    placed = {agent_id: n for n, agent_id in enumerate(ids(150))}
    known = survey(4000, places=placed, sizes={"running": 4000})
    for number in range(unplaced):
        known.saw(f"new_{number}", "running")
    route = known.route([*placed, *(f"new_{number}" for number in range(unplaced))], RATES, 0.0)
    assert route.kind == kind


def test_a_way_that_was_gone_is_not_gone_again():
    known = survey(50_000, statuses=all_in("creating", 900), sizes={"creating": 1000})
    assert known.route(ids(900), RATES, 0.0, besides=["statuses"]).kind != "statuses"


def test_statuses_are_left_alone_where_the_service_does_not_filter():
    known = survey(50_000, statuses=all_in("creating", 900), sizes={"creating": 1000})
    known.can_filter = False
    assert known.route(ids(900), RATES, 0.0).kind == "whole"


def test_a_status_that_nobody_knows_may_be_read_too():
    known = survey(50_000, statuses=all_in("hibernating", 900), sizes={"hibernating": 1000})
    assert [walk.status for walk in known.route(ids(900), RATES, 0.0).walks] == ["hibernating"]


def test_what_was_forgotten_is_not_known():
    known = survey(50_000, statuses=all_in("creating", 900), sizes={"creating": 1000})
    for agent_id in ids(900):
        known.forget(agent_id)
    assert known.route(ids(900), RATES, 0.0).kind == "sizes"
