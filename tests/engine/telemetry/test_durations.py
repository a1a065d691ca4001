from __future__ import annotations

from random import Random
from statistics import quantiles

import pytest

from ordermill.engine.telemetry.durations import BOUNDS, RELATIVE_ERROR, Durations, Measured, Quantiles

MINUTE = 60_000_000


def test_a_quantile_is_as_near_to_the_true_one_as_is_said() -> None:
    random = Random(1)
    measured = [int(random.lognormvariate(10, 2)) + 1 for _ in range(50_000)]
    durations = Durations()
    for start in range(0, len(measured), 500):
        durations.add(Measured.of(measured[start : start + 500]), now_us=start)

    found = durations.overall()

    true = quantiles(measured, n=100, method="inclusive")
    assert found.count == len(measured)
    assert found.p50 == pytest.approx(true[49] / 1e6, rel=1.1 * RELATIVE_ERROR)
    assert found.p95 == pytest.approx(true[94] / 1e6, rel=1.1 * RELATIVE_ERROR)
    assert found.p99 == pytest.approx(true[98] / 1e6, rel=1.1 * RELATIVE_ERROR)


@pytest.mark.parametrize("value", [1, 2, 3, 370, 1_000, 3_000, 1_024_000, 99_999_999, 31_500_000_000_000])
def test_a_single_duration_is_each_quantile(value: int) -> None:
    durations = Durations()
    durations.add(Measured.of([value]), now_us=0)

    found = durations.overall()

    for quantile in (found.p50, found.p95, found.p99):
        assert quantile == pytest.approx(value / 1e6, rel=RELATIVE_ERROR)


def test_nothing_measured_is_told_as_nothing() -> None:
    assert Durations().overall() == Quantiles(0, None, None, None)


def test_what_is_over_ten_minutes_old_is_not_recent() -> None:
    durations = Durations()
    durations.add(Measured.of([1_000_000]), now_us=0)
    durations.add(Measured.of([5_000_000]), now_us=9 * MINUTE)

    assert durations.recent(9 * MINUTE).count == 2
    assert durations.recent(10 * MINUTE).count == 1
    assert durations.recent(60 * MINUTE).count == 0
    assert durations.overall().count == 2


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_bucket_has_exactly_what_is_not_longer_than_its_bound(bound: int) -> None:
    durations = Durations()
    durations.add(Measured.of([1_000 * bound + 1, 1_000 * bound, 1_000 * bound - 1]), now_us=0)

    histogram = durations.histogram()

    counted = dict(zip(BOUNDS, histogram.cumulative, strict=True))
    assert (counted[bound], histogram.count) == (2, 3)
    assert counted.get(bound // 2, 0) == 0
    assert counted.get(2 * bound, 3) == 3


def test_a_histogram_has_the_sum_of_what_was_measured() -> None:
    durations = Durations()
    durations.add(Measured.of([250, 1_500]), now_us=0)
    durations.add(Measured.of([1_000 * 2**30]), now_us=0)

    histogram = durations.histogram()

    assert (histogram.total, histogram.count) == (2**30 + 1.75, 3)
    assert histogram.cumulative == (1, *([2] * (len(BOUNDS) - 1)))


def test_a_clock_that_was_read_a_moment_late_makes_no_time_negative() -> None:
    assert Measured.of([-3, 4]) == (Measured.of([0]).bins + Measured.of([4]).bins, 4)


def test_a_duration_of_nothing_counts_too() -> None:
    durations = Durations()
    durations.add(Measured.of([0] * 4), now_us=0)

    found = durations.overall()

    assert found.count == 4
    assert found.p99 == pytest.approx(0, abs=2e-6)
    assert durations.histogram().cumulative[0] == 4
