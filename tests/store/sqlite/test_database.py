"""Opening a database: what is refused and left alone, and who may write."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path

import pytest
from peewee import OperationalError, SqliteDatabase

from ordermill.engine.testing import make_order
from ordermill.store import queries
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.errors import DatabaseRefused
from ordermill.store.ledger import Ledger
from ordermill.store.sqlite.backup import back_up
from ordermill.store.sqlite.connection import Readers
from ordermill.store.sqlite.database import SCHEMA_VERSION, open_readers, open_writer
from ordermill.store.statements import run

OPENERS: list[Callable[[Path], SqliteDatabase]] = [
    lambda path: open_writer(path, Durability.FULL),
    lambda path: open_readers(path, 1),
]
either_way = pytest.mark.parametrize("open_it", OPENERS, ids=["writer", "readers"])


@pytest.mark.parametrize(("durability", "level"), [(Durability.FULL, 2), (Durability.NORMAL, 1)])
def test_a_writer_waits_for_the_disk_as_asked(database: Path, durability: Durability, level: int) -> None:
    writer = open_writer(database, durability)

    assert run(writer, "PRAGMA synchronous").fetchone() == (level,)
    assert run(writer, "PRAGMA journal_mode").fetchone() == ("wal",)
    writer.close()


def test_an_empty_file_becomes_a_database(database: Path) -> None:
    database.touch()

    writer = open_writer(database, Durability.FULL)

    assert run(writer, "PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    writer.close()


def test_a_database_that_was_closed_opens_with_all_that_it_had(writer: SqliteDatabase, database: Path) -> None:
    Ledger(writer).record([make_order()], [], 5)
    writer.close()

    again = open_writer(database, Durability.FULL)

    assert queries.find(again, "o-1") is not None
    again.close()


def test_readers_see_what_the_writer_has_committed(ledger: Ledger, database: Path) -> None:
    readers = open_readers(database, 2)
    with readers.connection_context():
        assert queries.find(readers, "o-1") is None
        ledger.record([make_order()], [], 5)
        assert queries.find(readers, "o-1") is not None
    readers.close_all()


@pytest.mark.usefixtures("writer")
def test_readers_cannot_write(database: Path) -> None:
    readers = open_readers(database, 1)

    with readers.connection_context(), pytest.raises(OperationalError, match="readonly"):
        run(readers, "UPDATE totals SET value = 1")
    readers.close_all()


@either_way
@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_foreign_database_is_refused_and_left_as_it_is(
    database: Path, open_it: Callable[[Path], SqliteDatabase], journal: str
) -> None:
    with closing(sqlite3.connect(database)) as foreign:
        foreign.executescript(f"PRAGMA journal_mode = {journal}; CREATE TABLE notes (note); PRAGMA user_version = 1;")
    before = database.read_bytes()

    with pytest.raises(DatabaseRefused, match="not an Ordermill database"):
        open_it(database)

    assert database.read_bytes() == before


@either_way
def test_what_a_foreign_database_has_in_its_log_stays_there(
    tmp_path: Path, database: Path, open_it: Callable[[Path], SqliteDatabase]
) -> None:
    original = tmp_path / "original.db"
    with closing(sqlite3.connect(original)) as foreign:
        foreign.executescript("PRAGMA journal_mode = wal; CREATE TABLE notes (note);")
        for suffix in ("", "-wal"):
            Path(f"{database}{suffix}").write_bytes(Path(f"{original}{suffix}").read_bytes())
    before = database.read_bytes()

    with pytest.raises(DatabaseRefused, match="not an Ordermill database"):
        open_it(database)

    assert database.read_bytes() == before


@either_way
def test_a_database_from_the_future_is_refused_and_left_as_it_is(
    writer: SqliteDatabase, database: Path, open_it: Callable[[Path], SqliteDatabase]
) -> None:
    run(writer, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    writer.close()
    before = database.read_bytes()

    with pytest.raises(DatabaseRefused, match=f"schema version {SCHEMA_VERSION + 1}.*newer Ordermill"):
        open_it(database)

    assert database.read_bytes() == before


@either_way
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(
    database: Path, open_it: Callable[[Path], SqliteDatabase]
) -> None:
    text = "Dear diary, nothing happened today.\n" * 100
    database.write_text(text)

    with pytest.raises(DatabaseRefused, match="file is not a database"):
        open_it(database)

    assert database.read_text() == text


@either_way
def test_a_folder_is_refused(tmp_path: Path, open_it: Callable[[Path], SqliteDatabase]) -> None:
    with pytest.raises(DatabaseRefused, match="Cannot use"):
        open_it(tmp_path)


def test_readers_need_a_database_that_exists(database: Path) -> None:
    with pytest.raises(DatabaseRefused, match="There is no database"):
        open_readers(database, 1)

    assert not database.exists()


def test_readers_need_a_database_that_has_its_tables(database: Path) -> None:
    database.touch()

    with pytest.raises(DatabaseRefused, match="not an Ordermill database"):
        open_readers(database, 1)


def test_a_path_may_hold_characters_that_mean_something_in_urls(tmp_path: Path) -> None:
    path = tmp_path / "a b?c#d%20e.db"

    open_writer(path, Durability.FULL).close()
    readers = open_readers(path, 1)

    with readers.connection_context():
        assert queries.last_sequence(readers) == 0
    readers.close_all()
    assert path.exists()


def close_whole(database: SqliteDatabase) -> None:
    """Close a database, and what a pool keeps open of it."""
    if isinstance(database, Readers):
        database.close_all()
    else:
        database.close()


@either_way
def test_the_log_of_another_database_is_not_put_into_a_restored_backup(
    writer: SqliteDatabase, database: Path, tmp_path: Path, open_it: Callable[[Path], SqliteDatabase]
) -> None:
    backup, crashed = tmp_path / "backup.db", tmp_path / "crashed.db"
    back_up(writer, backup)
    Ledger(writer).record([make_order("o-9")], [], 5)
    shutil.copy(f"{database}-wal", f"{crashed}-wal")  # as a process that was killed leaves it
    shutil.copy(backup, crashed)

    with pytest.raises(DatabaseRefused, match=r"is not the log of .*a backup that you restore"):
        open_it(crashed)

    assert crashed.read_bytes() == backup.read_bytes()
    Path(f"{crashed}-wal").unlink()
    restored = open_it(crashed)
    with restored.connection_context() if restored.is_closed() else nullcontext():
        assert queries.last_sequence(restored) == 0
    close_whole(restored)


@either_way
def test_the_log_of_an_engine_that_was_killed_is_put_into_its_database(
    writer: SqliteDatabase, database: Path, tmp_path: Path, open_it: Callable[[Path], SqliteDatabase]
) -> None:
    Ledger(writer).record([make_order("o-9")], [], 5)
    crashed = tmp_path / "crashed.db"
    for suffix in ("", "-wal"):
        shutil.copy(f"{database}{suffix}", f"{crashed}{suffix}")

    recovered = open_it(crashed)

    with recovered.connection_context() if recovered.is_closed() else nullcontext():
        assert queries.find(recovered, "o-9") is not None
    close_whole(recovered)


def read_without_rights(path: Path) -> str:
    """What somebody gets who may read a database, and write nothing where it is."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            readers = open_readers(path, 1)
            with readers.connection_context():
                said = f"{queries.last_sequence(readers)} orders"
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        os.write(write_end, said.encode())
        os._exit(0)
    os.close(write_end)
    os.waitpid(child, 0)
    with os.fdopen(read_end) as answer:
        return answer.read()


@pytest.fixture
def media() -> Iterator[Path]:
    """A folder that everybody may read. The tests' own are for their user only."""
    folder = Path(tempfile.mkdtemp())
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def readable_for_all(media: Path) -> None:
    """As a medium that cannot be written, with files that were made for their owner only."""
    for path in media.iterdir():
        path.chmod(0o444)
    media.chmod(0o555)


def test_a_database_is_read_where_nothing_can_be_written(writer: SqliteDatabase, database: Path, media: Path) -> None:
    Ledger(writer).record([make_order()], [], 5)
    back_up(writer, media / "backup.db")
    writer.close()
    shutil.copy(database, media / "copy.db")
    readable_for_all(media)

    assert read_without_rights(media / "backup.db") == "1 orders"
    assert read_without_rights(media / "copy.db") == "1 orders"


def test_where_a_log_cannot_be_read_the_error_says_what_to_do(
    writer: SqliteDatabase, database: Path, media: Path
) -> None:
    Ledger(writer).record([make_order()], [], 5)
    for suffix in ("", "-wal"):
        shutil.copy(f"{database}{suffix}", f"{media}/crashed.db{suffix}")
    readable_for_all(media)

    said = read_without_rights(media / "crashed.db")

    assert said.startswith("DatabaseRefused: Cannot use ")
    assert "Its folder cannot be written: copy it, with the -wal beside it" in said
