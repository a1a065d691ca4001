"""Transition log: a line for each transition, where somebody reads along."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ordermill.engine import Cause, Order, OrderEngine, Reject
from ordermill.engine.testing import make_order

JOURNAL = "ordermill.engine.transitions"


def test_each_transition_is_a_line_that_names_the_order_the_attempt_and_the_request(
    start_engine: Callable[..., OrderEngine], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", JOURNAL)
    engine = start_engine()
    engine.begin_submit([make_order(), make_order()], Cause("r-1")).get(timeout=60)
    engine.drain(timeout=60)
    engine.stop()

    lines = [record for record in caplog.records if record.name == JOURNAL]
    assert [(line.getMessage(), line.__dict__["attempt"], line.__dict__["request_id"]) for line in lines] == [
        ("order o-1 is Pending: accepted", 0, "r-1"),
        ("order o-1 is Processing: assigned to a processor", 1, None),
        ("order o-1 is Completed: the handler returned", 1, None),
    ]
    assert {line.__dict__["order_id"] for line in lines} == {"o-1"}


def test_what_goes_well_is_written_for_debugging_only(
    start_engine: Callable[..., OrderEngine], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", JOURNAL)
    engine = start_engine()
    engine.submit(make_order()).wait(timeout=60)
    engine.stop()

    assert [record for record in caplog.records if record.name == JOURNAL] == []


def test_a_failed_attempt_is_information_and_the_last_one_a_warning(
    start_engine: Callable[..., OrderEngine], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Order) -> None:
        raise ConnectionError("the payment service is away")

    caplog.set_level("INFO", JOURNAL)
    engine = start_engine(fail, max_attempts=2, retry_seconds=0)
    engine.submit(make_order()).wait(timeout=60)
    engine.stop()

    lines = [record for record in caplog.records if record.name == JOURNAL]
    error = "ConnectionError: the payment service is away"
    assert [(line.levelname, line.__dict__["attempt"], line.getMessage()) for line in lines] == [
        ("INFO", 1, f"order o-1 is Pending: {error}; tried again in 0.0 s"),
        ("WARNING", 2, f"order o-1 is Failed: {error}; failed attempt 2 of 2"),
    ]
    assert {line.__dict__["order_id"] for line in lines} == {"o-1"}


def test_a_rejection_is_a_warning(start_engine: Callable[..., OrderEngine], caplog: pytest.LogCaptureFixture) -> None:
    def reject(_: Order) -> None:
        raise Reject("no such card")

    engine = start_engine(reject)
    engine.submit(make_order()).wait(timeout=60)
    engine.stop()

    (line,) = [record for record in caplog.records if record.name == JOURNAL]
    assert (line.levelname, line.getMessage()) == ("WARNING", "order o-1 is Failed: rejected: no such card")


@pytest.mark.sqlite  # writes into its file
def test_what_a_crash_left_is_told_like_any_other_failure(
    start_engine: Callable[..., OrderEngine], database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = start_engine()
    engine.submit_many([make_order("o-1"), make_order("o-2")])
    engine.drain(timeout=60)
    engine.stop()
    with closing(sqlite3.connect(database)) as connection, connection:  # as if the process had died in mid-work
        connection.executescript(
            """
            UPDATE orders SET status = 'Processing', updated_at = (
                SELECT at FROM transitions AS t WHERE t.sequence = orders.sequence AND to_status = 'Processing');
            DELETE FROM transitions WHERE to_status = 'Completed';
            UPDATE totals SET value = iif(name = 'Processing', 2, 0);
            """
        )
    caplog.clear()
    start_engine(on_interrupted="review").stop()

    lines = [record for record in caplog.records if record.name == JOURNAL]
    assert [(line.levelname, line.__dict__["order_id"]) for line in lines] == [("WARNING", "o-1"), ("WARNING", "o-2")]
    assert "is Review: " in lines[0].getMessage()


def test_what_a_handler_raised_is_there_with_its_traceback_for_debugging(
    start_engine: Callable[..., OrderEngine], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Order) -> None:
        raise ConnectionError("away")

    caplog.set_level("DEBUG", "ordermill.engine")
    engine = start_engine(fail, max_attempts=1)
    engine.submit(make_order()).wait(timeout=60)
    engine.stop()

    (text,) = [text for record in caplog.records if "Traceback" in (text := caplog.handler.format(record))]
    assert "order o-1, attempt 1" in text
    assert "in fail" in text
    assert text.rstrip().endswith("ConnectionError: away")
