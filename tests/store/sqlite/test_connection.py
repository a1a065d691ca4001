"""Connections whose files are deleted, moved or replaced under them: nothing is reported as committed any more."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from peewee import OperationalError

from ordermill.engine.testing import make_order
from ordermill.store import queries
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.errors import StoreUnavailable
from ordermill.store.ledger import Ledger
from ordermill.store.sqlite.connection import SqliteWriter
from ordermill.store.sqlite.database import open_readers, open_writer
from ordermill.store.statements import write_transaction

SUFFIXES = pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
GONE = "deleted, moved or replaced"


@pytest.fixture
def writer(writer: SqliteWriter) -> SqliteWriter:
    """With a first order."""
    Ledger(writer).record([make_order("o-1")], [], 5)
    return writer


def stored(path: Path) -> list[str]:
    """The orders in a file, without any log."""
    alone = path.with_name("alone.db")
    shutil.copy(path, alone)
    with closing(sqlite3.connect(alone)) as connection:
        return [order_id for (order_id,) in connection.execute("SELECT order_id FROM orders ORDER BY sequence")]


@SUFFIXES
def test_nothing_is_taken_once_a_file_was_deleted(writer: SqliteWriter, database: Path, suffix: str) -> None:
    Path(f"{database}{suffix}").unlink()

    with pytest.raises(StoreUnavailable, match=GONE):
        Ledger(writer).record([make_order("o-2")], [], 5)

    assert queries.find(writer, "o-2") is None


@SUFFIXES
def test_a_file_that_goes_in_the_middle_of_a_transaction_is_noticed_too(
    writer: SqliteWriter, database: Path, suffix: str
) -> None:
    with pytest.raises(OperationalError), write_transaction(writer):
        Path(f"{database}{suffix}").unlink()


def test_another_file_in_its_place_is_noticed(writer: SqliteWriter, database: Path) -> None:
    copy = shutil.copy(database, database.with_name("copy.db"))
    Path(copy).replace(database)

    with pytest.raises(StoreUnavailable, match=GONE):
        Ledger(writer).record([make_order("o-2")], [], 5)


def test_it_goes_on_when_the_same_file_is_back(
    writer: SqliteWriter, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(writer)
    with caplog.at_level(logging.WARNING, "ordermill.store"):
        moved = database.rename(database.with_name("moved.db"))
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                ledger.record([make_order("o-2")], [], 5)
        moved.rename(database)

        ledger.record([make_order("o-3")], [], 5)

    assert queries.find(writer, "o-3") is not None
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2, told
    assert str(database) in told[0]
    assert "in their place again" in told[1]


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_all_that_was_acknowledged_is_in_the_file_alone_once_that_was_noticed(
    writer: SqliteWriter, database: Path, suffix: str
) -> None:
    assert database.stat().st_size == 4096  # all is in the log
    Path(f"{database}{suffix}").unlink()
    with pytest.raises(StoreUnavailable):
        Ledger(writer).record([], [], 5)

    assert stored(database) == ["o-1"]


def test_a_file_that_was_moved_has_everything_when_its_connection_is_closed(
    writer: SqliteWriter, database: Path
) -> None:
    moved = database.rename(database.with_name("moved.db"))

    writer.close()

    assert stored(moved) == ["o-1"]
    assert Path(f"{database}-wal").stat().st_size == 0


def test_closing_removes_nothing_that_belongs_to_another_database_by_now(writer: SqliteWriter, database: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{database}{suffix}").unlink()
    other = open_writer(database, Durability.NORMAL)
    Ledger(other).record([make_order("o-9")], [], 5)

    writer.close()

    Ledger(other).record([make_order("o-10")], [], 5)
    assert Path(f"{database}-wal").exists()
    other.close()


@pytest.mark.usefixtures("writer")
def test_readers_open_the_file_that_they_began_with_or_none(database: Path) -> None:
    readers = open_readers(database, 2)
    with readers.connection_context():
        assert queries.find(readers, "o-1") is not None
    readers.close_idle()
    moved = database.rename(database.with_name("moved.db"))

    with pytest.raises(OperationalError, match="unable to open"), readers.connection_context():
        pass
    assert not database.exists()
    open_writer(database.with_name("new.db"), Durability.NORMAL).close()
    database.with_name("new.db").rename(database)
    with pytest.raises(OperationalError, match=GONE), readers.connection_context():
        pass

    database.unlink()
    moved.rename(database)
    with readers.connection_context():
        assert queries.find(readers, "o-1") is not None
    readers.close_all()
