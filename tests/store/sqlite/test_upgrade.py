"""A database of an older version is upgraded at the start, keeps what it had, and leaves a copy of itself."""

from __future__ import annotations

import logging
import re
import shutil
import sqlite3
from collections import namedtuple
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from peewee import SqliteDatabase

from ordermill import sql
from ordermill.engine import OrderEngine, OrderStatus
from ordermill.store import queries
from ordermill.store.audit import audit
from ordermill.store.domain import lifecycle
from ordermill.store.domain.claim import Claim
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.errors import DatabaseRefused
from ordermill.store.domain.record import move
from ordermill.store.ledger import Ledger
from ordermill.store.sqlite import upgrade
from ordermill.store.sqlite.backup import back_up
from ordermill.store.sqlite.database import SCHEMA_VERSION, open_readers, open_writer

OLD = Path(__file__).parent / "old_schemas"
VERSIONS = range(1, SCHEMA_VERSION)
ORDERS_1 = """
INSERT INTO orders VALUES
  (1, 'done',   'alice', '["pen"]', 1999, 'Completed', 1, 0, 10, 12, NULL),
  (2, 'failed', 'bob',   '["pen"]', 1999, 'Failed',    2, 2, 10, 15, NULL),
  (3, 'late',   'carol', '["pen"]', 1999, 'Pending',   1, 0, 10, 14, 10),
  (4, 'again',  'dave',  '["pen"]', 1999, 'Failed',    2, 2, 10, 18, NULL);
"""
ORDERS_3 = """
INSERT INTO orders VALUES
  (1, 'done', 'alice', '["pen"]', 1999, 'Completed', 1, 0, 10, 12, NULL, NULL, NULL),
  (2, 'failed', 'bob', '["pen"]', 1999, 'Failed', 2, 2, 10, 15, NULL, 'ValueError: two; failed attempt 2 of 2', NULL),
  (3, 'late', 'carol', '["pen"]', 1999, 'Pending', 1, 0, 10, 14, 10, NULL, NULL),
  (4, 'again', 'dave', '["pen"]', 1999, 'Failed', 2, 1, 10, 18, NULL, 'rejected: never', NULL);
"""
ORDERS_4 = """
INSERT INTO orders VALUES
  (1, 'done', 'alice', '["pen"]', 1999, 'Completed', 1, 0, 10, 12, NULL, NULL, NULL, NULL),
  (2, 'failed', 'bob', '["pen"]', 1999, 'Failed', 2, 2, 10, 15, NULL, 'ValueError: two; failed attempt 2 of 2', NULL,
   NULL),
  (3, 'late', 'carol', '["pen"]', 1999, 'Pending', 1, 0, 10, 14, 10, NULL, NULL, 0),
  (4, 'again', 'dave', '["pen"]', 1999, 'Failed', 2, 1, 10, 18, NULL, 'rejected: never', NULL, NULL);
INSERT INTO errors VALUES (1, 'ValueError: two', 'ValueError'), (2, 'rejected: never', 'rejected');
INSERT INTO failures VALUES (2, 1, 'Failed', 15), (4, 2, 'Failed', 18);
"""
ORDERS_6 = """
INSERT INTO orders VALUES
  (1, 'done', 'alice', '["pen"]', 1999, 'Completed', 1, 0, 10, 12, NULL, NULL, NULL, NULL, 4, NULL, NULL, NULL, NULL),
  (2, 'failed', 'bob', '["pen"]', 1999, 'Failed', 2, 2, 10, 15, NULL, 'ValueError: two; failed attempt 2 of 2', NULL,
   NULL, 4, NULL, NULL, NULL, NULL),
  (3, 'late', 'carol', '["pen"]', 1999, 'Pending', 1, 0, 10, 14, 10, NULL, NULL, 0, 9, 10, '{"a":1}', 'key:k', NULL),
  (4, 'again', 'dave', '["pen"]', 1999, 'Failed', 2, 1, 10, 18, NULL, 'rejected: never', NULL, NULL, 4, NULL, NULL,
   NULL, NULL);
INSERT INTO errors VALUES (1, 'ValueError: two', 'ValueError'), (2, 'rejected: never', 'rejected');
INSERT INTO failures VALUES (2, 1, 'Failed', 15), (4, 2, 'Failed', 18);
INSERT INTO first_schedules VALUES (3, 4, NULL);
"""
ORDERS_7 = """
INSERT INTO orders VALUES
  (1, 'done', 'alice', '["pen"]', 1999, 'Completed', 1, 0, 10, 12, NULL, NULL, NULL, NULL, 4, NULL, NULL, NULL, NULL,
   NULL, NULL, NULL, NULL),
  (2, 'failed', 'bob', '["pen"]', 1999, 'Failed', 2, 2, 10, 15, NULL, 'ValueError: two; failed attempt 2 of 2', NULL,
   NULL, 4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (3, 'late', 'carol', '["pen"]', 1999, 'Pending', 1, 0, 10, 14, 10, NULL, NULL, 0, 9, 10, '{"a":1}', 'key:k', NULL,
   NULL, NULL, NULL, NULL),
  (4, 'again', 'dave', '["pen"]', 1999, 'Failed', 2, 1, 10, 18, NULL, 'rejected: never', NULL, NULL, 4, NULL, NULL,
   NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO errors VALUES (1, 'ValueError: two', 'ValueError'), (2, 'rejected: never', 'rejected');
INSERT INTO failures VALUES (2, 1, 'Failed', 15), (4, 2, 'Failed', 18);
INSERT INTO first_schedules VALUES (3, 4, NULL, NULL, NULL);
"""
ORDERS = {1: ORDERS_1, 2: ORDERS_1, 3: ORDERS_3, 4: ORDERS_4, 5: ORDERS_4, 6: ORDERS_6, 7: ORDERS_7, 8: ORDERS_7}
"""What an engine of that version would have stored of the same orders."""
HISTORIES = """
INSERT INTO transitions (sequence, order_id, from_status, to_status, at, attempt, reason) VALUES
  (1, 'done',   NULL,         'Pending',    10, 0, 'accepted'),
  (2, 'failed', NULL,         'Pending',    10, 0, 'accepted'),
  (3, 'late',   NULL,         'Pending',    10, 0, 'accepted'),
  (4, 'again',  NULL,         'Pending',    10, 0, 'accepted'),
  (1, 'done',   'Pending',    'Processing', 11, 1, 'assigned to a processor'),
  (2, 'failed', 'Pending',    'Processing', 11, 1, 'assigned to a processor'),
  (3, 'late',   'Pending',    'Processing', 11, 1, 'assigned to a processor'),
  (1, 'done',   'Processing', 'Completed',  12, 1, 'the handler returned'),
  (2, 'failed', 'Processing', 'Pending',    12, 1, 'ValueError: one; tried again in 1.0 s'),
  (3, 'late',   'Processing', 'Pending',    14, 1, 'the engine stopped before the handler returned'),
  (2, 'failed', 'Pending',    'Processing', 13, 2, 'assigned to a processor'),
  (2, 'failed', 'Processing', 'Failed',     15, 2, 'ValueError: two; failed attempt 2 of 2'),
  (4, 'again',  'Pending',    'Processing', 11, 1, 'assigned to a processor'),
  (4, 'again',  'Processing', 'Failed',     15, 1, 'rejected: no'),
  (4, 'again',  'Failed',     'Pending',    16, 1, 'retried by an operator'),
  (4, 'again',  'Pending',    'Processing', 17, 2, 'assigned to a processor'),
  (4, 'again',  'Processing', 'Failed',     18, 2, 'rejected: never');
UPDATE totals SET value = (SELECT count(*) FROM orders WHERE status = name) WHERE name IN (SELECT status FROM orders);
UPDATE totals SET value = 1 WHERE name IN ('timed_orders', 'processing_microseconds');
"""


@pytest.fixture(params=VERSIONS)
def old_database(request: pytest.FixtureRequest, database: Path) -> Path:
    """A database with orders, as an older version made it."""
    script = (OLD / f"schema-{request.param}.sql").read_text(encoding="utf-8")
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(script + ORDERS[request.param] + HISTORIES)
    return database


def schema_of(connection: sqlite3.Connection) -> dict[str, str]:
    """What made each table and index, without comments and blanks."""
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {name: re.sub(r"--[^\n]*|\s|\"", "", text) for name, text in rows}


def version_of(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def test_an_upgraded_database_is_like_a_new_one(old_database: Path) -> None:
    with closing(sqlite3.connect(":memory:")) as new:
        new.executescript(sql.read("schema.sql"))
        expected = schema_of(new)

    upgraded = open_writer(old_database, Durability.FULL)

    assert schema_of(upgraded.connection()) == expected
    assert version_of(old_database) == SCHEMA_VERSION
    upgraded.close()


def test_an_upgraded_database_keeps_what_it_had(old_database: Path) -> None:
    upgraded = open_writer(old_database, Durability.FULL)

    done, failed, late, again = queries.page(upgraded, limit=10)[::-1]
    assert audit(upgraded) == (4, [])
    assert (again.failures, again.last_error) == (1, "rejected: never")
    assert [record.status for record in (done, failed, late)] == ["Completed", "Failed", "Pending"]
    assert [record.sequence for record in (done, failed, late)] == [1, 2, 3]
    assert (done.last_error, late.last_error) == (None, None)
    assert failed.last_error == "ValueError: two; failed attempt 2 of 2"
    assert [step.reason for step in queries.history(upgraded, "done")][-1] == "the handler returned"
    assert {(step.request_id, step.acted_by) for step in queries.history(upgraded, "failed")} == {(None, None)}
    upgraded.close()


def test_orders_that_an_idempotency_key_may_name_are_kept_like_those_that_one_names(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript((OLD / "schema-2.sql").read_text(encoding="utf-8") + ORDERS[2] + HISTORIES)
        connection.execute("UPDATE orders SET created_at = 9 WHERE order_id = 'done'")
        connection.execute(
            "INSERT INTO idempotency_keys (key, user_id, fingerprint, created_at) VALUES ('k', '', '', 10)"
        )
        connection.commit()

    upgraded = open_writer(database, Durability.FULL)

    rows = upgraded.execute_sql("SELECT order_id, keyed_at FROM orders ORDER BY sequence").fetchall()
    assert rows == [("done", None), ("failed", 10), ("late", 10), ("again", 10)]
    upgraded.close()


@pytest.mark.parametrize("version", [6, 7, 8])
def test_orders_that_were_held_for_others_of_their_key_get_their_places_after_these(
    database: Path, version: int
) -> None:
    columns = "sequence, order_id, user_id, item_ids, total_cents, status, attempts, failures, created_at, updated_at"
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript((OLD / f"schema-{version}.sql").read_text(encoding="utf-8"))
        for number, held in enumerate((None, 1, 1), start=1):
            connection.execute(
                f"INSERT INTO orders ({columns}, ready_at, rank, serial_key, held)"
                f" VALUES (?, ?, 'u', '[\"pen\"]', 1, 'Pending', 0, 0, 10, 10, 10, ?, 'key:k', ?)",
                (number, f"o-{number}", None if held else 0, held),
            )
        connection.commit()

    upgraded = open_writer(database, Durability.FULL)
    ledger, taken = Ledger(upgraded), []
    for at_us in range(20, 23):
        (step,) = ledger.record([], [], at_us, claim=Claim(9, at_us)).moved
        taken.append(step.after.order_id)
        ledger.record([], [move(step.after, lifecycle.COMPLETE, at_us)], at_us)

    assert taken == ["o-1", "o-2", "o-3"]
    upgraded.close()


def test_an_upgrade_says_so_and_keeps_a_copy_of_what_was(
    old_database: Path, start_engine: Callable[..., OrderEngine], caplog: pytest.LogCaptureFixture
) -> None:
    before = version_of(old_database)

    with caplog.at_level(logging.WARNING, "ordermill.store"):
        start_engine().drain(timeout=60)

    copy = old_database.with_name(f"{old_database.name}.before-version-{SCHEMA_VERSION}")
    assert f"from schema version {before} to {SCHEMA_VERSION}" in caplog.text
    assert str(copy) in caplog.text
    assert version_of(copy) == before
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT count(*) FROM orders WHERE status = 'Pending'").fetchone() == (1,)


def test_an_upgrade_overwrites_no_copy_of_before(old_database: Path) -> None:
    first = old_database.with_name(f"{old_database.name}.before-version-{SCHEMA_VERSION}")
    first.write_text("precious")

    open_writer(old_database, Durability.FULL).close()

    assert first.read_text() == "precious"
    assert version_of(first.with_name(f"{first.name}.2")) < SCHEMA_VERSION


def test_an_engine_may_upgrade_without_a_copy(
    old_database: Path, start_engine: Callable[..., OrderEngine], caplog: pytest.LogCaptureFixture
) -> None:
    engine = start_engine(skip_upgrade_copy=True)

    assert engine.wait("late", timeout=60) is OrderStatus.COMPLETED
    assert list(old_database.parent.glob("*before*")) == []
    assert "no copy of it was kept" in caplog.text


def test_an_upgrade_that_has_no_room_is_refused_and_changes_nothing(
    old_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    before = version_of(old_database)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**40, 2**40 - 1, 1))

    with pytest.raises(DatabaseRefused, match=r"takes [12] MiB of its disk .* make room, or start with"):
        open_writer(old_database, Durability.FULL)

    assert version_of(old_database) == before
    assert list(old_database.parent.glob("*before*")) == []


def test_an_upgrade_that_fails_changes_nothing_and_leaves_no_copy(
    old_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = version_of(old_database)
    broken = sql.read(f"upgrade-{before + 1}.sql").replace("COMMIT;", "DELETE FROM nowhere; COMMIT;")
    monkeypatch.setattr(upgrade.sql, "read", lambda _: broken)

    with pytest.raises(DatabaseRefused, match="no such table: nowhere"):
        open_writer(old_database, Durability.FULL)

    assert version_of(old_database) == before
    assert list(old_database.parent.glob("*before*")) == []


def test_readers_refuse_an_old_database_and_say_how_to_upgrade_it(old_database: Path) -> None:
    with pytest.raises(
        DatabaseRefused,
        match=rf"schema version {version_of(old_database)}, this Ordermill reads {SCHEMA_VERSION}: upgrade it with",
    ):
        open_readers(old_database, 1)


def test_an_old_database_can_be_backed_up_before_it_is_upgraded(old_database: Path, tmp_path: Path) -> None:
    readers = open_readers(old_database, 1, any_version=True)
    with readers.connection_context():
        back_up(readers, tmp_path / "copy.db")
    readers.close_all()

    assert version_of(tmp_path / "copy.db") == version_of(old_database)
    opened: SqliteDatabase = open_writer(tmp_path / "copy.db", Durability.FULL)
    assert audit(opened) == (4, [])
    opened.close()
