"""The SQL scripts run as they are, and the schema refuses what must not be."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from peewee import SqliteDatabase

from ordermill import sql
from ordermill.store import queries
from ordermill.store.audit import audit
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.lifecycle import EDGES, OrderStatus
from ordermill.store.sqlite.database import APPLICATION_ID, SCHEMA_VERSION, open_readers, open_writer

SCRIPTS = ("schema.sql", "sample_data.sql")
ORDER: dict[str, Any] = {
    "sequence": 1,
    "order_id": "o-1",
    "user_id": "u-1",
    "item_ids": '["sku-1"]',
    "total_cents": 1999,
    "status": "Completed",
    "attempts": 1,
    "failures": 0,
    "created_at": 1,
    "updated_at": 2,
    "ready_at": None,
    "last_error": None,
    "keyed_at": None,
}
STEP: dict[str, Any] = {
    "id": 1,
    "sequence": 1,
    "order_id": "o-1",
    "from_status": "Pending",
    "to_status": "Processing",
    "at": 2,
    "attempt": 1,
    "reason": "assigned",
}


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """An empty database of this schema, in memory."""
    with closing(sqlite3.connect(":memory:")) as opened:
        opened.executescript(sql.read("schema.sql"))
        yield opened


def insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    marks = ", ".join("?" for _ in row)
    connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))


def assert_sample(database: SqliteDatabase) -> None:
    assert audit(database) == (7, [])
    assert {record.status for record in queries.page(database, limit=100)} == set(OrderStatus) - {
        OrderStatus.PROCESSING
    }


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the sqlite3 shell is not installed")
def test_the_scripts_run_in_the_plain_sqlite3_shell(database: Path) -> None:
    for script in SCRIPTS:
        done = subprocess.run(
            ["sqlite3", "-bail", str(database)], input=sql.read(script), capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    readers = open_readers(database, 1)
    with readers.connection_context():
        assert_sample(readers)
    readers.close_all()


def test_the_scripts_run_through_pythons_sqlite3(database: Path) -> None:
    with closing(sqlite3.connect(database)) as plain:
        for script in SCRIPTS:
            plain.executescript(sql.read(script))

    opened = open_writer(database, Durability.FULL)
    assert_sample(opened)
    opened.close()


def test_the_schema_names_its_application_and_version(connection: sqlite3.Connection) -> None:
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    assert APPLICATION_ID.to_bytes(4, "big") == b"ORML"


def test_a_new_database_has_a_zero_for_every_total(writer: SqliteDatabase) -> None:
    totals = queries.totals(writer)

    assert totals == queries.recount(writer)
    assert set(totals) >= {*OrderStatus, "timed_orders", "processing_microseconds"}
    assert set(totals.values()) == {0}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"order_id": "a" * 64, "user_id": "b" * 128},
        {"item_ids": "[" + ",".join(['"i"'] * 100) + "]"},
        {"total_cents": 0},
        {"total_cents": 999_999_999_999},
        {"failures": 1, "last_error": "boom"},
        {"last_error": "boom"},
        {"keyed_at": 1},
        {"status": "Pending", "attempts": 0, "ready_at": 1},
        {"status": "Cancelled", "attempts": 0},
    ],
    ids=str,
)
def test_sound_orders_are_taken(connection: sqlite3.Connection, fields: dict[str, Any]) -> None:
    insert(connection, "orders", ORDER | fields)

    assert connection.execute("SELECT count(*) FROM orders").fetchone() == (1,)


@pytest.mark.parametrize(
    "fields",
    [
        {"order_id": ""},
        {"order_id": "a" * 65},
        {"order_id": None},
        {"user_id": ""},
        {"user_id": "a" * 129},
        {"user_id": None},
        {"item_ids": "[]"},
        {"item_ids": "[" + ",".join(['"i"'] * 101) + "]"},
        {"item_ids": '{"a": 1}'},
        {"item_ids": "sku-1"},
        {"item_ids": None},
        {"total_cents": -1},
        {"total_cents": 1_000_000_000_000},
        {"total_cents": 19.99},
        {"total_cents": "much"},
        {"total_cents": None},
        {"status": "Lost"},
        {"status": "completed"},
        {"status": None},
        {"attempts": -1},
        {"attempts": None},
        {"failures": -1},
        {"failures": 1},
        {"failures": 2, "last_error": "boom"},
        {"failures": None},
        {"created_at": None},
        {"created_at": "2027-01-15"},
        {"updated_at": None},
        {"ready_at": 1},
        {"status": "Pending", "ready_at": None},
        *({"status": status, "attempts": 0} for status in ("Processing", "Completed", "Failed", "Review")),
    ],
    ids=lambda fields: str(fields)[:48],
)
def test_impossible_orders_are_refused(connection: sqlite3.Connection, fields: dict[str, Any]) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        insert(connection, "orders", ORDER | fields)


def test_an_order_id_is_taken_once(connection: sqlite3.Connection) -> None:
    insert(connection, "orders", ORDER)

    with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE.*orders\.order_id"):
        insert(connection, "orders", ORDER | {"sequence": 2})


@pytest.mark.parametrize(
    "fields",
    [{field: None} for field in ("sequence", "order_id", "to_status", "at", "attempt", "reason")]
    + [{"attempt": -1}, {"at": "now"}, {"from_status": "Lost"}],
    ids=str,
)
def test_impossible_steps_are_refused(connection: sqlite3.Connection, fields: dict[str, Any]) -> None:
    insert(connection, "orders", ORDER)

    with pytest.raises(sqlite3.IntegrityError):
        insert(connection, "transitions", STEP | fields)


def test_a_step_belongs_to_an_order(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys = ON")

    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        insert(connection, "transitions", STEP)


def test_the_schema_allows_exactly_the_edges_of_the_lifecycle(connection: sqlite3.Connection) -> None:
    allowed = set()
    for number, (source, target) in enumerate(product([None, *OrderStatus], OrderStatus)):
        try:
            insert(
                connection,
                "transitions",
                STEP | {"id": number, "attempt": number, "from_status": source} | {"to_status": target},
            )
        except sqlite3.IntegrityError:
            continue
        allowed.add((source, target))

    assert allowed == {(edge.source, edge.target) for edge in EDGES}


def test_an_attempt_enters_a_status_once(connection: sqlite3.Connection) -> None:
    insert(connection, "transitions", STEP)

    with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE.*transitions"):
        insert(connection, "transitions", STEP | {"id": 2, "at": 3})
    insert(connection, "transitions", STEP | {"id": 2, "at": 3, "attempt": 2})


def test_a_step_within_a_status_may_be_taken_again(connection: sqlite3.Connection) -> None:
    for number in (1, 2):
        insert(connection, "transitions", STEP | {"id": number, "from_status": "Pending", "to_status": "Pending"})

    assert connection.execute("SELECT count(*) FROM transitions").fetchone() == (2,)


@pytest.mark.parametrize(("table", "number", "row"), [("orders", "sequence", ORDER), ("transitions", "id", STEP)])
def test_a_number_is_never_given_twice(
    connection: sqlite3.Connection, table: str, number: str, row: dict[str, Any]
) -> None:
    insert(connection, table, row | {number: 41})
    connection.execute(f"DELETE FROM {table}")
    insert(connection, table, {name: value for name, value in row.items() if name != number})

    assert connection.execute(f"SELECT {number} FROM {table}").fetchone() == (42,)


@pytest.mark.parametrize("row", [{"name": "Pending", "value": 0}, {"name": "more", "value": None}], ids=str)
def test_a_total_has_one_value(connection: sqlite3.Connection, row: dict[str, Any]) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        insert(connection, "totals", row)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_that_runs_twice_fails_and_changes_nothing(writer: SqliteDatabase, script: str) -> None:
    plain: Any = writer
    connection: sqlite3.Connection = plain.connection()
    if script == "sample_data.sql":
        connection.executescript(sql.read(script))
    before = list(connection.iterdump())

    with pytest.raises(sqlite3.Error):
        connection.executescript(sql.read(script))
    connection.rollback()

    assert list(connection.iterdump()) == before
