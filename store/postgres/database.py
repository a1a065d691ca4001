"""Opening a database of a PostgreSQL server: its schema, and what is refused."""

from __future__ import annotations

from peewee import DatabaseError

from ... import sql
from ..domain.errors import DatabaseRefused
from ..statements import run, run_script
from .connection import PostgresWriter

SCHEMA_VERSION = 4
"""The version that this code works with, which sql/schema-postgres.sql notes."""


def open_writer(url: str) -> PostgresWriter:
    """The connection that writes; the schema is made where the database is empty.

    Args:
        url: of the server and the database, as libpq takes it.

    Raises:
        DatabaseRefused: the server does not let us in, or the schema is of another version.
    """
    database = PostgresWriter(url)
    try:
        database.connect()
        (is_there,) = run(database, "SELECT to_regclass('ordermill_schema') IS NOT NULL").fetchone()
        if not is_there:
            run_script(database, sql.read("schema-postgres.sql"))
        (version,) = run(database, "SELECT version FROM ordermill_schema").fetchone()
    except DatabaseError as error:
        database.close()
        raise DatabaseRefused(f"Cannot open the PostgreSQL database: {error}") from error
    if version != SCHEMA_VERSION:
        database.close()
        raise DatabaseRefused(
            f"The database has schema version {version}, and this Ordermill works with {SCHEMA_VERSION}: "
            "use the Ordermill that made it."
        )
    return database
