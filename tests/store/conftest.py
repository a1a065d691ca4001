"""A new database with its connection, its ledger, and sample orders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from peewee import SqliteDatabase

from ordermill import sql
from ordermill.store.connect import connect
from ordermill.store.domain.durability import Durability
from ordermill.store.ledger import Ledger
from ordermill.store.statements import run_script


@pytest.fixture
def writer(database: Path) -> Iterator[SqliteDatabase]:
    """The connection that writes to a new database."""
    opened = connect(database).open_writer(Durability.NORMAL)
    yield opened
    opened.close()


@pytest.fixture
def ledger(writer: SqliteDatabase) -> Ledger:
    """The ledger of a new database."""
    return Ledger(writer)


@pytest.fixture
def sample(writer: SqliteDatabase) -> SqliteDatabase:
    """A connection to a database with the sample orders."""
    run_script(writer, sql.read("sample_data.sql"))
    return writer
