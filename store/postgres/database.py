"""Opening a database of a PostgreSQL server: its schema, and what is refused."""

from __future__ import annotations

import psycopg
from peewee import Database, DatabaseError, InterfaceError
from psycopg import conninfo

from ... import sql
from ..domain.durability import Durability
from ..domain.errors import DatabaseRefused
from ..statements import run, run_script
from .connection import LOCKS, PostgresWriter, Readers
from .upgrade import schema_version, upgrade

SCHEMA_VERSION = 9
"""The version that this code works with, which sql/schema-postgres.sql notes."""


def open_writer(url: str, durability: Durability) -> PostgresWriter:
    """The one connection that writes; the schema is made where the database is empty, and upgraded where it is old.

    Args:
        url: of the server and the database, as libpq takes it.
        durability: what a commit waits for.

    Raises:
        DatabaseRefused: the server does not let us in, the schema is newer, or it is older and an engine is at work.
    """
    database = PostgresWriter(url, waits_for_disk=durability is Durability.FULL)
    try:
        database.connect()
        if not _has_schema(database) or schema_version(database) < SCHEMA_VERSION:
            _make_schema(database, name_of(url))
        _check_version(database, url)
    except (DatabaseError, InterfaceError) as error:
        database.close()
        raise _refused(url, error) from error
    except BaseException:
        database.close()
        raise
    return database


def open_readers(url: str, max_connections: int, *, any_version: bool = False) -> Readers:
    """A pool of connections that only read, for any thread: `with readers.connection_context(): …`.

    Args:
        url: of the server and the database, as libpq takes it.
        max_connections: how many at the most; a further reader waits for one.
        any_version: whether a database of an older schema will do, for whoever does not look into its tables.

    Raises:
        DatabaseRefused: the server does not let us in, nothing of ours is there, or it was made by another version.
    """
    readers = Readers(url, max_connections)
    try:
        with readers.connection_context():
            if not _has_schema(readers):
                raise DatabaseRefused(
                    f"There are no tables of Ordermill's in {name_of(url)}: make them with `ordermill init-db` or by "
                    "starting an engine."
                )
            _check_version(readers, url, may_be_old=any_version)
    except (DatabaseError, InterfaceError) as error:
        readers.close_all()
        raise _refused(url, error) from error
    except BaseException:
        readers.close_all()
        raise
    return readers


def name_of(url: str) -> str:
    """The address of a database for people: without a password."""
    given = conninfo.conninfo_to_dict(url)
    user, host, port = given.get("user"), str(given.get("host") or ""), given.get("port")
    socket = f"?host={host}" if host.startswith("/") else ""  # a folder
    where = f"{f'{user}@' if user else ''}{'' if socket else host}{f':{port}' if port else ''}"
    return f"postgresql://{where}/{given.get('dbname') or ''}{socket}"


def _make_schema(database: PostgresWriter, name: str) -> None:
    # Engines that are started together over an empty or old database: one of them sees to it, the others wait.
    run(database, "SELECT pg_advisory_lock(?)", (LOCKS,)).fetchall()
    try:
        if not _has_schema(database):
            run_script(database, sql.read("schema-postgres.sql"))
        upgrade(database, name, SCHEMA_VERSION)
    finally:
        run(database, "SELECT pg_advisory_unlock(?)", (LOCKS,)).fetchall()


def _has_schema(database: Database) -> bool:
    (is_there,) = run(database, "SELECT to_regclass('ordermill_schema') IS NOT NULL").fetchone()
    return bool(is_there)


def _check_version(database: Database, url: str, *, may_be_old: bool = False) -> None:
    version = schema_version(database)
    if version > SCHEMA_VERSION:
        raise DatabaseRefused(
            f"{name_of(url)} has schema version {version}, this Ordermill knows {SCHEMA_VERSION}: "
            "use a newer Ordermill."
        )
    if version < SCHEMA_VERSION and not may_be_old:
        raise DatabaseRefused(
            f"{name_of(url)} has schema version {version}, this Ordermill reads {SCHEMA_VERSION}: "
            "stop all engines, and upgrade it with `ordermill init-db`, or by starting an engine."
        )


def _refused(url: str, error: Exception) -> DatabaseRefused:
    why: BaseException | None = error
    while why is not None and not isinstance(
        why, psycopg.Error
    ):  # which alone says what the server, or TLS, objects to
        why = why.__cause__ or why.__context__
    why = why or error
    return DatabaseRefused(f"Cannot use {name_of(url)} as a database: {' '.join(str(why).split())}.")
