"""Probes: what recovery learns about an order whose handler may have been running."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ordermill.engine import Durability, Effect, Order, OrderEngine, OrderStatus
from ordermill.engine.testing import START_US, make_order
from ordermill.store import lifecycle
from ordermill.store.database import open_writer
from ordermill.store.ledger import Ledger
from ordermill.store.record import move


class Charge:
    """A handler that remembers what it did, with a probe that answers what the test says."""

    def __init__(self, answer: Callable[[Order], Effect]) -> None:
        self.probe = answer
        self.handled: list[str] = []

    def __call__(self, order: Order) -> None:
        self.handled.append(order.order_id)


def leave_in_hand(database: Path, *order_ids: str) -> None:
    """Leave a database as an engine does that died with these orders in hand."""
    writer = open_writer(database, Durability.FULL)
    ledger = Ledger(writer)
    accepted = ledger.record([make_order(order_id) for order_id in order_ids], (), START_US).acceptances
    ledger.record((), [move(record, lifecycle.ASSIGN, START_US + 1) for _, record in accepted], START_US + 1)
    writer.close()


def test_an_order_whose_effect_is_done_is_completed_without_running_the_handler(
    start_engine: Callable[..., OrderEngine], database: Path
) -> None:
    leave_in_hand(database, "o-1")
    charge = Charge(lambda _: Effect.DONE)
    engine = start_engine(charge)

    assert engine.status("o-1") is OrderStatus.COMPLETED
    assert (
        engine.history("o-1")[-1].reason
        == "the engine died while the order was in hand; the probe found its effect done"
    )
    assert engine.recovered.completed == 1
    assert charge.handled == []


def test_an_order_whose_effect_is_not_done_is_handled_again(
    start_engine: Callable[..., OrderEngine], database: Path
) -> None:
    leave_in_hand(database, "o-1")
    charge = Charge(lambda _: Effect.NOT_DONE)
    engine = start_engine(charge)

    assert engine.wait("o-1", timeout=5) is OrderStatus.COMPLETED
    assert engine.recovered.returned == 1
    assert charge.handled == ["o-1"]


def test_an_order_whose_effect_is_unknown_waits_for_an_operator(
    start_engine: Callable[..., OrderEngine], database: Path
) -> None:
    leave_in_hand(database, "o-1")
    charge = Charge(lambda _: Effect.UNKNOWN)
    engine = start_engine(charge)

    assert engine.status("o-1") is OrderStatus.REVIEW
    assert engine.settle("o-1", OrderStatus.COMPLETED, "found in the bank's list").status is OrderStatus.COMPLETED
    assert charge.handled == []


def test_a_probe_that_fails_counts_as_unknown_and_each_order_is_asked_for_itself(
    start_engine: Callable[..., OrderEngine], database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leave_in_hand(database, "o-1", "o-2", "o-3")
    asked: list[str] = []

    def probe(order: Order) -> Effect:
        asked.append(order.order_id)
        if order.order_id == "o-2":
            raise ConnectionError("the bank does not answer")
        return Effect.DONE

    engine = start_engine(Charge(probe))

    assert sorted(asked) == ["o-1", "o-2", "o-3"]
    assert engine.recovered == (0, 2, 0, 1)
    assert engine.status("o-2") is OrderStatus.REVIEW
    assert "the probe failed for order o-2" in caplog.text


def test_the_idempotency_key_is_the_same_for_every_attempt(start_engine: Callable[..., OrderEngine]) -> None:
    keys: list[str] = []

    def charge(order: Order) -> None:
        keys.append(order.idempotency_key)
        if len(keys) < 3:
            raise ConnectionError

    engine = start_engine(charge, retry_seconds=0)

    assert engine.submit(make_order("o-1")).wait(timeout=10) is OrderStatus.COMPLETED
    assert keys == ["ordermill-o-1"] * 3
