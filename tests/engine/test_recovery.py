"""Orders that were in hand when an engine died are settled before anything else runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from ordermill.engine import (
    Durability,
    Effect,
    Order,
    OrderEngine,
    OrderRecord,
    OrderStatus,
    Recovered,
    StoreUnavailable,
)
from ordermill.engine.execution.begun import BegunFile, read
from ordermill.engine.testing import START_US, ManualClock, make_order
from ordermill.store.connect import connect
from ordermill.store.domain.record import Attempt
from ordermill.store.ledger import Ledger

if TYPE_CHECKING:
    from ordermill.engine.testing import Held

StartEngine = Callable[..., OrderEngine]
Note = Callable[..., BegunFile]
Leave = Callable[..., list[OrderRecord]]
DIED = "the engine died while the order was in hand"


def test_without_a_dead_engine_there_is_nothing_to_recover(start_engine: StartEngine) -> None:
    engine = start_engine()
    engine.submit(make_order()).wait(timeout=60)
    engine.stop()

    assert start_engine().recovered == Recovered(returned=0, completed=0, failed=0, parked=0)


def test_an_interrupted_order_is_tried_again_which_counts_as_a_failure(
    start_engine: StartEngine, leave_in_hand: Leave, assert_sound: Callable[[], None]
) -> None:
    leave_in_hand("o-1")

    engine = start_engine()

    assert engine.recovered == Recovered(returned=1)
    assert engine.wait("o-1", timeout=60) is OrderStatus.COMPLETED
    assert (engine.order("o-1").attempts, engine.order("o-1").failures) == (2, 1)
    assert engine.history("o-1")[2].reason.startswith(f"{DIED}; tried again in ")
    engine.stop()
    assert_sound()


def test_an_order_that_has_killed_the_engine_too_often_fails(
    start_engine: StartEngine, leave_in_hand: Leave, assert_sound: Callable[[], None]
) -> None:
    handled: list[Order] = []
    leave_in_hand("o-1", failures=2)

    engine = start_engine(handled.append, max_attempts=3)

    assert engine.recovered == Recovered(failed=1)
    assert engine.wait("o-1", timeout=60) is OrderStatus.FAILED
    assert engine.history("o-1")[-1].reason == f"{DIED}; failed attempt 3 of 3"
    engine.drain(timeout=60)
    assert handled == []
    engine.stop()
    assert_sound()


def test_an_interrupted_order_is_parked_where_it_must_not_run_twice(
    start_engine: StartEngine, leave_in_hand: Leave, assert_sound: Callable[[], None]
) -> None:
    handled: list[Order] = []
    leave_in_hand("o-1", "o-2", failures=4)

    engine = start_engine(handled.append, on_interrupted="review")

    assert engine.recovered == Recovered(parked=2)
    assert engine.drain(timeout=60).orders_by_status[OrderStatus.REVIEW] == 2
    assert engine.history("o-1")[-1].reason == DIED
    assert handled == []
    engine.stop()
    assert_sound()
    assert start_engine().recovered == Recovered()


@pytest.fixture
def note(database: Path) -> Callable[..., BegunFile]:
    """Leaves the file of what an engine had begun that died with these orders in hand."""

    def leave(
        runs: Sequence[OrderRecord] = (), alone: Sequence[OrderRecord] = (), ended: Sequence[OrderRecord] = ()
    ) -> BegunFile:
        file = BegunFile(database, 0, 100)
        for record in runs:
            file.begin(record, alone=False)
        for record in alone:
            file.begin(record, alone=True)
        for record in ended:
            file.end(file.begin(record, alone=False))
        return file

    return leave


def failures(engine: OrderEngine) -> dict[str, int]:
    return {record.order_id: record.failures for record in engine.orders()}


@pytest.mark.sqlite
def test_an_order_that_was_claimed_and_not_begun_is_not_interrupted(
    start_engine: StartEngine, leave_in_hand: Leave, note: Note, assert_sound: Callable[[], None]
) -> None:
    begun, *_ = leave_in_hand("begun", "claimed-1", "claimed-2")
    note(runs=[begun])
    asked: list[str] = []

    def probe(order: Order) -> Effect:
        asked.append(order.order_id)
        return Effect.UNKNOWN

    engine = start_engine(probe=probe)

    assert engine.recovered == Recovered(returned=2, parked=1)
    assert asked == ["begun"]
    engine.drain(timeout=60)
    assert failures(engine) == {"begun": 1, "claimed-1": 0, "claimed-2": 0}
    assert engine.history("claimed-1")[2].reason == "the engine died before the order was begun"
    engine.stop()
    assert_sound()


@pytest.mark.sqlite
def test_the_only_order_that_ran_pays_for_the_crash(
    start_engine: StartEngine, leave_in_hand: Leave, note: Note, clock: ManualClock
) -> None:
    killer, claimed, ended = leave_in_hand("killer", "claimed", "ended")
    note(runs=[killer], ended=[ended])

    engine = start_engine(clock=clock, retry_seconds=10)

    assert engine.wait(claimed.order_id, timeout=60) is OrderStatus.COMPLETED
    assert engine.wait(ended.order_id, timeout=60) is OrderStatus.COMPLETED
    assert failures(engine) == {"killer": 1, "claimed": 0, "ended": 0}
    assert engine.status("killer") is OrderStatus.PENDING
    clock.advance(10)
    assert engine.wait("killer", timeout=60) is OrderStatus.COMPLETED


@pytest.mark.sqlite
def test_an_order_whose_handler_had_ended_is_asked_about_and_pays_nothing(
    start_engine: StartEngine, leave_in_hand: Leave, note: Note
) -> None:
    note(ended=leave_in_hand("o-1"))

    engine = start_engine(probe=lambda _: Effect.NOT_DONE)

    assert engine.wait("o-1", timeout=60) is OrderStatus.COMPLETED
    assert engine.order("o-1").failures == 0
    assert engine.history("o-1")[2].reason == DIED


@pytest.mark.sqlite
def test_where_several_ran_nobody_pays_and_each_runs_alone_before_the_others(
    start_engine: StartEngine, leave_in_hand: Leave, note: Note, database: Path
) -> None:
    note(runs=leave_in_hand("s-1", "s-2", "s-3"))
    leave_waiting(database, "other-1", "other-2")
    running: list[str] = []
    beside: dict[str, list[str]] = {}

    def handle(order: Order) -> None:
        running.append(order.order_id)
        beside[order.order_id] = list(running)
        running.remove(order.order_id)

    engine = start_engine(handle, processors=4)
    engine.drain(timeout=60)

    assert list(beside)[:3] == ["s-1", "s-2", "s-3"]
    assert all(beside[order_id] == [order_id] for order_id in ("s-1", "s-2", "s-3"))
    assert set(failures(engine).values()) == {0}


@pytest.mark.sqlite
def test_nothing_runs_beside_a_suspect_for_a_while_and_then_the_others_go_on(
    start_engine: StartEngine, leave_in_hand: Leave, note: Note, held: Held, clock: ManualClock
) -> None:
    note(runs=leave_in_hand("s-1", "s-2"))
    engine = start_engine(held, processors=4, clock=clock)
    receipts = engine.submit_many([make_order("o-1"), make_order("o-2")])
    assert held.begun() == "s-1"
    assert engine.metrics().orders_by_status[OrderStatus.PENDING] == 3
    clock.advance(9.9)
    assert engine.metrics().orders_by_status[OrderStatus.PENDING] == 3

    clock.advance(0.1)

    assert {held.begun(), held.begun()} == {"o-1", "o-2"}
    assert engine.status("s-2") is OrderStatus.PENDING, "one suspect at a time"
    held.release()
    assert {receipt.wait(timeout=60) for receipt in receipts} == {OrderStatus.COMPLETED}
    assert engine.wait("s-2", timeout=60) is OrderStatus.COMPLETED


@pytest.mark.sqlite
def test_a_suspect_waits_until_nothing_else_runs_though_not_for_ever(
    start_engine: StartEngine, leave_in_hand: Leave, note: Note, held: Held, clock: ManualClock
) -> None:
    note(runs=leave_in_hand("killer"))
    engine = start_engine(held, processors=4, clock=clock, retry_seconds=10)
    engine.submit(make_order("hangs"))
    assert held.begun() == "hangs"
    clock.advance(10)
    engine.submit(make_order("waits"))
    assert engine.metrics().orders_by_status[OrderStatus.PENDING] == 2

    clock.advance(10)

    assert held.begun() == "killer"
    assert engine.metrics().orders_by_status[OrderStatus.PENDING] == 1
    clock.advance(10)
    assert held.begun() == "waits"


@pytest.mark.sqlite
def test_a_suspect_that_ran_pays_whoever_ran_beside_it(
    start_engine: StartEngine, leave_in_hand: Leave, note: Note
) -> None:
    suspect, other = leave_in_hand("suspect", "other")
    note(alone=[suspect], runs=[other])

    engine = start_engine()
    engine.drain(timeout=60)

    assert failures(engine) == {"suspect": 1, "other": 0}


@pytest.mark.sqlite
def test_after_an_orderly_stop_nobody_pays_for_what_was_left(
    start_engine: StartEngine, leave_in_hand: Leave, note: Note
) -> None:
    left, _ = leave_in_hand("left", "unbegun")
    note(runs=[left]).close(is_all_recorded=True)

    engine = start_engine()
    engine.drain(timeout=60)

    assert failures(engine) == {"left": 0, "unbegun": 0}
    assert engine.history("left")[2].reason == "the engine stopped before the handler returned"


@pytest.mark.sqlite
def test_where_a_backup_was_put_back_the_notes_of_a_later_time_are_not_believed(
    start_engine: StartEngine, leave_in_hand: Leave, note: Note
) -> None:
    (record,) = leave_in_hand("o-1")
    note(ended=[msgspec.structs.replace(record, sequence=record.sequence + 1)])

    engine = start_engine(probe=lambda _: Effect.UNKNOWN)

    assert engine.status("o-1") is OrderStatus.REVIEW


@pytest.mark.sqlite
def test_a_killed_recovery_does_not_forget_what_had_begun(
    start_engine: StartEngine, leave_in_hand: Leave, note: Note, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, _ = leave_in_hand("begun", "claimed")
    note(runs=[begun])
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record", fail_with_full_disk)
        with pytest.raises(StoreUnavailable):
            start_engine()

    engine = start_engine()
    engine.drain(timeout=60)

    assert failures(engine) == {"begun": 1, "claimed": 0}


@pytest.mark.sqlite
def test_the_file_of_what_has_begun_is_there_while_the_engine_runs(
    start_engine: StartEngine, held: Held, database: Path
) -> None:
    engine = start_engine(held, processors=1)
    engine.submit(make_order())
    held.begun()
    assert list(read(database, 1).attempts or ()) == [Attempt(1, 1)]
    held.release()
    engine.stop()

    assert not list(database.parent.glob("*.begun*"))


@pytest.mark.sqlite
def test_without_room_for_that_file_the_engine_runs_and_says_so(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(BegunFile, "__init__", fail)
    engine = start_engine()

    assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.COMPLETED
    assert "no file for what has begun" in caplog.text


def leave_waiting(database: Path, *order_ids: str) -> None:
    writer = connect(database).open_writer(Durability.NORMAL)
    Ledger(writer).record([make_order(order_id) for order_id in order_ids], [], START_US)
    writer.close()


def fail_with_full_disk(*_: object) -> None:
    raise StoreUnavailable(OSError("disk full"))


def test_interrupted_orders_go_first(start_engine: StartEngine, leave_in_hand: Leave, clock: ManualClock) -> None:
    leave_in_hand("old-1", "old-2", "old-3")
    clock.advance(60)
    handled: list[str] = []

    engine = start_engine(lambda order: handled.append(order.order_id), clock=clock, processors=1)
    engine.submit_many([make_order("new-1"), make_order("new-2")])
    engine.drain(timeout=60)

    assert handled == ["old-1", "old-2", "old-3", "new-1", "new-2"]


def test_interrupted_orders_go_before_those_that_waited(
    start_engine: StartEngine, leave_in_hand: Leave, clock: ManualClock
) -> None:
    leave_in_hand("in-hand")
    parked = start_engine(on_interrupted="review", clock=clock)
    parked.retry("in-hand")
    parked.drain(timeout=60)
    parked.stop()
    leave_in_hand("b-1", "b-2")
    clock.advance(60)
    handled: list[str] = []

    start_engine(lambda order: handled.append(order.order_id), clock=clock, processors=1).drain(timeout=60)

    assert handled == ["b-1", "b-2"]


def test_a_suspect_that_an_operator_retries_is_handled_although_nothing_else_happens(
    start_engine: StartEngine, leave_in_hand: Leave
) -> None:
    leave_in_hand("suspect")
    engine = start_engine(on_interrupted="review")
    engine.submit_many(make_order(f"o-{number}") for number in range(20))
    engine.drain(timeout=60)

    engine.retry("suspect")

    assert engine.wait("suspect", timeout=60) is OrderStatus.COMPLETED


@pytest.mark.sqlite
def test_more_orders_than_a_batch_are_recovered(
    start_engine: StartEngine, leave_in_hand: Leave, note: Note, assert_sound: Callable[[], None]
) -> None:
    leave_in_hand(*(f"o-{number}" for number in range(2500)))
    note()

    engine = start_engine()

    assert engine.recovered == Recovered(returned=2500)
    assert engine.drain(timeout=30).total_orders_processed == 2500
    engine.stop()
    assert_sound()


def test_a_recovery_that_the_store_does_not_take_is_tried_by_the_next_start(
    start_engine: StartEngine, leave_in_hand: Leave, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StoreUnavailable(OSError("disk full"))

    leave_in_hand("o-1")
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record", fail)
        with pytest.raises(StoreUnavailable, match="disk full"):
            start_engine()

    engine = start_engine()

    assert engine.recovered == Recovered(returned=1)
    assert engine.wait("o-1", timeout=60) is OrderStatus.COMPLETED


def test_a_clock_that_was_set_back_does_not_turn_the_history_around(
    start_engine: StartEngine, leave_in_hand: Leave, assert_sound: Callable[[], None]
) -> None:
    (record,) = leave_in_hand("o-1")

    engine = start_engine()
    engine.wait("o-1", timeout=60)

    assert all(step.at_us >= record.updated_us for step in engine.history("o-1")[2:])
    engine.stop()
    assert_sound()
