"""Actors that an unexpected error has hit: what they know afterwards is what the database says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import BacklogFull, OrderEngine, OrderStatus
from ordermill.engine.actors.intake import IntakeActor
from ordermill.engine.actors.messages import LedgerCommitted
from ordermill.engine.actors.metrics import MetricsActor
from ordermill.engine.requests import SubmitOrders
from ordermill.engine.testing import make_order
from ordermill.store import queries
from ordermill.store.connect import connect

if TYPE_CHECKING:
    from tests.engine.conftest import HeldLedger


def fail_once_on(
    monkeypatch: pytest.MonkeyPatch, actor: type[Any], kind: type[Any], *, afterwards: bool = False
) -> None:
    """Have an actor meet a bug at the next message of a kind, before or after it is handled."""
    receive = actor.receive
    is_due = [True]

    def receive_with_bug(self: Any, message: Any) -> None:
        if isinstance(message, kind) and is_due:
            is_due.clear()
            if afterwards:
                receive(self, message)
            raise ZeroDivisionError("a bug")
        receive(self, message)

    monkeypatch.setattr(actor, "receive", receive_with_bug)


def test_the_metrics_are_read_anew_after_a_bug_in_their_actor(
    start_engine: Callable[..., OrderEngine], database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_once_on(monkeypatch, MetricsActor, LedgerCommitted)
    engine = start_engine()
    for number in range(5):
        assert engine.submit(make_order(f"o-{number}")).wait(timeout=60) is OrderStatus.COMPLETED
    metrics = engine.drain(timeout=60)

    assert metrics.total_orders_processed == 5
    assert metrics.backlog == 0
    assert engine.incidents() == {"MetricsActor": 1}
    readers = connect(database).open_readers(max_connections=1)
    with readers.connection_context():
        assert queries.totals(readers) == queries.recount(readers)
    readers.close_all()


@pytest.mark.parametrize("afterwards", [False, True])
def test_intake_knows_the_backlog_after_a_bug_of_its_own(
    start_engine: Callable[..., OrderEngine],
    ledger: HeldLedger,
    let_record: Callable[[OrderEngine], None],
    monkeypatch: pytest.MonkeyPatch,
    afterwards: bool,
) -> None:
    fail_once_on(monkeypatch, IntakeActor, SubmitOrders, afterwards=afterwards)
    ledger.hold(lambda orders, _: bool(orders))  # stored before the error comes, it would be acknowledged
    engine = start_engine(max_backlog=1)
    with pytest.raises(ZeroDivisionError):
        engine.submit(make_order("first"))
    ledger.release()
    let_record(engine)
    engine.drain(timeout=60)

    for number in range(5):
        assert engine.submit(make_order(f"o-{number}")).wait(timeout=60) is OrderStatus.COMPLETED
    with pytest.raises(BacklogFull):
        engine.submit_many([make_order("one"), make_order("two")])
    assert engine.incidents() == {"IntakeActor": 1}
