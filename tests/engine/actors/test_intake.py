"""Admission: a submission is admitted whole or not at all, and room that is free again is used again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from peewee import OperationalError

from ordermill.engine import (
    BacklogFull,
    Order,
    OrderEngine,
    OrderStatus,
    Outcome,
    Reject,
    Reply,
    StoreUnavailable,
    SubmissionTooLarge,
)
from ordermill.engine.actors.intake import IntakeActor
from ordermill.engine.requests import SubmitOrders
from ordermill.engine.testing import make_order
from ordermill.store import queries
from ordermill.store.domain.outcome import Acceptance
from ordermill.store.statements import Database

if TYPE_CHECKING:
    from tests.engine.conftest import HeldLedger

    from ordermill.engine.testing import Held

StartEngine = Callable[..., OrderEngine]


def test_a_submission_that_does_not_fit_is_refused_whole(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, max_backlog=5)
    engine.submit_many(make_order(f"o-{i}") for i in range(3))

    with pytest.raises(BacklogFull, match="3 orders are unfinished and 3 more would pass the limit of 5"):
        engine.submit_many(make_order(f"more-{i}") for i in range(3))

    assert engine.metrics().backlog == 3
    assert len(engine.orders()) == 3


def test_the_last_room_is_used(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, max_backlog=5)
    engine.submit_many(make_order(f"o-{i}") for i in range(3))
    engine.submit_many([make_order("o-3"), make_order("o-4")])

    with pytest.raises(BacklogFull):
        engine.submit(make_order("o-5"))


def test_there_is_room_again_when_orders_are_done(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, max_backlog=2)
    engine.submit_many([make_order("a"), make_order("b")])
    with pytest.raises(BacklogFull):
        engine.submit(make_order("c"))
    held.release()
    engine.drain(timeout=60)

    receipts = engine.submit_many([make_order("c"), make_order("d")])

    assert [receipt.wait(timeout=60) for receipt in receipts] == [OrderStatus.COMPLETED] * 2


def test_there_is_room_again_when_orders_fail_or_are_cancelled(start_engine: StartEngine, held: Held) -> None:
    def fail(order: Order) -> None:
        held(order)
        raise Reject("no")

    engine = start_engine(fail, processors=1, max_backlog=2)
    receipt = engine.submit(make_order("a"))
    held.begun()
    engine.submit(make_order("b"))
    engine.cancel("b")
    engine.submit(make_order("c"))
    with pytest.raises(BacklogFull):
        engine.submit(make_order("d"))
    held.release()
    receipt.wait(timeout=60)
    engine.drain(timeout=60)

    engine.submit_many([make_order("d"), make_order("e")])


def test_duplicates_and_conflicts_take_no_room(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, max_backlog=4)
    engine.submit(make_order("a"))

    for _ in range(5):
        outcomes = [
            receipt.outcome for receipt in engine.submit_many([make_order("a"), make_order("a", user_id="u-2")])
        ]
        assert outcomes == [Outcome.DUPLICATE, Outcome.CONFLICT]

    engine.submit_many([make_order("b"), make_order("c"), make_order("d")])
    assert engine.metrics().backlog == 4


def test_what_is_stored_is_answered_although_the_backlog_is_full(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=1, max_backlog=3)
    orders = [make_order(f"o-{number}") for number in range(3)]
    engine.submit_many(orders)

    again = [receipt.outcome for receipt in engine.submit_many([*orders, make_order("o-0", user_id="u-2")])]
    assert again == [Outcome.DUPLICATE] * 3 + [Outcome.CONFLICT]
    assert engine.submit(orders[0]).outcome is Outcome.DUPLICATE
    with pytest.raises(BacklogFull, match="3 orders are unfinished and 1 more would pass the limit of 3"):
        engine.submit_many([*orders, make_order("new")])

    held.release()
    assert engine.drain(timeout=60).total_orders_processed == 3
    engine.submit_many([*orders, *(make_order(f"more-{number}") for number in range(3))])
    assert engine.drain(timeout=60).total_orders_processed == 6


def test_more_than_may_ever_be_unfinished_is_told_so(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, max_backlog=3)

    with pytest.raises(SubmissionTooLarge, match="4 new orders at once are more than the 3 that may be") as told:
        engine.submit_many(make_order(f"o-{number}") for number in range(4))

    assert told.value.retry_after_seconds is None
    assert engine.orders() == []
    once_more = [make_order(f"o-{number // 2}") for number in range(6)]
    assert len(engine.submit_many(once_more)) == 6  # three orders, each of them twice


def test_a_full_backlog_whose_orders_cannot_be_looked_up_says_so(
    start_engine: StartEngine, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> set[str]:
        raise OperationalError("disk I/O error")

    engine = start_engine(held, max_backlog=1)
    engine.submit(make_order())
    with monkeypatch.context() as patch:
        patch.setattr(queries, "stored", fail)
        with pytest.raises(StoreUnavailable):
            engine.submit(make_order())

    assert engine.submit(make_order()).outcome is Outcome.DUPLICATE
    assert not engine.incidents()


def test_a_retry_takes_room_although_the_backlog_is_full(start_engine: StartEngine, held: Held) -> None:
    def handler(order: Order) -> None:
        if order.order_id == "bad" and engine.order("bad").attempts == 1:
            raise Reject("no")
        held(order)

    engine = start_engine(handler, max_backlog=1)
    engine.submit(make_order("bad")).wait(timeout=60)
    engine.submit(make_order("a"))
    engine.retry("bad")
    assert engine.metrics().backlog == 2

    with pytest.raises(BacklogFull, match="2 orders are unfinished"):
        engine.submit(make_order("b"))
    held.release()
    engine.drain(timeout=60)
    engine.submit(make_order("b"))


def test_what_waits_in_the_database_counts_after_a_restart(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=1, stop_seconds=0, max_backlog=3)
    engine.submit_many(make_order(f"o-{i}") for i in range(3))
    engine.stop()

    successor = start_engine(held, max_backlog=3)
    with pytest.raises(BacklogFull):
        successor.submit(make_order("more"))
    held.release()
    successor.drain(timeout=60)
    successor.submit_many(make_order(f"more-{i}") for i in range(3))


def test_there_is_room_again_after_the_store_failed(start_engine: StartEngine, ledger: HeldLedger) -> None:
    engine = start_engine(max_backlog=1)
    for error in (RuntimeError("unexpected"), StoreUnavailable(OSError("disk full"))):
        ledger.fail_once(error, lambda orders, _: bool(orders))
        with suppress(StoreUnavailable):
            engine.submit(make_order("a"))
        engine.drain(timeout=60)

    assert engine.submit(make_order("b")).wait(timeout=60) is OrderStatus.COMPLETED


def test_what_is_handed_in_is_admitted_as_any_submission(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, max_backlog=2)

    def hand_in(*order_ids: str) -> list[Outcome]:
        reply: Reply[list[Acceptance]] = Reply()
        engine.hand_in(SubmitOrders(tuple(map(make_order, order_ids)), reply))
        return [acceptance.outcome for acceptance in reply.get(timeout=60)]

    assert hand_in("a", "b") == [Outcome.ACCEPTED] * 2
    with pytest.raises(BacklogFull):
        hand_in("c")
    assert hand_in("a") == [Outcome.DUPLICATE]  # which takes a look at the database
    with pytest.raises(SubmissionTooLarge):
        hand_in("d", "e", "f")
    held.release()
    engine.drain(timeout=60)
    assert hand_in("c", "d") == [Outcome.ACCEPTED] * 2


def test_whoever_hands_in_waits_for_nobody_who_reads(
    start_engine: StartEngine, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start_engine(held, max_backlog=1)
    engine.submit(make_order("a"))
    is_reading, go_on = threading.Event(), threading.Event()

    def stored(_: Database, order_ids: Sequence[str]) -> set[str]:
        is_reading.set()
        assert go_on.wait(60)
        return {*order_ids}

    monkeypatch.setattr(queries, "stored", stored)
    replies: list[Reply[list[Acceptance]]] = [Reply(), Reply()]
    for reply in replies:
        engine.hand_in(SubmitOrders((make_order("a"),), reply))
        assert is_reading.wait(60)
    assert not any(reply.is_done for reply in replies)
    go_on.set()

    assert [reply.get(timeout=60)[0].outcome for reply in replies] == [Outcome.DUPLICATE] * 2


def test_an_unexpected_error_reaches_the_caller_and_intake_serves_on(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = IntakeActor.receive

    def fail_with_orders(intake: IntakeActor, message: Any) -> None:
        if isinstance(message, SubmitOrders):  # and not with what follows from the error
            raise ZeroDivisionError("unexpected")
        receive(intake, message)

    engine = start_engine()
    with monkeypatch.context() as patch:
        patch.setattr(IntakeActor, "receive", fail_with_orders)
        with pytest.raises(ZeroDivisionError):
            engine.submit(make_order())

    assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.COMPLETED
    assert engine.metrics().incidents == 1
    assert engine.unready_reasons() == ()
