"""Statements that are built once run through Peewee's connections."""

from __future__ import annotations

import sqlite3

import pytest
from peewee import SQL, OperationalError, Select, SqliteDatabase

from ordermill.store.statements import ManyRows, given_values, run, run_for_each, run_script, size_for, to_sql
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


@pytest.mark.parametrize("rows", [0, 1, 2, 7, 8, 9, 11, 65, 500, 1023, 1024, 1025, 2500])
def test_many_rows_are_written_and_nothing_else(writer: SqliteDatabase, rows: int) -> None:
    values = Select([given_values(2)], [SQL("given.column1"), SQL("given.column2 + ?")])
    insert = ManyRows(
        TotalModel.insert_from(values.where(SQL("given.column1 IS NOT NULL")), (TotalModel.name, TotalModel.value)),
        2,
        "ti",
    )
    names = [f"total {number:04d}" for number in range(rows)]

    with writer.atomic():
        changed = insert.run(writer, names, range(rows), shared=(1000,))

    assert changed == rows
    found = run(writer, "SELECT name, value FROM totals WHERE name LIKE 'total %' ORDER BY name").fetchall()
    assert found == [(name, 1000 + number) for number, name in enumerate(names)]


def test_the_statements_for_any_number_of_rows_are_few_and_hardly_larger() -> None:
    sizes = {rows: size_for(rows) for rows in range(1, 1025)}

    assert all(rows <= size < 1.25 * rows + 1 for rows, size in sizes.items())
    assert len(set(sizes.values())) < 40


def test_a_statement_that_fails_raises_peewees_error(writer: SqliteDatabase) -> None:
    with pytest.raises(OperationalError, match="no such table"):
        run(writer, "SELECT * FROM missing")


def test_a_script_brings_its_own_transaction(writer: SqliteDatabase) -> None:
    with pytest.raises(sqlite3.OperationalError):
        run_script(writer, "BEGIN; UPDATE totals SET value = 9; SELECT * FROM missing; COMMIT;")
    writer.rollback()

    assert run(writer, "SELECT max(value) FROM totals").fetchone() == (0,)
