"""Processes of a machine share a key's limits, and none of them depends on the others."""

import fcntl
import os
import struct
import time
from email.utils import formatdate

import pytest

from connix_provider.client.ratelimit import Bucket, RateLimiter, registry
from connix_provider.client.ratelimit.registry import limiter_for
from connix_provider.client.ratelimit.shared import path_for
from connix_provider.client.ratelimit.state import KeyState

URL, KEY = "http://127.0.0.1:9/api/v1", "cx_" + 32 * "a"
NOW = 1_705_334_440.0


@pytest.fixture
def file(tmp_path):
    return tmp_path / "key"


@pytest.fixture
def directory(tmp_path, monkeypatch):
    path = tmp_path / "limits"
    monkeypatch.setenv("CONNIX_RATE_LIMIT_DIR", str(path))
    return path


def headers(limit, remaining, family=""):
    return {
        "date": formatdate(NOW, usegmt=True),
        f"x-ratelimit-limit{family}": str(limit),
        f"x-ratelimit-remaining{family}": str(remaining),
        f"x-ratelimit-reset{family}": str(int(NOW) + 40),
    }


def process(file, clock=lambda: 100.0):
    return RateLimiter(shared=file, clock=clock)


def send(limiter, bucket=Bucket.ACTION, response_headers=None, **outcome):
    with limiter.permit(bucket) as permit:
        assert permit.try_acquire() == 0
        permit.on_response(response_headers or {}, **outcome)


def wait(limiter, bucket=Bucket.ACTION):
    return limiter.expected_wait(bucket)


@pytest.mark.parametrize("bucket", Bucket)
def test_new_process_knows_of_a_used_up_limit(file, bucket):
    send(process(file), bucket, headers(7, 0))
    assert 39 < wait(process(file), bucket) <= 41
    assert wait(process(file), Bucket.UPDATE if bucket is Bucket.GET else Bucket.GET) == 0


def test_new_process_knows_the_limit_on_all_requests(file):
    send(process(file), Bucket.GET, headers(7, 0, "-requests"))
    assert 39 < wait(process(file), Bucket.ACTION) <= 41


def test_new_process_keeps_away_after_a_429(file):
    send(process(file), back_off=30)
    assert 29 < wait(process(file)) < 31


def test_requests_in_flight_of_another_process_count(file):
    one, other = process(file), process(file)
    send(one, response_headers=headers(50, 4))
    permits = [one.permit(Bucket.ACTION) for _ in range(2)]
    assert permits[0].try_acquire() == 0
    assert permits[1].try_acquire() > 0
    assert wait(other) > 0
    permits[0].on_response(headers(50, 3))
    assert wait(other) == 0


def test_share_counts_for_each_process(file):
    for _ in range(2):
        limiter = RateLimiter(0.1, shared=file, clock=lambda: 100.0)
        for sent in range(5):
            send(limiter, response_headers=headers(50, 40 - sent))
        assert wait(limiter) > 30


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_requests_far_from_limits_write_no_file(file):
    one, other = process(file), process(file)
    send(one, response_headers=headers(100, 99))
    before = file.read_bytes()
    for remaining in range(98, 60, -1):
        send(one, response_headers=headers(100, remaining))
    assert file.read_bytes() == before
    assert other.snapshot(Bucket.ACTION)[0]["remaining"] == 99


@pytest.mark.parametrize("family", ["", "-requests"])
def test_other_processes_learn_of_them_within_a_second(file, family):
    clock = Clock()
    one, other = process(file, clock), process(file, clock)
    for remaining in range(99, 60, -1):
        send(one, response_headers=headers(100, remaining, family))
    clock.now += 1
    send(one, response_headers=headers(100, 60, family))
    assert other.snapshot(Bucket.ACTION)[0]["remaining"] == 60


def test_requests_near_a_limit_are_shared_at_once(file):
    one, other = process(file), process(file)
    for remaining in range(99, 40, -1):
        send(one, response_headers=headers(100, remaining))
    assert other.snapshot(Bucket.ACTION)[0]["remaining"] == 41


def test_changed_limits_are_shared_at_once(file):
    one, other = process(file), process(file)
    for _ in range(2):
        send(one, response_headers=headers(100, 90))
    send(one, response_headers=headers(70, 69))
    assert other.snapshot(Bucket.ACTION)[0]["limit"] == 70
    send(one, back_off=30)
    assert 29 < wait(other) < 31


def test_ended_requests_leave_the_shared_file(file):
    clock = Clock()
    one = process(file, clock)
    send(one, response_headers=headers(100, 99))
    with one.permit(Bucket.ACTION) as permit:
        assert permit.try_acquire() == 0
        clock.now += 1
        send(one, response_headers=headers(100, 98))
        # Neither the request that is in flight here, nor a request of a killed process.
        assert process(file, clock).snapshot(Bucket.ACTION)[0]["remaining"] == 98
        permit.on_response(headers(100, 97))
    clock.now += 1
    send(one, response_headers=headers(100, 96))
    assert process(file, clock).snapshot(Bucket.ACTION)[0]["remaining"] == 96


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 1e300, 0.0])
def test_numbers_that_cannot_be_right_are_ignored(file, value):
    file.write_bytes(struct.pack(f"={KeyState.SIZE}d", *(KeyState.SIZE * [value])))
    limiter = process(file)
    assert wait(limiter) == 0
    send(limiter, response_headers=headers(50, 0))
    assert wait(process(file)) > 30


def test_numbers_of_another_clock_are_ignored(file):
    send(process(file, lambda: 1e9), response_headers=headers(50, 0))
    assert wait(process(file)) == 0


def test_half_written_file_is_ignored(file):
    file.write_bytes(b"\x07" * 100)
    assert wait(process(file)) == 0


def test_locked_file_stops_no_process(file):
    limiter = process(file)
    send(limiter)
    with file.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        began = time.monotonic()
        send(limiter)
        assert time.monotonic() - began < 0.5


@pytest.mark.parametrize("cause", ["missing", "directory"])
def test_file_that_cannot_be_opened_stops_no_process(file, cause):
    limiter = process(file.parent / "missing" / "key" if cause == "missing" else file.parent)
    send(limiter, response_headers=headers(50, 0))
    assert wait(limiter) > 30


def test_file_holds_no_key(directory):
    send(limiter_for(URL, KEY), response_headers=headers(50, 0))
    (file,) = directory.iterdir()
    assert KEY not in file.name
    assert KEY.encode() not in file.read_bytes()
    assert (directory.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    registry._limiters.clear()
    assert wait(limiter_for(URL, KEY)) > 30
    assert wait(limiter_for(URL, KEY + "b")) == 0


def test_directory_that_others_can_enter_is_not_used(directory):
    directory.mkdir(mode=0o777)
    directory.chmod(0o777)
    assert path_for(URL, KEY) is None


def test_symlink_instead_of_the_directory_is_not_used(directory, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    directory.symlink_to(tmp_path / "elsewhere")
    assert path_for(URL, KEY) is None


def test_nothing_is_shared_where_the_setting_is_empty(monkeypatch):
    monkeypatch.setenv("CONNIX_RATE_LIMIT_DIR", "")
    assert path_for(URL, KEY) is None


def test_files_of_former_keys_are_deleted(directory):
    send(limiter_for(URL, KEY))
    (old,) = directory.iterdir()
    os.utime(old, (time.time() - 86_500, time.time() - 86_500))
    send(limiter_for(URL, KEY + "b"))
    assert old not in set(directory.iterdir())


def test_other_files_in_the_directory_are_kept(directory):
    directory.mkdir(mode=0o700, exist_ok=True)
    (directory / "a_folder").mkdir()
    others = [directory / name for name in ("notes.txt", "id_rsa", "0123456789abcdef.1")]
    for other in others:
        other.touch()
        os.utime(other, (0, 0))
    send(limiter_for(URL, KEY))
    assert all(other.exists() for other in others)
