"""Opening a database: its pragmas, its schema version, and what is refused."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from peewee import DatabaseError, SqliteDatabase

from ... import sql
from ..domain.durability import Durability
from ..domain.errors import DatabaseRefused
from ..statements import run, run_script
from .address import check_place
from .connection import Readers, SqliteWriter
from .descriptor import Descriptor, uri_of
from .upgrade import upgrade
from .wal import CHECKPOINT_PAGES, WriteAheadLog

APPLICATION_ID = 1330793804
"""The `application_id` that sql/schema.sql gives a database: 'ORML' in ASCII."""
SCHEMA_VERSION = 9
"""The `user_version` that this code works with."""

_BUSY_TIMEOUT_SECONDS = 5
_FORMAT_OFFSET = 18  # https://www.sqlite.org/fileformat.html#file_format_version_numbers
_WITHOUT_LOG = b"\1\1"
_COPY_IT = " Its folder cannot be written: copy it, with the -wal beside it if there is one, to a folder that can."
_WRITER_CACHE_KIBIBYTES = 8 * 1024


def open_writer(path: Path, durability: Durability, *, skip_upgrade_copy: bool = False) -> SqliteWriter:
    """The one connection that writes; the schema is made where the file is new, and upgraded where it is old.

    It may be handed from thread to thread, and be used by one at a time.

    Args:
        path: the file.
        durability: what a commit waits for.
        skip_upgrade_copy: upgrade without keeping a copy of the database as it was.

    Raises:
        DatabaseRefused: the file cannot be opened, is not ours, or was made by a newer version.
    """
    check_place(path)
    database = SqliteWriter(
        path,
        pragmas={
            "journal_mode": "wal",
            "synchronous": durability.value,
            "cache_size": -_WRITER_CACHE_KIBIBYTES,
            "temp_store": "memory",  # for what a statement may have to take back: otherwise each large one makes a file
            "wal_autocheckpoint": CHECKPOINT_PAGES,
            "foreign_keys": 0,  # the ledger inserts an order before its transitions; checking each again costs a tenth
        },
        timeout=_BUSY_TIMEOUT_SECONDS,
        autoconnect=False,
        thread_safe=False,
        check_same_thread=False,
    )
    try:
        _check_ours(path)
        database.connect()
        if _is_empty(database):
            run_script(database, sql.read("schema.sql"))
        upgrade(database, path, SCHEMA_VERSION, keep_copy=not skip_upgrade_copy)
        database.watch(WriteAheadLog(database))
    except DatabaseRefused:
        database.close()
        raise
    except (DatabaseError, sqlite3.Error, OSError) as error:  # Peewee translates the errors of its own calls only
        database.close()
        raise DatabaseRefused(f"Cannot use {path} as a database: {error}.") from error
    return database


def open_readers(path: Path, max_connections: int, *, any_version: bool = False) -> Readers:
    """A pool of connections that only read, for any thread: `with readers.connection_context(): …`.

    Args:
        path: a database that exists.
        max_connections: how many at the most; a further reader waits for one.
        any_version: whether a database of an older schema will do, for whoever does not look into its tables.

    Raises:
        DatabaseRefused: there is no such file, it is not ours, or it was made by a newer version.
    """
    if not check_place(path):
        raise DatabaseRefused(
            f"There is no database {path}: create it with `ordermill init-db` or by starting an engine."
        )
    try:
        _check_ours(path, may_be_empty=False, may_be_old=any_version)
    except (DatabaseError, sqlite3.Error, OSError) as error:
        hint = "" if os.access(path.parent, os.W_OK) else _COPY_IT
        raise DatabaseRefused(f"Cannot use {path} as a database: {error}.{hint}") from error
    return Readers(
        _name_to_read(path, mode="rw"),  # whatever has become of the file, no reader makes another one
        path=path,
        uri=True,
        pragmas={"query_only": 1, "wal_autocheckpoint": 0},
        max_connections=max_connections,
        timeout=_BUSY_TIMEOUT_SECONDS,
        autoconnect=False,
        check_same_thread=False,
    )


def _check_ours(path: Path, *, may_be_empty: bool = True, may_be_old: bool = True) -> None:
    # Through a read-only connection: what is not ours is not changed, not even its journal mode.
    if may_be_empty and (not path.exists() or path.stat().st_size == 0):
        return
    _check_log(path)
    found = SqliteDatabase(_name_to_read(path, mode="ro"), uri=True)
    with found.connection_context():
        application_id = found.pragma("application_id")
        version = found.pragma("user_version")
        is_empty = _is_empty(found)
    if is_empty and may_be_empty:
        return
    if application_id != APPLICATION_ID:
        raise DatabaseRefused(f"{path} is not an Ordermill database: name another file.")
    if version < SCHEMA_VERSION and not may_be_old:
        raise DatabaseRefused(
            f"{path} has schema version {version}, this Ordermill reads {SCHEMA_VERSION}: "
            "upgrade it with `ordermill init-db`, or by starting an engine."
        )
    if version > SCHEMA_VERSION:
        raise DatabaseRefused(
            f"{path} has schema version {version}, this Ordermill knows {SCHEMA_VERSION}: use a newer Ordermill."
        )


def _check_log(path: Path) -> None:
    # SQLite would put any log into the database whose name it has. A backup says of itself that it has none.
    log = _log_of(path)
    if not log.exists() or log.stat().st_size == 0:
        return
    with closing(Descriptor(path)) as descriptor:
        may_have_log = os.pread(descriptor.number, 2, _FORMAT_OFFSET) != _WITHOUT_LOG
    if not may_have_log:
        raise DatabaseRefused(
            f"{log} is not the log of {path}, but of a database that was there before: remove {log} and {path}-shm if "
            f"{path.name} is a backup that you restore, or put the database back that they belong to."
        )


def _name_to_read(path: Path, mode: str) -> str:
    # Where nothing can be written SQLite cannot make the index of a log either. Without a log there is no need for one.
    if _log_of(path).exists() or os.access(path.parent, os.W_OK):
        return uri_of(path, mode=mode)
    return uri_of(path, immutable=1)


def _log_of(path: Path) -> Path:
    return Path(f"{path}-wal")


def _is_empty(database: SqliteDatabase) -> bool:
    (tables,) = run(database, "SELECT count(*) FROM sqlite_master").fetchone()
    return not tables
