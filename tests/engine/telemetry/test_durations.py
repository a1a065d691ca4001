from __future__ import annotations

from collections import Counter
from random import Random
from statistics import quantiles

import pytest

from ordermill.engine.telemetry.durations import BUCKET_SECONDS, RELATIVE_ERROR, Durations, Quantiles

MINUTE = 60_000_000


def test_a_quantile_is_as_near_to_the_true_one_as_is_said() -> None:
    random = Random(1)
    measured = [int(random.lognormvariate(10, 2)) + 1 for _ in range(50_000)]
    durations = Durations()
    for start in range(0, len(measured), 500):
        durations.add(Counter(measured[start : start + 500]), now_us=start)
    found = durations.overall()
    true = quantiles(measured, n=100, method="inclusive")
    assert found.count == len(measured)
    assert found.p50 == pytest.approx(true[49] / 1e6, rel=1.1 * RELATIVE_ERROR)
    assert found.p95 == pytest.approx(true[94] / 1e6, rel=1.1 * RELATIVE_ERROR)
    assert found.p99 == pytest.approx(true[98] / 1e6, rel=1.1 * RELATIVE_ERROR)


def test_nothing_measured_is_told_as_nothing() -> None:
    assert Durations().overall() == Quantiles(0, None, None, None)


def test_what_is_over_ten_minutes_old_is_not_recent() -> None:
    durations = Durations()
    durations.add({1_000_000: 1}, now_us=0)
    durations.add({5_000_000: 1}, now_us=9 * MINUTE)
    assert durations.recent(9 * MINUTE).count == 2
    assert durations.recent(10 * MINUTE).count == 1
    assert durations.recent(60 * MINUTE).count == 0
    assert durations.overall().count == 2


def test_the_histogram_counts_each_duration_up_to_its_bucket() -> None:
    durations = Durations()
    durations.add({1_000: 1, 1_001: 2, 7_200_000_000: 3}, now_us=0)
    histogram = durations.histogram()
    by_bound = dict(zip(BUCKET_SECONDS, histogram.cumulative, strict=True))
    assert (by_bound[0.001], by_bound[0.0025], by_bound[3600], histogram.count) == (1, 3, 3, 6)
    assert histogram.total_seconds == pytest.approx(0.001 + 2 * 0.001001 + 3 * 7200)


def test_a_duration_of_nothing_counts_too() -> None:
    durations = Durations()
    durations.add({0: 4}, now_us=0)
    assert durations.overall() == Quantiles(4, 0, 0, 0)
