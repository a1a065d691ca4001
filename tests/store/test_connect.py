"""From an address to a backend, and what a backend offers."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from ordermill.engine import Durability
from ordermill.store import queries
from ordermill.store.connect import connect
from ordermill.store.domain.errors import DatabaseRefused, InvalidConfiguration
from ordermill.store.reader import Reader


def test_a_path_and_a_url_name_the_same_database(database: Path) -> None:
    assert connect(database).path == connect(str(database)).path == connect(f"sqlite:///{database}").path == database


def test_what_is_not_supported_is_named_before_anything_is_opened(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="No support for 'mysql' databases"):
        connect("mysql://host/orders")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_made_by_naming_a_database(database: Path) -> None:
    connect(database)

    assert not database.exists()
    with pytest.raises(DatabaseRefused, match="There is no database"):
        Reader(connect(database), 1)


def test_what_the_writer_has_made_the_readers_read(database: Path) -> None:
    backend = connect(database)

    with closing(backend.open_writer(Durability.NORMAL)), Reader(backend, 1) as reader:
        assert reader.read(queries.last_sequence) == 0


def test_a_backend_can_be_locked_once(database: Path) -> None:
    lock = connect(database).lock()
    lock.check()

    with pytest.raises(DatabaseRefused):
        connect(database).lock()
    lock.release()
    connect(database).lock().release()
