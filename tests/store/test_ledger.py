"""The only writer: a transaction is stored whole or not at all, and each step only where its mover saw the order."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from decimal import Decimal

import pytest
from msgspec.structs import replace
from peewee import IntegrityError, SqliteDatabase

from ordermill.engine.testing import make_order
from ordermill.store import queries
from ordermill.store.audit import audit
from ordermill.store.domain import lifecycle
from ordermill.store.domain.claim import Claim
from ordermill.store.domain.errors import StoreUnavailable
from ordermill.store.domain.idempotency_key import IdempotencyKey
from ordermill.store.domain.lifecycle import OrderStatus
from ordermill.store.domain.order import Order
from ordermill.store.domain.outcome import Outcome
from ordermill.store.domain.record import Cause, Move, OrderRecord, move
from ordermill.store.ledger import Ledger
from ordermill.store.statements import run


def accept(ledger: Ledger, *order_ids: str, at_us: int = 10) -> list[OrderRecord]:
    recorded = ledger.record([make_order(order_id) for order_id in order_ids], [], at_us)
    assert [outcome for outcome, _ in recorded.acceptances] == [Outcome.ACCEPTED] * len(order_ids)
    return [record for _, record in recorded.acceptances]


def step(ledger: Ledger, *moves: Move) -> list[OrderRecord]:
    recorded = ledger.record([], moves, 0)
    assert recorded.moved == list(moves)
    assert recorded.refused == []
    return [step.after for step in recorded.moved]


def assert_sound(database: SqliteDatabase) -> None:
    assert audit(database).faults == []
    assert queries.totals(database) == queries.recount(database)


def test_an_accepted_order_is_stored_as_it_came(writer: SqliteDatabase, ledger: Ledger) -> None:
    order = make_order(item_ids=("b", "a", "b"), total_amount=Decimal("9999999999.99"))

    ((outcome, record),) = ledger.record([order], [], 10).acceptances

    assert (outcome, record.order) == (Outcome.ACCEPTED, order)
    assert record == queries.find(writer, "o-1")
    assert record == OrderRecord(order, 1, OrderStatus.PENDING, 0, 0, 10, 10, 10)
    assert [step.reason for step in queries.history(writer, "o-1")] == ["accepted"]
    assert_sound(writer)


def test_an_order_with_the_same_content_is_stored_once(writer: SqliteDatabase, ledger: Ledger) -> None:
    accept(ledger, "o-1", at_us=10)

    recorded = ledger.record([make_order("o-1", total_amount=Decimal("19.990").quantize(Decimal("0.01")))], [], 20)

    assert recorded.acceptances == [(Outcome.DUPLICATE, queries.find(writer, "o-1"))]
    assert recorded.acceptances[0].record.created_us == 10
    assert not recorded.changes
    assert_sound(writer)


def test_a_duplicate_shows_the_order_as_it_is_now(writer: SqliteDatabase, ledger: Ledger) -> None:
    (record,) = accept(ledger, "o-1")
    step(ledger, move(record, lifecycle.CANCEL, 20))

    ((outcome, stored),) = ledger.record([make_order("o-1")], [], 30).acceptances

    assert (outcome, stored.status) == (Outcome.DUPLICATE, OrderStatus.CANCELLED)
    assert_sound(writer)


def test_duplicates_and_conflicts_inside_a_batch_are_told_apart(writer: SqliteDatabase, ledger: Ledger) -> None:
    orders = [make_order("a"), make_order("b"), make_order("a"), make_order("a", user_id="other"), make_order("c")]

    recorded = ledger.record(orders, [], 10)

    assert [outcome.value for outcome, _ in recorded.acceptances] == [
        "accepted",
        "accepted",
        "duplicate",
        "conflict",
        "accepted",
    ]
    assert [record.order.user_id for _, record in recorded.acceptances] == ["u-1"] * 5
    assert recorded.changes == {OrderStatus.PENDING: 3}
    assert_sound(writer)


def test_a_conflict_leaves_the_stored_order_as_it_is(writer: SqliteDatabase, ledger: Ledger) -> None:
    (record,) = accept(ledger, "o-1")

    recorded = ledger.record([make_order("o-1", total_amount=Decimal("20.00"))], [], 20)

    assert recorded.acceptances == [(Outcome.CONFLICT, record)]
    assert queries.find(writer, "o-1") == record
    assert len(queries.history(writer, "o-1")) == 1


def test_orders_are_numbered_in_the_sequence_of_their_arrival(writer: SqliteDatabase, ledger: Ledger) -> None:
    accept(ledger, "c", "a")
    ledger.record([make_order("a"), make_order("b")], [], 11)
    accept(Ledger(writer), "d")

    records = queries.page(writer, limit=10)[::-1]

    assert [record.order_id for record in records] == ["c", "a", "b", "d"]
    assert sorted({record.sequence for record in records}) == [record.sequence for record in records]


def test_orders_and_steps_go_into_one_transaction(writer: SqliteDatabase, ledger: Ledger) -> None:
    (record,) = accept(ledger, "o-1")

    recorded = ledger.record([make_order("o-2")], [move(record, lifecycle.ASSIGN, 20)], 20)

    assert recorded.changes == {OrderStatus.PENDING: 0, OrderStatus.PROCESSING: 1}
    assert queries.totals(writer)[OrderStatus.PROCESSING] == 1
    assert_sound(writer)


def test_the_totals_follow_an_order_along_every_edge(writer: SqliteDatabase, ledger: Ledger) -> None:
    a, b, c = accept(ledger, "a", "b", "c")
    assert_sound(writer)
    a, b = step(ledger, move(a, lifecycle.ASSIGN, 20), move(b, lifecycle.ASSIGN, 21))
    assert_sound(writer)
    a, b = step(ledger, move(a, lifecycle.RETURN, 30, error="x"), move(b, lifecycle.PARK, 31, error="y"))
    assert_sound(writer)
    (a,) = step(ledger, move(a, lifecycle.ASSIGN, 40))
    b, c = step(ledger, move(b, lifecycle.SETTLE_COMPLETED, 41), move(c, lifecycle.CANCEL, 42))
    assert_sound(writer)
    (a,) = step(ledger, move(a, lifecycle.FAIL, 50, error="z"))
    (a,) = step(ledger, move(a, lifecycle.RETRY_FAILED, 60))
    (a,) = step(ledger, move(a, lifecycle.ASSIGN, 70))
    (a,) = step(ledger, move(a, lifecycle.COMPLETE, 75))
    assert_sound(writer)

    totals = queries.totals(writer)
    assert (totals["Completed"], totals["Cancelled"], totals["Pending"], totals["Processing"]) == (2, 1, 0, 0)
    assert (totals["timed_orders"], totals["processing_microseconds"]) == (1, 5)
    assert (a.attempts, a.failures, a.last_error) == (3, 0, "z")


def test_a_step_is_written_with_its_reason(writer: SqliteDatabase, ledger: Ledger) -> None:
    (record,) = accept(ledger, "o-1")
    (record,) = step(ledger, move(record, lifecycle.ASSIGN, 20))
    step(ledger, move(record, lifecycle.RETURN, 30, "TimeoutError: no answer", ready_us=99, error="TimeoutError"))

    last = queries.history(writer, "o-1")[-1]
    stored = queries.find(writer, "o-1")

    assert (last.from_status, last.to_status, last.at_us, last.attempt, last.reason) == (
        OrderStatus.PROCESSING,
        OrderStatus.PENDING,
        30,
        1,
        "TimeoutError: no answer",
    )
    assert stored is not None
    assert (stored.ready_us, stored.updated_us, stored.failures) == (99, 30, 1)


def test_a_step_whose_order_moved_on_is_refused_and_the_rest_recorded(writer: SqliteDatabase, ledger: Ledger) -> None:
    a, b, c = accept(ledger, "a", "b", "c")
    step(ledger, move(b, lifecycle.CANCEL, 15))

    moves = [move(record, lifecycle.ASSIGN, 20) for record in (a, b, c)]
    recorded = ledger.record([make_order("d")], moves, 20)

    assert [step.after.order_id for step in recorded.moved] == ["a", "c"]
    assert recorded.refused == [moves[1]]
    assert [outcome for outcome, _ in recorded.acceptances] == [Outcome.ACCEPTED]
    assert len(queries.history(writer, "b")) == 2
    assert_sound(writer)


def test_the_result_of_an_abandoned_attempt_is_refused(writer: SqliteDatabase, ledger: Ledger) -> None:
    (pending,) = accept(ledger, "o-1")
    (first,) = step(ledger, move(pending, lifecycle.ASSIGN, 20))
    (again,) = step(ledger, move(first, lifecycle.RETURN, 30))
    (second,) = step(ledger, move(again, lifecycle.ASSIGN, 40))

    late = move(first, lifecycle.COMPLETE, 50)

    assert ledger.record([], [late], 50).refused == [late]
    assert queries.find(writer, "o-1") == second
    assert_sound(writer)


def test_the_same_step_is_recorded_once(writer: SqliteDatabase, ledger: Ledger) -> None:
    (record,) = accept(ledger, "o-1")
    assign = move(record, lifecycle.ASSIGN, 20)

    recorded = ledger.record([], [assign, assign], 20)

    assert (recorded.moved, recorded.refused) == ([assign], [assign])
    assert ledger.record([], [assign], 20).refused == [assign]
    assert_sound(writer)


def test_nothing_is_a_transaction_too(writer: SqliteDatabase, ledger: Ledger) -> None:
    recorded = ledger.record([], [], 5)

    assert (recorded.acceptances, recorded.moved, recorded.refused) == ([], [], [])
    assert_sound(writer)


def test_a_transaction_that_fails_midway_stores_nothing(writer: SqliteDatabase, ledger: Ledger) -> None:
    (record,) = accept(ledger, "o-1")
    (pages,) = run(writer, "PRAGMA page_count").fetchone()
    run(writer, f"PRAGMA max_page_count = {pages + 2}")

    with pytest.raises(StoreUnavailable, match="full"):
        ledger.record([make_order(f"more-{i}") for i in range(2000)], [move(record, lifecycle.ASSIGN, 20)], 20)

    assert queries.page(writer, limit=10) == [record]
    assert len(queries.history(writer, "o-1")) == 1
    assert_sound(writer)
    run(writer, "PRAGMA max_page_count = 1000000")
    accept(ledger, *(f"more-{i}" for i in range(2000)))
    assert_sound(writer)


def test_a_database_that_takes_no_writes_is_unavailable_until_it_does(writer: SqliteDatabase, ledger: Ledger) -> None:
    run(writer, "PRAGMA query_only = 1")
    with pytest.raises(StoreUnavailable, match="readonly"):
        ledger.record([make_order()], [], 10)
    run(writer, "PRAGMA query_only = 0")

    accept(ledger, "o-1")
    assert_sound(writer)


def test_a_database_that_another_writes_to_is_unavailable(writer: SqliteDatabase, ledger: Ledger) -> None:
    run(writer, "PRAGMA busy_timeout = 0")
    other = sqlite3.connect(writer.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailable, match="locked"):
        ledger.record([make_order()], [], 10)
    other.close()

    accept(ledger, "o-1")


def test_a_row_that_the_schema_refuses_takes_the_whole_transaction_with_it(
    writer: SqliteDatabase, ledger: Ledger
) -> None:
    a, b = accept(ledger, "a", "b")
    impossible = replace(move(b, lifecycle.ASSIGN, 20), reason=None)

    with pytest.raises((IntegrityError, sqlite3.IntegrityError)):
        ledger.record([make_order("c")], [move(a, lifecycle.ASSIGN, 20), impossible], 20)

    assert queries.find(writer, "a") == a
    assert queries.find(writer, "c") is None
    assert_sound(writer)


def test_an_illegal_step_is_refused_by_the_schema(writer: SqliteDatabase, ledger: Ledger) -> None:
    (record,) = accept(ledger, "o-1")
    (record,) = step(ledger, move(record, lifecycle.CANCEL, 20))
    back = move(record, lifecycle.CANCEL._replace(source=OrderStatus.CANCELLED, target=OrderStatus.PENDING), 30)

    with pytest.raises((IntegrityError, sqlite3.IntegrityError)):
        ledger.record([], [back], 30)

    assert queries.find(writer, "o-1") == record


def test_a_long_batch_is_stored_whole(writer: SqliteDatabase, ledger: Ledger) -> None:
    records = accept(ledger, *(f"o-{i}" for i in range(3000)))
    records = step(ledger, *(move(record, lifecycle.ASSIGN, 20) for record in records))
    step(ledger, *(move(record, lifecycle.COMPLETE, 25) for record in records))

    assert queries.totals(writer)["processing_microseconds"] == 3000 * 5
    assert_sound(writer)


def causes_of(database: SqliteDatabase, order_id: str) -> list[tuple[str | None, str | None]]:
    return [(step.request_id, step.acted_by) for step in queries.history(database, order_id)]


def test_the_request_that_caused_a_step_and_who_sent_it_are_in_the_history(
    writer: SqliteDatabase, ledger: Ledger
) -> None:
    orders = [make_order("a"), make_order("b"), make_order("a")]
    recorded = ledger.record(orders, [], 1, [Cause("r-1", "shop"), Cause(), Cause("r-2", "other")])
    step(ledger, move(recorded.acceptances[0].record, lifecycle.CANCEL, 2, cause=Cause("r-3", "carol")))

    assert causes_of(writer, "a") == [("r-1", "shop"), ("r-3", "carol")]
    assert causes_of(writer, "b") == [(None, None)]


def test_a_key_is_stored_with_its_orders_or_not_at_all(writer: SqliteDatabase, ledger: Ledger) -> None:
    given = IdempotencyKey("k-1", "u-1", "print")
    taken = move(accept(ledger, "o-1")[0], lifecycle.CANCEL, 2)
    run(writer, "CREATE TRIGGER full AFTER INSERT ON idempotency_keys BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(sqlite3.IntegrityError):
        ledger.record([make_order("o-2")], [taken], 5, (), [given])
    run(writer, "DROP TRIGGER full")
    assert queries.find(writer, "o-2") is None

    ledger.record([make_order("o-2")], [], 5, (), [given])

    assert run(writer, "SELECT key, user_id, fingerprint, created_at FROM idempotency_keys").fetchall() == [(*given, 5)]


def test_new_orders_are_ready_since_when_the_queues_clock_says(writer: SqliteDatabase, ledger: Ledger) -> None:
    ledger.record([make_order("a")], [], 10, (), (), 70)

    stored = queries.find(writer, "a")
    assert stored is not None
    assert (stored.created_us, stored.updated_us, stored.ready_us) == (10, 10, 70)


def test_orders_whose_waiting_no_delay_explains_wait_no_longer(writer: SqliteDatabase, ledger: Ledger) -> None:
    def wait_until(order_id: str, ready_us: int, *, at_us: int = 10, failed: bool = True) -> None:
        (record,) = accept(ledger, order_id)
        (record,) = step(ledger, move(record, lifecycle.ASSIGN, at_us))
        step(ledger, move(record, lifecycle.RETURN, at_us, ready_us=ready_us, error="boom" if failed else None))

    wait_until("ready", 20)
    wait_until("has-its-place", 60, failed=False)
    wait_until("in-its-backoff", 150)
    wait_until("longer-than-a-backoff", 151)
    wait_until("since-a-time-to-come", 70, at_us=51)

    assert ledger.clamp_ready_times(50, 100) == 2

    found = {record.order_id: record.ready_us for record in queries.page(writer, limit=10)}
    assert found == {
        "ready": 20,
        "has-its-place": 60,
        "in-its-backoff": 150,
        "longer-than-a-backoff": 50,
        "since-a-time-to-come": 50,
    }
    assert ledger.clamp_ready_times(50, 100) == 0


@pytest.fixture
def idle(ledger: Ledger) -> Ledger:
    """A ledger that has found that nobody is in line."""
    accept(ledger, "first", at_us=1)
    assert len(ledger.record([], [], 2, claim=Claim(9, 2)).moved) == 1
    return ledger


def taken(ledger: Ledger, *orders: Order, room: int = 9, causes: Sequence[Cause] = ()) -> list[str]:
    """The ids of the orders that a claim takes in the transaction that they come in, in the sequence of their turns."""
    recorded = ledger.record(orders, [], 10, causes, claim=Claim(room, 10))
    assert all(step.edge is lifecycle.ASSIGN and step.after.updated_us == 10 for step in recorded.moved)
    return [step.after.order_id for step in recorded.moved]


@pytest.mark.sqlite
def test_an_order_that_is_taken_as_it_comes_is_inserted_as_processing(writer: SqliteDatabase, idle: Ledger) -> None:
    statements: list[str] = []
    writer.connection().set_trace_callback(statements.append)

    assert taken(idle, make_order("o-1"), make_order("o-2")) == ["o-1", "o-2"]

    writer.connection().set_trace_callback(None)
    assert not [statement for statement in statements if statement.lstrip().startswith(("UPDATE orders", 'UPDATE "or'))]
    assert_sound(writer)


def test_it_is_stored_like_one_that_was_claimed(writer: SqliteDatabase, idle: Ledger) -> None:
    accept(idle, "before", at_us=10)
    assert taken(idle, make_order("with-another")) == ["before", "with-another"]

    assert taken(idle, make_order("alone")) == ["alone"]

    claimed, alone = queries.find(writer, "with-another"), queries.find(writer, "alone")
    assert claimed is not None
    assert alone is not None
    assert replace(alone, order=claimed.order, sequence=claimed.sequence) == claimed
    assert queries.history(writer, "alone") == queries.history(writer, "with-another")
    assert_sound(writer)


def test_its_cause_is_that_of_its_acceptance(writer: SqliteDatabase, idle: Ledger) -> None:
    taken(idle, make_order("o-1"), causes=[Cause("r-1", "shop", "00-" + "1" * 32 + "-" + "2" * 16 + "-01")])

    accepted, assigned = queries.history(writer, "o-1")
    assert (accepted.reason, accepted.request_id, accepted.acted_by) == ("accepted", "r-1", "shop")
    assert (assigned.reason, assigned.request_id, assigned.acted_by) == ("assigned to a processor", None, None)


def test_duplicates_are_not_taken(writer: SqliteDatabase, idle: Ledger) -> None:
    orders = [make_order("first"), make_order("o-1"), make_order("o-1"), make_order("o-1", user_id="other")]

    recorded = idle.record(orders, [], 10, claim=Claim(9, 10))

    assert [outcome.value for outcome, _ in recorded.acceptances] == ["duplicate", "accepted", "duplicate", "conflict"]
    assert [step.after.order_id for step in recorded.moved] == ["o-1"]
    assert_sound(writer)


def test_users_take_turns_although_all_are_taken(idle: Ledger) -> None:
    orders = [make_order(order_id, user_id=order_id[0]) for order_id in ("a1", "a2", "a3", "b1", "b2", "c1")]

    assert taken(idle, *orders) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_no_more_are_taken_than_there_is_room_for(writer: SqliteDatabase, idle: Ledger) -> None:
    orders = [make_order(order_id, user_id=order_id) for order_id in ("a", "b", "c")]

    assert taken(idle, *orders, room=2) == ["a", "b"]
    assert taken(idle, make_order("d", user_id="d")) == ["c", "d"]
    assert_sound(writer)


def test_who_comes_back_into_line_is_taken_before_those_who_come(writer: SqliteDatabase, idle: Ledger) -> None:
    first = queries.find(writer, "first")
    assert first is not None
    idle.record([], [move(first, lifecycle.RETURN, 5, "unharmed", ready_us=5)], 5)

    assert taken(idle, make_order("o-1")) == ["first", "o-1"]


def test_who_has_waited_for_a_time_is_taken_before_those_who_come(writer: SqliteDatabase, idle: Ledger) -> None:
    first = queries.find(writer, "first")
    assert first is not None
    idle.record([], [move(first, lifecycle.RETURN, 5, "failed", ready_us=9, error="failed")], 5)

    assert taken(idle, make_order("o-1")) == ["first", "o-1"]


def test_who_waits_for_a_later_time_keeps_nobody_out(writer: SqliteDatabase, idle: Ledger) -> None:
    first = queries.find(writer, "first")
    assert first is not None
    idle.record([], [move(first, lifecycle.RETURN, 5, "failed", ready_us=99, error="failed")], 5)

    assert taken(idle, make_order("o-1")) == ["o-1"]
    assert taken(idle, make_order("o-2", priority=9)) == ["o-2"]
    assert taken(idle, make_order("o-3")) == ["o-3"]
    assert_sound(writer)
