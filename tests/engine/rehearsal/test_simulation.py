"""One run of a rehearsal: orders, keys, failures and pauses go as the engine has them go."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest

from ordermill.engine import EngineConfig
from ordermill.engine.rehearsal.service_times import COMPLETED, FAILED, OVER, Service
from ordermill.engine.rehearsal.simulation import Outcome, Setup, Simulation
from ordermill.store.domain.limit import NO_LIMIT, Limit
from ordermill.store.limited_lines import LimitState, LimitStates
from ordermill.store.rehearsals import Arrived, Backlog, Held
from ordermill.store.turns import STEP

SECOND_US = 1_000_000
ALWAYS_A_SECOND = [Service(SECOND_US, COMPLETED)]


def waiting(orders: int, **more: Any) -> Backlog:
    """Orders in line, of a user each."""
    users = more.pop("users", [f"u-{number}" for number in range(orders)])
    empty = Backlog(
        sequences=array("q", range(1, orders + 1)),
        users=users,
        lines=array("l", [0] * orders),
        since_us=array("q", [0] * orders),
        in_line=range(orders),
        ranks=array("q", [0] * orders),
        untaken={0: 0},
        waiting=[],
        held=[],
        parked=[],
        in_hand=[],
        failures={},
        keys={},
        deadlines={},
        blocking=frozenset(),
        queues={},
        limited_by=[],
        limits=None,
    )
    return empty._replace(**more)


def run(
    found: Backlog,
    processors: int = 1,
    services: Sequence[Service] = ALWAYS_A_SECOND,
    *,
    is_paused: Callable[[str, int], bool] | None = None,
    start_us: int = 0,
    fail_until_us: int = 0,
    arrived: Sequence[Arrived] = (),
    arrivals_per_second: float = 0.0,
    end_us: int = 10_000 * SECOND_US,
    **settings: Any,
) -> Outcome:
    standing, slots = found.standing(SECOND_US, is_paused)
    config = EngineConfig.of(settings)
    setup = Setup(
        found, standing, slots, config, processors, is_paused, 0, start_us, fail_until_us, arrived, end_us, 1_000_000
    )
    return Simulation(setup, services, services, arrivals_per_second, Random(1)).run()


@pytest.mark.parametrize(("orders", "processors", "seconds"), [(0, 1, 0), (6, 1, 6), (6, 3, 2), (7, 3, 3)])
def test_the_backlog_is_worked_off_by_all_processors(orders: int, processors: int, seconds: int) -> None:
    outcome = run(waiting(orders), processors)

    assert (outcome.empty_us, outcome.left, outcome.failed) == (seconds * SECOND_US, 0, 0)


def test_the_curve_tells_how_many_are_unfinished() -> None:
    outcome = run(waiting(10))

    assert [outcome.curve.at(second * SECOND_US + SECOND_US // 2, after=0) for second in range(11)] == [
        *range(10, -1, -1)
    ]


def test_nothing_begins_while_the_engine_is_paused() -> None:
    assert run(waiting(2), start_us=60 * SECOND_US).empty_us == 62 * SECOND_US


def test_orders_of_a_user_that_is_paused_are_left() -> None:
    outcome = run(waiting(4, users=["eu", "us", "eu", "us"]), is_paused=lambda user, _: user == "eu")

    assert (outcome.empty_us, outcome.left) == (2 * SECOND_US, 2)


def test_orders_that_wait_for_their_time_begin_then() -> None:
    found = waiting(2, in_line=range(1), ranks=array("q", [0]), waiting=[(90 * SECOND_US, 1)])

    assert run(found).empty_us == 91 * SECOND_US


def test_orders_of_a_key_run_one_after_another() -> None:
    keyed = {"in_line": range(1), "ranks": array("q", [0]), "keys": {0: "k", 1: "k", 2: "k"}}

    outcome = run(waiting(3, held=[Held(0, 1, None), Held(0, 2, None)], **keyed), processors=3)

    assert (outcome.empty_us, outcome.left) == (3 * SECOND_US, 0)


def test_who_waits_for_others_of_its_key_keeps_its_place() -> None:
    found = waiting(4, in_line=range(4), ranks=array("q", [0, 1, 2, 3]), keys={0: "k", 1: "k"})
    found = found._replace(in_line=array("q", [0, 2, 3]), ranks=array("q", [0, 2, 3]), held=[Held(0, 1, 1)])
    found = found._replace(deadlines={1: 2 * SECOND_US, 2: 3 * SECOND_US})

    assert run(found).broken == []


def test_orders_of_a_key_that_is_blocked_are_left() -> None:
    keyed = {"in_line": range(1), "ranks": array("q", [0]), "keys": {1: "k"}}

    outcome = run(waiting(2, held=[Held(0, 1, None)], blocking=frozenset({"k"}), **keyed))

    assert (outcome.empty_us, outcome.left) == (SECOND_US, 1)


def test_a_key_halts_at_an_order_that_failed() -> None:
    keyed = {"in_line": range(1), "ranks": array("q", [0]), "keys": {0: "k", 1: "k"}}
    found = waiting(2, held=[Held(0, 1, None)], **keyed)

    halted = run(found, services=[Service(SECOND_US, OVER)], key_policy="halt")
    held = run(found, services=[Service(SECOND_US, OVER)], key_policy="hold")

    assert (halted.left, held.left) == (1, 0)


def test_another_order_of_the_key_passes_one_that_is_tried_again_later() -> None:
    keyed = {"in_line": range(1), "ranks": array("q", [0]), "keys": {0: "k", 1: "k"}}
    found = waiting(2, held=[Held(0, 1, None)], deadlines={1: 3 * SECOND_US}, **keyed)
    fails_at_first = {"fail_until_us": 1, "retry_seconds": 100.0}

    assert run(found, key_policy="continue", **fails_at_first).broken == []
    assert run(found, key_policy="hold", **fails_at_first).broken == [1]


def test_attempts_fail_during_an_outage_and_are_tried_again_by_the_backoff() -> None:
    outcome = run(waiting(1), fail_until_us=10 * SECOND_US, retry_seconds=4.0, retry_max_seconds=4.0)

    assert outcome.empty_us is not None
    assert 11 * SECOND_US < outcome.empty_us < 16 * SECOND_US
    assert outcome.failed == 0


def test_an_order_whose_attempts_are_used_up_is_failed() -> None:
    outcome = run(waiting(3), services=[Service(SECOND_US, FAILED)], max_attempts=2, retry_seconds=0.0)

    assert (outcome.empty_us, outcome.failed, outcome.left) == (6 * SECOND_US, 3, 0)


def test_the_circuit_breaker_tries_one_order_now_and_then() -> None:
    outcome = run(
        waiting(100),
        fail_until_us=100 * SECOND_US,
        breaker_failures=2,
        breaker_seconds=30.0,
        retry_seconds=0.0,
        max_attempts=3,
    )

    assert outcome.empty_us is not None
    assert outcome.failed < 3  # without it, 33 would have used up their attempts
    assert 200 * SECOND_US < outcome.empty_us < 240 * SECOND_US


def test_deadlines_break_where_orders_are_late_or_never_completed() -> None:
    found = waiting(4, users=["a", "b", "c", "eu"], deadlines={0: 1_000_000, 1: 1_000_000, 3: 9_000_000})

    outcome = run(found, is_paused=lambda user, _: user == "eu")

    assert sorted(outcome.broken) == [1, 3]


def test_orders_in_hand_have_the_rest_of_a_measured_time_to_go() -> None:
    found = waiting(1, in_line=range(0), ranks=array("q"), in_hand=[(-400_000, 0)])

    assert run(found).empty_us == 600_000
    assert run(found, services=[Service(100_000, COMPLETED)]).empty_us == 400_000  # as long again


def test_what_is_claimed_ahead_goes_first() -> None:
    found = waiting(3, in_line=range(1), ranks=array("q", [0]), in_hand=[(0, 1), (0, 2)], deadlines={2: 2 * SECOND_US})

    outcome = run(found)

    assert (outcome.empty_us, outcome.broken) == (3 * SECOND_US, [])


def test_orders_that_arrive_make_it_last_longer() -> None:
    arrived = [Arrived(-number * SECOND_US, "u-1", 0, (), None, None, None) for number in range(30)]

    outcome = run(waiting(100), arrived=arrived, arrivals_per_second=0.5)

    assert outcome.empty_us is not None
    assert 190 * SECOND_US <= outcome.empty_us <= 210 * SECOND_US


def test_where_more_arrive_than_are_done_it_is_never_empty() -> None:
    arrived = [Arrived(-number * SECOND_US, "u-1", 0, (), None, None, None) for number in range(30)]

    outcome = run(waiting(100), arrived=arrived, arrivals_per_second=2.0, end_us=500 * SECOND_US)

    assert (outcome.empty_us, outcome.took_us) == (None, 500 * SECOND_US)
    assert 590 < outcome.left < 610


def test_what_arrives_takes_its_turn_among_those_that_wait() -> None:
    crowd = waiting(100, users=["crowd"] * 100, ranks=array("q", [number * STEP for number in range(100)]))
    arrived = [Arrived(0, "single", 0, (), None, None, None)]

    outcome = run(crowd, arrived=arrived, arrivals_per_second=0.5, end_us=20 * SECOND_US)

    assert outcome.left <= 100 + 20  # whoever came was not behind the hundred: it is done, or about to be


def limited(queues: dict[int, Limit] | None = None, values: dict[str, Limit] | None = None) -> LimitStates:
    of_queues = {number: LimitState(limit) for number, limit in (queues or {}).items()}
    return LimitStates(of_queues, lambda name: LimitState((values or {}).get(name, NO_LIMIT)))


def test_no_more_orders_of_a_queue_are_begun_than_it_may_have() -> None:
    outcome = run(waiting(6, limits=limited({0: Limit(2)})), processors=4)

    assert (outcome.empty_us, outcome.left) == (3 * SECOND_US, 0)


def test_orders_that_a_rate_keeps_waiting_are_begun_in_time() -> None:
    outcome = run(waiting(6, limits=limited({0: Limit(rate=0.5)})), processors=4)

    assert (outcome.empty_us, outcome.left) == (11 * SECOND_US, 0)  # the last is begun after five times two seconds


def test_an_order_at_a_limit_by_its_values_is_in_the_way_of_no_other() -> None:
    names = [("user:slow",)] * 3 + [()] * 3
    found = waiting(6, limited_by=names, limits=limited(values={"user:slow": Limit(1)}))
    deadlines = {3: 2 * SECOND_US, 4: 2 * SECOND_US, 5: 3 * SECOND_US}

    outcome = run(found._replace(deadlines=deadlines), processors=2)

    assert (outcome.empty_us, outcome.left, outcome.broken) == (3 * SECOND_US, 0, [])


def test_what_is_in_hand_counts_for_its_limits() -> None:
    found = waiting(
        2,
        in_line=range(1),
        ranks=array("q", [0]),
        in_hand=[(0, 1)],
        limited_by=[("user:u",)] * 2,
        limits=limited(values={"user:u": Limit(1)}),
    )

    assert run(found, processors=2).empty_us == 2 * SECOND_US


def test_what_was_parked_goes_on_when_there_is_room() -> None:
    found = waiting(
        2,
        in_line=range(1),
        ranks=array("q", [0]),
        parked=[("user:u", 0, 1)],
        limited_by=[("user:u",)] * 2,
        limits=limited(values={"user:u": Limit(1)}),
    )

    assert run(found, processors=2).empty_us == 2 * SECOND_US


def test_orders_that_arrive_are_under_limits_too() -> None:
    arrived = [Arrived(-number * SECOND_US, "u", 0, ("user:u",), None, None, None) for number in range(30)]
    at_once = limited(values={"user:u": Limit(1)})

    outcome = run(
        waiting(0, limits=at_once, in_hand=[]),
        processors=9,
        services=[Service(2 * SECOND_US, COMPLETED)],
        arrived=arrived,
        arrivals_per_second=1.0,
        end_us=100 * SECOND_US,
    )

    assert outcome.empty_us is not None  # nothing was there at first
