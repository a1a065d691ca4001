"""A step is made along a legal edge only, and says how the order is afterwards."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ordermill.engine.testing import START_US, make_order
from ordermill.store.domain import lifecycle
from ordermill.store.domain.errors import TransitionRefused
from ordermill.store.domain.lifecycle import EDGES, Edge, OrderStatus
from ordermill.store.domain.record import OrderRecord, Transition, move


def record_in(status: OrderStatus) -> OrderRecord:
    ready_us = START_US if status is OrderStatus.PENDING else None
    return OrderRecord(make_order(), 7, status, 2, 1, START_US, START_US, ready_us)


STEPS = [edge for edge in EDGES if edge.source is not None]


@pytest.mark.parametrize("edge", STEPS, ids=lambda edge: f"{edge.source}-{edge.target}")
@pytest.mark.parametrize("status", list(OrderStatus))
def test_a_step_begins_where_its_edge_begins(edge: Edge, status: OrderStatus) -> None:
    record = record_in(status)

    if status is edge.source:
        step = move(record, edge, START_US + 1)
        assert (step.before, step.after.status, step.after.updated_us) == (record, edge.target, START_US + 1)
    else:
        with pytest.raises(TransitionRefused) as caught:
            move(record, edge, START_US + 1)
        assert (caught.value.order_id, caught.value.status) == ("o-1", status)


@pytest.mark.parametrize("edge", STEPS, ids=lambda edge: f"{edge.source}-{edge.target}")
def test_only_an_assignment_begins_an_attempt(edge: Edge) -> None:
    assert edge.source is not None
    step = move(record_in(edge.source), edge, START_US + 1)

    assert step.after.attempts == (3 if edge is lifecycle.ASSIGN else 2)


@pytest.mark.parametrize("edge", STEPS, ids=lambda edge: f"{edge.source}-{edge.target}")
def test_an_order_is_ready_exactly_while_it_is_pending(edge: Edge) -> None:
    assert edge.source is not None
    step = move(record_in(edge.source), edge, START_US + 1)

    assert step.after.ready_us == (START_US + 1 if edge.target is OrderStatus.PENDING else None)


def test_an_order_that_failed_may_be_ready_later() -> None:
    step = move(record_in(OrderStatus.PROCESSING), lifecycle.RETURN, 5, "boom, later", ready_us=9, error="boom")

    assert (step.after.ready_us, step.after.failures) == (9, 2)
    assert (step.after.last_error, step.reason) == ("boom", "boom, later")


def test_the_last_error_stays_when_a_later_attempt_succeeds() -> None:
    failed = move(record_in(OrderStatus.PROCESSING), lifecycle.RETURN, 5, error="boom").after
    done = move(move(failed, lifecycle.ASSIGN, 6).after, lifecycle.COMPLETE, 7).after

    assert (done.status, done.failures, done.last_error) == (OrderStatus.COMPLETED, 2, "boom")


@pytest.mark.parametrize("edge", STEPS, ids=lambda edge: f"{edge.source}-{edge.target}")
def test_an_operators_retry_forgives_what_failed_before(edge: Edge) -> None:
    assert edge.source is not None
    step = move(record_in(edge.source), edge, START_US + 1)

    is_retry = edge.mover == "operator" and edge.target is OrderStatus.PENDING and edge is not lifecycle.RESCHEDULE
    assert step.after.failures == (0 if is_retry else 1)


def test_a_step_is_never_stamped_before_the_last_one() -> None:
    step = move(record_in(OrderStatus.PROCESSING), lifecycle.COMPLETE, START_US - 1)

    assert step.after.updated_us == START_US


def test_a_step_keeps_the_edges_reason_where_it_has_none() -> None:
    step = move(record_in(OrderStatus.PENDING), lifecycle.CANCEL, 5)

    assert (step.reason, step.after.failures) == ("cancelled before work began", 1)


def test_times_are_told_in_utc_to_the_microsecond() -> None:
    record = record_in(OrderStatus.PENDING)
    transition = Transition(None, OrderStatus.PENDING, START_US + 1, 0, "accepted")

    assert record.created_at == record.updated_at == datetime(2027, 1, 15, 8, tzinfo=UTC)
    assert transition.at == datetime(2027, 1, 15, 8, 0, 0, 1, tzinfo=UTC)
    assert record.order_id == "o-1"
