"""Orders are claimed in the database: few are in memory, and each has its turn."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import Order, OrderEngine, OrderStatus
from ordermill.engine.actors.messages import OrdersClaimed
from ordermill.engine.actors.pool import PoolActor
from ordermill.engine.testing import make_order

if TYPE_CHECKING:
    from ordermill.engine.testing import Held, WatchedClock

StartEngine = Callable[..., OrderEngine]


def test_a_backlog_larger_than_the_window_is_handled_in_sequence_and_stays_out_of_memory(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch, assert_sound: Callable[[], None]
) -> None:
    sizes: list[int] = []
    receive = PoolActor.receive

    def measure(pool: PoolActor, message: Any) -> None:
        receive(pool, message)
        sizes.append(len(pool._claims))

    monkeypatch.setattr(PoolActor, "receive", measure)
    handled: list[str] = []
    first = threading.Event()

    def handle(order: Order) -> None:
        assert first.wait(60)
        handled.append(order.order_id)

    engine = start_engine(handle, processors=1, window=10)
    order_ids = [f"o-{number}" for number in range(500)]
    for start in range(0, 500, 7):
        engine.submit_many(map(make_order, order_ids[start : start + 7]))
    assert max(sizes) <= 1
    first.set()
    engine.drain(timeout=60)

    assert handled == order_ids
    assert max(sizes) <= 128 + 1
    engine.stop()
    assert_sound()


@pytest.mark.parametrize("window", [1, 2, 3, 100])
def test_every_order_is_handled_once_whatever_the_window(start_engine: StartEngine, window: int) -> None:
    handled: list[str] = []
    engine = start_engine(lambda order: handled.append(order.order_id), processors=4, window=window)
    for batch in range(20):
        engine.submit_many(make_order(f"{batch}-{number}") for number in range(10))

    assert engine.drain(timeout=60).total_orders_processed == 200
    assert sorted(handled) == sorted(f"{batch}-{number}" for batch in range(20) for number in range(10))


def test_orders_that_are_tried_again_do_not_hold_up_new_ones(start_engine: StartEngine, clock: WatchedClock) -> None:
    def handle(order: Order) -> None:
        if order.order_id.startswith("bad"):
            raise ConnectionError("no answer")

    engine = start_engine(handle, clock=clock, processors=1, window=5, retry_seconds=60)
    engine.submit_many(make_order(f"bad-{number}") for number in range(20))

    receipts = engine.submit_many(make_order(f"good-{number}") for number in range(20))

    assert {receipt.wait(timeout=60) for receipt in receipts} == {OrderStatus.COMPLETED}
    assert engine.metrics().orders_by_status[OrderStatus.PENDING] == 20


def test_a_single_order_does_not_wait_for_the_many_of_another_user(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=1)
    engine.submit_many(make_order(f"big-{number}", user_id="big") for number in range(500))
    held.begun()
    engine.submit(make_order("small", user_id="small"))
    held.release()

    assert "small" in {held.begun(), held.begun()}


def test_turns_are_kept_over_a_restart(start_engine: StartEngine, hold: Callable[[], Held]) -> None:
    first = hold()
    engine = start_engine(first, processors=1, stop_seconds=0)
    engine.submit_many(make_order(f"big-{number}", user_id="big") for number in range(50))
    engine.submit(make_order("small", user_id="small"))
    first.begun()
    engine.stop()
    handled: list[str] = []

    engine = start_engine(lambda order: handled.append(order.order_id), processors=1)
    engine.submit_many([make_order("late", user_id="late"), make_order("big-last", user_id="big")])
    engine.drain(timeout=60)

    assert handled.index("small") <= 2
    assert handled.index("late") <= 3
    assert handled[-1] == "big-last"


def test_a_paused_engine_claims_nothing_and_goes_on_where_it_was(start_engine: StartEngine) -> None:
    engine = start_engine()
    engine.pause()
    engine.submit_many(make_order(f"o-{number}") for number in range(5))
    assert engine.metrics().orders_by_status[OrderStatus.PENDING] == 5
    assert {record.attempts for record in engine.orders()} == {0}

    engine.resume()

    assert engine.drain(timeout=60).total_orders_processed == 5


def test_an_order_that_was_cancelled_meanwhile_is_skipped(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=1)
    engine.submit_many(make_order(f"o-{number}") for number in range(5))
    held.begun()
    for order_id in ("o-1", "o-3"):
        engine.cancel(order_id)
    held.release()

    assert engine.drain(timeout=60).orders_by_status[OrderStatus.CANCELLED] == 2
    assert [held.begun(), held.begun()] == ["o-2", "o-4"]


def test_orders_that_an_unexpected_error_hid_are_handled_all_the_same(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = PoolActor.receive
    errors = [SystemExit("unexpected")]

    def fail_once(pool: PoolActor, message: Any) -> None:
        if isinstance(message, OrdersClaimed) and errors:
            raise errors.pop()
        receive(pool, message)

    monkeypatch.setattr(PoolActor, "receive", fail_once)
    engine = start_engine()

    assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.COMPLETED
    assert engine.metrics().incidents == 1
    assert engine.dead_actors() == ()


def test_an_order_that_has_to_run_alone_and_may_not_be_begun_keeps_no_other_waiting(start_engine: StartEngine) -> None:
    engine = start_engine()
    engine.set_queue("mail", paused=True)
    engine.submit(make_order("suspect", queue="mail"))
    engine._need().context.suspects.add(1)  # as after a crash

    receipts = engine.submit_many(make_order(f"o-{number}") for number in range(3))

    assert {receipt.wait(timeout=60) for receipt in receipts} == {OrderStatus.COMPLETED}
    assert engine.status("suspect") is OrderStatus.PENDING
    engine.set_queue("mail", paused=False)
    assert engine.wait("suspect", timeout=60) is OrderStatus.COMPLETED
