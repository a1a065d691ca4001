"""What goes over a channel arrives as it was."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, get_args

import pytest

from ordermill.engine import Cause, IdempotencyKey, Order, OrderRecord, OrderStatus, Outcome, Reply, requests
from ordermill.http.processes.messages import (
    Accepted,
    Submitted,
    acceptances_of,
    accepted,
    decode_from_engine,
    decode_from_worker,
    encode,
    message_of,
    request_of,
)
from ordermill.store.domain.order import FIELDS, is_same
from ordermill.store.domain.outcome import Acceptance, Promise, PromisedAcceptance

ORDER = Order(order_id="o-1", user_id="u-1", item_ids=("sku-1", "sku-1"), total_amount=Decimal("19.90"))
OTHER = Order(order_id="o-1", user_id="u-2", item_ids=("sku-2",), total_amount=Decimal(5))
FULL = Order(
    order_id="o-1",
    user_id="u-1",
    item_ids=("sku-1", "sku-2"),
    total_amount=Decimal("0.50"),
    priority=9,
    not_before=datetime(2030, 1, 1, 12, 30, 0, 123_456, tzinfo=UTC),
    complete_by=datetime(2030, 1, 2, tzinfo=UTC),
    key="k-1",
    queue="slow",
    metadata={"note": ["ä", 1.5, None, {"deep": True}]},
)
RECORD = OrderRecord(FULL, 7, OrderStatus.REVIEW, 2, 1, 1_700_000_000, 1_700_000_001, None, "out of it")


def travelled(request: requests.Request, reply: Any) -> requests.Request:
    """A request as the engine's process has it."""
    message = decode_from_worker(encode(message_of(5, request)))
    assert isinstance(message, Submitted) == isinstance(request, requests.SubmitOrders)
    assert message.number == 5
    return request_of(message, reply)


@pytest.mark.parametrize("idempotency", [None, IdempotencyKey("k", "u-1", "hash")])
def test_orders_arrive_with_all_that_is_told_of_them(idempotency: IdempotencyKey | None) -> None:
    request = requests.SubmitOrders([ORDER, ORDER], Reply(), [Cause("r-1", "shop"), Cause()], idempotency)
    reply: Reply[Any] = Reply()

    arrived = travelled(request, reply)

    assert arrived == requests.SubmitOrders((ORDER, ORDER), reply, (Cause("r-1", "shop"), Cause()), idempotency)
    assert type(arrived.orders[0].total_amount) is Decimal
    assert str(arrived.orders[0].total_amount) == "19.90"


def test_every_field_of_an_order_arrives() -> None:
    assert all(getattr(FULL, name) != getattr(ORDER, name) for name in FIELDS[2:])
    request = requests.SubmitOrders((FULL, ORDER), Reply())

    arrived = travelled(request, request.reply)

    assert arrived == request
    assert all(map(is_same, arrived.orders, request.orders))


def test_what_was_checked_is_not_checked_again() -> None:
    unsound = Order.sound("no id", "u-1", (), Decimal(-1), 4, None, None, None, "default", None)
    request = requests.SubmitOrders((unsound,), Reply())

    assert travelled(request, request.reply) == request


def test_no_field_of_a_submission_is_forgotten() -> None:
    assert {*Submitted.__struct_fields__} - {"number"} == {*requests.SubmitOrders._fields} - {"reply"}


def test_every_other_request_arrives_as_it_was() -> None:
    kinds = {kind for kind in get_args(requests.Request) if kind is not requests.SubmitOrders}
    assert len(kinds) >= 5
    for kind in kinds:
        given = {name: f"its {name}" for name in kind._fields if name != "reply"}
        reply: Reply[Any] = Reply()
        assert travelled(kind(**given, reply=Reply()), reply) == kind(**given, reply=reply)


@pytest.mark.parametrize("outcome", Outcome)
def test_what_became_of_orders_arrives_with_the_stored_order(outcome: Outcome) -> None:
    sent = RECORD.order if outcome in (Outcome.ACCEPTED, Outcome.UNLIKELY) else OTHER

    message = decode_from_engine(encode(accepted(5, [Acceptance(outcome, RECORD)])))

    assert isinstance(message, Accepted)
    assert message.number == 5
    (acceptance,) = acceptances_of(message, [sent])
    assert acceptance == Acceptance(outcome, RECORD)
    assert acceptance.outcome is outcome
    assert acceptance.record.status is OrderStatus.REVIEW


def test_a_new_order_is_not_sent_back() -> None:
    message = decode_from_engine(encode(accepted(5, [Acceptance(Outcome.ACCEPTED, RECORD)])))

    assert isinstance(message, Accepted)
    (acceptance,) = acceptances_of(message, [ORDER])
    assert acceptance.record.order is ORDER


@pytest.mark.parametrize("promise", [Promise(0.93, 1_700_000_000), Promise(None, None)])
def test_what_is_promised_arrives(promise: Promise) -> None:
    told = PromisedAcceptance(Outcome.ACCEPTED, RECORD, promise)

    message = decode_from_engine(encode(accepted(5, [told])))

    assert isinstance(message, Accepted)
    (acceptance,) = acceptances_of(message, [FULL])
    assert (acceptance, acceptance.promise) == (told, promise)
