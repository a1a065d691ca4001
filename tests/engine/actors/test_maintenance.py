"""What the recorder does between transactions is planned once, and planned again whatever goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ordermill.engine import Durability, StoreUnavailable
from ordermill.engine.actors import maintenance as module
from ordermill.engine.actors.context import EngineContext
from ordermill.engine.actors.maintenance import Maintenance
from ordermill.engine.actors.messages import BoundLog, CheckFiles, PruneOrders
from ordermill.engine.clock import Timer
from ordermill.engine.config import EngineConfig
from ordermill.engine.execution.thread_runner import ThreadRunner
from ordermill.engine.logger import EngineLogger
from ordermill.engine.testing import START_US, ManualClock, make_order
from ordermill.store import audit_log, bulk_actions, queries
from ordermill.store.connect import connect
from ordermill.store.domain import lifecycle
from ordermill.store.domain.act import Action
from ordermill.store.domain.bulk_action import BulkRequest
from ordermill.store.domain.order_filter import ALL_ORDERS
from ordermill.store.domain.record import ENGINE, move
from ordermill.store.ledger import Ledger
from ordermill.store.sqlite.connection import SqliteWriter
from ordermill.store.sqlite.wal import WriteAheadLog


@pytest.fixture
def writer(database: Path) -> Iterator[SqliteWriter]:
    """The connection that writes to a new database."""
    opened = connect(database).open_writer(Durability.NORMAL)
    yield opened
    opened.close()


class Planned:
    """The maintenance of a database, and what it wants to be told."""

    def __init__(self, writer: SqliteWriter, clock: ManualClock, **settings: float) -> None:
        def tell_after(seconds: float, message: object) -> Timer:
            self.later.append((seconds, message))
            return clock.call_after(seconds, lambda: None)

        self.at_once: list[object] = []
        self.later: list[tuple[float, object]] = []
        context = EngineContext(
            config=EngineConfig.of(settings), clock=clock, make_runner=lambda: ThreadRunner(lambda _: None)
        )
        self.maintenance = Maintenance(context, writer, self.at_once.append, tell_after, EngineLogger("ordermill.test"))


def complete(writer: SqliteWriter, *order_ids: str) -> None:
    ledger = Ledger(writer)
    accepted = ledger.record([make_order(order_id) for order_id in order_ids], [], START_US).acceptances
    records = [record for _, record in accepted]
    for edge in (lifecycle.ASSIGN, lifecycle.COMPLETE):
        moves = [move(record, edge, START_US) for record in records]
        assert ledger.record([], moves, START_US).refused == []
        records = [step.after for step in moves]


def test_nothing_is_removed_and_nothing_planned_without_a_time_to_keep(
    writer: SqliteWriter, clock: ManualClock
) -> None:
    complete(writer, "o-1")
    clock.advance(10**9)
    planned = Planned(writer, clock)

    assert planned.maintenance.prune() == {}
    assert (planned.at_once, planned.later) == ([], [])


def test_old_orders_go_a_few_at_a_time_with_room_for_others_in_between(
    writer: SqliteWriter, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PRUNED_AT_ONCE", 2)
    complete(writer, "o-1", "o-2", "o-3")
    clock.advance(61)
    planned = Planned(writer, clock, retain_seconds=60)

    assert planned.maintenance.prune()["Completed"] == -2
    assert planned.at_once == [PruneOrders()]
    planned.maintenance.note(PruneOrders())
    assert planned.maintenance.prune()["Completed"] == -1
    planned.maintenance.note(PruneOrders())
    assert planned.maintenance.prune() == {}
    assert [message for _, message in planned.later] == [PruneOrders()]
    assert queries.last_sequence(writer) == 3


def test_what_people_did_goes_at_the_same_age_a_few_at_a_time(
    writer: SqliteWriter, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PRUNED_AT_ONCE", 2)
    request = BulkRequest(Action.CANCEL, ALL_ORDERS)
    begun = [bulk_actions.start(writer, request, None, ENGINE, 0, 1, START_US) for _ in range(3)]
    for action in begun[1:]:
        bulk_actions.stop(writer, action.id, None, ENGINE, START_US)
    clock.advance(61)
    planned = Planned(writer, clock, retain_seconds=60)
    bulk_actions.start(writer, request, None, ENGINE, 0, 1, clock.now_us())

    def left() -> tuple[int, list[int]]:
        actions = bulk_actions.page(writer, limit=10)
        return len(audit_log.page(writer, limit=10)), [action.id for action in actions]

    assert left() == (6, [4, 3, 2, 1])
    assert planned.maintenance.prune() == {}
    assert planned.at_once == [PruneOrders()]
    assert left() == (4, [4, 1])
    for _ in range(3):
        planned.maintenance.note(PruneOrders())
        planned.maintenance.prune()
    assert left() == (1, [4, 1])
    assert [message for _, message in planned.later] == [PruneOrders()]


def test_a_removal_that_fails_is_planned_again_and_only_once(
    writer: SqliteWriter, clock: ManualClock, tmp_path: Path
) -> None:
    complete(writer, "o-1")
    clock.advance(61)
    planned = Planned(writer, clock, retain_seconds=60)
    planned.maintenance._context.config = EngineConfig.of(
        {"retain_seconds": 60, "export_path": str(tmp_path / "no-folder" / "export.ndjson")}
    )

    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            planned.maintenance.prune()

    assert [message for _, message in planned.later] == [PruneOrders()]
    assert len(queries.page(writer, limit=10)) == 1


@pytest.mark.sqlite  # a server sees to its files itself
def test_the_files_are_looked_at_again_after_each_look(
    writer: SqliteWriter, clock: ManualClock, database: Path
) -> None:
    planned = Planned(writer, clock)
    assert not planned.maintenance.finds_fault()

    planned.maintenance.note(CheckFiles())
    database.rename(database.with_name("elsewhere.db"))

    assert [message for _, message in planned.later] == [CheckFiles()]
    assert planned.maintenance.finds_fault()


@pytest.mark.sqlite  # a server sees to its log itself
def test_a_log_that_cannot_be_looked_at_is_tried_again_and_told(
    writer: SqliteWriter, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: WriteAheadLog, *, again: bool) -> bool:
        raise StoreUnavailable(OSError(f"disk I/O error, {again}"))

    monkeypatch.setattr(WriteAheadLog, "keep_bounded", fail)
    planned = Planned(writer, clock)

    for again in (False, True):
        planned.maintenance.bound_log(again=again)

    assert [message for _, message in planned.later] == [BoundLog()]
    assert "the write-ahead log was not begun anew" in caplog.text
    planned.maintenance.note(BoundLog())
    planned.maintenance.bound_log(again=True)
    assert [message for _, message in planned.later] == [BoundLog(), BoundLog()]
