"""Errors that come again and again."""

from __future__ import annotations

import logging

import pytest

from ordermill.http.transport.bounded_log import BoundedLog


def test_a_few_errors_are_logged_and_then_how_many_there_were(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    log = BoundedLog(logging.getLogger("test"), lambda: now[0])
    for _ in range(1_000):
        log.error("it failed", ZeroDivisionError("a bug"))
    assert [record.getMessage() for record in caplog.records] == ["it failed"] * 5
    assert all(record.exc_info for record in caplog.records)
    caplog.clear()

    now[0] += 11
    log.error("it failed", None)
    now[0] += 11
    log.error("it failed", None)

    assert [record.getMessage() for record in caplog.records] == [
        "995 more errors were left out of the log",
        "it failed",
        "it failed",
    ]
