from __future__ import annotations

import pytest

from ordermill.engine.telemetry.durations import Measured
from ordermill.engine.telemetry.history import Done, History, Rates, Window

SECOND = 1_000_000
WALL = 1_700_000_000 * SECOND


def test_a_chart_tells_what_each_stretch_has_brought() -> None:
    history = History(0)
    history.add(Done(3, 2, 1), Measured.of([SECOND, SECOND]).bins, now_us=SECOND)
    history.add(Done(1, 1, 0), Measured.of([3 * SECOND]).bins, now_us=12 * SECOND)
    first, second = history.points(Window.QUARTER_HOUR, now_us=13 * SECOND, wall_us=WALL)
    assert (first.accepted, first.completed, first.failed) == (3, 2, 1)
    assert (first.start, first.seconds) == (WALL / SECOND - 13, 5)
    assert first.p95 == pytest.approx(1, rel=0.01)
    assert (second.start, second.seconds, second.completed) == (WALL / SECOND - 3, 3, 1)


@pytest.mark.parametrize(("window", "width", "most"), [("15m", 5, 180), ("day", 300, 288), ("week", 3_600, 168)])
def test_a_chart_keeps_no_more_than_its_window(window: str, width: int, most: int) -> None:
    history = History(0)
    for number in range(2 * most):
        history.add(Done(accepted=1), {}, now_us=number * width * SECOND)
    now_us = (2 * most - 1) * width * SECOND
    assert len(history.points(Window(window), now_us, WALL)) == most


def test_after_a_long_silence_nothing_old_is_shown() -> None:
    history = History(0)
    history.add(Done(accepted=1), {}, now_us=0)
    (present,) = history.points(Window.QUARTER_HOUR, now_us=3_600 * SECOND, wall_us=WALL)
    assert present.accepted == 0


def test_rates_are_orders_a_second() -> None:
    history = History(0)
    for second in range(900):
        history.add(Done(10, 8, 1), {}, now_us=second * SECOND)
    assert history.rates(60, now_us=900 * SECOND) == Rates(10, 8, 1)
    assert history.rates(900, now_us=900 * SECOND) == Rates(10, 8, 1)


def test_a_young_engine_tells_the_rate_of_its_lifetime() -> None:
    history = History(0)
    history.add(Done(accepted=100), {}, now_us=0)
    assert history.rates(900, now_us=10 * SECOND).accepted == 10


def test_what_was_done_this_second_is_in_the_rate() -> None:
    history = History(0)
    history.add(Done(accepted=100), {}, now_us=0)
    assert history.rates(60, now_us=2 * SECOND).accepted == 50


def test_what_is_told_late_belongs_to_the_present() -> None:
    history = History(0)
    history.add(Done(accepted=1), {}, now_us=4 * SECOND)
    assert history.points(Window.QUARTER_HOUR, now_us=6 * SECOND, wall_us=WALL)[-1].accepted == 0

    history.add(Done(accepted=2), {}, now_us=5 * SECOND - 1)

    points = history.points(Window.QUARTER_HOUR, now_us=7 * SECOND, wall_us=WALL)
    assert [point.accepted for point in points] == [1, 2]
