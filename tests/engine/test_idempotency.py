"""A client's name for a request is good for that request only, in one transaction and over restarts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from peewee import OperationalError

from ordermill.engine import (
    Cause,
    IdempotencyKey,
    IdempotencyKeyReused,
    Order,
    OrderEngine,
    Outcome,
    Reply,
    StoreUnavailable,
)
from ordermill.engine.actors import recorder as recorder_module
from ordermill.engine.requests import SubmitOrders
from ordermill.engine.testing import make_order
from ordermill.store.domain.outcome import Acceptance

if TYPE_CHECKING:
    from tests.engine.conftest import HeldLedger

StartEngine = Callable[..., OrderEngine]
FIRST = IdempotencyKey("k-1", "u-1", "first")
SECOND = FIRST._replace(fingerprint="second")


def submit(engine: OrderEngine, order: Order, given: IdempotencyKey) -> Outcome:
    """Submit an order under a key."""
    ((outcome, _),) = engine.begin_submit([order], Cause("r-1"), given).get(timeout=60)
    return outcome


def test_the_same_request_again_is_a_duplicate(start_engine: StartEngine) -> None:
    engine = start_engine()

    assert submit(engine, make_order("a"), FIRST) is Outcome.ACCEPTED
    assert submit(engine, make_order("a"), FIRST) is Outcome.DUPLICATE


def test_another_request_under_the_key_is_refused_and_stored_nowhere(start_engine: StartEngine) -> None:
    engine = start_engine(max_backlog=1)
    submit(engine, make_order("a"), FIRST)
    engine.drain(timeout=60)

    for _ in range(3):
        with pytest.raises(IdempotencyKeyReused, match="The idempotency key 'k-1' was sent with another body before"):
            submit(engine, make_order("b"), SECOND)

    assert [record.order_id for record in engine.orders()] == ["a"]
    assert submit(engine, make_order("b"), SECOND._replace(key="k-2")) is Outcome.ACCEPTED


def test_the_key_outlives_the_engine(start_engine: StartEngine) -> None:
    engine = start_engine()
    submit(engine, make_order("a"), FIRST)
    engine.stop()

    with pytest.raises(IdempotencyKeyReused):
        submit(start_engine(), make_order("b"), SECOND)


def test_of_two_requests_under_one_key_in_one_transaction_the_first_wins(
    start_engine: StartEngine, ledger: HeldLedger
) -> None:
    engine = start_engine()
    assert engine._life.running is not None
    recorder: Any = engine._life.running.context.recorder
    ledger.hold(lambda orders, _: bool(orders))
    engine.begin_submit([make_order("held")])
    ledger.wait_until_held()
    replies: list[Reply[list[Acceptance]]] = [Reply() for _ in range(3)]
    for reply, order_id, given in zip(replies, "abb", (FIRST, SECOND, FIRST._replace(user_id="u-2")), strict=True):
        recorder.tell(SubmitOrders([make_order(order_id)], reply, idempotency=given))
    ledger.release()

    assert replies[0].get(timeout=60)[0].outcome is Outcome.ACCEPTED
    with pytest.raises(IdempotencyKeyReused):
        replies[1].get(timeout=60)
    assert replies[2].get(timeout=60)[0].outcome is Outcome.ACCEPTED


def test_a_key_that_cannot_be_looked_up_stores_nothing(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        raise OperationalError("disk I/O error")

    engine = start_engine(max_backlog=1)
    with monkeypatch.context() as patch:
        patch.setattr(recorder_module, "is_reused", fail)
        with pytest.raises(StoreUnavailable):
            submit(engine, make_order("a"), FIRST)

    assert submit(engine, make_order("b"), SECOND) is Outcome.ACCEPTED


def test_a_submission_that_is_not_stored_uses_up_no_key(start_engine: StartEngine, ledger: HeldLedger) -> None:
    def has_orders(orders: Sequence[Order], _: object) -> bool:
        return bool(orders)

    engine = start_engine()
    ledger.fail_once(StoreUnavailable(OSError("disk full")), has_orders)
    with pytest.raises(StoreUnavailable):
        submit(engine, make_order("a"), FIRST)

    assert submit(engine, make_order("b"), SECOND) is Outcome.ACCEPTED


def test_the_request_is_named_in_the_history_that_it_caused(start_engine: StartEngine) -> None:
    engine = start_engine()
    submit(engine, make_order("a"), FIRST)
    engine.drain(timeout=60)

    assert [step.request_id for step in engine.history("a")] == ["r-1", None, None]


@pytest.mark.sqlite
def test_keys_without_end_on_an_order_that_is_there_are_not_kept(start_engine: StartEngine, database: Path) -> None:
    engine = start_engine()
    submit(engine, make_order("a"), FIRST)
    engine.submit(make_order("b"))

    for number in range(50):
        given = IdempotencyKey(f"more-{number}", "u-1", "a")
        for order_id in ("a", "b"):
            assert submit(engine, make_order(order_id), given) is Outcome.DUPLICATE
        assert submit(engine, make_order("a", item_ids=("other",)), given) is Outcome.CONFLICT

    with closing(sqlite3.connect(database)) as connection:
        kept = connection.execute("SELECT key FROM idempotency_keys ORDER BY id").fetchall()
    assert kept == [("k-1",), ("more-0",)]  # one for each order: the first that came with it


def test_a_key_that_comes_with_something_new_is_kept_whatever_comes_with_it(start_engine: StartEngine) -> None:
    engine = start_engine()
    submit(engine, make_order("a"), FIRST)
    given = IdempotencyKey("k-2", "u-1", "both")

    engine.begin_submit([make_order("a"), make_order("b")], Cause("r-1"), given).get(timeout=60)

    with pytest.raises(IdempotencyKeyReused):
        submit(engine, make_order("c"), given._replace(fingerprint="other"))
