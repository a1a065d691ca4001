"""The trace of a request is stored with the orders that it brought, and goes when they go."""

from __future__ import annotations

import pytest
from peewee import SqliteDatabase

from ordermill.engine.testing import START_US, make_order
from ordermill.store import trace_contexts
from ordermill.store.domain import lifecycle
from ordermill.store.domain.record import Cause, move
from ordermill.store.domain.trace_context import sound_traceparent
from ordermill.store.ledger import Ledger
from ordermill.store.retention import prune
from ordermill.store.statements import run

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("text", [TRACEPARENT, TRACEPARENT[:-2] + "00"])
def test_what_the_specification_has_is_taken(text: str) -> None:
    assert sound_traceparent(text) == text


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        TRACEPARENT.upper(),
        f"{TRACEPARENT}-more",
        f" {TRACEPARENT}",
        f"01{TRACEPARENT[2:]}",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
    ],
)
def test_what_it_has_not_is_ignored(text: str | None) -> None:
    assert sound_traceparent(text) is None


def test_only_orders_that_came_with_a_trace_have_one_and_it_goes_with_them(writer: SqliteDatabase) -> None:
    ledger = Ledger(writer)
    causes = [Cause("r-1", None, TRACEPARENT), Cause("r-2")]
    orders = [make_order("o-1"), make_order("o-2")]
    records = [record for _, record in ledger.record(orders, [], START_US, causes).acceptances]
    again = ledger.record(orders[:1], [], START_US, [Cause("r-3", None, TRACEPARENT[:-2] + "00")])

    assert [trace_contexts.find(writer, record.sequence) for record in records] == [TRACEPARENT, None]
    assert again.acceptances[0].record == records[0]
    ledger.record([], [move(record, lifecycle.CANCEL, START_US) for record in records], START_US)
    prune(writer, START_US + 1, 10, None)
    assert run(writer, "SELECT count(*) FROM trace_contexts").fetchone() == (0,)
