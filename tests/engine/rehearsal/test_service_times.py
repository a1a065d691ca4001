"""What attempts took of their processors, from what the histories of orders say."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from ordermill.engine import OrderStatus
from ordermill.engine.rehearsal.service_times import COMPLETED, FAILED, OVER, Service, resampled, service_times
from ordermill.store.attempts import Attempted

MS = 1_000


def attempt(
    began_us: int,
    ended_us: int,
    status: OrderStatus = OrderStatus.COMPLETED,
    reason: str = "the handler returned",
    ready_us: int | None = None,
) -> Attempted:
    return Attempted(began_us, began_us, ended_us, status, reason, ready_us, began_us)


def test_an_attempt_that_finds_a_free_processor_takes_what_it_took() -> None:
    found = service_times([attempt(0, 50 * MS), attempt(200 * MS, 230 * MS)], 1)

    assert found == [Service(50 * MS, COMPLETED), Service(30 * MS, COMPLETED)]


def test_the_time_before_a_processor_is_free_is_none_of_the_attempt() -> None:
    found = service_times([attempt(0, 50 * MS), attempt(0, 60 * MS), attempt(10 * MS, 90 * MS)], 2)

    assert [took_us for took_us, _ in found] == [50 * MS, 60 * MS, 40 * MS]


def test_a_processor_that_waits_for_the_commit_of_an_order_that_is_there_is_taken_by_it() -> None:
    found = service_times([attempt(0, 50 * MS, ready_us=0), attempt(60 * MS, 100 * MS, ready_us=0)], 1)

    assert [took_us for took_us, _ in found] == [50 * MS, 50 * MS]


def test_a_pause_is_none_of_an_attempt() -> None:
    found = service_times([attempt(0, 50 * MS, ready_us=0), attempt(9_000 * MS, 9_040 * MS, ready_us=0)], 1)

    assert [took_us for took_us, _ in found] == [50 * MS, 40 * MS]


@pytest.mark.parametrize(
    ("status", "reason", "end"),
    [
        (OrderStatus.PENDING, "ProviderDown: no; tried again in 1.5 s", FAILED),
        (OrderStatus.FAILED, "ProviderDown: no; failed attempt 3 of 3", FAILED),
        (OrderStatus.FAILED, "rejected: no such card", OVER),
        (OrderStatus.REVIEW, "the worker process died of SIGKILL", OVER),
    ],
)
def test_it_is_told_how_an_attempt_ended(status: OrderStatus, reason: str, end: int) -> None:
    assert service_times([attempt(0, 50 * MS, status, reason)], 1) == [Service(50 * MS, end)]


def test_what_was_taken_back_before_it_began_is_no_attempt() -> None:
    taken_back = attempt(0, 50 * MS, OrderStatus.PENDING, "no processor was free in time")

    assert service_times([taken_back, attempt(50 * MS, 60 * MS)], 1) == [Service(10 * MS, COMPLETED)]


def test_another_sample_is_as_large_and_has_nothing_else() -> None:
    measured = [Service(number, COMPLETED) for number in range(1_000)]

    sample = resampled(measured, Random(1))

    assert len(sample) == len(measured)
    assert set(sample) < set(measured)
    neighbours = sum(after.took_us == before.took_us + 1 for before, after in pairwise(sample))
    assert neighbours > 800  # drawn in blocks, so that what follows one after another stays so
