"""The machine's clocks: calls come in the sequence of their times, whatever the wall clock is set to."""

from __future__ import annotations

import queue
import threading
import time
from functools import partial
from random import Random

import pytest

from ordermill.engine.clock import SteadyClock, SystemClock, Timer, Timers
from ordermill.engine.testing import ManualClock


def test_the_time_is_the_machines() -> None:
    before = time.time_ns() // 1000
    now = SystemClock().now_us()
    after = time.time_ns() // 1000

    assert before <= now <= after


def test_the_time_follows_the_machines_when_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SystemClock()
    readings = iter([5_000_000, 3_000_000])
    monkeypatch.setattr(time, "time_ns", lambda: next(readings))

    assert [clock.now_us() for _ in range(2)] == [5_000, 3_000]


def test_calls_come_in_the_sequence_of_their_times() -> None:
    clock = SystemClock()
    called: queue.SimpleQueue[str] = queue.SimpleQueue()
    now = time.monotonic_ns()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic_ns", lambda: now)  # at the same moment, however long it takes
        for name, seconds in (("third", 0.5), ("first", 0.3), ("second", 0.4)):
            clock.call_after(seconds, partial(called.put, name))

    assert [called.get(timeout=60) for _ in range(3)] == ["first", "second", "third"]
    assert time.monotonic_ns() >= now + 500_000_000
    clock.close()


def test_an_earlier_call_overtakes_one_that_is_waited_for() -> None:
    clock = SystemClock()
    called = threading.Event()
    never = threading.Event()
    clock.call_after(3600, never.set)

    clock.call_after(0, called.set)

    assert called.wait(60)
    clock.close()
    assert not never.is_set()


def test_a_call_may_ask_for_the_next() -> None:
    clock = SystemClock()
    done = threading.Event()

    clock.call_after(0, lambda: clock.call_after(0, done.set))

    assert done.wait(60)
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
    clock.call_after(3600, called.set)
    clock.close()
    before = threading.active_count()

    clock.call_after(0, called.set)

    assert threading.active_count() == before
    assert not called.is_set()


def test_a_clock_may_be_closed_in_its_own_call() -> None:
    clock = SystemClock()
    closed = threading.Event()

    def close() -> None:
        clock.close()
        closed.set()

    clock.call_after(0, close)

    assert closed.wait(60)


def test_a_call_that_raises_does_not_keep_the_others_from_being_made(caplog: pytest.LogCaptureFixture) -> None:
    clock = SystemClock()
    called = threading.Event()

    for error in (RuntimeError("closed"), SystemExit()):
        clock.call_after(0, partial(_raise, error))
    clock.call_after(0, called.set)

    assert called.wait(60)
    clock.close()
    assert [record.message for record in caplog.records] == ["a call of the clock failed"] * 2


def _raise(error: BaseException) -> None:
    raise error


def test_a_call_that_was_cancelled_is_not_made() -> None:
    clock = SystemClock()
    called: queue.SimpleQueue[str] = queue.SimpleQueue()
    may_go_on = threading.Event()
    clock.call_after(0, may_go_on.wait)
    cancelled = clock.call_after(0, partial(called.put, "cancelled"))
    clock.call_after(0, partial(called.put, "made"))

    clock.cancel(cancelled)
    may_go_on.set()

    assert called.get(timeout=60) == "made"
    clock.cancel(cancelled)
    clock.close()


def test_calls_that_were_cancelled_leave_nothing_behind() -> None:
    clock = SystemClock()
    kept = [clock.call_after(3600, lambda: None) for _ in range(10)]
    for _ in range(10_000):
        clock.cancel(clock.call_after(86_400, lambda: None))

    assert len(kept) <= len(clock._calls) < 100
    clock.close()
    assert len(clock._calls) == 0


def test_timers_come_in_the_sequence_of_their_times_whichever_are_cancelled() -> None:
    random = Random(7)
    timers = Timers()
    called: list[int] = []
    made = [Timer(random.randrange(1000), partial(called.append, number)) for number in range(3000)]
    for timer in made:
        timers.add(timer)
    cancelled = set(random.sample(range(3000), 2500))
    for number in cancelled:
        timers.cancel(made[number])

    for now_us in (500, 1000):
        while (callback := timers.take_due(now_us)) is not None:
            callback()

    assert sorted(called) == sorted(set(range(3000)) - cancelled)
    assert [made[number].due_us for number in called] == sorted(made[number].due_us for number in called)
    assert len(timers) == 0


def test_the_queues_time_is_the_walls_at_the_start_and_the_monotonic_clocks_from_then_on() -> None:
    clock = ManualClock(1_000_000)
    clock.advance(5)
    clock.set_wall(9_000_000)
    steady = SteadyClock(clock)
    clock.set_wall(1)
    clock.advance(2)

    assert steady.now_us() == 11_000_000
