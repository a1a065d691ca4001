"""What operators have set is one row, written together with who did it."""

from __future__ import annotations

import sqlite3

import pytest
from peewee import SqliteDatabase

from ordermill.store import audit_log
from ordermill.store.control import read_control, write_control
from ordermill.store.domain.act import Act, Action, AuditEntry
from ordermill.store.domain.control import Control
from ordermill.store.domain.errors import StoreUnavailable
from ordermill.store.domain.record import Cause
from ordermill.store.statements import run


def test_nothing_is_set_in_a_new_database(writer: SqliteDatabase) -> None:
    assert read_control(writer) == Control()
    assert audit_log.page(writer, limit=10) == []


@pytest.mark.parametrize(
    "control", [Control(True, 5, "night", 3), Control(True), Control(processors=1), Control()], ids=str
)
def test_what_is_set_is_read_as_it_was(writer: SqliteDatabase, control: Control) -> None:
    write_control(writer, lambda _: Control(True, 7, "before", 9), Act(Action.PAUSE), 1)

    write_control(writer, lambda _: control, Act(Action.PAUSE), 2)

    assert read_control(writer) == control


def test_who_set_it_is_written_down(writer: SqliteDatabase) -> None:
    act = Act(Action.SET_PROCESSORS, "3", "a quiet night", None, Cause("r-1", "ann"))

    write_control(writer, lambda _: Control(processors=3), act, 7)

    assert audit_log.page(writer, limit=10) == [
        AuditEntry(1, 7, "set processors", "3", "a quiet night", None, "r-1", "ann")
    ]


def test_what_is_not_written_down_is_not_set(writer: SqliteDatabase) -> None:
    run(writer, "DROP TABLE audit_log")

    with pytest.raises(StoreUnavailable):
        write_control(writer, lambda _: Control(True), Act(Action.PAUSE), 1)

    assert not read_control(writer).is_paused


@pytest.mark.parametrize(
    "change",
    [
        "is_paused = 2",
        "paused_until = 5",
        "reason = 'why'",
        "processors = 0",
        "id = 2",
    ],
)
def test_what_makes_no_sense_is_refused(writer: SqliteDatabase, change: str) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        writer.connection().execute(f"UPDATE control SET {change}")
