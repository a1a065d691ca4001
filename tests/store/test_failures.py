"""Failures are noted in the transaction of the step, forgotten when the order is over, and grouped by their errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from peewee import SqliteDatabase

from ordermill.engine.testing import make_order
from ordermill.store import failures
from ordermill.store.audit import audit
from ordermill.store.domain import lifecycle
from ordermill.store.domain.lifecycle import OrderStatus
from ordermill.store.domain.record import OrderRecord, move
from ordermill.store.ledger import Ledger
from ordermill.store.retention import prune
from ordermill.store.statements import run

Take = Callable[..., OrderRecord]


@pytest.fixture
def ledger(writer: SqliteDatabase) -> Ledger:
    return Ledger(writer)


@pytest.fixture
def take(ledger: Ledger) -> Take:
    """Takes an order along an edge."""
    now = iter(range(10, 100_000, 10))

    def take(record: OrderRecord, edge: lifecycle.Edge, error: str | None = None) -> OrderRecord:
        step = move(record, edge, next(now), error=error)
        assert ledger.record([], [step], step.after.updated_us).refused == []
        return step.after

    return take


@pytest.fixture
def begin(ledger: Ledger, take: Take) -> Callable[[str], OrderRecord]:
    """Gives an order that is Processing."""

    def begin(order_id: str) -> OrderRecord:
        ((_, record),) = ledger.record([make_order(order_id)], [], 1).acceptances
        return take(record, lifecycle.ASSIGN)

    return begin


def noted(writer: SqliteDatabase) -> dict[int, tuple[str, str]]:
    rows = run(writer, "SELECT sequence, status, name FROM failures JOIN errors ON errors.id = error_id").fetchall()
    return {sequence: (status, name) for sequence, status, name in rows}


def test_an_order_that_succeeds_at_once_is_never_noted(writer: SqliteDatabase, begin: Any, take: Take) -> None:
    take(begin("o-1"), lifecycle.COMPLETE)

    assert noted(writer) == {}


def test_a_failure_stays_noted_until_the_order_succeeds(writer: SqliteDatabase, begin: Any, take: Take) -> None:
    record = take(begin("o-1"), lifecycle.RETURN, "E: boom 1")
    assert noted(writer) == {1: ("Pending", "E: boom #")}
    record = take(record, lifecycle.ASSIGN)
    assert noted(writer) == {1: ("Pending", "E: boom #")}
    record = take(record, lifecycle.RETURN)  # it was not begun: no further failure
    assert noted(writer) == {1: ("Pending", "E: boom #")}
    record = take(record, lifecycle.ASSIGN)
    record = take(record, lifecycle.RETURN, "F: other")
    assert noted(writer) == {1: ("Pending", "F: other")}

    take(take(record, lifecycle.ASSIGN), lifecycle.COMPLETE)

    assert noted(writer) == {}


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ([lifecycle.FAIL], "Failed"),
        ([lifecycle.PARK], "Review"),
        ([lifecycle.PARK, lifecycle.SETTLE_FAILED], "Failed"),
        ([lifecycle.PARK, lifecycle.SETTLE_COMPLETED], None),
        ([lifecycle.PARK, lifecycle.RETRY_REVIEWED], None),
        ([lifecycle.FAIL, lifecycle.RETRY_FAILED], None),
        ([lifecycle.RETURN, lifecycle.HURRY], None),
        ([lifecycle.RETURN, lifecycle.CANCEL], None),
    ],
    ids=lambda edges: "-".join(edge.target for edge in edges) if isinstance(edges, list) else "",
)
def test_what_becomes_of_a_failure_is_noted(
    writer: SqliteDatabase, begin: Any, take: Take, edges: list[lifecycle.Edge], expected: str | None
) -> None:
    record = take(begin("o-1"), edges[0], "E: boom")
    for edge in edges[1:]:
        record = take(record, edge)

    assert noted(writer) == ({} if expected is None else {1: (expected, "E: boom")})
    assert audit(writer).faults == []


def test_failures_are_grouped_by_their_error_the_most_first(writer: SqliteDatabase, begin: Any, take: Take) -> None:
    for number in range(3):
        take(begin(f"down-{number}"), lifecycle.FAIL, f"ProviderDown: no answer for down-{number} in {number} s")
    take(begin("waits"), lifecycle.RETURN, "ProviderDown: no answer for waits in 9 s")
    take(begin("other"), lifecycle.FAIL, "rejected: no")
    take(begin("unclear"), lifecycle.PARK, "ProviderDown: no answer for unclear in 9 s")

    down, other = failures.groups(writer, 10)

    assert (down.error, down.count, down.waiting) == ("ProviderDown: no answer for {order_id} in # s", 4, 1)
    assert down.example == "waits"
    assert down.first_us < down.last_us
    assert (other.error, other.count, other.waiting, other.example) == ("rejected: no", 1, 0, "other")
    assert failures.groups(writer, 1) == [down]


def test_an_error_is_found_by_its_class_and_by_its_name(writer: SqliteDatabase, begin: Any, take: Take) -> None:
    take(begin("o-1"), lifecycle.FAIL, "E: one")
    take(begin("o-2"), lifecycle.FAIL, "E: two")

    take(begin("o-3"), lifecycle.FAIL, "E: answered 503")

    assert failures.error_ids(writer, "E") == [1, 2, 3]
    assert failures.error_ids(writer, "E: two") == [2]
    assert failures.error_ids(writer, "E: answered #") == failures.error_ids(writer, "E: answered 503") == [3]
    assert failures.error_ids(writer, "F") == []


def test_errors_that_are_too_many_are_put_together_by_their_class(
    writer: SqliteDatabase, begin: Any, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MOST_ERRORS", 2)
    monkeypatch.setattr(failures, "_MOST_CLASSES", 3)
    for number, error in enumerate(["A: x", "A: y", "A: z", "B: x", "C: x", "A: x"]):
        take(begin(f"o-{number}"), lifecycle.FAIL, error)

    assert {name for _, name in noted(writer).values()} == {"A: x", "A: y", "A: …", "other errors"}


def test_names_that_no_order_has_any_more_make_room(
    writer: SqliteDatabase, begin: Any, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MOST_ERRORS", 1)
    monkeypatch.setattr(failures, "_CLEAN_EVERY_US", 0)
    take(take(begin("o-1"), lifecycle.FAIL, "A: x"), lifecycle.RETRY_FAILED)

    take(begin("o-2"), lifecycle.FAIL, "B: x")

    assert noted(writer) == {2: ("Failed", "B: x")}
    assert run(writer, "SELECT name FROM errors").fetchall() == [("B: x",)]


def test_a_failure_goes_with_its_order(writer: SqliteDatabase, begin: Any, take: Take) -> None:
    take(begin("o-1"), lifecycle.FAIL, "A: x")

    assert prune(writer, 10_000_000, 10, None).orders == 1

    assert noted(writer) == {}


def test_a_failure_that_is_not_noted_is_a_fault(writer: SqliteDatabase, begin: Any, take: Take) -> None:
    take(begin("o-1"), lifecycle.FAIL, "A: x")
    take(begin("o-2"), lifecycle.COMPLETE)
    run(writer, "UPDATE failures SET sequence = 2")

    assert audit(writer).faults == [
        "order 'o-1': is Failed, but is not noted among the failures",
        "order 'o-2': is Completed, but is noted among the failures",
    ]


def test_the_database_takes_no_other_status(writer: SqliteDatabase) -> None:
    for status in OrderStatus:
        is_sound = status in {OrderStatus.PENDING, OrderStatus.FAILED, OrderStatus.REVIEW}
        statement = f"INSERT OR REPLACE INTO failures VALUES (1, 1, '{status}', 1)"
        if is_sound:
            writer.connection().execute(statement)
        else:
            with pytest.raises(Exception, match="CHECK"):
                writer.connection().execute(statement)
    writer.connection().rollback()
