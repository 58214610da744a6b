"""Processes share one key, in virtual time, against a service with fixed windows."""

import itertools

import pytest
from rate_limit_simulator import Process, ServiceLimit, Simulation

from connix_provider.client.ratelimit import Bucket

#: Windows in which processes that know nothing of each other may settle.
FEW = 3


@pytest.fixture
def simulation():
    return Simulation()


def through(limiter, window, *processes):
    begin, end = limiter.beginning(window), limiter.beginning(window + 1)
    return [limiter.count(process.name, begin, end) for process in processes]


@pytest.mark.parametrize(("bucket", "limit"), [(Bucket.GET, 200), (Bucket.LIST, 100), (Bucket.METRICS, 50)])
@pytest.mark.parametrize("latency", [(0.001, 0.01), (0.02, 0.15), (0.5, 1.5)])
@pytest.mark.parametrize("offset", [-1e6, 0.0, 1e6])
def test_a_single_process_polls_nine_tenths_of_limit(simulation, bucket, limit, latency, offset):
    limiter = ServiceLimit(simulation, limit)
    process = Process(simulation, limiter, latency=latency, offset=offset, bucket=bucket).start(20)
    simulation.run(limiter.beginning(8))
    assert limiter.refused == []
    for window in range(1, 8):
        (count,) = through(limiter, window, process)
        assert 0.9 * limit <= count < limit


def test_steady_polling_is_spread_over_the_window(simulation):
    limiter = ServiceLimit(simulation, 200)
    process = Process(simulation, limiter).start(10)
    simulation.run(limiter.beginning(8))
    for window in range(5, 8):
        begin = limiter.beginning(window)
        tenths = [limiter.count(process.name, begin + 6 * n, begin + 6 * n + 6) for n in range(10)]
        assert max(tenths) <= 1.25 * 18.8
        assert min(tenths) >= 0.75 * 18.8


def test_polling_below_the_limit_hardly_waits(simulation):
    limiter = ServiceLimit(simulation, 200)
    process = Process(simulation, limiter).start(10, every=6.0)
    simulation.run(limiter.beginning(6))
    assert limiter.refused == []
    waited = sorted(process.waited)
    assert waited[int(0.95 * len(waited))] < 1
    assert all(count == pytest.approx(100, abs=3) for count in through(limiter, 5, process))


@pytest.mark.parametrize("processes", [2, 3, 4, 8])
def test_machines_on_one_key_get_equal_parts(simulation, processes):
    limiter = ServiceLimit(simulation, 200)
    some = [Process(simulation, limiter, f"p{n}", offset=1000.0 * n).start(10) for n in range(processes)]
    simulation.run(limiter.beginning(10))
    sent = sum(len(times) for times in limiter.accepted.values())
    assert len(limiter.refused) <= 0.01 * sent
    fair = 0.94 * 200 / processes
    for window in range(FEW, 10):
        counts = through(limiter, window, *some)
        assert sum(counts) >= 0.9 * 200
        assert all(0.6 * fair <= count <= 1.4 * fair for count in counts), counts


@pytest.mark.heavy
@pytest.mark.parametrize("processes", [2, 4, 8])
def test_processes_of_a_machine_get_equal_parts(simulation, processes, tmp_path):
    limiter = ServiceLimit(simulation, 200)
    some = [
        Process(simulation, limiter, f"p{n}", shared=tmp_path / "key").start(10) for n in range(processes)
    ]
    simulation.run(limiter.beginning(10))
    assert limiter.refused == []
    for window in range(1, 10):
        assert sum(through(limiter, window, *some)) >= 0.93 * 200
    begin, end = limiter.beginning(1), limiter.beginning(10)
    counts = [limiter.count(process.name, begin, end) for process in some]
    # Chance decides which process wakes first.
    assert max(counts) < 1.6 * min(counts), counts


@pytest.mark.parametrize("processes", [4, 8])
def test_processes_of_a_machine_poll_steadily(simulation, processes, tmp_path):
    limiter = ServiceLimit(simulation, 100)
    some = [
        Process(simulation, limiter, f"p{n}", shared=tmp_path / "key").start(10) for n in range(processes)
    ]
    simulation.run(limiter.beginning(6))
    assert limiter.refused == []
    for window in range(1, 6):
        begin = limiter.beginning(window)
        sixths = [
            sum(limiter.count(process.name, begin + 10 * n, begin + 10 * n + 10) for process in some)
            for n in range(6)
        ]
        # When a window begins, each process may have one poll waiting for it.
        assert all(13 <= count <= 17 + processes for count in sixths), sixths


@pytest.mark.parametrize(
    ("is_one_machine", "pages", "p95"), [(True, 3, 9), (True, 10, 26), (False, 3, 12), (False, 10, 32)]
)
def test_four_processes_read_each_page_in_time(is_one_machine, pages, p95, tmp_path):
    gaps = []
    for seed in range(3):
        simulation = Simulation(seed)
        service = ServiceLimit(simulation, 100)
        file = tmp_path / f"key{seed}" if is_one_machine else None
        for number in range(4):
            Process(simulation, service, f"p{number}", bucket=Bucket.LIST, shared=file).start(2)
        simulation.run(service.beginning(4))
        for times in service.accepted.values():
            gaps += [after - before for before, after in zip(times, times[pages:], strict=False)]
    # A change waits for the next time that its page is read: of a gap, any part.
    waits = sorted(gap * part / 20 for gap in gaps for part in range(20) for _ in range(round(gap)))
    assert waits[int(0.95 * len(waits))] <= p95
    assert service.refused == []


@pytest.mark.parametrize("late", [3, 30, 57])
def test_processes_that_come_and_go_share_the_limit(simulation, late):
    limiter = ServiceLimit(simulation, 200)
    old = Process(simulation, limiter, "old").start(10)
    simulation.run(limiter.beginning(4) + late)
    new = Process(simulation, limiter, "new").start(10)
    simulation.run(limiter.beginning(12))
    old.is_alive = False
    simulation.run(limiter.beginning(18))
    assert limiter.refused == []
    for window in range(4 + FEW, 12):
        assert all(70 <= count <= 118 for count in through(limiter, window, old, new))
    for window in range(12 + FEW, 18):
        assert through(limiter, window, old, new) == [0, pytest.approx(188, abs=8)]


def test_a_small_user_costs_only_its_requests(simulation):
    limiter = ServiceLimit(simulation, 200)
    great = Process(simulation, limiter, "great").start(10)
    small = Process(simulation, limiter, "small").start(1, every=6.0)
    simulation.run(limiter.beginning(8))
    assert limiter.refused == []
    for window in range(FEW, 8):
        big, little = through(limiter, window, great, small)
        assert little >= 8
        assert big + little >= 180


def test_another_user_of_the_key_has_room(simulation):
    limiter = ServiceLimit(simulation, 200)
    process = Process(simulation, limiter).start(10)

    def stranger():
        while True:
            limiter.request("stranger")
            yield 0.6

    simulation.start(stranger())
    simulation.run(limiter.beginning(8))
    counts = [sum(through(limiter, window, process)) for window in range(FEW, 8)]
    assert min(counts) >= 60
    theirs = [
        limiter.count("stranger", limiter.beginning(n), limiter.beginning(n + 1)) for n in range(FEW, 8)
    ]
    assert min(theirs) >= 94


@pytest.mark.parametrize("processes", [1, 3])
def test_a_burst_of_actions_uses_the_whole_window(simulation, processes):
    limiter = ServiceLimit(simulation, 200)
    some = [Process(simulation, limiter, f"p{n}") for n in range(processes)]
    for process in some:
        process.start(100 // processes, background=False)
    simulation.run(limiter.beginning(12))
    sent = sum(len(times) for times in limiter.accepted.values())
    assert len(limiter.refused) <= (0.02 * sent if processes > 1 else 0)
    for window in range(5, 12):
        begin = limiter.beginning(window)
        early = sum(limiter.count(process.name, begin, begin + 15) for process in some)
        assert early >= 0.95 * 200


@pytest.mark.parametrize(("processes", "every"), [(2, 2.0), (3, 3.0), (4, 4.0)])
@pytest.mark.parametrize("is_one_machine", [True, False])
def test_the_last_permit_is_given_once_per_machine(simulation, processes, every, is_one_machine, tmp_path):
    limiter = ServiceLimit(simulation, 50)
    file = tmp_path / "key" if is_one_machine else None
    some = [
        Process(simulation, limiter, f"p{n}", bucket=Bucket.ACTION, shared=file).start(
            1, background=False, every=every
        )
        for n in range(processes)
    ]
    simulation.run(limiter.beginning(10))
    assert len(limiter.refused) <= (0 if is_one_machine else 0.1 * 10 * 50)
    for window in range(5, 10):
        assert sum(through(limiter, window, *some)) >= 48


@pytest.mark.parametrize(("calls", "used"), [(1, 50), (30, 49)])
def test_a_single_process_uses_its_whole_windows(simulation, calls, used):
    limiter = ServiceLimit(simulation, 50)
    process = Process(simulation, limiter, bucket=Bucket.ACTION).start(calls, background=False)
    simulation.run(limiter.beginning(8))
    assert limiter.refused == []
    assert min(through(limiter, window, process)[0] for window in range(1, 8)) >= used


def test_neither_actions_nor_polling_starve(simulation):
    limiter = ServiceLimit(simulation, 200)
    actions, polling = Process(simulation, limiter, "actions"), Process(simulation, limiter, "polling")
    polling.limiter = actions.limiter
    actions.start(60, background=False)
    polling.start(10)
    simulation.run(limiter.beginning(8))
    assert limiter.refused == []
    for window in range(2, 8):
        busy, quiet = through(limiter, window, actions, polling)
        assert busy >= 0.7 * 200
        assert quiet >= 0.15 * 200


def test_actions_keep_their_reserve_from_polling(simulation):
    limiter = ServiceLimit(simulation, 200)
    process = Process(simulation, limiter).start(20)
    actions = Process(simulation, limiter, "actions")
    actions.limiter = process.limiter
    simulation.run(limiter.beginning(5))
    for moment in (5, 25, 45, 58):
        for _ in range(2):
            simulation.start(actions.call(background=False), limiter.beginning(5) + moment - simulation.now)
    simulation.run(limiter.beginning(6))
    assert limiter.refused == []
    assert len(actions.waited) == 8
    assert max(actions.waited) < 0.5


def test_permits_are_given_in_order_of_arrival(simulation):
    limiter = ServiceLimit(simulation, 50)
    process = Process(simulation, limiter, bucket=Bucket.ACTION)
    for number in range(300):
        simulation.start(process.call(background=False, label=number), 0.001 * number)
    simulation.run(limiter.beginning(9))
    assert len(process.order) == 300
    # Who sleeps is not overtaken by more than those who may go at the same moment.
    assert all(abs(place - number) <= 50 for place, number in enumerate(process.order))
    assert sum(after > before for before, after in itertools.pairwise(process.order)) > 150


def test_a_thousand_waits_send_few_requests_at_once(simulation):
    limiter = ServiceLimit(simulation, 200)
    process = Process(simulation, limiter)
    for _ in range(1000):
        simulation.start(process.call(background=False))
    simulation.run(limiter.beginning(7))
    assert limiter.refused == []
    assert len(process.waited) == 1000
    # They wait through five windows; most of it asleep.
    assert process.asked < 20_000


def test_a_limit_that_changes_is_followed_by_all(simulation):
    limiter = ServiceLimit(simulation, 200)
    some = [Process(simulation, limiter, f"p{n}").start(10) for n in range(2)]
    simulation.run(limiter.beginning(4))
    limiter.limit = 50
    simulation.run(limiter.beginning(8))
    limiter.limit = 400
    simulation.run(limiter.beginning(12))
    assert sum(through(limiter, 6, *some)) >= 44
    assert sum(through(limiter, 11, *some)) >= 360
    assert len(limiter.refused) <= 4


def test_a_limit_of_the_whole_key_counts_everywhere(simulation):
    limiter = ServiceLimit(simulation, 100, family="-requests")
    gets, lists = (
        Process(simulation, limiter, "gets"),
        Process(simulation, limiter, "lists", bucket=Bucket.LIST),
    )
    lists.limiter = gets.limiter
    gets.start(10)
    lists.start(10)
    simulation.run(limiter.beginning(8))
    assert limiter.refused == []
    for window in range(FEW, 8):
        counts = through(limiter, window, gets, lists)
        assert sum(counts) >= 90
        assert min(counts) >= 20


@pytest.mark.parametrize("seed", range(20))
def test_chance_changes_nothing(seed):
    simulation = Simulation(seed)
    limiter = ServiceLimit(simulation, 100, epoch=1_705_334_400.0 + 7.3 * seed)
    some = [Process(simulation, limiter, f"p{n}", latency=(0.0, 0.5)).start(5) for n in range(1 + seed % 5)]
    simulation.run(limiter.beginning(6))
    sent = sum(len(times) for times in limiter.accepted.values())
    assert len(limiter.refused) <= 0.01 * sent
    assert sum(through(limiter, 5, *some)) >= 88
