"""The backlog of each user, exact across refusals, retries, bugs and restarts; and how long to wait for room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import (
    BacklogFull,
    EngineConfig,
    Order,
    OrderEngine,
    Outcome,
    Reject,
    StoreUnavailable,
    UserBacklogFull,
    UserSubmissionTooLarge,
)
from ordermill.engine.actors.backlog import Backlog, DrainRate
from ordermill.engine.actors.intake import IntakeActor
from ordermill.engine.actors.messages import BacklogRead, BacklogReleased
from ordermill.engine.testing import ManualClock, make_order

if TYPE_CHECKING:
    from tests.engine.conftest import HeldLedger

    from ordermill.engine.testing import Held, WatchedClock

StartEngine = Callable[..., OrderEngine]


def of_user(user_id: str, *order_ids: str) -> list[Order]:
    """Orders of a user."""
    return [make_order(f"{user_id}-{order_id}", user_id=user_id) for order_id in order_ids]


def assert_room(engine: OrderEngine, user_id: str, limit: int, room: int) -> None:
    """Exactly so many more orders of a user are taken, and none of them is left behind."""
    told = f"{limit - room} orders of user '{user_id}' are unfinished" if room < limit else f"more than the {limit}"
    with pytest.raises(UserBacklogFull, match=told):
        engine.submit_many(of_user(user_id, *(f"more-{number}" for number in range(room + 1))))
    if room:
        engine.submit_many(of_user(user_id, *(f"probe-{number}" for number in range(room))))
        for number in range(room):
            engine.cancel(f"{user_id}-probe-{number}")


def test_one_user_cannot_take_the_room_of_the_others(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, user_backlog=2)
    engine.submit_many(of_user("greedy", "a", "b"))

    with pytest.raises(UserBacklogFull, match="2 orders of user 'greedy' are unfinished and 1 more would pass"):
        engine.submit_many([*of_user("greedy", "c"), *of_user("modest", "a")])

    engine.submit_many(of_user("modest", "a", "b"))
    assert engine.metrics().backlog == 4


def test_a_user_has_room_again_when_orders_are_done_or_cancelled(start_engine: StartEngine, held: Held) -> None:
    def reject_some(order: Order) -> None:
        held(order)
        if order.order_id.endswith("bad"):
            raise Reject("no")

    engine = start_engine(reject_some, processors=1, user_backlog=3)
    engine.submit_many(of_user("u", "bad", "a", "b"))
    held.begun()
    engine.cancel("u-b")
    assert_room(engine, "u", 3, 1)
    held.release()
    engine.drain(timeout=60)

    engine.submit_many(of_user("u", "c", "d", "e"))


def test_duplicates_and_conflicts_take_no_room_of_their_user(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=1, user_backlog=2)
    engine.submit_many(of_user("u", "a"))
    held.begun()

    for _ in range(5):
        (taken,) = engine.submit_many([make_order("u-a", user_id="other")])
        (again,) = engine.submit_many(of_user("u", "a"))
        assert (taken.outcome, again.outcome) == (Outcome.CONFLICT, Outcome.DUPLICATE)

    assert_room(engine, "u", 2, 1)
    assert_room(engine, "other", 2, 2)


def test_an_operators_retry_takes_the_users_room(start_engine: StartEngine, held: Held) -> None:
    def reject_once(order: Order) -> None:
        if engine.order(order.order_id).attempts == 1:
            raise Reject("no")
        held(order)

    engine = start_engine(reject_once, user_backlog=2)
    engine.submit(of_user("u", "a")[0]).wait(timeout=60)
    engine.drain(timeout=60)
    engine.retry("u-a")
    held.begun()

    with pytest.raises(UserBacklogFull, match="1 orders of user 'u' are unfinished and 2 more"):
        engine.submit_many(of_user("u", "b", "c"))


def test_what_waits_in_the_database_counts_for_its_user_after_a_restart(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=1, stop_seconds=0)
    engine.submit_many([*of_user("u", "a", "b"), *of_user("v", "a")])
    engine.stop()

    successor = start_engine(held, processors=1, user_backlog=3)

    held.begun()
    assert_room(successor, "u", 3, 1)
    assert_room(successor, "v", 3, 2)


def test_a_user_has_room_again_after_the_store_failed(
    start_engine: StartEngine, ledger: HeldLedger, clock: WatchedClock
) -> None:
    engine = start_engine(clock=clock, user_backlog=1)
    for error in (RuntimeError("unexpected"), StoreUnavailable(OSError("disk full"))):
        ledger.fail_once(error, lambda orders, _: bool(orders))
        with suppress(StoreUnavailable):
            engine.submit(make_order("a"))
        engine.drain(timeout=60)

    engine.submit(make_order("b")).wait(timeout=60)


@pytest.mark.parametrize("afterwards", [False, True])
def test_the_backlog_of_each_user_is_known_after_a_bug(
    start_engine: StartEngine,
    held: Held,
    ledger: HeldLedger,
    let_record: Callable[[OrderEngine], None],
    monkeypatch: pytest.MonkeyPatch,
    afterwards: bool,
) -> None:
    engine = start_engine(held, processors=1, user_backlog=3)
    engine.submit_many(of_user("u", "a"))
    held.begun()
    receive = IntakeActor.receive
    errors = [ZeroDivisionError("a bug")]

    def receive_with_bug(self: IntakeActor, message: Any) -> None:
        if not errors or afterwards:
            receive(self, message)
        if errors:
            raise errors.pop()

    monkeypatch.setattr(IntakeActor, "receive", receive_with_bug)
    ledger.hold(lambda orders, _: bool(orders))  # stored before the error comes, they would be acknowledged
    with pytest.raises(ZeroDivisionError):
        engine.submit_many(of_user("u", "b"))
    ledger.release()
    let_record(engine)

    assert_room(engine, "u", 3, 1 if afterwards else 2)


def test_what_is_on_its_way_to_the_database_counts_when_it_is_read_anew() -> None:
    backlog = Backlog(EngineConfig(user_backlog=3), ManualClock(), 0, Counter())
    backlog.add(of_user("u", "a"))
    backlog.add(of_user("u", "b"))
    backlog.add(of_user("v", "a"))

    backlog.begin_anew(BacklogRead(1, 1, Counter({"u": 1})))

    backlog.check(of_user("u", "c"))
    with pytest.raises(UserBacklogFull, match="2 orders of user 'u' are unfinished"):
        backlog.check(of_user("u", "c", "d"))
    with pytest.raises(UserBacklogFull, match="1 orders of user 'v' are unfinished"):
        backlog.check(of_user("v", "b", "c", "d"))


def test_users_without_orders_take_no_memory() -> None:
    backlog = Backlog(EngineConfig(user_backlog=3), ManualClock(), 0, Counter())
    for number in range(50):
        orders = of_user(f"u-{number}", "a", "b")
        backlog.add(orders)
        backlog.release(BacklogReleased(2, 0, 2, Counter({f"u-{number}": 2}), 2 * number + 2))

    assert (len(backlog._users), len(backlog._under_way)) == (0, 0)


@pytest.mark.parametrize(
    ("finished", "seconds", "wanted", "expected"),
    [
        (0, 0, 1, 1),
        (0, 10, 1, 10),
        (0, 10, 1000, 60),
        (100, 10, 1, 1),
        (100, 10, 10, 1),
        (100, 10, 55, 6),
        (100, 10, 100_000, 60),
        (100, 2, 100, 2),
    ],
)
def test_the_wait_follows_from_how_fast_orders_go(finished: int, seconds: int, wanted: int, expected: int) -> None:
    clock = ManualClock()
    rate = DrainRate(clock)
    clock.advance(seconds)
    if finished:
        rate.note(finished - 1, clock.monotonic_us())
        rate.note(1, clock.monotonic_us())

    assert rate.seconds_for(wanted) == expected


def test_only_the_last_ten_seconds_count() -> None:
    clock = ManualClock()
    rate = DrainRate(clock)
    for _ in range(100):
        rate.note(50, clock.monotonic_us())
        clock.advance(1)
    assert rate.seconds_for(500) == 10

    clock.advance(11)

    assert rate.seconds_for(500) == 60


def test_who_finds_the_backlog_full_is_told_when_to_come_back(
    start_engine: StartEngine, held: Held, clock: WatchedClock
) -> None:
    engine = start_engine(held, clock=clock, max_backlog=5)
    engine.submit_many(make_order(f"a-{number}") for number in range(5))
    clock.advance(10)

    with pytest.raises(BacklogFull) as one:
        engine.submit(make_order("b"))
    with pytest.raises(BacklogFull) as many:
        engine.submit_many(make_order(f"b-{number}") for number in range(5))

    assert (one.value.retry_after_seconds, many.value.retry_after_seconds) == (10, 50)


def test_more_of_a_user_than_it_may_ever_have_is_told_so(start_engine: StartEngine) -> None:
    engine = start_engine(user_backlog=2)

    with pytest.raises(UserSubmissionTooLarge, match="3 new orders of user 'u' at once are more than the 2") as told:
        engine.submit_many(of_user("u", "a", "b", "c"))

    assert told.value.retry_after_seconds is None
    assert engine.orders() == []


def test_what_is_stored_takes_no_room_of_its_user_when_it_is_sent_again(start_engine: StartEngine, held: Held) -> None:
    engine = start_engine(held, processors=1, user_backlog=2)
    engine.submit_many(of_user("u", "a", "b"))
    held.begun()

    again = engine.submit_many([*of_user("u", "a", "b"), *of_user("v", "a")])

    assert [receipt.outcome for receipt in again] == [Outcome.DUPLICATE, Outcome.DUPLICATE, Outcome.ACCEPTED]
    assert_room(engine, "u", 2, 0)
    assert_room(engine, "v", 2, 1)
