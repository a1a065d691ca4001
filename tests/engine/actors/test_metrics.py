"""The metrics equal a recount of the tables, at rest and after a restart."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import pytest

from ordermill.engine import InvalidArgument, MetricsSnapshot, Order, OrderEngine, OrderStatus, Reject, Window
from ordermill.engine.actors.metrics import MetricsActor
from ordermill.engine.telemetry.durations import Quantiles
from ordermill.engine.telemetry.history import Rates
from ordermill.engine.telemetry.telemetry import Attempts, Timing
from ordermill.engine.testing import make_order

if TYPE_CHECKING:
    from ordermill.engine.testing import Held, WatchedClock

StartEngine = Callable[..., OrderEngine]


def counts(metrics: MetricsSnapshot) -> dict[str, int]:
    return {status.value: count for status, count in metrics.orders_by_status.items() if count}


def test_a_new_engine_has_zeros(start_engine: StartEngine) -> None:
    metrics = start_engine(processors=3).metrics()

    assert set(metrics.orders_by_status) == set(OrderStatus)
    assert (counts(metrics), metrics.backlog, metrics.total_orders_processed) == ({}, 0, 0)
    assert metrics.average_processing_time_seconds == 0.0
    assert (metrics.processors, metrics.incidents, metrics.abandoned_handlers) == (3, 0, 0)


def test_every_status_is_counted_while_the_engine_works(
    start_engine: StartEngine, held: Held, leave_in_hand: Callable[..., object]
) -> None:
    def handle(order: Order) -> None:
        if order.order_id == "rejected":
            raise Reject("no")
        if order.order_id != "done":
            held(order)

    leave_in_hand("reviewed")
    engine = start_engine(handle, processors=1, on_interrupted="review")
    engine.submit(make_order("done")).wait(timeout=60)
    engine.submit(make_order("rejected")).wait(timeout=60)
    engine.submit(make_order("in-hand"))
    held.begun()
    engine.submit_many([make_order("waiting"), make_order("cancelled")])
    engine.cancel("cancelled")

    metrics = engine.metrics()

    assert counts(metrics) == dict.fromkeys(map(str, OrderStatus), 1)
    assert (metrics.backlog, metrics.total_orders_processed) == (2, 1)


def test_the_average_is_the_mean_time_of_the_last_attempts(
    start_engine: StartEngine, clock: WatchedClock, assert_sound: Callable[[], None]
) -> None:
    seconds = {"a": 1.0, "b": 2.5, "c": 4.0}
    failed: list[str] = []

    def work(order: Order) -> None:
        clock.advance(seconds[order.order_id])
        if order.order_id == "b" and not failed:
            failed.append("b")
            raise ConnectionError

    engine = start_engine(work, clock=clock, retry_seconds=0)
    for order_id in seconds:
        assert engine.submit(make_order(order_id)).wait(timeout=60) is OrderStatus.COMPLETED

    metrics = engine.drain(timeout=60)

    assert metrics.average_processing_time_seconds == 2.5
    assert (metrics.processing_seconds_total, metrics.processing_seconds_count) == (7.5, 3)
    assert metrics.uptime_seconds == 10.0
    engine.stop()
    assert_sound()


def test_the_times_of_orders_are_told_as_quantiles(start_engine: StartEngine, clock: WatchedClock) -> None:
    seconds = {"a": 1.0, "b": 2.5, "c": 4.0}
    failed: list[str] = []

    def work(order: Order) -> None:
        clock.advance(seconds[order.order_id])
        if order.order_id == "b" and not failed:
            failed.append("b")
            raise ConnectionError("no answer")

    engine = start_engine(work, processors=1, clock=clock, retry_seconds=0)
    for order_id in seconds:
        assert engine.submit(make_order(order_id)).wait(timeout=60) is OrderStatus.COMPLETED

    metrics = engine.drain(timeout=60)

    timings = metrics.timings
    for timing in (timings.processing, timings.end_to_end, timings.queueing):
        assert timing.last_10_minutes == timing.overall
    assert (timings.processing.overall.count, timings.queueing.overall.count) == (3, 4)
    assert timings.processing.overall.p50 == pytest.approx(2.5, rel=timings.relative_error)
    assert timings.processing.overall.p99 == pytest.approx(2.5, rel=timings.relative_error)
    assert timings.end_to_end.overall.p50 == pytest.approx(4.0, rel=timings.relative_error)
    assert metrics.attempts == Attempts(begun=4, failed=1, retries=1, failed_by_error={"ConnectionError": 1})
    assert metrics.commits.steps == 3 + 4 + 1 + 3
    assert metrics.rates.last_minute == metrics.rates.last_15_minutes == Rates(3 / 10, 3 / 10, 0)

    clock.advance(600)
    later = engine.metrics()

    assert later.timings.processing == Timing(Quantiles(0, None, None, None), timings.processing.overall)
    assert later.rates.last_minute == Rates(0, 0, 0)


def test_the_time_of_waiting_begins_when_an_order_may_be_processed(
    start_engine: StartEngine, clock: WatchedClock
) -> None:
    failed: list[str] = []

    def work(order: Order) -> None:
        if not failed:
            failed.append(order.order_id)
            raise ConnectionError

    engine = start_engine(work, processors=1, clock=clock, retry_seconds=100)
    receipt = engine.submit(make_order("a"))
    clock.advance_to(clock.next_call(at_least=40))
    receipt.wait(timeout=60)

    waited = engine.metrics().timings.queueing.overall

    assert (waited.count, waited.p99 is not None and waited.p99 < 1) == (2, True)


def test_the_time_of_waiting_is_known_of_orders_that_were_not_in_memory(
    start_engine: StartEngine, clock: WatchedClock
) -> None:
    engine = start_engine(lambda _: clock.advance(1), processors=1, window=1, clock=clock)
    engine.submit_many(make_order(str(number)) for number in range(40))
    engine.drain(timeout=60)

    waited = engine.metrics().timings.queueing.overall

    assert waited.count == 40
    assert waited.p99 is not None
    assert waited.p99 > 20


def test_charts_tell_what_was_done_when(start_engine: StartEngine, clock: WatchedClock) -> None:
    engine = start_engine(lambda _: clock.advance(2), processors=1, clock=clock)
    engine.submit_many([make_order("a"), make_order("b")])
    engine.drain(timeout=60)

    chart = engine.chart("day")

    (point,) = chart.points
    assert (chart.window, point.accepted, point.completed, point.failed) == (Window.DAY, 2, 2, 0)
    assert point.start <= clock.now_us() / 1e6 <= point.start + 300
    assert point.p50 == pytest.approx(2, rel=0.01)
    with pytest.raises(InvalidArgument, match="must be one of 15m, day, week; 'year' is not"):
        engine.chart("year")


def test_the_oldest_order_of_each_status_is_found(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=1)
    first = engine.submit(make_order("a")).record
    held.begun()
    second = engine.submit_many([make_order("b"), make_order("c")])[0].record

    oldest = engine.oldest()

    assert oldest == dict.fromkeys(OrderStatus) | {
        OrderStatus.PROCESSING: first.created_at,
        OrderStatus.PENDING: second.created_at,
    }
    assert engine.metrics().processors_busy == 1
    held.release()


def test_an_order_settled_by_hand_is_processed_but_has_no_time(
    start_engine: StartEngine, leave_in_hand: Callable[..., object]
) -> None:
    leave_in_hand("o-1")
    engine = start_engine(on_interrupted="review")
    engine.settle("o-1", OrderStatus.COMPLETED)

    metrics = engine.metrics()

    assert (metrics.total_orders_processed, metrics.processing_seconds_count) == (1, 0)
    assert metrics.average_processing_time_seconds == 0.0


def test_metrics_equal_a_recount_at_rest_and_after_a_restart(
    start_engine: StartEngine, assert_sound: Callable[[], None]
) -> None:
    attempts: dict[str, int] = {}

    def handle(order: Order) -> None:
        attempt = attempts[order.order_id] = attempts.get(order.order_id, 0) + 1
        match int(order.order_id) % 5:
            case 1:
                raise Reject("no")
            case 2 if attempt < 3:
                raise ConnectionError("no answer")
            case 3:
                raise ValueError("never works")

    engine = start_engine(handle, processors=4, max_attempts=3, retry_seconds=0)
    for start in range(0, 200, 20):
        engine.submit_many(make_order(str(number)) for number in range(start, start + 20))
    before = engine.drain(timeout=30)
    assert counts(before) == {"Completed": 120, "Failed": 80}
    assert_sound()
    engine.stop()
    assert_sound()

    successor = start_engine()
    after = successor.metrics()

    assert (after.orders_by_status, after.total_orders_processed) == (before.orders_by_status, 120)
    assert after.average_processing_time_seconds == before.average_processing_time_seconds
    assert after.processing_seconds_total == before.processing_seconds_total
    for number in range(1, 200, 5):
        successor.retry(str(number))
    assert counts(successor.drain(timeout=30)) == {"Completed": 160, "Failed": 40}
    successor.stop()
    assert_sound()


def test_the_uptime_begins_with_each_start(start_engine: StartEngine, clock: WatchedClock) -> None:
    engine = start_engine(clock=clock)
    clock.advance(90)
    assert engine.metrics().uptime_seconds == 90.0
    engine.stop()
    engine.start()

    assert engine.metrics().uptime_seconds == 0.0


def test_an_unexpected_error_reaches_the_caller_and_is_counted(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: MetricsActor) -> NoReturn:
        raise ZeroDivisionError("unexpected")

    engine = start_engine()
    with monkeypatch.context() as patch:
        patch.setattr(MetricsActor, "_snapshot", fail)
        with pytest.raises(ZeroDivisionError):
            engine.metrics()
        with pytest.raises(ZeroDivisionError):
            engine.drain(timeout=60)

    engine.submit(make_order())
    metrics = engine.drain(timeout=60)
    assert (metrics.incidents, metrics.total_orders_processed) == (2, 1)
