"""Orders are taken out of the queue by one statement: each once, in the sequence of their places."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peewee import SqliteDatabase

from ordermill.engine.testing import make_order
from ordermill.store import queries
from ordermill.store import queue as queues
from ordermill.store.audit import audit
from ordermill.store.domain import lifecycle
from ordermill.store.domain.claim import Claim
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.lifecycle import OrderStatus
from ordermill.store.domain.outcome import Recorded
from ordermill.store.domain.record import OrderRecord, move, utc
from ordermill.store.ledger import Ledger
from ordermill.store.sqlite.database import open_writer
from ordermill.store.statements import run


def record(ledger: Ledger, orders: Sequence[Any] = (), moves: Sequence[Any] = (), **more: Any) -> Recorded:
    return ledger.record(orders, moves, 10, **more)


def accept(ledger: Ledger, *order_ids: str, user_id: str = "u-1") -> list[OrderRecord]:
    recorded = record(ledger, [make_order(order_id, user_id=user_id) for order_id in order_ids])
    return [accepted for _, accepted in recorded.acceptances]


def claim(ledger: Ledger, room: int = 1, now_us: int = 10, **more: Any) -> list[OrderRecord]:
    return [step.after for step in record(ledger, claim=Claim(room, now_us, **more)).moved]


def ids(records: Sequence[OrderRecord]) -> list[str]:
    return [found.order_id for found in records]


def assert_sound(database: SqliteDatabase) -> None:
    assert audit(database).faults == []
    assert queries.totals(database) == queries.recount(database)


@pytest.mark.parametrize("kept", [0, 2, 100])
def test_those_that_are_next_are_processing_with_one_attempt_more(writer: SqliteDatabase, kept: int) -> None:
    ledger = Ledger(writer, kept)
    accept(ledger, "a", "b", "c", "d")

    claimed = claim(ledger, 3)

    assert ids(claimed) == ["a", "b", "c"]
    assert [(found.status, found.attempts, found.ready_us) for found in claimed] == [("Processing", 1, None)] * 3
    assert claimed == [queries.find(writer, order_id) for order_id in "abc"]
    assert queries.history(writer, "a")[-1].reason == "assigned to a processor"
    assert ids(claim(ledger, 3)) == ["d"]
    assert claim(ledger, 3) == []
    assert_sound(writer)


@pytest.mark.parametrize("priorities", [(4,), (4, 9)])
def test_where_there_is_no_room_none_is_claimed(ledger: Ledger, priorities: tuple[int, ...]) -> None:
    for priority in priorities:
        accept_at(ledger, 10, f"o-{priority}", priority=priority)

    assert claim(ledger, 0) == []
    assert len(claim(ledger, 9)) == len(priorities)


def test_new_orders_may_be_claimed_in_the_transaction_that_takes_them_in(
    writer: SqliteDatabase, ledger: Ledger
) -> None:
    recorded = record(ledger, [make_order("a"), make_order("b"), make_order("a")], claim=Claim(5, 10))

    assert [step.after.order_id for step in recorded.moved] == ["a", "b"]
    assert recorded.changes == {OrderStatus.PENDING: 0, OrderStatus.PROCESSING: 2}
    assert [step.to_status for step in queries.history(writer, "a")] == [OrderStatus.PENDING, OrderStatus.PROCESSING]
    assert_sound(writer)


def test_an_order_that_is_cancelled_in_the_same_transaction_is_not_claimed(
    writer: SqliteDatabase, ledger: Ledger
) -> None:
    first, _ = accept(ledger, "a", "b")

    recorded = record(ledger, moves=[move(first, lifecycle.CANCEL, 10)], claim=Claim(5, 10))

    assert [(step.after.order_id, step.after.status) for step in recorded.moved] == [
        ("a", OrderStatus.CANCELLED),
        ("b", OrderStatus.PROCESSING),
    ]
    assert_sound(writer)


def test_an_order_that_comes_back_unharmed_has_its_old_place(writer: SqliteDatabase, ledger: Ledger) -> None:
    accept(ledger, "a", "b", "c")
    first, second = claim(ledger, 2)
    record(ledger, moves=[move(found, lifecycle.RETURN, 20, "not begun") for found in (second, first)])
    accept(ledger, "other", user_id="u-2")

    assert ids(claim(ledger, 9)) == ["a", "b", "c", "other"]
    assert_sound(writer)


def test_an_order_that_failed_takes_its_turn_like_a_new_one_when_its_time_has_come(
    writer: SqliteDatabase, ledger: Ledger
) -> None:
    accept(ledger, "bad", "b")
    (bad,) = claim(ledger)
    record(ledger, moves=[move(bad, lifecycle.RETURN, 20, ready_us=50, error="boom")])
    accept(ledger, "c")
    assert ledger.next_ready_us == 50
    assert ids(claim(ledger, 1, 49)) == ["b"]

    assert ids(claim(ledger, 9, 50)) == ["c", "bad"]
    assert ledger.next_ready_us is None
    assert_sound(writer)


def test_an_order_that_an_operator_hurries_is_claimed_in_that_transaction_as_it_is_then(
    writer: SqliteDatabase, ledger: Ledger
) -> None:
    accept(ledger, "bad")
    (bad,) = claim(ledger)
    waiting = move(bad, lifecycle.RETURN, 20, ready_us=9_000, error="boom")
    record(ledger, moves=[waiting])

    hurry = move(waiting.after, lifecycle.HURRY, 30, ready_us=30)
    recorded = record(ledger, moves=[hurry], claim=Claim(1, 30))

    assert recorded.moved[-1].after == queries.find(writer, "bad")
    assert (recorded.moved[-1].after.attempts, recorded.moved[-1].after.failures) == (2, 0)
    assert_sound(writer)


def test_orders_that_wait_are_let_in_as_many_as_there_is_room_for(
    writer: SqliteDatabase, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "_LET_IN_AT_ONCE", 2)
    accept(ledger, *(f"o-{number}" for number in range(7)))
    failed = claim(ledger, 7)
    record(ledger, moves=[move(found, lifecycle.RETURN, 20, ready_us=50, error="boom") for found in failed])

    assert [len(claim(ledger, room, 60)) for room in (1, 1, 3, 9)] == [1, 1, 3, 2]
    assert_sound(writer)


def test_one_order_may_be_claimed_alone_or_passed_over(writer: SqliteDatabase, ledger: Ledger) -> None:
    a, b, c = accept(ledger, "a", "b", "c")

    assert ids(claim(ledger, 1, only=b.sequence)) == ["b"]
    assert claim(ledger, 1, only=b.sequence) == []
    assert ids(claim(ledger, 9, but_not={a.sequence})) == ["c"]
    assert ids(claim(ledger, 9, but_not={c.sequence})) == ["a"]
    assert_sound(writer)


def test_what_is_remembered_gives_way_to_what_the_database_has(writer: SqliteDatabase) -> None:
    ledger = Ledger(writer, 100)
    accept(ledger, "a")
    (first,) = claim(ledger)
    returned = move(first, lifecycle.RETURN, 20, "not begun")
    record(ledger, moves=[returned])
    run(writer, "UPDATE orders SET failures = 1, last_error = 'by hand'")

    (claimed,) = claim(ledger)

    assert claimed == queries.find(writer, "a")
    assert claimed.last_error == "by hand"


def test_where_somebody_has_changed_the_file_what_is_known_of_the_lines_is_read_again(
    writer: SqliteDatabase, ledger: Ledger
) -> None:
    for priority in (4, 9):
        for name in ("o", "p"):
            accept_at(ledger, 10, f"{name}-{priority}", priority=priority)
    assert ids(claim(ledger, 1)) == ["o-9"]
    run(writer, "UPDATE orders SET rank = NULL, ready_at = 99 WHERE order_id = 'p-9'")

    assert ids(claim(ledger, 3)) == ["o-4", "p-4"]


def test_a_stamp_never_runs_backwards(writer: SqliteDatabase, ledger: Ledger) -> None:
    ledger.record([make_order("a")], [], 99)

    (step,) = ledger.record([], [], 50, claim=Claim(1, 50)).moved

    assert step.after.updated_us == 99
    assert_sound(writer)


@pytest.mark.sqlite
def test_what_a_failed_transaction_gave_is_given_again(writer: SqliteDatabase, ledger: Ledger) -> None:
    accept(ledger, "a")
    run(writer, "CREATE TRIGGER full BEFORE UPDATE ON orders BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(Exception, match="full"):
        record(ledger, [make_order("b")], claim=Claim(9, 10))
    run(writer, "DROP TRIGGER full")

    assert ids(claim(ledger, 9)) == ["a"]
    assert_sound(writer)


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("statement", "parameters", "index"),
    [
        (queues._CLAIM_NEXT, (0, None, 0, 9, 10), "orders_in_line (rank>? AND rank<?)"),
        (queues._CLAIM_NEXT_BUT, (0, None, 0, 9, "[1]", 10), "orders_in_line (rank>? AND rank<?)"),
        (queues._FRONT, (0, 9, 0, 0, 10), "orders_in_line (rank>? AND rank<?)"),
        (queues._CLAIM_THESE, (0, None, "[1]"), "PRIMARY KEY (rowid=?)"),
        (queues._CLAIM_ONE, (0, None, 1, 0), "PRIMARY KEY (rowid=?)"),
        (queues._DUE, (0, 10), "orders_waiting (ready_at<?)"),
        (queues.LAST_OF_USER, ("u-1", 0, 9), "orders_pending_by_user (user_id=?)"),
    ],
    ids=["next", "next but some", "front of a line", "these", "one", "due", "last of a user"],
)
def test_nothing_is_sorted_and_no_table_read_whole(
    writer: SqliteDatabase, statement: str, parameters: tuple[object, ...], index: str
) -> None:
    plan = [line for *_, line in run(writer, f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()]

    assert any(index in line for line in plan), plan
    assert not [line for line in plan if "TEMP B-TREE" in line or line.startswith("SCAN orders")]


def accept_at(ledger: Ledger, at_us: int, order_id: str, **fields: Any) -> None:
    ledger.record([make_order(order_id, **fields)], [], at_us)


def test_what_has_a_higher_priority_is_taken_first_and_equals_in_the_sequence_of_their_arrival(
    writer: SqliteDatabase, ledger: Ledger
) -> None:
    for at_us, (order_id, priority) in enumerate([("a", 4), ("b", 0), ("c", 9), ("d", 4), ("e", 9)]):
        accept_at(ledger, at_us, order_id, priority=priority)

    assert ids(claim(ledger, 2)) == ["c", "e"]
    assert ids(claim(ledger, 9)) == ["a", "d", "b"]
    assert claim(ledger, 9) == []
    assert_sound(writer)


def test_waiting_counts_like_priority_so_that_nothing_starves(writer: SqliteDatabase, ledger: Ledger) -> None:
    accept_at(ledger, 0, "old", priority=0)
    for at_us in (80, 89, 90, 91):
        accept_at(ledger, at_us, f"at {at_us}".replace(" ", "-"), priority=9)

    assert ids(claim(ledger, 9, aging_us=10)) == ["at-80", "at-89", "old", "at-90", "at-91"]
    assert_sound(writer)


def test_a_line_is_only_as_old_as_its_first_order(writer: SqliteDatabase, ledger: Ledger) -> None:
    for order_id in ("a", "b"):
        accept_at(ledger, 0, order_id, user_id="many", priority=0)
    accept_at(ledger, 60, "c", user_id="one", priority=0)
    accept_at(ledger, 100, "high", priority=9)

    # By its turn, "c" is before "b", and has not waited long enough.
    assert ids(claim(ledger, 9, aging_us=10)) == ["a", "high", "c", "b"]
    assert_sound(writer)


def test_users_take_turns_within_a_priority(writer: SqliteDatabase, ledger: Ledger) -> None:
    for user_id, order_id in zip("aaab", ["a1", "a2", "a3", "b1"], strict=True):
        for priority in (4, 9):
            accept_at(ledger, 10, f"{order_id}-{priority}", user_id=user_id, priority=priority)

    assert ids(claim(ledger, 4)) == ["a1-9", "b1-9", "a2-9", "a3-9"]
    assert ids(claim(ledger, 4)) == ["a1-4", "b1-4", "a2-4", "a3-4"]
    assert_sound(writer)


def test_a_user_with_a_weight_has_more_turns_and_keeps_them_after_a_start(writer: SqliteDatabase) -> None:
    ledger = Ledger(writer, weights={"a": 2})
    for number in range(6):
        for user_id in "ab":
            accept_at(ledger, 10, f"{user_id}{number}", user_id=user_id)
    assert ids(claim(ledger, 6)) == ["a0", "b0", "a1", "b1", "a2", "a3"]

    started = Ledger(writer, weights={"a": 2})
    accept_at(started, 20, "a6", user_id="a")

    assert ids(claim(started, 9)) == ["b2", "a4", "a5", "b3", "a6", "b4", "b5"]
    assert_sound(writer)


def test_of_all_lines_so_many_users_are_remembered(
    writer: SqliteDatabase, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "_MOST_USERS", 6)
    users = [f"u-{number}" for number in range(5)]
    for turn in range(3):
        for priority in (4, 9):
            accepted = [make_order(f"{user}-{priority}-{turn}", user_id=user, priority=priority) for user in users]
            record(ledger, accepted)
            assert sum(map(len, queue_of(ledger)._lines.values())) <= 6

    claimed = claim(ledger, 30)

    turns = [[found.order.user_id for found in claimed[begin : begin + 5]] for begin in range(0, 30, 5)]
    assert turns == 6 * [users]
    assert_sound(writer)


def queue_of(ledger: Ledger) -> queues.OrderQueue:
    assert ledger._queue is not None
    return ledger._queue


def test_orders_of_other_priorities_are_found_again_after_a_start(writer: SqliteDatabase, ledger: Ledger) -> None:
    for priority in (2, 7):
        accept_at(ledger, 10, f"p-{priority}", priority=priority)

    started = Ledger(writer)

    assert queues.next_in_line(writer, Claim(1, 10)) == 2
    assert queues.next_in_line(writer, Claim(1, 10, but_not={2})) == 1
    assert ids(claim(started, 1)) == ["p-7"]
    assert ids(claim(started, 9)) == ["p-2"]
    assert queues.next_in_line(writer, Claim(1, 10)) is None
    assert_sound(writer)


def test_orders_are_passed_over_in_every_line(writer: SqliteDatabase, ledger: Ledger) -> None:
    for priority in (9, 4, 4, 9):
        accept_at(ledger, 10, f"o-{queries.last_sequence(writer) + 1}", priority=priority)

    assert ids(claim(ledger, 9, but_not={1, 2})) == ["o-4", "o-3"]
    assert ids(claim(ledger, 9)) == ["o-1", "o-2"]
    assert_sound(writer)


def test_an_order_that_comes_back_unharmed_has_its_place_in_its_line(writer: SqliteDatabase, ledger: Ledger) -> None:
    for number in range(2):
        accept_at(ledger, 10, f"high-{number}", priority=9)
    (first, _) = claim(ledger, 9)
    assert claim(ledger, 9) == []
    record(ledger, moves=[move(first, lifecycle.RETURN, 20, "not begun")])
    accept_at(ledger, 10, "low")
    accept_at(ledger, 10, "high-2", priority=9)

    assert ids(claim(ledger, 9)) == ["high-0", "high-2", "low"]
    assert_sound(writer)


def test_an_order_is_not_taken_before_its_time(writer: SqliteDatabase, ledger: Ledger) -> None:
    accept_at(ledger, 10, "at-once")
    accept_at(ledger, 10, "late", not_before=utc(50), priority=9)
    accept_at(ledger, 10, "later", not_before=utc(60))
    accept_at(ledger, 10, "past", not_before=utc(5))

    assert ledger.next_ready_us == 50
    assert ids(claim(ledger, 9, 49)) == ["at-once", "past"]
    assert ids(claim(ledger, 9, 50)) == ["late"]
    assert Ledger(writer).next_ready_us == ledger.next_ready_us == 60
    assert ids(claim(ledger, 9, 60)) == ["later"]
    assert_sound(writer)


def test_a_time_that_was_long_ago_is_no_time_of_waiting(ledger: Ledger) -> None:
    accept_at(ledger, 1000, "first")
    accept_at(ledger, 1001, "cunning", priority=3, not_before=utc(0))

    assert ids(claim(ledger, 9, 2000, aging_us=10)) == ["first", "cunning"]


def test_an_order_that_was_there_takes_no_place_in_any_line(writer: SqliteDatabase, ledger: Ledger) -> None:
    accept_at(ledger, 10, "a", priority=9)
    ledger.record(
        [make_order("a", priority=9), make_order("b", priority=9), make_order("b", not_before=utc(99))], [], 11
    )

    assert ids(claim(ledger, 9, 1000)) == ["a", "b"]
    assert_sound(writer)


def test_whose_waiting_a_client_wants_waits_on_when_the_clock_was_ahead(writer: SqliteDatabase, ledger: Ledger) -> None:
    accept_at(ledger, 10, "wanted", not_before=utc(9_000))

    assert ledger.clamp_ready_times(20, 30) == 0
    assert queries.next_ready_us(writer) == 9_000


class Model:
    """What must be true of any sequence of claims, by the simplest means: a dictionary, and all that happened."""

    def __init__(self) -> None:
        self.status: dict[str, str] = {}
        self.begun: list[str] = []  # whose first attempt was claimed, in that sequence
        self.in_hand: dict[str, OrderRecord] = {}
        self.failed: set[str] = set()

    def take(self, steps: Sequence[OrderRecord], room: int) -> None:
        """These were claimed."""
        assert len(steps) <= room
        for found in steps:
            assert self.status[found.order_id] == "Pending"
            self.status[found.order_id] = "Processing"
            if found.order_id not in self.begun:
                self.begun.append(found.order_id)
            self.in_hand[found.order_id] = found
        if len(steps) < room:  # nobody that may be processed is left out of sight
            waiting = {order_id for order_id, status in self.status.items() if status == "Pending"}
            assert waiting <= self.failed


LINES = ["a4", "b4", "b9", "c0", "c4"]
"""Users, each with a priority."""
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("accept"), st.lists(st.sampled_from(LINES), min_size=1, max_size=5)),
        st.tuples(st.just("claim"), st.integers(1, 4)),
        st.tuples(st.just("return"), st.integers(0, 9)),
        st.tuples(st.just("fail"), st.integers(0, 9)),
        st.tuples(st.just("complete"), st.integers(0, 9)),
        st.tuples(st.just("cancel"), st.integers(0, 9)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("wait"), st.integers(1, 30)),
    ),
    max_size=40,
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_no_order_is_claimed_twice_and_none_is_overtaken_by_a_later_one_of_its_line(
    events: list[Any],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = open_writer(Path(folder) / "orders.db", Durability.NORMAL)
        try:
            play(writer, events)
            assert_sound(writer)
        finally:
            writer.close()


def play(writer: SqliteDatabase, events: list[Any]) -> None:
    ledger, model, now, sent = Ledger(writer, 3), Model(), 10, 0
    lines: dict[str, str] = {}
    for what, detail in [*events, ("wait", 1000), ("claim", 1000)]:
        picked = sorted(model.in_hand)[detail % len(model.in_hand)] if model.in_hand and what != "accept" else None
        match what:
            case "accept":
                orders = [
                    make_order(f"o-{sent + place:03}", user_id=line[0], priority=int(line[1]))
                    for place, line in enumerate(detail)
                ]
                sent += len(orders)
                lines.update((order.order_id, f"{order.user_id}{order.priority}") for order in orders)
                model.status.update((order.order_id, "Pending") for order in orders)
                ledger.record(orders, [], now)
            case "claim":
                model.take([step.after for step in ledger.record([], [], now, claim=Claim(detail, now)).moved], detail)
            case "return" | "fail" | "complete" if picked is not None:
                found = model.in_hand.pop(picked)
                if what == "complete":
                    step = move(found, lifecycle.COMPLETE, now)
                elif what == "return":
                    step = move(found, lifecycle.RETURN, now, "not begun")
                else:
                    step = move(found, lifecycle.RETURN, now, ready_us=now + 20, error="boom")
                    model.failed.add(picked)
                model.status[picked] = step.after.status.value
                assert ledger.record([], [step], now).refused == []
            case "cancel":
                pending = sorted(order_id for order_id, status in model.status.items() if status == "Pending")
                if pending:
                    found = queries.find(writer, pending[detail % len(pending)])
                    assert found is not None
                    model.status[found.order_id] = "Cancelled"
                    assert ledger.record([], [move(found, lifecycle.CANCEL, now)], now).refused == []
            case "restart":
                ledger = Ledger(writer, 3)
            case "wait":
                now += detail
    assert "Pending" not in model.status.values(), "nobody waits for ever"
    for line in LINES:
        own = [order_id for order_id in model.begun if lines[order_id] == line]
        assert own == sorted(own)
