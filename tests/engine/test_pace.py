"""How slow work is just now, from attempts that are over and those that are not."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from ordermill.engine.pace import Pace, measure_pace
from ordermill.store.domain.outlook import Attempt

SECOND_US = 1_000_000


def attempts(*seconds: float, seed: int = 1) -> list[Attempt]:
    """One begun every second, each about as long as it says."""
    random = Random(seed)
    return [
        Attempt(at * SECOND_US, round(took * random.lognormvariate(0, 0.5) * SECOND_US), 0)
        for at, took in enumerate(seconds)
    ]


def expected_level(pace: Pace) -> float:
    shares = [pace.now[0], *(after - before for before, after in pairwise(pace.now))]
    return sum(share * level for share, level in zip(shares, pace.levels, strict=True)) / SECOND_US


def test_the_level_of_steady_work_is_what_it_mostly_takes() -> None:
    pace = measure_pace(attempts(*[2.0] * 400), ())

    assert expected_level(pace) == pytest.approx(2, rel=0.15)
    assert pace.mean == pytest.approx(1, rel=0.25)


def test_a_few_slow_attempts_say_that_the_provider_is_slow() -> None:
    assert expected_level(measure_pace(attempts(*[1.0] * 300, *[4.0] * 10, seed=4), ())) == pytest.approx(4, rel=0.3)


def test_a_provider_that_is_fast_again_is_so_at_once() -> None:
    assert expected_level(measure_pace(attempts(*[4.0] * 200, *[1.0] * 12), ())) == pytest.approx(1, rel=0.3)


def test_one_outlier_changes_little() -> None:
    assert expected_level(measure_pace(attempts(*[1.0] * 300, 100.0), ())) < 1.5


def test_a_provider_that_hangs_shows_before_an_attempt_has_ended() -> None:
    steady = attempts(*[1.0] * 300)
    hanging = [(300 * SECOND_US, 6 * SECOND_US)] * 8

    assert expected_level(measure_pace(steady, [(300 * SECOND_US, SECOND_US // 5)] * 8)) < 1.5
    assert expected_level(measure_pace(steady, hanging)) > 5


def test_what_attempts_take_besides_is_told_by_those_of_all_levels() -> None:
    random = Random(2)
    pace = measure_pace(attempts(*[1.0] * 120, *[5.0] * 120), ())

    assert len(pace.relative) == 240
    assert 0.2 < pace.variance / pace.mean**2 < 0.5  # of one level: 0.28; of both together 0.9
    rests = [pace.draw_rest(random, SECOND_US, level) for level, *_ in pace.draw_levels(random, 200)]
    assert min(rests) > 0


def test_attempts_that_all_take_the_same_time_are_foretold_exactly() -> None:
    pace = measure_pace([Attempt(at, SECOND_US, 0) for at in range(50)], ())

    assert pace.draw_order(Random(1), SECOND_US) == pytest.approx(SECOND_US)
    assert pace.draw_work(Random(1), 40, SECOND_US) == pytest.approx(40 * SECOND_US)
    assert pace.variance == pytest.approx(0, abs=1e-9)


def test_attempts_too_short_to_be_measured_are_foretold_as_nothing() -> None:
    pace = measure_pace([Attempt(at, 0, 0) for at in range(50)], ())

    assert pace.draw_work(Random(1), 40, SECOND_US) == 0
    assert pace.draw_rest(Random(1), 5, SECOND_US) == 5
