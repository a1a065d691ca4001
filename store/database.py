"""Opening a database: its pragmas, its schema version, and what is refused."""

from __future__ import annotations

import sqlite3
from enum import StrEnum
from pathlib import Path

from peewee import DatabaseError, SqliteDatabase
from playhouse.pool import PooledSqliteDatabase  # type: ignore[import-untyped]  # has no types

from .. import sql
from .address import check_place
from .descriptor import uri_of
from .errors import DatabaseRefused
from .log import CHECKPOINT_PAGES
from .statements import run, run_script
from .upgrade import upgrade

APPLICATION_ID = 1330793804
"""The `application_id` that sql/schema.sql gives a database: 'ORML' in ASCII."""
SCHEMA_VERSION = 3
"""The `user_version` that this code works with."""

_BUSY_TIMEOUT_SECONDS = 5
_WRITER_CACHE_KIBIBYTES = 8 * 1024


class Durability(StrEnum):
    """What a commit waits for."""

    FULL = "full"
    """The disk: an acknowledged order survives a power failure (PRAGMA synchronous=FULL)."""
    NORMAL = "normal"
    """The operating system: it survives the death of the process, not always a power failure."""


def open_writer(path: Path, durability: Durability, *, skip_upgrade_copy: bool = False) -> SqliteDatabase:
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
    database = SqliteDatabase(
        str(path),
        pragmas={
            "journal_mode": "wal",
            "synchronous": durability.value,
            "cache_size": -_WRITER_CACHE_KIBIBYTES,
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
    except DatabaseRefused:
        database.close()
        raise
    except (DatabaseError, sqlite3.Error) as error:  # Peewee translates the errors of its own calls only
        database.close()
        raise DatabaseRefused(f"Cannot use {path} as a database: {error}.") from error
    return database


def open_readers(path: Path, max_connections: int, *, any_version: bool = False) -> PooledSqliteDatabase:
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
    except DatabaseError as error:
        raise DatabaseRefused(f"Cannot use {path} as a database: {error}.") from error
    return PooledSqliteDatabase(
        uri_of(path, mode="rw"),  # whatever has become of the file, no reader makes another one
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
    found = SqliteDatabase(uri_of(path, mode="ro"), uri=True)
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


def _is_empty(database: SqliteDatabase) -> bool:
    (tables,) = run(database, "SELECT count(*) FROM sqlite_master").fetchone()
    return not tables
