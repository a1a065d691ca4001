"""When an order will be over: the model, its correction, and what a running engine tells."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING

import pytest

from ordermill.engine import Order, OrderEngine, OrderNotFound, OrderStatus, WaitReason
from ordermill.engine.calibration import LEAST_JUDGED, Calibration, Span
from ordermill.engine.outlook import Basis, Forecast, Way, outlook
from ordermill.engine.snapshot import ControlSnapshot
from ordermill.engine.testing import WatchedClock, make_order
from ordermill.store.domain.outlook import Accuracy, Attempt, Estimate, Evidence, Judged, Place
from ordermill.store.domain.record import OrderRecord

if TYPE_CHECKING:
    from ordermill.engine.testing import Held

StartEngine = Callable[..., OrderEngine]
RUNNING = ControlSnapshot(paused=False, paused_until_us=None, reason=None, error=None, processors=4)
NOTHING = Basis(Evidence((), (), (), (), 0, None), 0)
SECOND_US = 1_000_000
SLOW = {"slow provider": (600, 1.5), "very slow provider": (850, 3.0)}
"""From which order of each thousand on the provider is slow, and how many times as long it takes then."""


def pending(sequence: int = 1, at_us: int = 0) -> OrderRecord:
    return OrderRecord(make_order(f"o-{sequence}"), sequence, OrderStatus.PENDING, 0, 0, at_us, at_us, at_us)


def measured(
    attempts: Sequence[Attempt], judged: Sequence[Judged] = (), in_hand_since_us: Sequence[int] = (), now_us: int = 0
) -> Basis:
    return Basis(Evidence(tuple(attempts), tuple(in_hand_since_us), (), tuple(judged), 0, None), now_us)


def test_nothing_is_foretold_with_too_little_data() -> None:
    told, estimate = outlook(pending(), Place(9, 0, None, ()), NOTHING, RUNNING, 0, None)

    assert (told.position, told.expected, told.accuracy, estimate) == (10, None, None, None)


def test_an_order_comes_after_the_work_of_those_ahead() -> None:
    always_a_second = measured([Attempt(number * SECOND_US, SECOND_US, 0) for number in range(100)])

    told, _ = outlook(pending(), Place(40, 0, None, (0, 0, 0, 0)), always_a_second, RUNNING, 0, None)

    assert told.expected is not None
    ends_us = told.expected.from_us, told.expected.to_us
    assert ends_us == pytest.approx((12 * SECOND_US, 12 * SECOND_US))  # 44 by 4, and its own


def test_orders_of_higher_priority_are_taken_to_come_as_they_came_lately() -> None:
    usual = [(number * SECOND_US, 4) for number in range(100)]
    burst = [(50 * SECOND_US + number, 9) for number in range(30)]
    arrivals = tuple(sorted(usual + burst, reverse=True))
    basis = Basis(Evidence((), (), arrivals, (), 0, None), 100 * SECOND_US)

    def overtaking(us: float, priority: int = 4) -> list[float]:
        return [basis.overtaking(priority, us, where / 10) for where in range(11)]

    assert overtaking(20 * SECOND_US) == [0, 0, 0, 0, 30, 30, 30, 0, 0, 0, 0]  # begun at 0, 8, 16, 24, 32, 40, 48, ...
    assert overtaking(200 * SECOND_US) == [60] * 11  # longer than anything is known of
    assert overtaking(20 * SECOND_US, priority=9) == [0] * 11
    assert NOTHING.overtaking(4, 20 * SECOND_US, 0.5) == 0


def test_a_forecast_between_two_is_between_them() -> None:
    near, far = (Forecast([at + number for number in range(400)], Calibration(())) for at in (1_000, 3_000))

    between = near.toward(far, 0.25)

    assert between.confidence_in(1_700) == pytest.approx(0.5, abs=0.01)
    assert between.within(0.5) == pytest.approx(1_700)
    assert between.estimate(1, 0)[2:4] == pytest.approx((1_540, 1_860), abs=1)


def test_a_forecast_of_an_order_that_waits_for_a_time_is_of_the_later_of_both() -> None:
    ways = [Way(100.0, 10.0), Way(200.0, 20.0), Way(300.0, 30.0)] * 100
    forecast = Forecast.of_ways(ways, Calibration(()), 50)

    assert [forecast.within(share) for share in (0.1, 0.5, 0.9)] == [110, 220, 330]
    assert forecast.not_before(40) is forecast
    assert [forecast.not_before(250).within(share) for share in (0.1, 0.5, 0.9)] == [260, 270, 330]


@pytest.mark.parametrize(
    ("control", "place", "ready_us", "reasons"),
    [
        (RUNNING, Place(0, 0, None, ()), None, [WaitReason.PROCESSORS]),
        (RUNNING, Place(2, 3, None, ()), None, [WaitReason.PRIORITY, WaitReason.PROCESSORS]),
        (RUNNING, Place(None, 0, 2, ()), None, [WaitReason.KEY]),
        (RUNNING, Place(None, 0, None, ()), 9, [WaitReason.NOT_BEFORE]),
        (
            ControlSnapshot(paused=True, paused_until_us=7, reason="rest", error=None, processors=4),
            Place(None, 0, None, ()),
            None,
            [WaitReason.PAUSE],
        ),
    ],
)
def test_an_order_tells_all_that_it_waits_for(
    control: ControlSnapshot, place: Place, ready_us: int | None, reasons: list[WaitReason]
) -> None:
    told, _ = outlook(pending(), place, NOTHING, control, 0, ready_us)

    assert [wait.reason for wait in told.waiting_for] == reasons


@pytest.mark.parametrize("factor", [0.2, 1.0, 5.0])
def test_spans_hold_as_often_as_they_say_although_the_model_is_off(factor: float) -> None:
    random = Random(3)
    judged: list[Judged] = []
    kept = []
    for number in range(3_000):
        given_us = number * SECOND_US
        span = Span(factor * 8 * SECOND_US, factor * 12 * SECOND_US)
        low_us, high_us = Calibration(judged[-500:]).correct(span)
        took_us = round(random.lognormvariate(2.3, 0.5) * SECOND_US)
        model = (given_us + round(factor * us * SECOND_US) for us in (8, 12))
        judged.append(
            Judged(Estimate(number, given_us, *model, given_us + low_us, given_us + high_us), given_us + took_us)
        )
        kept.append(low_us <= took_us <= high_us)

    assert 0.78 <= sum(kept[LEAST_JUDGED:]) / len(kept[LEAST_JUDGED:]) <= 0.82


@pytest.mark.slow
def test_spans_hold_and_are_half_as_wrong_as_the_backlog_by_the_rate_on_a_day_of_bursts() -> None:
    kept, error, naive = live_through("bursts", orders=3_000)

    assert 0.75 <= kept <= 0.85
    assert error <= naive / 2


@pytest.mark.slow
@pytest.mark.parametrize("day", SLOW)
def test_spans_hold_while_the_provider_is_slow_now_and_then(day: str) -> None:
    kept, _, _ = live_through(day, orders=3_000)

    assert 0.75 <= kept <= 0.85


def live_through(day: str, orders: int) -> tuple[float, float, float]:
    """Queue orders up before four processors, as they come, and ask for the outlook of each when it is accepted.

    Returns:
        The share of spans that hold, the mean error of their middles, and that of the backlog by the rate.
    """
    random = Random(day)
    free = [0] * RUNNING.processors
    began: list[tuple[int, int]] = []  # when each order was begun, and over
    over: list[tuple[int, int, Judged | None, int]] = []  # by the end
    attempts: list[Attempt] = []
    judged: list[Judged] = []
    ends: list[int] = []
    basis = NOTHING
    kept, errors, naive = [], [], []
    at_us = 0
    for number in range(orders):
        is_burst = day == "bursts" and number % 300 < 60
        at_us += round(random.expovariate(30 if is_burst else 2) * SECOND_US)
        while over and over[0][0] <= at_us:
            ended_us, _, known, took_us = heapq.heappop(over)
            attempts.append(Attempt(ended_us - took_us, took_us, 0))
            ends.append(ended_us)
            if known is not None:
                judged.append(known)
        begin, factor = SLOW.get(day, (1_000, 1.0))
        took_us = round(random.lognormvariate(0, 0.6) * (factor if number % 1_000 > begin else 1) * SECOND_US)
        begin_us = max(at_us, heapq.heappop(free))
        heapq.heappush(free, begin_us + took_us)
        began.append((begin_us, begin_us + took_us))
        waiting = [of for of in began[-1_500:-1] if of[1] > at_us]
        in_hand = tuple(of[0] for of in waiting if of[0] <= at_us)
        if not number % 4:  # measured every second or two
            basis = measured(attempts[-1_000:], judged[-500:], in_hand, at_us)
        ahead = len(waiting) - len(in_hand)
        told, estimate = outlook(pending(number, at_us), Place(ahead, 0, None, in_hand), basis, RUNNING, at_us, None)
        known = None
        if told.expected is not None and estimate is not None:
            known = Judged(estimate, begin_us + took_us)
            if number > 500:
                kept.append(told.expected.from_us <= known.ended_us <= told.expected.to_us)
                errors.append(abs((told.expected.from_us + told.expected.to_us) / 2 - known.ended_us))
                rate = sum(end_us > at_us - 60 * SECOND_US for end_us in ends[-1_000:]) / 60
                naive.append(abs(at_us + (len(waiting) + 1) / max(rate, 0.1) * SECOND_US - known.ended_us))
        heapq.heappush(over, (begin_us + took_us, number, known, took_us))
    return sum(kept) / len(kept), sum(errors) / len(errors), sum(naive) / len(naive)


def judged_by(*lateness: float) -> tuple[Judged, ...]:
    """Estimates of ten seconds, and how many times as long it took."""
    return tuple(
        Judged(Estimate(number, 0, *[10 * SECOND_US] * 2, 0, 20 * SECOND_US), round(times * 10 * SECOND_US))
        for number, times in enumerate(lateness)
    )


def test_how_likely_an_order_is_over_by_a_time_is_what_the_model_says_at_first() -> None:
    told = Forecast([SECOND_US, 2 * SECOND_US, 3 * SECOND_US, 4 * SECOND_US], Calibration(()))

    assert [told.confidence_in(seconds * SECOND_US) for seconds in (-1, 0.5, 1, 3.5, 9)] == [0, 0, 0.25, 0.75, 1]
    assert told.within(0.5) == 3 * SECOND_US


def test_how_likely_an_order_is_over_by_a_time_is_how_often_the_latest_ones_were() -> None:
    told = Forecast([SECOND_US], Calibration(judged_by(*[0.5] * 20, *[1.0] * 10, *[3.0] * 9)))

    assert [told.confidence_in(us) for us in (0.4e6, 0.6e6, 1.1e6, 3.1e6)] == [0, 0.5, 0.75, 0.975]
    assert told.within(0.7) == pytest.approx(SECOND_US)
    assert told.within(0.9) == pytest.approx(3 * SECOND_US)
    assert told.within(0.99) is None


def test_a_span_is_the_shortest_that_holds_as_often_as_it_says() -> None:
    judged = judged_by(*[1 + 0.001 * number for number in range(90)], *[3.0] * 10)

    low_us, high_us = Calibration(judged).correct(Span(SECOND_US, SECOND_US))

    assert SECOND_US <= low_us < high_us < 2 * SECOND_US


def test_a_span_ends_however_far_off_the_model_was() -> None:
    told = Calibration(judged_by(*[1e-9] * 50, *[1e9] * 50)).correct(Span(1, 1e12))

    assert told[1] <= 101 * 365 * 86_400 * SECOND_US


def test_a_running_engine_tells_where_an_order_is(start_engine: StartEngine) -> None:
    engine = start_engine(lambda _: None, processors=1)
    engine.submit_many([make_order(f"done-{number}") for number in range(25)])
    engine.drain(timeout=60)
    engine.pause(reason="stocktaking")
    engine.submit_many([make_order("a"), make_order("b")])

    told = engine.outlook("b")

    assert (told.status, told.position, told.expected) == (OrderStatus.PENDING, 2, None)
    assert [(wait.reason, wait.ahead) for wait in told.waiting_for] == [
        (WaitReason.PAUSE, None),
        (WaitReason.PROCESSORS, 1),
    ]
    assert engine.outlook("done-1").waiting_for == ()
    with pytest.raises(OrderNotFound):
        engine.outlook("nobody")


def test_an_engine_remembers_how_right_it_was(start_engine: StartEngine, clock: WatchedClock, held: Held) -> None:
    def handle(order: Order) -> None:
        if order.order_id == "last":
            held(order)

    engine = start_engine(handle, clock=clock, processors=1)
    engine.submit_many([make_order(f"done-{number}") for number in range(25)])
    engine.drain(timeout=60)
    engine.submit(make_order("last"))
    assert held.begun(60) == "last"

    told = engine.outlook("last")
    assert told.expected is not None
    assert told.accuracy is None
    engine.control()  # the recorder has noted what was told
    held.release()
    engine.drain(timeout=60)
    clock.advance(1)
    engine.control()
    engine.control()  # what came with the one before is done

    assert engine.outlook("last").accuracy == engine.metrics().outlooks == Accuracy(1.0, 1)
