"""Every combination of filters finds what it means, newest first, and looks at so many orders a page and no more."""

from __future__ import annotations

import random
from itertools import combinations
from typing import Any

import pytest
from peewee import SqliteDatabase

from ordermill.engine.testing import make_order
from ordermill.store import search
from ordermill.store.domain import lifecycle
from ordermill.store.domain.failure import error_name, is_failure
from ordermill.store.domain.lifecycle import OrderStatus
from ordermill.store.domain.order_filter import OrderFilter
from ordermill.store.domain.record import OrderRecord, move
from ordermill.store.ledger import Ledger

ORDERS = 300
QUEUES = ("default", "default", "mail")
VALUES: dict[str, tuple[Any, ...]] = {
    "status": (OrderStatus.PENDING, OrderStatus.PROCESSING, OrderStatus.FAILED, OrderStatus.COMPLETED),
    "user_id": ("ann", "nobody"),
    "queue": ("mail", "default", "none"),
    "order_id_prefix": ("a-", "a-1", "none"),
    "error": ("ProviderDown", "ProviderDown: no answer in # s", "rejected", "None"),
    "created_from_us": (120,),
    "created_to_us": (200,),
    "updated_from_us": (150,),
    "updated_to_us": (260,),
}
"""Of each filter that there is, values that match much, little and nothing."""
COMBINATIONS = [names for size in range(4) for names in combinations(VALUES, size)]


def fill(writer: SqliteDatabase, seed: int, *, is_clock_set_back: bool) -> list[OrderRecord]:
    """Orders that have gone many ways."""
    chance = random.Random(seed)
    ledger = Ledger(writer)
    records: dict[int, OrderRecord] = {}
    for number in range(1, ORDERS + 1):
        at_us = number - (100 if is_clock_set_back and number > 150 else 0)
        order = make_order(
            f"{chance.choice('ab')}-{number}", user_id=chance.choice(("ann", "bob")), queue=chance.choice(QUEUES)
        )
        ((_, record),) = ledger.record([order], [], at_us).acceptances
        records[record.sequence] = record
    for sequence, record in records.items():
        for edge, error in chance.choice(WAYS):
            step = move(record, edge, record.updated_us + chance.randrange(40), error=error)
            ledger.record([], [step], step.after.updated_us)
            record = records[sequence] = step.after
    return sorted(records.values(), key=lambda record: -record.sequence)


DOWN, SLOW, NO = "ProviderDown: no answer in 5 s", "ProviderDown: slow", "rejected: no"
WAYS: list[list[tuple[lifecycle.Edge, str | None]]] = [
    [],
    [(lifecycle.CANCEL, None)],
    [(lifecycle.ASSIGN, None)],
    [(lifecycle.ASSIGN, None), (lifecycle.COMPLETE, None)],
    [(lifecycle.ASSIGN, None), (lifecycle.FAIL, DOWN)],
    [(lifecycle.ASSIGN, None), (lifecycle.FAIL, NO)],
    [(lifecycle.ASSIGN, None), (lifecycle.PARK, SLOW)],
    [(lifecycle.ASSIGN, None), (lifecycle.RETURN, DOWN)],
    [(lifecycle.ASSIGN, None), (lifecycle.RETURN, SLOW), (lifecycle.ASSIGN, None)],
    [(lifecycle.ASSIGN, None), (lifecycle.RETURN, DOWN), (lifecycle.ASSIGN, None), (lifecycle.COMPLETE, None)],
]


def means(wanted: OrderFilter, record: OrderRecord) -> bool:
    """Whether a filter means an order, by what each filter says."""
    name = error_name(record.last_error, record.order) if record.last_error and is_failure(record) else None
    return (
        (wanted.status is None or record.status is wanted.status)
        and (wanted.user_id is None or record.order.user_id == wanted.user_id)
        and (wanted.queue is None or record.order.queue == wanted.queue)
        and (wanted.order_id_prefix is None or record.order_id.startswith(wanted.order_id_prefix))
        and (wanted.error is None or (name is not None and wanted.error in (name.kind, name.name)))
        and (wanted.created_from_us is None or record.created_us >= wanted.created_from_us)
        and (wanted.created_to_us is None or record.created_us < wanted.created_to_us)
        and (wanted.updated_from_us is None or record.updated_us >= wanted.updated_from_us)
        and (wanted.updated_to_us is None or record.updated_us < wanted.updated_to_us)
    )


def all_pages(writer: SqliteDatabase, wanted: OrderFilter, limit: int, scanned: int) -> list[OrderRecord]:
    found: list[OrderRecord] = []
    before: int | None = None
    for _ in range(ORDERS):
        page = search.page(writer, wanted, before=before, limit=limit, scanned=scanned)
        assert len(page.orders) <= limit
        found += page.orders
        if page.before is None:
            return found
        assert before is None or page.before < before
        before = page.before
    pytest.fail("the pages have no end")


def test_the_combinations_have_every_filter_that_there_is() -> None:
    assert set(VALUES) == set(OrderFilter.__struct_fields__)


@pytest.mark.parametrize("is_clock_set_back", [False, True], ids=["steady clock", "clock set back"])
@pytest.mark.parametrize(("limit", "scanned"), [(7, 20), (1000, 4000)])
def test_every_combination_finds_what_it_means(
    writer: SqliteDatabase, limit: int, scanned: int, is_clock_set_back: bool
) -> None:
    records = fill(writer, 1, is_clock_set_back=is_clock_set_back)
    chance = random.Random(limit)

    for names in COMBINATIONS:
        wanted = OrderFilter(**{name: chance.choice(VALUES[name]) for name in names})

        assert all_pages(writer, wanted, limit, scanned) == [one for one in records if means(wanted, one)], wanted


def count_all(writer: SqliteDatabase, wanted: OrderFilter, scanned: int) -> int:
    total, before = search.count(writer, wanted, scanned=scanned)
    while before is not None:
        found, before = search.count(writer, wanted, before=before, scanned=scanned)
        total += found
    return total


@pytest.mark.parametrize("scanned", [20, 4000])
def test_as_many_are_counted_as_are_found(writer: SqliteDatabase, scanned: int) -> None:
    records = fill(writer, 5, is_clock_set_back=False)
    chance = random.Random(scanned)

    for names in COMBINATIONS:
        wanted = OrderFilter(**{name: chance.choice(VALUES[name]) for name in names})

        assert count_all(writer, wanted, scanned) == sum(means(wanted, one) for one in records), wanted


def test_a_page_looks_at_so_many_orders_and_no_more(writer: SqliteDatabase) -> None:
    fill(writer, 2, is_clock_set_back=False)

    page = search.page(writer, OrderFilter(updated_from_us=10_000), limit=5, scanned=50)

    assert page == ([], ORDERS - 49)


def test_what_an_index_tells_is_found_however_far_away_it_is(writer: SqliteDatabase) -> None:
    records = fill(writer, 3, is_clock_set_back=False)
    oldest = records[-1]

    page = search.page(
        writer, OrderFilter(order_id_prefix=oldest.order_id, created_to_us=oldest.created_us + 1), limit=5, scanned=5
    )

    assert page == ([oldest], None)


def test_no_combination_scans_the_table_or_sorts_it(writer: SqliteDatabase) -> None:
    fill(writer, 4, is_clock_set_back=False)
    asked: list[str] = []
    connection = writer.connection()
    connection.set_trace_callback(asked.append)
    for names in COMBINATIONS:
        for values in (0, -1):
            search.page(writer, OrderFilter(**{name: VALUES[name][values] for name in names}), limit=5, scanned=20)
    connection.set_trace_callback(None)

    plans = {
        (text, row[3]) for text in dict.fromkeys(asked) for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")
    }

    scans = [
        (text, line)
        for text, line in plans
        if line.startswith("SCAN") and line != "SCAN eras" and "VIRTUAL TABLE" not in line
    ]
    assert [scan for scan in scans if not any(small in scan[0] for small in ("clock_steps", "sqlite_sequence"))] == []
    assert [plan for plan in plans if "TEMP B-TREE" in plan[1]] == []
