"""When an order is tried again, and its place in the queue then."""

from __future__ import annotations

import pytest

from ordermill.engine import EngineConfig, OrderStatus
from ordermill.engine.clock import Moment
from ordermill.engine.execution import retry
from ordermill.engine.execution.retry import after_failure, put_back, retry_delay_seconds
from ordermill.engine.testing import START_US, make_order
from ordermill.store.domain.record import OrderRecord, keeps_place


def in_hand(failures: int = 0) -> OrderRecord:
    return OrderRecord(make_order(), 1, OrderStatus.PROCESSING, failures + 1, failures, START_US - 9, START_US, None)


@pytest.mark.parametrize(("failures", "longest"), [(1, 2.0), (2, 4.0), (3, 8.0), (4, 10.0), (5, 10.0), (999, 10.0)])
def test_delays_double_up_to_the_longest_and_are_spread_over_their_upper_half(failures: int, longest: float) -> None:
    config = EngineConfig.of({"retry_seconds": 2, "retry_max_seconds": 10})

    delays = [retry_delay_seconds(failures, config) for _ in range(500)]

    assert longest / 2 <= min(delays) < longest * 0.6
    assert longest * 0.9 < max(delays) <= longest


def test_the_delays_by_default_outlast_an_hour_of_an_outage_however_they_fall(monkeypatch: pytest.MonkeyPatch) -> None:
    config = EngineConfig()
    monkeypatch.setattr(retry.random, "uniform", lambda shortest, _: shortest)

    assert sum(retry_delay_seconds(failures, config) for failures in range(1, config.max_attempts)) > 3_600


def test_the_step_after_a_failure_counts_it() -> None:
    step = after_failure(
        in_hand(), Moment(START_US + 7, START_US + 5), "boom", EngineConfig.of({"max_attempts": 2, "retry_seconds": 0})
    )

    assert (step.after.status, step.after.failures, step.after.ready_us) == (OrderStatus.PENDING, 1, START_US + 5)
    assert step.reason == "boom; tried again in 0.0 s"


def test_the_step_after_the_last_failure_is_failed() -> None:
    step = after_failure(
        in_hand(failures=1), Moment(START_US + 7, START_US + 5), "boom", EngineConfig.of({"max_attempts": 2})
    )

    assert (step.after.status, step.after.failures, step.after.ready_us) == (OrderStatus.FAILED, 2, None)
    assert step.reason == "boom; failed attempt 2 of 2"


def test_a_handler_may_say_after_which_time_to_try_again() -> None:
    now = Moment(START_US + 7, START_US + 5)

    step = after_failure(in_hand(), now, "too many requests", EngineConfig(), 30.0)
    last = after_failure(in_hand(failures=1), now, "busy", EngineConfig.of({"max_attempts": 2}), 30.0)

    assert (step.after.ready_us, step.slowed_until_us) == (START_US + 5 + 30_000_000,) * 2
    assert step.reason == "too many requests; tried again in 30.0 s"
    assert (last.after.status, last.slowed_until_us) == (OrderStatus.FAILED, START_US + 5 + 30_000_000)


def test_an_order_goes_back_to_its_old_place_without_a_failure() -> None:
    step = put_back(in_hand(), Moment(START_US + 7, START_US + 5), "crash")

    assert (step.after.ready_us, step.after.failures, step.reason) == (START_US + 5, 0, "crash")
    assert keeps_place(step)


def test_an_order_that_failed_gets_a_new_place() -> None:
    assert not keeps_place(after_failure(in_hand(), Moment(START_US + 7, START_US + 5), "boom", EngineConfig.of({})))
