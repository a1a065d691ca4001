"""The audit finds whatever is wrong with a database, and nothing where all is well."""

from __future__ import annotations

from pathlib import Path

import pytest
from peewee import SqliteDatabase

from ordermill.engine.testing import make_order
from ordermill.store.audit import audit
from ordermill.store.connect import connect
from ordermill.store.domain import lifecycle
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.record import move
from ordermill.store.ledger import Ledger
from ordermill.store.statements import run


def test_an_empty_database_is_sound(writer: SqliteDatabase) -> None:
    assert audit(writer) == (0, [])


def test_the_sample_database_is_sound(sample: SqliteDatabase) -> None:
    assert audit(sample) == (7, [])


@pytest.mark.parametrize(
    ("damage", "faults"),
    [
        (
            "UPDATE orders SET status = 'Failed' WHERE order_id = 'sample-1'",
            [
                "order 'sample-1': is Failed, but its history ends with Completed",
                "the total Completed is 2, recounted 1",
                "the total Failed is 1, recounted 2",
            ],
        ),
        (
            "UPDATE orders SET attempts = 3 WHERE order_id = 'sample-1'",
            ["order 'sample-1': has 3 attempts, but its history 1"],
        ),
        (
            "UPDATE orders SET updated_at = updated_at + 1 WHERE order_id = 'sample-1'",
            ["order 'sample-1': did not change last when its history says so"],
        ),
        (
            "UPDATE orders SET order_id = 'other' WHERE order_id = 'sample-4'",
            ["order 'other': a step of its history names order 'sample-4'"] * 2,
        ),
        (
            "UPDATE transitions SET attempt = 3 WHERE order_id = 'sample-4' AND to_status = 'Cancelled'",
            [
                "order 'sample-4': becomes Cancelled in attempt 3 when it was in 0",
                "order 'sample-4': has 0 attempts, but its history 3",
            ],
        ),
        (
            "UPDATE transitions SET at = at - 60000000 WHERE order_id = 'sample-3' AND to_status = 'Failed'",
            [
                "order 'sample-3': becomes Failed before it became Processing",
                "order 'sample-3': did not change last when its history says so",
            ],
        ),
        (
            "DELETE FROM transitions WHERE order_id = 'sample-3' AND to_status = 'Processing'",
            [
                "order 'sample-3': goes on from Processing when it was Pending",
                "order 'sample-3': becomes Failed in attempt 1 when it was in 0",
            ],
        ),
        (
            "DELETE FROM transitions WHERE order_id = 'sample-6'",
            [
                "order 'sample-6': is Pending, but its history ends with None",
            ],
        ),
        (
            "UPDATE orders SET failures = 0 WHERE order_id = 'sample-3'",
            ["order 'sample-3': has 0 failures, but its history 1"],
        ),
        (
            "UPDATE sqlite_sequence SET seq = 6 WHERE name = 'orders'",
            ["the sequences of orders will be given again: 6 is noted as the last one, and 7 is there"],
        ),
        (
            "DELETE FROM sqlite_sequence WHERE name = 'transitions'",
            ["the ids of transitions will be given again: 0 is noted as the last one, and 18 is there"],
        ),
        (
            "UPDATE totals SET value = 9 WHERE name = 'timed_orders'",
            ["the total timed_orders is 9, recounted 2"],
        ),
        (
            "DELETE FROM totals WHERE name = 'Completed'",
            ["the total Completed is 0, recounted 2"],
        ),
        (
            "DELETE FROM orders WHERE order_id = 'sample-7'",
            [
                "there is a history of order 'sample-7', but no such order",
                "the total Pending is 2, recounted 1",
            ],
        ),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
)
def test_damage_is_named(sample: SqliteDatabase, damage: str, faults: list[str]) -> None:
    run(sample, damage)

    assert audit(sample).faults == faults


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (
            "UPDATE transitions SET to_status = 'Completed' WHERE order_id = 'sample-4' AND to_status = 'Cancelled'",
            "order 'sample-4': goes from Pending to Completed, which no order may",
        ),
        (
            "UPDATE orders SET failures = 5 WHERE order_id = 'sample-2'",
            "order 'sample-2': has 5 failures, but its history 0 to 1",
        ),
    ],
    ids=["illegal edge", "failures"],
)
def test_damage_that_the_schema_would_refuse_is_named(sample: SqliteDatabase, damage: str, fault: str) -> None:
    run(sample, "PRAGMA ignore_check_constraints = 1")
    run(sample, damage)

    assert fault in audit(sample).faults


def test_a_row_that_breaks_a_rule_of_the_schema_is_named(sample: SqliteDatabase) -> None:
    run(sample, "PRAGMA ignore_check_constraints = 1")
    run(sample, "UPDATE orders SET total_cents = -1 WHERE order_id = 'sample-2'")
    run(sample, "PRAGMA ignore_check_constraints = 0")

    assert audit(sample) == (0, ["the file is damaged: CHECK constraint failed in orders"])


def test_a_damaged_file_is_told_from_damaged_orders(database: Path, sample: SqliteDatabase) -> None:
    (root,) = run(sample, "SELECT rootpage FROM sqlite_master WHERE name = 'orders_by_user'").fetchone()
    (size,) = run(sample, "PRAGMA page_size").fetchone()
    sample.close()
    with database.open("r+b") as file:
        file.seek((root - 1) * size)
        page = file.read(size)
        file.seek((root - 1) * size)
        file.write(page.replace(b"carol", b"caron"))

    damaged = connect(database).open_writer(Durability.NORMAL)
    found = audit(damaged)
    damaged.close()

    assert found.orders == 0
    assert found.faults
    assert all(fault.startswith("the file is damaged: ") for fault in found.faults)


def test_more_orders_than_a_page_are_looked_at_and_progress_is_told(writer: SqliteDatabase, ledger: Ledger) -> None:
    accepted = ledger.record([make_order(f"o-{i}") for i in range(4500)], [], 10).acceptances
    ledger.record([], [move(record, lifecycle.CANCEL, 11) for _, record in accepted[::2]], 11)
    run(writer, "UPDATE orders SET updated_at = 12 WHERE order_id IN ('o-1', 'o-4499')")
    told: list[tuple[int, int]] = []

    found = audit(writer, lambda done, count: told.append((done, count)))

    assert found.orders == 4500
    assert found.faults == [
        f"order {order_id!r}: did not change last when its history says so" for order_id in ("o-1", "o-4499")
    ]
    assert told == [(2000, 4500), (4000, 4500), (4500, 4500)]


def test_an_audit_changes_nothing(sample: SqliteDatabase) -> None:
    (before,) = run(sample, "SELECT total_changes()").fetchone()

    audit(sample)

    assert run(sample, "SELECT total_changes()").fetchone() == (before,)
