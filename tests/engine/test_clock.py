"""The machine's clock: never backwards, and calls in the sequence of their times."""

from __future__ import annotations

import queue
import threading
import time
from functools import partial

import pytest

from ordermill.engine.clock import SystemClock


def test_the_time_is_the_machines() -> None:
    before = time.time_ns() // 1000
    now = SystemClock().now_us()
    after = time.time_ns() // 1000

    assert before <= now <= after


def test_the_time_never_runs_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SystemClock()
    readings = iter([5_000_000, 3_000_000, 4_999_999, 5_001_000])
    monkeypatch.setattr(time, "time_ns", lambda: next(readings))

    assert [clock.now_us() for _ in range(4)] == [5_000, 5_000, 5_000, 5_001]


def test_the_time_begins_at_the_floor() -> None:
    future = time.time_ns() // 1000 + 3_600_000_000

    assert SystemClock(floor_us=future).now_us() == future


def test_calls_come_in_the_sequence_of_their_times() -> None:
    clock = SystemClock()
    called: queue.SimpleQueue[str] = queue.SimpleQueue()
    now = clock.now_us()
    for name, delay_us in (("third", 60_000), ("first", 40_000), ("second", 50_000)):
        clock.call_at(now + delay_us, partial(called.put, name))

    assert [called.get(timeout=5) for _ in range(3)] == ["first", "second", "third"]
    assert clock.now_us() >= now + 60_000
    clock.close()


def test_an_earlier_call_overtakes_one_that_is_waited_for() -> None:
    clock = SystemClock()
    called = threading.Event()
    never = threading.Event()
    clock.call_at(clock.now_us() + 3_600_000_000, never.set)

    clock.call_at(clock.now_us(), called.set)

    assert called.wait(5)
    clock.close()
    assert not never.is_set()


def test_a_call_may_ask_for_the_next() -> None:
    clock = SystemClock()
    done = threading.Event()

    clock.call_at(0, lambda: clock.call_at(0, done.set))

    assert done.wait(5)
    clock.close()


def test_a_clock_without_calls_has_no_thread() -> None:
    before = threading.active_count()
    clock = SystemClock()
    clock.now_us()

    assert threading.active_count() == before
    clock.close()


def test_a_closed_clock_calls_nobody() -> None:
    clock = SystemClock()
    called = threading.Event()
    clock.call_at(clock.now_us() + 3_600_000_000, called.set)
    clock.close()
    before = threading.active_count()

    clock.call_at(0, called.set)

    assert threading.active_count() == before
    assert not called.is_set()


def test_a_clock_may_be_closed_in_its_own_call() -> None:
    clock = SystemClock()
    closed = threading.Event()

    def close() -> None:
        clock.close()
        closed.set()

    clock.call_at(0, close)

    assert closed.wait(5)
