"""Opening a database: its address, pragmas, schema version, and the lock that keeps a second engine out."""

from __future__ import annotations

import os
import platform
import sqlite3
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from filelock import FileLock, Timeout
from peewee import DatabaseError, SqliteDatabase
from playhouse.pool import PooledSqliteDatabase  # type: ignore[import-untyped]  # has no types

from .. import sql
from .errors import DatabaseRefused, InvalidConfiguration
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


def locate(address: str | os.PathLike[str]) -> Path:
    """The file that an address names.

    Args:
        address: a path, or a URL: `sqlite:///relative.db`, `sqlite:////absolute.db`.

    Raises:
        InvalidConfiguration: the address names no file, or a kind of database that is not supported.
    """
    text = os.fspath(address)
    scheme, separator, _ = text.partition("://")
    if separator:
        if scheme != "sqlite":
            raise InvalidConfiguration(f"No support for {scheme!r} databases: use a path or sqlite:///orders.db.")
        parts = urlsplit(text)
        if parts.netloc:
            raise InvalidConfiguration(f"{text} names a host: write three slashes, or four before an absolute path.")
        text = unquote(parts.path).removeprefix("/")
    if not text or text == ":memory:":
        raise InvalidConfiguration(
            "The engine needs a database file, since readers open it too: name one, in a temporary folder if you like."
        )
    return Path(text)


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
    if not path.exists():
        raise DatabaseRefused(
            f"There is no database {path}: create it with `ordermill init-db` or by starting an engine."
        )
    try:
        _check_ours(path, may_be_empty=False, may_be_old=any_version)
    except DatabaseError as error:
        raise DatabaseRefused(f"Cannot use {path} as a database: {error}.") from error
    return PooledSqliteDatabase(
        str(path),
        pragmas={"query_only": 1, "wal_autocheckpoint": 0},
        max_connections=max_connections,
        timeout=_BUSY_TIMEOUT_SECONDS,
        autoconnect=False,
        check_same_thread=False,
    )


def lock_for_engine(path: Path) -> FileLock:
    """The right to run an engine over this database; release it when the engine has stopped.

    The operating system frees it when its process dies, however it dies.

    Raises:
        DatabaseRefused: another engine holds it; the message names its process.
    """
    lock = FileLock(f"{path}.lock", thread_local=False)  # whatever thread stops the engine
    try:
        lock.acquire(blocking=False)
    except Timeout:
        holder = Path(lock.lock_file).read_text().strip() or "another process"
        raise DatabaseRefused(
            f"An engine is running over {path} already ({holder}): stop it first, or read through its REST API."
        ) from None
    except OSError as error:
        raise DatabaseRefused(f"Cannot lock {path}: {error}.") from error
    Path(lock.lock_file).write_text(f"process {os.getpid()} on {platform.node()}\n")
    return lock


def _check_ours(path: Path, *, may_be_empty: bool = True, may_be_old: bool = True) -> None:
    # Through a read-only connection: what is not ours is not changed, not even its journal mode.
    if may_be_empty and (not path.exists() or path.stat().st_size == 0):
        return
    found = SqliteDatabase(f"file:{quote(str(path))}?mode=ro", uri=True)
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
