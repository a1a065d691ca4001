"""The journal: a line for each transition, where somebody reads along."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ordermill.engine import Cause, OrderEngine
from ordermill.engine.testing import make_order

JOURNAL = "ordermill.engine.transitions"


def test_each_transition_is_a_line_that_names_the_order_the_attempt_and_the_request(
    start_engine: Callable[..., OrderEngine], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", JOURNAL)
    engine = start_engine()
    engine.begin_submit([make_order(), make_order()], Cause("r-1")).get(timeout=5)
    engine.drain(timeout=5)
    engine.stop()

    lines = [record for record in caplog.records if record.name == JOURNAL]
    assert [(line.getMessage(), line.__dict__["attempt"], line.__dict__["request_id"]) for line in lines] == [
        ("order o-1 is Pending: accepted", 0, "r-1"),
        ("order o-1 is Processing: assigned to a processor", 1, None),
        ("order o-1 is Completed: the handler returned", 1, None),
    ]
    assert {line.__dict__["order_id"] for line in lines} == {"o-1"}


def test_at_other_levels_nothing_is_written(
    start_engine: Callable[..., OrderEngine], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", JOURNAL)
    engine = start_engine()
    engine.submit(make_order()).wait(timeout=5)
    engine.stop()

    assert [record for record in caplog.records if record.name == JOURNAL] == []
