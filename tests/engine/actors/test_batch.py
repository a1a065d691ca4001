"""What goes into one transaction: who brought which order, and what a batch falls into when it cannot be recorded."""

from __future__ import annotations

from ordermill.engine import IdempotencyKey, Reply
from ordermill.engine.actors.batch import Batch
from ordermill.engine.requests import CancelOrder, SubmitOrders
from ordermill.engine.testing import START_US, make_order
from ordermill.store.domain import lifecycle
from ordermill.store.domain.lifecycle import OrderStatus
from ordermill.store.domain.record import ENGINE, Cause, Move, OrderRecord, move

KEY = IdempotencyKey("k-1", "u-1", "0" * 64)


def submission(*order_ids: str, causes: tuple[Cause, ...] = (), key: IdempotencyKey | None = None) -> SubmitOrders:
    return SubmitOrders([make_order(order_id) for order_id in order_ids], Reply(), causes, key)


def step(order_id: str, status: OrderStatus, edge: lifecycle.Edge) -> Move:
    return move(OrderRecord(make_order(order_id), 1, status, 1, 0, START_US, START_US, None), edge, START_US)


def test_orders_keep_their_sequence_and_each_its_cause() -> None:
    causes = (Cause("r-1", "anna"), Cause("r-2"))

    batch = Batch(submissions=[submission("o-1", "o-2", causes=causes), submission("o-3")])

    assert [order.order_id for order in batch.orders] == ["o-1", "o-2", "o-3"]
    assert batch.causes == [*causes, ENGINE]


def test_an_idempotency_key_stands_beside_each_of_its_orders() -> None:
    assert Batch(submissions=[submission("o-1")]).keys == []

    batch = Batch(submissions=[submission("o-1"), submission("o-2", "o-3", key=KEY)])

    assert batch.keys == [None, KEY, KEY]


def test_commands_are_recorded_before_the_results_of_handlers() -> None:
    cancelled = step("o-1", OrderStatus.PENDING, lifecycle.CANCEL)
    completed = step("o-2", OrderStatus.PROCESSING, lifecycle.COMPLETE)

    batch = Batch(handled=[completed], commands=[(CancelOrder("o-1", Reply()), cancelled)])

    assert batch.moves == [cancelled, completed]


def test_a_batch_falls_into_parts_that_fall_no_further() -> None:
    first, second = submission("o-1", "o-2"), submission("o-3")
    completed = step("o-4", OrderStatus.PROCESSING, lifecycle.COMPLETE)
    command = (CancelOrder("o-5", Reply()), step("o-5", OrderStatus.PENDING, lifecycle.CANCEL))

    batch = Batch(submissions=[first, second], commands=[command], handled=[completed])

    assert list(batch.parts()) == [
        Batch(submissions=[first], is_part=True),
        Batch(submissions=[second], is_part=True),
        Batch(commands=[command], is_part=True),
        Batch(handled=[completed], is_part=True),
    ]
