"""Both databases have the same tables, columns and indexes: what is added to one is added to the other."""

from __future__ import annotations

import re

import pytest

from ordermill import sql

pytest.importorskip("psycopg", reason="the extra postgres is not installed")

from ordermill.store.postgres.database import SCHEMA_VERSION
from ordermill.store.sqlite.database import SCHEMA_VERSION as SQLITE_SCHEMA_VERSION

_TYPES = {"BIGINT": "INTEGER", "BYTEA": "BLOB", "DOUBLE PRECISION": "REAL"}
_TABLE = re.compile(r"^CREATE TABLE (\w+) \((.*?)^\)", re.MULTILINE | re.DOTALL)
_COLUMN = re.compile(
    r"^  ([a-z_]+) +(INTEGER|BIGINT|REAL|DOUBLE PRECISION|TEXT|BLOB|BYTEA)\b(?: COLLATE \"C\")?(.*)$", re.MULTILINE
)
_INDEX = re.compile(r"^CREATE (?:UNIQUE )?INDEX (\w+) +ON (\w+)", re.MULTILINE)


def tables(script: str) -> dict[str, list[tuple[str, str, bool]]]:
    """Of each table the columns: name, type, and whether they may be NULL."""
    return {
        name: [
            (column, _TYPES.get(kind, kind), "NOT NULL" in more.split("--")[0] or "PRIMARY KEY" in more)
            for column, kind, more in _COLUMN.findall(body)
        ]
        for name, body in _TABLE.findall(script)
    }


def test_both_have_the_same_tables_and_columns() -> None:
    ours, theirs = tables(sql.read("schema.sql")), tables(sql.read("schema-postgres.sql"))
    del theirs["ordermill_schema"]  # where the other has a number in the file's head

    assert theirs == ours
    assert all(ours.values())


def test_both_have_the_same_indexes() -> None:
    ours, theirs = (_INDEX.findall(sql.read(name)) for name in ("schema.sql", "schema-postgres.sql"))

    assert theirs == ours


def test_both_have_the_same_version() -> None:
    assert f"(version) VALUES ({SCHEMA_VERSION});" in sql.read("schema-postgres.sql")
    assert SCHEMA_VERSION == SQLITE_SCHEMA_VERSION
