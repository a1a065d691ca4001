"""Webhooks are told of what happens at least once, in order for each order; whatever they do, they hold up nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import (
    DeliveryState,
    InvalidWebhook,
    NewSecret,
    Order,
    OrderEngine,
    Reject,
    WebhookNotFound,
)
from ordermill.engine.testing import START_US, ManualClock, make_order
from ordermill.engine.webhooks import client, sender
from ordermill.store.domain.order_fields import order_fields
from ordermill.store.domain.record import Cause

if TYPE_CHECKING:
    from tests.engine.webhooks.conftest import Receiver

    Hooked = Callable[..., tuple[OrderEngine, NewSecret]]
    Wait = Callable[[Callable[[], object]], None]


def ended(engine: OrderEngine, secret: NewSecret) -> list[tuple[str, int, DeliveryState]]:
    """What was sent and how that ended, oldest first."""
    deliveries = engine.webhook_deliveries(secret.webhook.webhook_id)
    return [(delivery.type, delivery.attempts, delivery.state) for delivery in deliveries][::-1]


def move_on(clock: ManualClock, delay: float) -> None:
    """Wait until somebody waits so long, or a tenth longer; then let that time pass."""
    deadline = time.monotonic() + 20
    while not any(
        timer.callback is not None and delay <= (timer.due_us - clock.monotonic_us()) / 1e6 + 0.01 <= 1.1 * delay + 0.02
        for _, _, timer in list(clock._calls._heap)
    ):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    clock.advance(1.1 * delay + 0.01)


def test_a_receiver_gets_each_event_signed_with_the_order_as_it_was(hooked: Hooked, receiver: Receiver) -> None:
    engine, made = hooked()

    engine.submit(make_order("o-1")).wait(timeout=60)
    accepted, completed = receiver.next(), receiver.next()

    assert accepted.verified(made.secret)["type"] == "order.accepted"
    body = completed.verified(made.secret)
    assert (body["type"], body["data"]["sequence"]) == ("order.completed", 3)
    assert body["timestamp"] == body["data"]["order"]["updated_at"]
    assert body["data"]["order"] == {**order_fields(engine.order("o-1")), "item_ids": ["sku-1", "sku-2"]}
    assert accepted.json["data"]["order"]["status"] == "Pending"
    assert accepted.event_id != completed.event_id
    assert "." not in completed.event_id


def test_every_kind_of_step_is_told_and_what_merely_waits_its_turn_is_not(hooked: Hooked, receiver: Receiver) -> None:
    failures = iter([RuntimeError("boom"), None, Reject("nothing to pay"), None])

    def charge(order: Order) -> None:
        if order.order_id != "held" and (failure := next(failures)) is not None:
            raise failure
        if order.order_id == "held":
            gate.wait(60)

    gate = threading.Event()
    engine, _ = hooked(charge, retry_seconds=0, processors=1)
    engine.submit(make_order("tried")).wait(timeout=60)
    engine.submit(make_order("failed")).wait(timeout=60)
    engine.retry("failed")
    engine.wait("failed", timeout=60)
    engine.submit(make_order("held"))
    engine.submit(make_order("cancelled"))
    engine.cancel("cancelled")
    gate.set()
    engine.drain(timeout=60)

    told: dict[str, list[str]] = {}
    for _ in range(11):
        body = receiver.next().json
        told.setdefault(body["data"]["order"]["order_id"], []).append(body["type"].removeprefix("order."))
    assert told == {
        "tried": ["accepted", "retrying", "completed"],
        "failed": ["accepted", "failed", "retrying", "completed"],
        "held": ["accepted", "completed"],
        "cancelled": ["accepted", "cancelled"],
    }
    assert not receiver.has_more


def test_only_what_a_webhook_wants_is_sent_and_written(
    hooked: Hooked, receiver: Receiver, start_receiver: Callable[[], Receiver]
) -> None:
    engine, made = hooked(events=("order.completed",))
    other = start_receiver()
    engine.create_webhook(other.url, events=("order.accepted",))

    engine.submit(make_order("o-1")).wait(timeout=60)

    assert receiver.next().json["type"] == "order.completed"
    assert other.next().json["type"] == "order.accepted"
    assert len(engine.webhook_deliveries(made.webhook.webhook_id)) == 1


def test_what_was_not_taken_is_sent_again_by_the_schedule_under_the_same_id(
    hooked: Hooked, receiver: Receiver, clock: ManualClock, wait_until: Wait
) -> None:
    engine, made = hooked(clock=clock, events=("order.accepted",))
    receiver.answers += [(500, {}), (302, {"Location": receiver.url}), (200, {})]

    engine.submit(make_order("o-1")).wait(timeout=60)
    first = receiver.next()
    move_on(clock, 5)
    second = receiver.next()
    move_on(clock, 300)  # a redirect is no success, and was not followed
    third = receiver.next()
    wait_until(lambda: ended(engine, made) == [("order.accepted", 3, DeliveryState.DELIVERED)])

    assert first.event_id == second.event_id == third.event_id
    assert first.body == second.body == third.body
    assert int(second.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"]) >= START_US // 1_000_000


def test_after_three_days_an_event_is_given_up_and_the_next_of_its_order_goes(
    hooked: Hooked, receiver: Receiver, clock: ManualClock, wait_until: Wait
) -> None:
    engine, made = hooked(clock=clock, events=("order.accepted", "order.completed"))
    receiver.answers += [(503, {})] * 10

    engine.submit(make_order("o-1")).wait(timeout=60)
    for delay in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400):
        assert receiver.next().json["type"] == "order.accepted"
        move_on(clock, delay)
    assert receiver.next().json["type"] == "order.accepted"
    assert receiver.next().json["type"] == "order.completed"
    wait_until(
        lambda: (
            ended(engine, made)
            == [("order.accepted", 10, DeliveryState.FAILED), ("order.completed", 1, DeliveryState.DELIVERED)]
        )
    )


def test_retry_after_is_honoured(hooked: Hooked, receiver: Receiver, wait_until: Wait) -> None:
    clock = ManualClock()
    engine, made = hooked(clock=clock, events=("order.accepted",))
    receiver.answers.append((503, {"Retry-After": "120"}))
    engine.submit(make_order("o-1")).wait(timeout=60)
    receiver.next()
    wait_until(lambda: ended(engine, made)[0][1] == 1)

    (delivery,) = engine.webhook_deliveries(made.webhook.webhook_id)

    assert delivery.due_us is not None
    assert delivery.due_us - clock.now_us() == 120_000_000
    assert delivery.latest is not None
    assert (delivery.latest.status, delivery.latest.answer, delivery.latest.error) == (503, "said", None)


def test_what_a_receiver_answers_is_stored_as_it_can_be_shown(
    hooked: Hooked, receiver: Receiver, wait_until: Wait
) -> None:
    engine, made = hooked(events=("order.accepted",))
    receiver.says = b"\x1b[2Kpaid\r\n\xe2\x80\xaeForged\xff"
    engine.submit(make_order("o-1")).wait(timeout=60)
    receiver.next()
    wait_until(lambda: ended(engine, made)[0][1] == 1)

    (delivery,) = engine.webhook_deliveries(made.webhook.webhook_id)

    assert delivery.latest is not None
    assert delivery.latest.answer == "\\x1b[2Kpaid\\r\\n\\u202eForged\ufffd"


def test_a_receiver_that_is_gone_is_sent_nothing_more_until_it_is_enabled(
    hooked: Hooked, receiver: Receiver, wait_until: Wait
) -> None:
    engine, made = hooked(events=("order.accepted",))
    webhook_id = made.webhook.webhook_id
    receiver.answers.append((410, {}))
    engine.submit(make_order("o-1")).wait(timeout=60)
    receiver.next()
    wait_until(lambda: engine.webhook(webhook_id).disabled_us is not None)

    engine.submit(make_order("o-2")).wait(timeout=60)

    assert "410" in str(engine.webhook(webhook_id).disabled_reason)
    assert ended(engine, made) == [("order.accepted", 1, DeliveryState.FAILED)]
    engine.update_webhook(webhook_id, enabled=True)
    engine.submit(make_order("o-3")).wait(timeout=60)
    assert receiver.next().json["data"]["order"]["order_id"] == "o-3"


def test_a_webhook_that_hangs_delays_neither_others_nor_orders(
    hooked: Hooked, receiver: Receiver, start_receiver: Callable[[], Receiver]
) -> None:
    engine, _ = hooked()
    release = threading.Event()
    receiver.answers += [lambda: release.wait(60)] * 8
    other = start_receiver()
    engine.create_webhook(other.url, events=("order.completed",))
    try:
        engine.submit_many([make_order(f"o-{number}") for number in range(20)])
        engine.drain(timeout=60)

        assert {other.next().json["data"]["order"]["order_id"] for _ in range(20)} == {
            f"o-{number}" for number in range(20)
        }
        assert [receiver.next() for _ in range(4)]
        assert not receiver.has_more  # so many at once
    finally:
        release.set()


def test_of_one_order_no_event_overtakes_another(hooked: Hooked, receiver: Receiver) -> None:
    engine, _ = hooked(webhook_concurrency=16)
    release = threading.Event()
    receiver.answers.append(lambda: release.wait(60))
    engine.submit(make_order("slow")).wait(timeout=60)
    first = receiver.next()
    engine.submit(make_order("quick")).wait(timeout=60)

    assert [receiver.next().json["data"]["order"]["order_id"] for _ in range(2)] == ["quick", "quick"]
    release.set()
    assert first.json["type"] == "order.accepted"
    assert receiver.next().json["type"] == "order.completed"


def test_while_a_secret_is_exchanged_both_are_good(hooked: Hooked, receiver: Receiver) -> None:
    engine, made = hooked()
    new = engine.rotate_webhook_secret(made.webhook.webhook_id)

    engine.test_webhook(made.webhook.webhook_id)
    received = receiver.next()

    assert new.secret != made.secret
    assert received.verified(made.secret) == received.verified(new.secret)
    assert received.json == {
        "type": "webhook.test",
        "timestamp": received.json["timestamp"],
        "data": {"webhook_id": made.webhook.webhook_id},
    }


def test_what_was_sent_can_be_sent_again(hooked: Hooked, receiver: Receiver, wait_until: Wait) -> None:
    engine, made = hooked(events=("order.accepted",))
    webhook_id = made.webhook.webhook_id
    first = []
    for order_id in ("a", "b"):  # events of two orders may overtake each other
        engine.submit(make_order(order_id)).wait(timeout=60)
        first.append(receiver.next().event_id)
    wait_until(lambda: all(state is DeliveryState.DELIVERED for *_, state in ended(engine, made)))
    (_, oldest) = engine.webhook_deliveries(webhook_id)

    assert engine.replay_webhook(webhook_id, delivery=oldest.id) == 1
    assert receiver.next().event_id == first[0]
    wait_until(lambda: all(state is DeliveryState.DELIVERED for *_, state in ended(engine, made)))
    assert engine.replay_webhook(webhook_id, failed_only=True) == 0
    assert engine.replay_webhook(webhook_id, since=engine.order("b").created_at) == 1
    assert receiver.next().event_id == first[1]


def test_what_was_not_recorded_is_sent_again_by_the_next_engine(
    hooked: Hooked, receiver: Receiver, start_engine: Callable[..., OrderEngine]
) -> None:
    engine, _ = hooked(events=("order.accepted",))
    release = threading.Event()
    receiver.answers.append(lambda: release.wait(60))
    engine.submit(make_order("o-1")).wait(timeout=60)
    first = receiver.next()
    engine.stop()
    release.set()

    start_engine(allow_private_webhooks=True)

    assert receiver.next().event_id == first.event_id


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "10.0.0.7", "169.254.169.254", "[::ffff:127.0.0.1]"]
)
def test_nothing_is_sent_into_the_network_of_the_engine_unless_that_is_allowed(
    start_engine: Callable[..., OrderEngine], receiver: Receiver, wait_until: Wait, host: str
) -> None:
    engine = start_engine()
    port = receiver.url.rsplit(":", 1)[1]
    made = engine.create_webhook(f"http://{host}:{port}", events=("order.accepted",))

    engine.submit(make_order("o-1")).wait(timeout=60)
    wait_until(lambda: ended(engine, made)[0][1] == 1)

    (delivery,) = engine.webhook_deliveries(made.webhook.webhook_id)
    assert delivery.latest is not None
    assert "is not public" in str(delivery.latest.error)
    assert not receiver.has_more


def test_an_error_of_the_sender_is_counted_and_it_begins_anew(
    hooked: Hooked, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "_AGAIN_SECONDS", 0.01)
    original, errors = client.WebhookClient.send, [MemoryError()]

    async def send(self: client.WebhookClient, *arguments: Any) -> client.Sent:
        if errors:
            raise errors.pop()
        return await original(self, *arguments)

    monkeypatch.setattr(client.WebhookClient, "send", send)
    engine, _ = hooked(events=("order.accepted",))

    engine.submit(make_order("o-1")).wait(timeout=60)

    assert receiver.next().json["type"] == "order.accepted"
    assert engine.incidents()["WebhookSender"] == 1


def test_a_deleted_webhook_is_forgotten_with_all_that_was_sent(
    hooked: Hooked, receiver: Receiver, wait_until: Wait, sql: Callable[[str], list[Any]]
) -> None:
    engine, made = hooked()
    engine.submit(make_order("o-1")).wait(timeout=60)
    receiver.next()

    engine.delete_webhook(made.webhook.webhook_id)

    assert engine.webhooks() == []
    for call in (engine.webhook, engine.delete_webhook, engine.test_webhook, engine.webhook_deliveries):
        with pytest.raises(WebhookNotFound):
            call(made.webhook.webhook_id)
    for table in ("deliveries", "outbox", "delivery_attempts", "webhooks"):
        wait_until(lambda table=table: sql(f"SELECT count(*) FROM {table}") == [(0,)])


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "ftp://shop.example"},
        {"url": "https://user:pass@shop.example"},
        {"url": "https://shop.example/#part"},
        {"url": "https://"},
        {"url": "https://shop.example:99999"},
        {"url": "https://shop.example/ü"},
        {"url": 7},
        {"events": ()},
        {"events": ("order.lost",)},
        {"description": "a\nb"},
    ],
)
def test_what_is_no_webhook_is_refused(start_engine: Callable[..., OrderEngine], fields: dict[str, Any]) -> None:
    engine = start_engine()

    with pytest.raises(InvalidWebhook, match=f"/{next(iter(fields))}: must be"):
        engine.create_webhook(**({"url": "https://shop.example"} | fields))
    assert engine.webhooks() == []


def test_who_made_a_webhook_is_in_the_audit_log(hooked: Hooked) -> None:
    engine, made = hooked()

    (entry,) = engine.audit()

    assert (entry.action, entry.target) == ("create webhook", made.webhook.webhook_id)


def test_the_trace_of_the_order_s_request_goes_along(hooked: Hooked, receiver: Receiver) -> None:
    engine, _ = hooked(events=("order.accepted",))
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    engine.begin_submit([make_order("o-1")], Cause("r-1", None, traceparent)).get(timeout=30)
    engine.submit(make_order("o-2"))

    told = {received.json["data"]["order"]["order_id"]: received for received in (receiver.next(), receiver.next())}
    assert told["o-1"].headers["traceparent"] == traceparent
    assert "traceparent" not in told["o-2"].headers
