"""Reads find what the ledger wrote, and none that is asked often looks at every row."""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import product
from typing import Any

import pytest
from peewee import SqliteDatabase

from ordermill.engine.testing import START_US, make_order
from ordermill.store import queries
from ordermill.store.domain import lifecycle
from ordermill.store.domain.lifecycle import OrderStatus
from ordermill.store.domain.record import OrderRecord, Transition, move
from ordermill.store.ledger import Ledger
from ordermill.store.sqlite.connection import AnySqlite
from ordermill.store.sqlite.dialect import to_sqlite
from ordermill.store.statements import run

USERS = ("alice", "bob")
ORDERS_OF_BUSY = 5_000
MOST_STEPS = 10
"""Hundreds of SQLite's instructions: a page of ten takes a few of them, a look at each order hundreds."""


@pytest.fixture
def orders(ledger: Ledger) -> list[OrderRecord]:
    """Ten orders of two users in turn, all Pending."""
    submitted = [make_order(f"o-{i}", user_id=USERS[i % 2]) for i in range(10)]
    return [record for _, record in ledger.record(submitted, [], START_US).acceptances]


def ids(records: list[OrderRecord]) -> list[str]:
    return [record.order_id for record in records]


@pytest.mark.usefixtures("orders")
def test_an_order_is_found_by_its_id(writer: SqliteDatabase) -> None:
    found = queries.find(writer, "o-3")

    assert found is not None
    assert found.order == make_order("o-3", user_id="bob")
    assert queries.find(writer, "O-3") is None
    assert queries.find(writer, "") is None


def test_the_history_of_an_order_is_told_oldest_first(
    writer: SqliteDatabase, ledger: Ledger, orders: list[OrderRecord]
) -> None:
    assign = move(orders[0], lifecycle.ASSIGN, START_US + 1)
    ledger.record([], [assign, move(orders[1], lifecycle.CANCEL, START_US + 1)], START_US)
    ledger.record([], [move(assign.after, lifecycle.COMPLETE, START_US + 2)], START_US)

    history = queries.history(writer, "o-0")

    assert [(step.from_status, step.to_status) for step in history] == [
        (None, OrderStatus.PENDING),
        (OrderStatus.PENDING, OrderStatus.PROCESSING),
        (OrderStatus.PROCESSING, OrderStatus.COMPLETED),
    ]
    assert [(step.at_us - START_US, step.attempt) for step in history] == [(0, 0), (1, 1), (2, 1)]
    assert queries.history(writer, "none") == ()


@pytest.mark.parametrize("limit", [1, 2, 3, 8, 9, 100])
def test_pages_lead_from_the_beginning_of_a_history_to_its_end(
    writer: SqliteDatabase, ledger: Ledger, orders: list[OrderRecord], limit: int
) -> None:
    record = orders[0]
    for number in range(4):
        for edge in (lifecycle.ASSIGN, lifecycle.RETURN):
            step = move(record, edge, START_US + number, str(number))
            ledger.record([], [step, move(orders[1], lifecycle.CANCEL, START_US)], START_US)
            record = step.after

    seen: list[Transition] = []
    after: int | None = None
    while not seen or after is not None:
        page, after = queries.history_page(writer, "o-0", after, limit=limit)
        assert 0 < len(page) <= limit
        seen += page

    whole = queries.history(writer, "o-0")
    assert len(whole) == 9
    assert tuple(seen) == whole
    assert queries.newest_steps(writer, "o-0", limit=limit) == seen[: -limit - 1 : -1]
    assert queries.history_page(writer, "none", limit=limit) == ([], None)
    assert queries.newest_steps(writer, "none", limit=limit) == []


@pytest.mark.usefixtures("orders")
def test_pages_lead_from_the_newest_order_to_the_oldest(writer: SqliteDatabase) -> None:
    seen: list[str] = []
    before = None
    while page := queries.page(writer, before=before, limit=4):
        assert len(page) <= 4
        seen += ids(page)
        before = page[-1].sequence

    assert seen == [f"o-{i}" for i in reversed(range(10))]


def test_a_page_may_be_of_one_user_and_one_status(
    writer: SqliteDatabase, ledger: Ledger, orders: list[OrderRecord]
) -> None:
    ledger.record([], [move(record, lifecycle.CANCEL, START_US) for record in orders[:4]], START_US)

    assert ids(queries.page(writer, user_id="bob", limit=3)) == ["o-9", "o-7", "o-5"]
    assert ids(queries.page(writer, status=OrderStatus.CANCELLED, limit=3)) == ["o-3", "o-2", "o-1"]
    assert ids(queries.page(writer, status=OrderStatus.CANCELLED, user_id="bob", limit=9)) == ["o-3", "o-1"]
    assert ids(queries.page(writer, user_id="bob", before=orders[5].sequence, limit=9)) == ["o-3", "o-1"]
    assert queries.page(writer, status=OrderStatus.FAILED, limit=9) == []
    assert queries.page(writer, user_id="carol", limit=9) == []


def fail(ledger: Ledger, record: OrderRecord, ready_us: int) -> None:
    assign = move(record, lifecycle.ASSIGN, START_US + 1)
    ledger.record([], [assign], START_US)
    ledger.record([], [move(assign.after, lifecycle.RETURN, START_US + 2, ready_us=ready_us, error="boom")], START_US)


def test_the_first_in_line_is_known(writer: SqliteDatabase, ledger: Ledger, orders: list[OrderRecord]) -> None:
    assert queries.first_in_line(writer) == 1
    assert queries.first_in_line(writer, {1, 2, 4}) == 3
    fail(ledger, orders[0], START_US + 50)
    assert queries.first_in_line(writer) == 2
    ledger.record([], [move(record, lifecycle.CANCEL, START_US) for record in orders[1:]], START_US)
    assert queries.first_in_line(writer) is None


def test_the_first_of_some_that_may_be_processed_is_known(
    writer: SqliteDatabase, ledger: Ledger, orders: list[OrderRecord]
) -> None:
    fail(ledger, orders[6], START_US + 50)

    assert queries.first_ready(writer, {8, 6}, START_US) == 6
    assert queries.first_ready(writer, {7}, START_US + 49) is None
    assert queries.first_ready(writer, {7}, START_US + 50) == 7
    assert queries.first_ready(writer, (), START_US) is None


@pytest.mark.usefixtures("orders")
def test_orders_are_found_by_their_sequences(writer: SqliteDatabase) -> None:
    assert sorted(ids(queries.numbered(writer, [3, 1, 99]))) == ["o-0", "o-2"]


def test_the_next_time_that_an_order_is_ready_is_known(
    writer: SqliteDatabase, ledger: Ledger, orders: list[OrderRecord]
) -> None:
    assert queries.next_ready_us(writer) is None
    fail(ledger, orders[0], START_US + 70)
    fail(ledger, orders[1], START_US + 69)
    assert queries.next_ready_us(writer) == START_US + 69


def test_orders_in_hand_are_told_oldest_first(
    writer: SqliteDatabase, ledger: Ledger, orders: list[OrderRecord]
) -> None:
    ledger.record([], [move(orders[index], lifecycle.ASSIGN, START_US + 1) for index in (7, 2, 5)], START_US)

    assert ids(queries.left_behind(writer, 100)) == ["o-2", "o-5", "o-7"]
    assert ids(queries.left_behind(writer, 2)) == ["o-2", "o-5"]


@pytest.mark.parametrize("status", list(OrderStatus))
def test_a_page_of_one_user_has_those_of_every_status(sample: SqliteDatabase, status: OrderStatus) -> None:
    records = queries.page(sample, limit=100)

    for user_id in {record.order.user_id for record in records}:
        expected = [record for record in records if (record.order.user_id, record.status) == (user_id, status)]
        assert queries.page(sample, user_id=user_id, status=status, limit=100) == expected


def test_a_user_s_orders_of_all_eras_come_newest_first(writer: SqliteDatabase, ledger: Ledger) -> None:
    ledger.record([make_order(f"o-{i}", user_id=USERS[i % 2]) for i in range(1, 31)], [], START_US)
    run(writer, "DELETE FROM transitions")
    run(writer, "UPDATE orders SET sequence = 5000 * sequence")
    run(writer, "DELETE FROM orders WHERE sequence < 50000")  # so that the first eras are past

    expected = [f"o-{i}" for i in range(30, 9, -1) if USERS[i % 2] == "bob"]

    assert ids(queries.page(writer, user_id="bob", limit=30)) == expected
    assert ids(queries.page(writer, user_id="bob", limit=3)) == expected[:3]
    assert ids(queries.page(writer, user_id="bob", before=100_000, limit=3)) == ["o-19", "o-17", "o-15"]


def test_an_empty_database_begins_at_zero(writer: SqliteDatabase) -> None:
    assert queries.last_sequence(writer) == 0
    assert queries.last_transition_us(writer) == 0


def test_the_last_sequence_and_the_last_time_are_known(
    writer: SqliteDatabase, ledger: Ledger, orders: list[OrderRecord]
) -> None:
    ledger.record(
        [],
        [move(orders[0], lifecycle.CANCEL, START_US + 90), move(orders[1], lifecycle.CANCEL, START_US + 80)],
        START_US,
    )

    assert queries.last_sequence(writer) == orders[-1].sequence
    assert queries.last_transition_us(writer) == START_US + 90


def test_a_recount_ignores_the_running_totals(sample: SqliteDatabase) -> None:
    totals = queries.totals(sample)
    run(sample, "UPDATE totals SET value = value + 5 WHERE name = 'Pending'")

    assert queries.recount(sample) == totals
    assert queries.totals(sample)["Pending"] == totals["Pending"] + 5


def test_the_sample_orders_are_counted(sample: SqliteDatabase) -> None:
    counts = queries.recount(sample)

    assert (counts["Completed"], counts["Pending"], counts["Processing"]) == (2, 2, 0)
    assert (counts["timed_orders"], counts["processing_microseconds"]) == (2, 620_000)


class Spy(AnySqlite):
    """A database that remembers what it was asked."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.asked: list[tuple[str, Any]] = []

    def execute_sql(self, sql: str, params: Any = None, *more: Any) -> Any:
        self.asked.append((to_sqlite(sql), params))
        answer: Any = super()
        return answer.execute_sql(sql, params, *more)


@pytest.fixture
def spy(writer: SqliteDatabase, ledger: Ledger) -> Iterator[Spy]:
    """A database of 2,000 orders that remembers what it is asked."""
    ledger.record([make_order(f"o-{i}", user_id=f"u-{i % 50}") for i in range(2000)], [], START_US)
    opened = Spy(writer.database)
    opened.connect()
    yield opened
    opened.close()


def plan_of(spy: Spy) -> list[str]:
    with closing(sqlite3.connect(spy.database)) as connection:
        return [
            detail
            for text, parameters in spy.asked
            for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {text}", parameters or ()).fetchall()
        ]


def scans(plan: list[str]) -> list[str]:
    """What is read from one end to the other, but for the list of eras."""
    return [line for line in plan if line.startswith("SCAN") and line != "SCAN eras"]


def test_what_is_old_is_found_by_its_age_without_a_look_at_anything_else(spy: Spy) -> None:
    queries.over(spy, START_US, START_US, 10)

    # Only for a Failed order that has a key.
    waits = "SEARCH t2 USING COVERING INDEX orders_of_key (serial_key=? AND status=?)"

    assert [line for line in plan_of(spy) if line != waits and "CORRELATED" not in line] == [
        "SEARCH t1 USING INDEX orders_over (updated_at<?)",
        "SEARCH t1 USING INDEX orders_over_with_key (updated_at<?)",
    ]


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (lambda database: queries.find(database, "o-7"), "(order_id=?)"),
        (lambda database: queries.history(database, "o-7"), "transitions_once (sequence=?)"),
        (
            lambda database: queries.history_page(database, "o-7", 99, limit=10),
            "transitions_once (sequence=? AND attempt>?)",
        ),
        (
            lambda database: queries.newest_steps(database, "o-7", limit=10),
            "transitions_once (sequence=?)",
        ),
        (queries.first_in_line, "orders_in_line (rank>?)"),
        (lambda database: queries.first_ready(database, [1], START_US), "PRIMARY KEY (rowid=?)"),
        (queries.next_ready_us, "orders_waiting (ready_at>?)"),
        (lambda database: queries.left_behind(database, 10), "orders_by_status (status=?)"),
        (lambda database: queries.page(database, user_id="u-1", limit=10), "orders_by_user (<expr>=? AND user_id=?)"),
        (
            lambda database: queries.page(database, user_id="u-1", before=99, limit=10),
            "orders_by_user (<expr>=? AND user_id=? AND sequence<?)",
        ),
        (
            lambda database: queries.page(database, status=OrderStatus.FAILED, limit=10),
            "orders_by_status (status=?)",
        ),
        (
            lambda database: queries.page(database, status=OrderStatus.FAILED, before=99, limit=10),
            "orders_by_status (status=? AND sequence<?)",
        ),
        (lambda database: queries.page(database, before=99, limit=10), "INTEGER PRIMARY KEY (rowid<?)"),
        (
            lambda database: queries.page(database, user_id="u-1", status=OrderStatus.FAILED, before=99, limit=10),
            "orders_by_user_and_status (user_id=? AND status=? AND sequence<?)",
        ),
        (
            lambda database: queries.page(database, user_id="u-1", status=OrderStatus.COMPLETED, before=99, limit=10),
            "orders_by_user (<expr>=? AND user_id=? AND sequence<?)",
        ),
        (
            lambda database: queries.page(database, user_id="u-1", status=OrderStatus.PENDING, before=99, limit=10),
            "orders_pending_by_user (user_id=? AND sequence<?)",
        ),
        (
            lambda database: queries.page(database, user_id="u-1", status=OrderStatus.PROCESSING, limit=10),
            "orders_by_status (status=?)",
        ),
    ],
    ids=[
        "find",
        "history",
        "next page of a history",
        "newest steps",
        "first in line",
        "first ready",
        "next ready",
        "processing",
        "page of a user",
        "next page of a user",
        "page of a status",
        "next page of a status",
        "next page",
        "next page of a user and a status",
        "next page of a user's Completed orders",
        "next page of a user's Pending orders",
        "page of a user's Processing orders",
    ],
)
def test_a_query_searches_an_index(spy: Spy, query: Callable[[Spy], object], index: str) -> None:
    query(spy)

    plan = plan_of(spy)

    assert [line for line in scans(plan) if "json_each" not in line] == []
    assert any(index in line for line in plan), plan


@pytest.mark.parametrize(
    "query",
    [
        queries.first_in_line,
        lambda database: queries.left_behind(database, 10),
        lambda database: queries.page(database, limit=10),
        lambda database: queries.page(database, user_id="u-1", limit=10),
        lambda database: queries.page(database, status=OrderStatus.PENDING, limit=10),
        lambda database: queries.page(database, user_id="u-1", status=OrderStatus.FAILED, limit=10),
    ],
    ids=["first in line", "processing", "page", "page of a user", "page of a status", "page of a user and a status"],
)
def test_a_page_is_read_in_the_sequence_of_its_index_without_a_sort(spy: Spy, query: Callable[[Spy], object]) -> None:
    query(spy)

    assert [line for line in plan_of(spy) if "TEMP B-TREE" in line] == []


@pytest.mark.parametrize(
    "query",
    [lambda database: queries.page(database, limit=10), queries.last_transition_us],
    ids=["page", "last transition"],
)
def test_the_newest_rows_are_read_from_the_end_of_the_table(spy: Spy, query: Callable[[Spy], object]) -> None:
    query(spy)

    ((text, _),) = spy.asked
    assert "LIMIT" in text
    assert plan_of(spy) == ["SCAN t1"]


FILTERS: dict[str, tuple[Any, ...]] = {
    "status": tuple(OrderStatus),
    "user_id": ("busy", "idle", "nobody"),
    "before": (3, ORDERS_OF_BUSY // 2),
}
"""Of each filter that a caller can give, values that match much, little and nothing."""
COMBINATIONS = tuple(
    {name: value for name, value in zip(FILTERS, values, strict=True) if value is not None}
    for values in product(*((None, *samples) for samples in FILTERS.values()))
)


def test_the_combinations_have_every_filter_that_there_is() -> None:
    parameters = inspect.signature(queries.page).parameters

    assert {name for name in parameters if name not in ("database", "limit")} == set(FILTERS)


def fill(writer: SqliteDatabase, orders: int) -> None:
    """Store many orders of one user in every status but Processing, and one of another."""
    statuses = [status for status in OrderStatus if status is not OrderStatus.PROCESSING]
    rows = [
        (f"o-{number}", "idle" if number == 2 else "busy", status, ready)
        for number in range(1, orders + 1)
        for status in [statuses[number % len(statuses)]]
        for ready in [number if status is OrderStatus.PENDING else None]
    ]
    connection = writer.connection()
    connection.executemany(
        "INSERT INTO orders (order_id, user_id, item_ids, total_cents, status, attempts, failures, created_at,"
        " updated_at, ready_at) VALUES (?, ?, '[\"pen\"]', 1, ?, 1, 0, 1, 1, ?)",
        rows,
    )
    connection.commit()


def steps_of(writer: SqliteDatabase, query: Callable[[], object]) -> int:
    """How many hundreds of its instructions SQLite takes for a query."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection = writer.connection()
    connection.set_progress_handler(count, 100)
    query()
    connection.set_progress_handler(None, 0)
    return steps


def test_no_combination_of_filters_takes_longer_where_there_are_more_orders(writer: SqliteDatabase) -> None:
    # Whoever may list orders must not keep a processor busy by it, whatever the filters match.
    fill(writer, ORDERS_OF_BUSY)

    steps = {
        str(filters): steps_of(writer, lambda filters=filters: queries.page(writer, **filters, limit=10))
        for filters in COMBINATIONS
    }

    assert {filters: count for filters, count in steps.items() if count > MOST_STEPS} == {}


@pytest.mark.parametrize("filters", COMBINATIONS, ids=str)
def test_no_combination_of_filters_scans_the_table_or_sorts(spy: Spy, filters: dict[str, Any]) -> None:
    queries.page(spy, **filters, limit=10)

    plan = plan_of(spy)

    assert scans(plan) == ([] if filters else ["SCAN t1"])  # from its end
    assert [line for line in plan if "TEMP B-TREE" in line] == []
