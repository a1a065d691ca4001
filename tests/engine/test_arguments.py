"""Wrong arguments are told to whoever passes them, and to nobody else: the engine is as it was."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import (
    Cause,
    IdempotencyKey,
    InvalidArgument,
    InvalidOrder,
    Order,
    OrderEngine,
    OrdermillError,
    OrderNotFound,
    OrderStatus,
    Outcome,
)
from ordermill.engine.actors.messages import Close
from ordermill.engine.testing import make_order

if TYPE_CHECKING:
    from ordermill.engine.testing import Held

StartEngine = Callable[..., OrderEngine]

HALF = json.loads('"\\ud800"')


class Anything:
    """Something that cannot even be shown."""

    def __repr__(self) -> str:
        raise SystemExit(3)

    __str__ = __repr__


NOT_TEXT: tuple[Any, ...] = (None, 7, 10**30, 1.5, b"o-1", ["o-1"], {"o-1": 1}, object(), Anything())
WRONG_TEXT: tuple[Any, ...] = (HALF, f"o{HALF}", "", "o 1", "o\0", "o\n", "x" * 100_000, "\u202e")
WRONG_NAMES: tuple[Any, ...] = (*NOT_TEXT[1:], HALF, "", "r\0", "r\n", "x" * 256)
NOT_ORDERS: tuple[Any, ...] = (
    None,
    {},
    {"order_id": "a", "user_id": "u", "item_ids": ["i"], "total_amount": 1},
    7,
    "o-1",
    Order,
    Anything(),
)
WRONG_SECONDS: tuple[Any, ...] = (
    float("nan"),
    float("inf"),
    -float("inf"),
    -1,
    -0.001,
    1e300,
    10**400,
    True,
    "1",
    Decimal(1),
    [],
    Anything(),
)
WRONG_NUMBERS: tuple[Any, ...] = (-1, 10**30, 2**63, 1.0, float("nan"), True, "1", [], Anything())
WRONG_STATUSES: tuple[Any, ...] = ("Nonsense", "completed", "", HALF, 7, [], OrderStatus, Anything())
KEY = IdempotencyKey("k", "u-1", "f")

CALLS: dict[str, tuple[Callable[[OrderEngine, Any], object], tuple[Any, ...]]] = {
    "submit": (lambda engine, wrong: engine.submit(wrong), NOT_ORDERS),
    "submit_many": (lambda engine, wrong: engine.submit_many(wrong), (None, 7, "ab", Order, Anything(), {1: 2})),
    "submit_many[]": (lambda engine, wrong: engine.submit_many([make_order("a"), wrong]), NOT_ORDERS),
    "begin_submit": (lambda engine, wrong: engine.begin_submit([make_order("a"), wrong]), NOT_ORDERS),
    "begin_submit cause": (
        lambda engine, wrong: engine.begin_submit([make_order("a")], wrong),
        ("r-1", ("r", "a"), *(Cause(request_id=name) for name in WRONG_NAMES), Cause(acted_by=HALF)),
    ),
    "begin_submit idempotency": (
        lambda engine, wrong: engine.begin_submit([make_order("a")], idempotency=wrong),
        (
            "k",
            ("k", "u", "f"),
            *(KEY._replace(key=name) for name in WRONG_NAMES),
            *(KEY._replace(fingerprint=name) for name in (None, *WRONG_NAMES)),
            *(KEY._replace(user_id=name) for name in (None, 7, HALF)),
        ),
    ),
    **{
        name: (call, (*NOT_TEXT, *WRONG_TEXT))
        for name, call in {
            "cancel": lambda engine, wrong: engine.cancel(wrong),
            "retry": lambda engine, wrong: engine.retry(wrong),
            "settle": lambda engine, wrong: engine.settle(wrong, OrderStatus.FAILED),
            "begin_cancel": lambda engine, wrong: engine.begin_cancel(wrong),
            "begin_retry": lambda engine, wrong: engine.begin_retry(wrong),
            "begin_settle": lambda engine, wrong: engine.begin_settle(wrong, OrderStatus.FAILED),
            "order": lambda engine, wrong: engine.order(wrong),
            "status": lambda engine, wrong: engine.status(wrong),
            "history": lambda engine, wrong: engine.history(wrong),
            "wait": lambda engine, wrong: engine.wait(wrong, timeout=60),
            "begin_wait": lambda engine, wrong: engine.begin_wait(wrong, 5),
        }.items()
    },
    **{
        f"{name} reason": (call, (7, b"no", HALF, "", "a\0", "x" * 501, Anything()))
        for name, call in {
            "cancel": lambda engine, wrong: engine.cancel("held", wrong),
            "retry": lambda engine, wrong: engine.retry("held", wrong),
            "settle": lambda engine, wrong: engine.settle("held", OrderStatus.FAILED, wrong),
        }.items()
    },
    "settle status": (lambda engine, wrong: engine.settle("held", wrong), (None, *WRONG_STATUSES, "Pending")),
    "cancel cause": (
        lambda engine, wrong: engine.begin_cancel("held", cause=wrong),
        ("r-1", Cause(request_id=HALF)),
    ),
    "orders status": (lambda engine, wrong: engine.orders(status=wrong), WRONG_STATUSES),
    "orders user_id": (lambda engine, wrong: engine.orders(user_id=wrong), (7, HALF, "", b"u", Anything())),
    "orders before": (lambda engine, wrong: engine.orders(before=wrong), WRONG_NUMBERS),
    "orders limit": (lambda engine, wrong: engine.orders(limit=wrong), (0, None, *WRONG_NUMBERS)),
    "wait timeout": (lambda engine, wrong: engine.wait("held", timeout=wrong), WRONG_SECONDS),
    "begin_wait timeout": (lambda engine, wrong: engine.begin_wait("held", wrong), WRONG_SECONDS),
    "drain": (lambda engine, wrong: engine.drain(timeout=wrong), WRONG_SECONDS),
    "send": (lambda engine, wrong: engine.send(wrong), (None, 7, "x", make_order(), Close(None), Anything())),  # type: ignore[arg-type]  # it is to be refused
}


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_argument_is_refused_and_leaves_the_engine_as_it_was(
    start_engine: StartEngine, held: Held, name: str
) -> None:
    call, wrongs = CALLS[name]
    engine = start_engine(held, processors=1, max_backlog=2, user_backlog=2)
    engine.submit(make_order("held"))
    held.begun()

    for wrong in wrongs:
        with pytest.raises((InvalidArgument, InvalidOrder, OrderNotFound)):
            call(engine, wrong)

    assert not engine.incidents()
    assert engine.unready_reasons() == ()
    assert [record.order_id for record in engine.orders()] == ["held"]
    engine.submit(make_order("last"))
    held.release()
    assert engine.drain(timeout=60).total_orders_processed == 2


@pytest.mark.slow
def test_wrong_arguments_from_many_threads_disturb_nobody(start_engine: StartEngine) -> None:
    engine = start_engine(max_backlog=1000)
    is_over = threading.Event()

    def disturb(calls: list[tuple[Callable[[OrderEngine, Any], object], tuple[Any, ...]]]) -> None:
        while not is_over.is_set():
            for call, wrongs in calls:
                for wrong in wrongs:
                    with pytest.raises(OrdermillError):
                        call(engine, wrong)

    table = list(CALLS.values())
    threads = [threading.Thread(target=disturb, args=(table[part::3],)) for part in range(3)]
    for thread in threads:
        thread.start()
    outcomes = [engine.submit(make_order(f"o-{number}")).outcome for number in range(50)]
    metrics = engine.drain(timeout=30)
    is_over.set()
    for thread in threads:
        thread.join()

    assert outcomes == [Outcome.ACCEPTED] * 50
    assert (metrics.total_orders_processed, metrics.backlog, metrics.incidents) == (50, 0, 0)


def test_an_argument_that_is_wrong_is_shown_with_what_is_allowed(start_engine: StartEngine) -> None:
    engine = start_engine()

    with pytest.raises(InvalidArgument, match="of the type Order; this is of the type dict, number 2 of those"):
        engine.submit_many([make_order("a"), {}])  # type: ignore[list-item]  # it is to be refused
    with pytest.raises(InvalidArgument, match="from 0 to 1000000000, or None to wait for ever; 'soon' is not"):
        engine.wait("a", timeout="soon")  # type: ignore[arg-type]  # likewise
    with pytest.raises(InvalidArgument, match=r"one of Pending, Processing, Completed, .*; 'Nonsense' is not"):
        engine.orders(status="Nonsense")
    with pytest.raises(InvalidArgument, match="limit must be a whole number from 1 to 1000000; 0 is not"):
        engine.orders(limit=0)


def test_what_a_caller_does_with_its_list_afterwards_changes_nothing(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held)
    orders = [make_order(f"o-{number}") for number in range(100)]

    reply = engine.begin_submit(orders)
    orders.clear()

    assert len(reply.get(timeout=60)) == 100


def test_orders_of_a_class_of_the_callers_are_orders(start_engine: StartEngine) -> None:
    class GiftOrder(Order, frozen=True):
        """An order with something more."""

        note: str = ""

    handled: list[type] = []
    engine = start_engine(lambda order: handled.append(type(order)))
    gift = GiftOrder(order_id="o-1", user_id="u-1", item_ids=("sku-1",), total_amount=Decimal(5), note="for you")

    first, again = engine.submit(gift), engine.submit(gift)
    first.wait(timeout=60)

    assert (first.outcome, again.outcome) == (Outcome.ACCEPTED, Outcome.DUPLICATE)
    assert handled == [Order]


def test_a_status_may_be_given_by_its_name(start_engine: StartEngine, leave_in_hand: Callable[..., object]) -> None:
    class Mine(StrEnum):
        DONE = "Completed"

    leave_in_hand("a", "b", "c")
    engine = start_engine(on_interrupted="review")

    statuses = [engine.settle("a", "Completed"), engine.settle("b", "Failed"), engine.settle("c", Mine.DONE)]

    assert [record.status for record in statuses] == [OrderStatus.COMPLETED, OrderStatus.FAILED, OrderStatus.COMPLETED]
    assert [engine.status(order_id) for order_id in "abc"] == [record.status for record in statuses]
    assert {record.order_id for record in engine.orders(status="Completed")} == {"a", "c"}
