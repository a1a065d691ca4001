"""What operators do to many orders is done in parts between commits, goes on after a restart, and can be stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import (
    Action,
    ActionNotFound,
    ActionState,
    BulkAction,
    InvalidArgument,
    Order,
    OrderEngine,
    OrderFilter,
    OrderStatus,
    StoreUnavailable,
)
from ordermill.engine.actors import bulk_work
from ordermill.engine.testing import ManualClock, make_order
from ordermill.store.ledger import Ledger

if TYPE_CHECKING:
    from tests.engine.conftest import HeldLedger, WatchedClock

StartEngine = Callable[..., OrderEngine]
WaitUntil = Callable[[Callable[[], object]], None]


class ProviderDown(Exception):
    """The provider does not answer."""


class Provider:
    """A handler that fails while the provider is down."""

    def __init__(self) -> None:
        self.is_down = True

    def __call__(self, order: Order) -> None:
        if self.is_down and not order.order_id.startswith("fine"):
            raise ProviderDown(f"no answer for {order.order_id}")


def finish(engine: OrderEngine, action: BulkAction, wait_until: WaitUntil) -> None:
    """Wait until an action is over, and the recorder has told the others so: before, it answers nobody."""
    wait_until(lambda: engine.action(action.id).state is ActionState.DONE)
    engine.control()


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def broken(start_engine: StartEngine, provider: Provider) -> OrderEngine:
    """An engine with 30 failed orders among others."""
    engine = start_engine(provider, max_attempts=1)
    engine.submit_many(make_order(f"o-{number}", user_id=f"u-{number % 3}") for number in range(30))
    engine.submit_many(make_order(f"fine-{number}") for number in range(10))
    engine.drain(timeout=60)
    return engine


def test_a_preview_counts_and_shows_and_changes_nothing(broken: OrderEngine) -> None:
    preview = broken.preview_action("retry", OrderFilter(error="ProviderDown"))

    assert preview.matched == 30
    assert [record.order_id for record in preview.examples] == [f"o-{number}" for number in range(29, 19, -1)]
    assert broken.preview_action("retry", OrderFilter(error="Other")) == (0, [])
    assert broken.preview_action("retry", OrderFilter(user_id="u-1")).matched == 10
    assert broken.metrics().orders_by_status[OrderStatus.FAILED] == 30
    assert broken.audit() == []


def test_failed_orders_are_retried_and_no_others(
    broken: OrderEngine, provider: Provider, wait_until: WaitUntil, assert_sound: Callable[[], None]
) -> None:
    provider.is_down = False

    action = broken.start_action("retry", OrderFilter(error="ProviderDown", user_id="u-1"), "the provider is back")
    assert (action.state, action.matched, action.moved) == (ActionState.RUNNING, 10, 0)
    finish(broken, action, wait_until)
    counts = broken.drain(timeout=60).orders_by_status

    done = broken.action(action.id)
    assert (done.moved, done.refused) == (10, 0)
    assert (counts[OrderStatus.COMPLETED], counts[OrderStatus.FAILED]) == (20, 20)
    assert "the provider is back" in [step.reason for step in broken.history("o-1")]
    assert [(entry.action, entry.target, entry.orders) for entry in broken.audit()] == [
        ("retry", f"action {action.id} is done", 10),
        ("retry", f"action {action.id}: orders where user_id=u-1, error=ProviderDown", None),
    ]
    assert_sound()


def test_an_action_goes_in_many_parts(
    broken: OrderEngine, provider: Provider, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_work, "_MOVED_AT_ONCE", 4)
    monkeypatch.setattr(bulk_work, "_LOOKED_AT_AT_ONCE", 7)
    provider.is_down = False

    action = broken.start_action(Action.RETRY, OrderFilter())
    finish(broken, action, wait_until)

    assert broken.action(action.id).moved == 30
    assert broken.drain(timeout=60).orders_by_status[OrderStatus.COMPLETED] == 40


def test_orders_that_wait_for_their_next_attempt_are_hurried(
    start_engine: StartEngine, provider: Provider, wait_until: WaitUntil
) -> None:
    engine = start_engine(provider, retry_seconds=1000)
    engine.submit_many(make_order(f"o-{number}") for number in range(5))
    wait_until(lambda: sum(group.waiting for group in engine.failures()) == 5)
    provider.is_down = False

    engine.start_action("retry", OrderFilter(error="ProviderDown"))

    assert engine.drain(timeout=60).orders_by_status[OrderStatus.COMPLETED] == 5
    assert engine.failures() == []


def test_orders_whose_next_attempt_is_due_while_the_engine_is_paused_are_retried_all_the_same(
    start_engine: StartEngine, provider: Provider, wait_until: WaitUntil, clock: ManualClock
) -> None:
    engine = start_engine(provider, retry_seconds=10, clock=clock)
    engine.submit_many(make_order(f"o-{number}") for number in range(5))
    wait_until(lambda: sum(group.waiting for group in engine.failures()) == 5)
    engine.pause()
    clock.advance(60)
    provider.is_down = False

    action = engine.start_action("retry", OrderFilter(error="ProviderDown"))
    finish(engine, action, wait_until)

    assert (action.matched, engine.action(action.id).moved) == (5, 5)
    assert {engine.order(f"o-{number}").failures for number in range(5)} == {0}
    engine.resume()
    assert engine.drain(timeout=60).orders_by_status[OrderStatus.COMPLETED] == 5


def test_pending_orders_are_cancelled_at_once(start_engine: StartEngine, wait_until: WaitUntil) -> None:
    engine = start_engine()
    engine.pause()
    engine.submit_many(make_order(f"o-{number}", user_id=f"u-{number % 2}") for number in range(500))

    action = engine.start_action("cancel", OrderFilter(user_id="u-1"), "a wrong batch")
    finish(engine, action, wait_until)
    engine.resume()

    counts = engine.drain(timeout=60).orders_by_status
    assert (counts[OrderStatus.CANCELLED], counts[OrderStatus.COMPLETED]) == (250, 250)


def test_reviews_are_settled_at_once(
    start_engine: StartEngine, leave_in_hand: Callable[..., object], wait_until: WaitUntil
) -> None:
    leave_in_hand("o-1", "o-2", "o-3")
    engine = start_engine(on_interrupted="review")
    assert engine.preview_action("retry", OrderFilter()).matched == 0

    action = engine.start_action("settle", OrderFilter(), "found paid", "Completed")
    finish(engine, action, wait_until)

    assert engine.drain(timeout=60).orders_by_status[OrderStatus.COMPLETED] == 3


def test_reviews_are_retried_where_the_filter_names_them(
    start_engine: StartEngine, leave_in_hand: Callable[..., object]
) -> None:
    leave_in_hand("o-1", "o-2")
    engine = start_engine(on_interrupted="review")

    engine.start_action("retry", OrderFilter(status=OrderStatus.REVIEW))

    assert engine.wait("o-1", timeout=60) is engine.wait("o-2", timeout=60) is OrderStatus.COMPLETED


@pytest.mark.parametrize(
    "call",
    [
        lambda engine: engine.preview_action("delete", OrderFilter()),
        lambda engine: engine.preview_action("pause", OrderFilter()),
        lambda engine: engine.preview_action("retry", {"status": "Failed"}),
        lambda engine: engine.preview_action("retry", OrderFilter(status=OrderStatus.COMPLETED)),
        lambda engine: engine.preview_action("cancel", OrderFilter(status=OrderStatus.PROCESSING)),
        lambda engine: engine.preview_action("settle", OrderFilter()),
        lambda engine: engine.preview_action("settle", OrderFilter(), "Pending"),
        lambda engine: engine.start_action("retry", OrderFilter(), status="Failed"),
        lambda engine: engine.start_action("retry", OrderFilter(), ""),
        lambda engine: engine.action(0),
        lambda engine: engine.stop_action("1"),
    ],
)
def test_what_nobody_can_do_is_refused(start_engine: StartEngine, call: Callable[[OrderEngine], object]) -> None:
    with pytest.raises(InvalidArgument):
        call(start_engine())


def test_an_action_that_is_not_there_is_named(start_engine: StartEngine) -> None:
    engine = start_engine()

    with pytest.raises(ActionNotFound, match="There is no action 7"):
        engine.action(7)
    with pytest.raises(ActionNotFound):
        engine.stop_action(7)


def hold_at(ledger: HeldLedger, moves: int) -> None:
    """Hold up the transaction that moves so many orders at once."""
    ledger.hold(lambda orders, steps: not orders and len(steps) == moves)


def test_an_action_can_be_stopped_and_what_it_has_moved_stays_moved(
    broken: OrderEngine, ledger: HeldLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken.pause()
    monkeypatch.setattr(bulk_work, "_MOVED_AT_ONCE", 7)
    hold_at(ledger, 7)
    action = broken.start_action("retry", OrderFilter())
    ledger.wait_until_held()
    stopping = broken.begin_stop_action(action.id, "not these")
    ledger.release()

    stopped = stopping.get(timeout=60)

    assert (stopped.state, stopped.moved) == (ActionState.STOPPED, 7)
    assert broken.stop_action(action.id) == stopped
    assert broken.metrics().orders_by_status[OrderStatus.PENDING] == 7
    entry = broken.audit()[0]
    assert (entry.target, entry.reason) == (f"action {action.id} is stopped", "not these")


def test_an_action_goes_on_after_a_restart_where_it_was(
    broken: OrderEngine,
    provider: Provider,
    start_engine: StartEngine,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken.pause()
    monkeypatch.setattr(bulk_work, "_MOVED_AT_ONCE", 7)
    with monkeypatch.context() as patch:
        patch.setattr(bulk_work.BulkWork, "go_on", lambda _: None)
        action = broken.start_action("retry", OrderFilter())
        broken.stop()
    provider.is_down = False

    engine = start_engine(provider)
    finish(engine, action, wait_until)

    assert engine.action(action.id).moved == 30
    engine.resume()
    assert engine.drain(timeout=60).orders_by_status[OrderStatus.COMPLETED] == 40


def test_orders_that_come_later_are_not_touched(
    start_engine: StartEngine, ledger: HeldLedger, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start_engine()
    engine.pause()
    engine.submit_many(make_order(f"o-{number}") for number in range(10))
    monkeypatch.setattr(bulk_work, "_MOVED_AT_ONCE", 3)
    hold_at(ledger, 3)
    action = engine.start_action("cancel", OrderFilter())
    ledger.wait_until_held()
    later = engine.begin_submit([make_order("later")])
    ledger.release()
    later.get(timeout=60)

    finish(engine, action, wait_until)

    assert engine.action(action.id).moved == 10
    assert engine.status("later") is OrderStatus.PENDING


def test_an_order_that_moves_on_meanwhile_is_counted_as_refused(
    start_engine: StartEngine, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start_engine()
    engine.pause()
    engine.submit_many(make_order(f"o-{number}") for number in range(3))
    find = bulk_work.bulk_actions.next_orders
    record = Ledger.record

    def find_and_let_cancel(*arguments: Any, **more: Any) -> Any:
        page = find(*arguments, **more)
        monkeypatch.setattr(bulk_work.bulk_actions, "next_orders", find)
        step = bulk_work.move(page.orders[0], bulk_work.edge_of(Action.CANCEL, page.orders[0]), 1)
        record(ledgers[0], (), [step], 1)
        return page

    ledgers: list[Ledger] = []

    def note(ledger: Ledger, *arguments: Any, **more: Any) -> Any:
        ledgers.append(ledger)
        return record(ledger, *arguments, **more)

    monkeypatch.setattr(Ledger, "record", note)
    engine.submit(make_order("last"))
    monkeypatch.setattr(bulk_work.bulk_actions, "next_orders", find_and_let_cancel)

    action = engine.start_action("cancel", OrderFilter())
    finish(engine, action, wait_until)

    assert (engine.action(action.id).moved, engine.action(action.id).refused) == (3, 1)


def test_an_action_that_the_database_does_not_take_goes_on_later(
    broken: OrderEngine, ledger: HeldLedger, provider: Provider, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_work, "_AGAIN_SECONDS", 0.01)
    ledger.fail_once(StoreUnavailable(OSError("disk full")), lambda orders, moves: not orders and len(moves) == 30)
    provider.is_down = False

    action = broken.start_action("retry", OrderFilter())
    finish(broken, action, wait_until)

    assert broken.action(action.id).moved == 30


def test_an_action_whose_orders_cannot_be_recorded_is_stopped_and_the_next_one_runs(
    broken: OrderEngine, ledger: HeldLedger, wait_until: WaitUntil
) -> None:
    ledger.fail_once(ValueError("no"), lambda orders, moves: not orders and len(moves) == 30)

    first = broken.start_action("retry", OrderFilter())
    second = broken.start_action("retry", OrderFilter(user_id="u-1"))
    finish(broken, second, wait_until)

    assert broken.action(first.id).state is ActionState.STOPPED
    assert broken.metrics().incidents == 1


def test_the_engine_takes_orders_while_an_action_runs(
    start_engine: StartEngine, clock: WatchedClock, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start_engine(clock=clock)
    engine.pause()
    engine.submit_many(make_order(f"o-{number}") for number in range(300))
    monkeypatch.setattr(bulk_work, "_MOVED_AT_ONCE", 1)

    action = engine.start_action("cancel", OrderFilter())
    between = engine.submit(make_order("between"))

    assert between.record.order_id == "between"
    assert engine.action(action.id).moved < 300
    finish(engine, action, wait_until)
