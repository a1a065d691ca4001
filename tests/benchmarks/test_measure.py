"""A figure is held against its bar, and each measurement is a process of its own."""

from __future__ import annotations

import pickle

import pytest

from measure import Benchmark, Row, Rule
from run import BENCHMARKS


@pytest.mark.parametrize(
    ("rule", "bar", "value", "is_met"),
    [
        (Rule.AT_LEAST, 1.5, 1.5, True),
        (Rule.AT_LEAST, 1.6, 1.5, False),
        (Rule.AT_MOST, 1.5, 1.5, True),
        (Rule.AT_MOST, 1.4, 1.5, False),
        (Rule.MORE_AT_MOST, 1.0, 1.0, True),
        (Rule.MORE_AT_MOST, 0.9, 1.0, False),
    ],
)
def test_medians_are_held_against_the_bar(rule: Rule, bar: float, value: float, is_met: bool) -> None:
    row = Row("0", "figure", rule, bar)

    assert row.compare(3.0, 2.0) == value
    assert row.is_met(value) is is_met


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda benchmark: benchmark.name)
def test_what_is_measured_can_be_passed_to_another_process(benchmark: Benchmark) -> None:
    for side in (benchmark.ours, benchmark.theirs):
        pickle.loads(pickle.dumps(side))
