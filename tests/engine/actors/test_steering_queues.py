"""Queues are paused and limited while the engine runs: recorded first, obeyed afterwards, and written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import (
    InvalidArgument,
    InvalidConfiguration,
    InvalidOrder,
    Order,
    OrderEngine,
    OrderStatus,
    Retry,
    TooManyQueues,
    WaitReason,
)
from ordermill.engine.testing import make_order

if TYPE_CHECKING:
    from tests.engine.conftest import Held, WatchedClock

StartEngine = Callable[..., OrderEngine]


def test_a_paused_queue_starts_nothing_until_it_is_resumed(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=2)
    paused = engine.set_queue("mail", paused=True, reason="the provider is down")
    receipts = engine.submit_many([make_order("m", queue="mail", priority=9), make_order("a")])

    assert (paused.queue, paused.paused, paused.reason) == ("mail", True, "the provider is down")
    assert held.begun() == "a"
    assert not held.has_begun_more()
    assert engine.order("m").order.queue == "mail"

    engine.set_queue("mail", paused=False)

    assert held.begun() == "m"
    held.release()
    assert {receipt.wait(timeout=60) for receipt in receipts} == {OrderStatus.COMPLETED}


def test_what_was_claimed_of_a_queue_and_not_begun_goes_back_when_it_is_paused(
    start_engine: StartEngine, held: Held
) -> None:
    engine = start_engine(held, processors=1)
    engine.submit_many(make_order(f"m-{number}", queue="mail") for number in range(4))
    assert held.begun() == "m-0"

    engine.set_queue("mail", paused=True)
    held.release()

    engine.wait("m-0", timeout=60)
    assert not held.has_begun_more()
    assert engine.metrics().orders_by_status[OrderStatus.PENDING] == 3


def test_the_concurrency_of_a_queue_may_be_changed_while_it_is_used(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=4, limits="queue:mail=1")
    engine.submit_many(make_order(f"m-{number}", queue="mail") for number in range(4))
    assert held.begun() == "m-0"
    assert not held.has_begun_more()

    state = engine.set_queue("mail", concurrency=3)

    assert (state.concurrency, state.rate) == (3, None)
    assert {held.begun(), held.begun()} == {"m-1", "m-2"}
    assert not held.has_begun_more()
    assert engine.set_queue("mail", concurrency=None).concurrency == 1
    held.release()
    engine.drain(timeout=60)


def test_a_limit_by_user_keeps_no_other_user_waiting(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=4, limits="user=1")
    engine.submit_many(make_order(f"a-{number}", user_id="ann") for number in range(5))
    engine.submit(make_order("b", user_id="bob"))

    assert {held.begun(), held.begun()} == {"a-0", "b"}
    assert not held.has_begun_more()
    held.release()

    engine.drain(timeout=60)
    assert engine.metrics().orders_by_status[OrderStatus.COMPLETED] == 6


def test_a_rate_is_kept_by_the_times_of_the_histories(start_engine: StartEngine) -> None:
    engine = start_engine(simulate_seconds=0, processors=4, limits="metadata.provider=50/s")
    for number in range(20):
        engine.submit(make_order(f"o-{number}", metadata={"provider": "acme"}))
    engine.drain(timeout=60)

    begun = sorted(
        step.at_us
        for number in range(20)
        for step in engine.history(f"o-{number}")
        if step.to_status is OrderStatus.PROCESSING
    )
    spans = [
        (later - earlier, count) for index, earlier in enumerate(begun) for count, later in enumerate(begun[index:])
    ]
    assert all(count + 1 <= 50 * span_us / 1e6 + 5 + 0.2 for span_us, count in spans)


def test_a_handler_that_is_told_to_come_back_later_slows_its_limits_down(
    start_engine: StartEngine, clock: WatchedClock, wait_until: Callable[[Callable[[], object]], None]
) -> None:
    tried: list[str] = []

    def busy_once(order: Order) -> None:
        tried.append(order.order_id)
        if len(tried) == 1:
            raise Retry(after=600, reason="too many requests")

    engine = start_engine(busy_once, processors=1, limits="queue:mail=5, user=5", clock=clock)
    first = engine.submit(make_order("m-1", queue="mail", user_id="ann"))
    wait_until(lambda: engine.order("m-1").order_id if engine.order("m-1").failures else None)
    later = [
        engine.submit(make_order("m-2", queue="mail", user_id="bob")),
        engine.submit(make_order("d-1", user_id="ann")),
    ]
    free = engine.submit(make_order("d-2", user_id="cat"))

    assert free.wait(timeout=60) is OrderStatus.COMPLETED
    assert tried == ["m-1", "d-2"]
    _, mail = engine.queues()
    assert mail.slowed_until is not None
    assert engine.queues()[0].slowed_until is None
    assert engine.history("m-1")[-1].reason == "Retry: too many requests; tried again in 600.0 s"
    (wait, *_) = engine.outlook("m-2").waiting_for
    assert (wait.reason, wait.detail) == (WaitReason.LIMIT, "queue:mail was told to come back later")
    assert wait.until_us == mail.slowed_until_us

    clock.advance(600)

    assert {receipt.wait(timeout=60) for receipt in (first, *later)} == {OrderStatus.COMPLETED}
    assert engine.queues()[1].slowed_until is None


def test_an_outlook_tells_of_limits_and_of_a_paused_queue(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=2, limits="user=1")
    engine.set_queue("mail", paused=True, reason="night")
    engine.submit_many([make_order("a-1", user_id="ann"), make_order("a-2", user_id="ann")])
    engine.submit(make_order("m", queue="mail", user_id="bob"))
    assert held.begun() == "a-1"

    limited, paused = engine.outlook("a-2"), engine.outlook("m")

    assert [(wait.reason, wait.detail, wait.ahead) for wait in limited.waiting_for][:1] == [
        (WaitReason.LIMIT, "1 orders of user:ann may be processed at once", 1)
    ]
    assert [(wait.reason, wait.detail) for wait in paused.waiting_for][:1] == [
        (WaitReason.PAUSE, "the queue mail is paused: night")
    ]
    assert limited.expected is None
    held.release()


@pytest.mark.parametrize(
    ("limits", "detail"),
    [
        ("queue:mail=0.01/s", "0.01 orders of queue:mail may be begun a second"),
        ("queue:mail=1", "1 orders of queue:mail may be processed at once"),
        ("user=0.01/s", "0.01 orders of user:ann may be begun a second"),
    ],
)
def test_whoever_is_far_behind_in_a_limited_queue_waits_for_the_limit(
    start_engine: StartEngine, held: Held, limits: str, detail: str
) -> None:
    engine = start_engine(held, processors=8, limits=limits)
    engine.submit_many(make_order(f"m-{number}", queue="mail", user_id="ann") for number in range(5))
    assert held.begun() == "m-0"

    for number in range(1, 5):
        wait = engine.outlook(f"m-{number}").waiting_for[0]
        assert (wait.reason, wait.detail) == (WaitReason.LIMIT, detail)
    for number in range(1, 5):
        engine.cancel(f"m-{number}")
    held.release()


def test_what_is_set_holds_after_a_restart_and_is_written_down(start_engine: StartEngine) -> None:
    engine = start_engine()
    engine.set_queue("mail", paused=True, concurrency=2, rate=7.5, reason="night")
    engine.stop()

    started = start_engine(limits="queue:mail=9 9/s, queue:other=4")

    default, mail = started.queues()
    assert (default.queue, default.paused, default.concurrency, default.rate) == ("default", False, None, None)
    assert (mail.paused, mail.concurrency, mail.rate, mail.reason) == (True, 2, 7.5, "night")
    assert mail.changed_at is not None
    (entry,) = started.audit()
    assert (entry.action, entry.target, entry.reason) == (
        "set queue",
        "mail: paused, concurrency 2, rate 7.5",
        "night",
    )
    mail = started.set_queue("mail", rate=None)
    assert (mail.paused, mail.concurrency, mail.rate, mail.reason) == (True, 2, 9.0, None)


def test_queues_tell_how_many_orders_wait_and_are_processed(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=2, limits="queue:mail=1")
    engine.submit_many(make_order(f"m-{number}", queue="mail") for number in range(3))
    assert held.begun() == "m-0"

    _, mail = engine.queues()

    assert (mail.queue, mail.pending, mail.processing, mail.slowed_until) == ("mail", 2, 1, None)


def test_an_order_is_moved_to_another_queue_and_stays_the_same_order(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held)
    engine.set_queue("mail", paused=True)
    order = make_order("o-1", queue="mail")
    engine.submit(order)

    moved = engine.reschedule("o-1", queue="other", reason="it is urgent")

    assert moved.order.queue == "other"
    assert held.begun() == "o-1"
    assert "queue other; it is urgent" in [step.reason for step in engine.history("o-1")][1]
    held.release()
    assert engine.submit(order).wait(timeout=60) is OrderStatus.COMPLETED


def test_orders_are_listed_by_queue(start_engine: StartEngine) -> None:
    engine = start_engine(simulate_seconds=0)
    engine.submit_many(
        [make_order("m-1", queue="mail"), make_order("d-1"), make_order("m-2", queue="mail", user_id="x")]
    )
    engine.drain(timeout=60)

    def ids(**filters: Any) -> list[str]:
        return [record.order_id for record in engine.orders(**filters)]

    assert ids(queue="mail") == ["m-2", "m-1"]
    assert ids(queue="default") == ["d-1"]
    assert ids(queue="mail", status="Completed") == ["m-2", "m-1"]
    assert ids(queue="mail", user_id="x") == ["m-2"]
    assert ids(queue="mail", order_id_prefix="m-1") == ["m-1"]
    assert ids(queue="none") == []


@pytest.mark.parametrize(
    "call",
    [
        lambda engine: engine.set_queue("a b", paused=True),
        lambda engine: engine.set_queue("", paused=True),
        lambda engine: engine.set_queue(None, paused=True),
        lambda engine: engine.set_queue("mail"),
        lambda engine: engine.set_queue("mail", paused="yes"),
        lambda engine: engine.set_queue("mail", concurrency=0),
        lambda engine: engine.set_queue("mail", concurrency=1.5),
        lambda engine: engine.set_queue("mail", concurrency=True),
        lambda engine: engine.set_queue("mail", rate=0),
        lambda engine: engine.set_queue("mail", rate=float("nan")),
        lambda engine: engine.set_queue("mail", rate="5"),
        lambda engine: engine.set_queue("mail", paused=True, reason=""),
        lambda engine: engine.orders(queue="a b"),
    ],
)
def test_what_no_queue_can_have_is_refused(start_engine: StartEngine, call: Callable[[OrderEngine], Any]) -> None:
    engine = start_engine()

    with pytest.raises(InvalidArgument):
        call(engine)
    assert [state.queue for state in engine.queues()] == ["default"]


def test_a_queue_too_many_cannot_be_set(start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ordermill.store.queues.MAX_QUEUES", 2)
    engine = start_engine()
    engine.set_queue("mail", paused=True)

    with pytest.raises(TooManyQueues, match=r"none of them.*Use the name"):
        engine.set_queue("other", paused=True)


def test_an_order_names_a_queue_that_can_be() -> None:
    with pytest.raises(InvalidOrder, match="/queue"):
        make_order(queue="a b")
    with pytest.raises(InvalidOrder, match="/queue"):
        make_order(queue=None)
    with pytest.raises(InvalidOrder, match="/priority"):
        make_order(priority=None)


def test_limits_that_are_none_are_refused() -> None:
    with pytest.raises(InvalidConfiguration, match="limits must be entries such as"):
        OrderEngine("orders.db", limits="user:5")
