"""Statements that are built once run through Peewee's connections."""

from __future__ import annotations

import sqlite3

import pytest
from peewee import OperationalError, SqliteDatabase

from ordermill.store.statements import run, run_for_each, run_script, to_sql
from ordermill.store.tables import TotalModel


def test_a_query_becomes_text_with_a_mark_for_each_value() -> None:
    text = to_sql(TotalModel.select(TotalModel.value).where(TotalModel.name == "Pending"))

    assert text == 'SELECT "t1"."value" FROM "totals" AS "t1" WHERE ("t1"."name" = ?)'


def test_a_statement_runs_once_for_each_row(writer: SqliteDatabase) -> None:
    with writer.atomic():
        changed = run_for_each(
            writer, "UPDATE totals SET value = ? WHERE name = ?", [(3, "Pending"), (4, "Failed"), (5, "no such total")]
        )

    assert changed == 2
    assert run(writer, "SELECT value FROM totals WHERE name IN (?, ?)", ("Pending", "Failed")).fetchall() == [
        (4,),
        (3,),
    ]


def test_a_statement_that_fails_raises_peewees_error(writer: SqliteDatabase) -> None:
    with pytest.raises(OperationalError, match="no such table"):
        run(writer, "SELECT * FROM missing")


def test_a_script_brings_its_own_transaction(writer: SqliteDatabase) -> None:
    with pytest.raises(sqlite3.OperationalError):
        run_script(writer, "BEGIN; UPDATE totals SET value = 9; SELECT * FROM missing; COMMIT;")
    writer.rollback()

    assert run(writer, "SELECT max(value) FROM totals").fetchone() == (0,)
