"""What two transactions of several engines do at the same instant is as if one had been done after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from ordermill.engine.testing import START_US, make_order
from ordermill.store import audit_log, bulk_actions, queries
from ordermill.store.audit import audit
from ordermill.store.connect import connect
from ordermill.store.domain import lifecycle
from ordermill.store.domain.act import Action
from ordermill.store.domain.bulk_action import ActionProgress, ActionState, BulkRequest
from ordermill.store.domain.claim import Claim
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.limit import Limit
from ordermill.store.domain.order_filter import OrderFilter
from ordermill.store.domain.outlook import Estimate
from ordermill.store.domain.record import ENGINE, move
from ordermill.store.domain.webhook import CreateWebhook
from ordermill.store.ledger import Ledger
from ordermill.store.limits import Limits
from ordermill.store.outlooks import note_and_judge
from ordermill.store.queues import Queues
from ordermill.store.retention import prune
from ordermill.store.statements import run, write_transaction
from ordermill.store.webhooks import change_webhooks
from ordermill.store.writer import Turn, Writer

if TYPE_CHECKING:
    from tests.conftest import Stranger

Meanwhile = Callable[[Callable[[], object]], Future[object]]


@pytest.fixture
def writer(postgres_url: str, stranger: Stranger) -> Iterator[Writer]:  # noqa: ARG001  # which ends after it
    """The connection that writes to a new database."""
    opened = connect(postgres_url).open_writer(Durability.NORMAL)
    yield opened
    opened.close()


@pytest.fixture
def meanwhile() -> Iterator[Meanwhile]:
    """Does something in a thread."""
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit


def test_retention_leaves_an_order_that_somebody_moves(writer: Writer, stranger: Stranger, tmp_path: Path) -> None:
    ledger, export = Ledger(writer), tmp_path / "removed.ndjson"
    accepted = ledger.record([make_order("a"), make_order("b")], [], START_US).acceptances
    ledger.record([], [move(record, lifecycle.CANCEL, START_US) for _, record in accepted], START_US)
    stranger.does("UPDATE orders SET status = 'Pending', ready_at = 1 WHERE order_id = 'a'")

    assert prune(writer, START_US + 1, 100, export).orders == 1

    assert queries.find(writer, "b") is None
    assert len(export.read_text().splitlines()) == 1
    stranger.gives_way()
    assert prune(writer, START_US + 1, 100, export).orders == 1
    assert audit(writer) == (0, [])


def test_retention_leaves_an_order_that_another_one_begins_to_wait_for(
    writer: Writer, stranger: Stranger, meanwhile: Meanwhile
) -> None:
    ledger = Ledger(writer)
    ledger.record([make_order("a", key="k")], [], START_US)
    (claimed,) = ledger.record([], [], START_US, claim=Claim(1, START_US)).moved
    ledger.record([], [move(claimed.after, lifecycle.FAIL, START_US, error="E: no")], START_US)
    stranger.takes_turn(Turn.KEYS)
    stranger.inserts("b")
    stranger.does("UPDATE orders SET serial_key = 'key:k' WHERE order_id = 'b'")

    pruned = meanwhile(lambda: prune(writer, START_US + 1, 100, None).orders)
    stranger.is_waited_for_by(1)
    stranger.commits()

    assert pruned.result(60) == 0


def test_two_new_queues_at_the_same_instant_have_a_number_each(
    writer: Writer, stranger: Stranger, meanwhile: Meanwhile
) -> None:
    def add() -> int:
        with write_transaction(writer):
            return Queues(writer).number_of("mine")

    stranger.does("INSERT INTO queues (id, name, is_paused) VALUES (1, 'another', 0)")
    number = meanwhile(add)
    stranger.is_waited_for_by(1)
    stranger.commits()

    assert number.result(60) == 2


def test_a_bulk_action_that_was_stopped_moves_nothing_more(writer: Writer) -> None:
    ledger = Ledger(writer)
    ((_, record),) = ledger.record([make_order("a")], [], START_US).acceptances
    request = BulkRequest(Action.CANCEL, OrderFilter(), None)
    action = bulk_actions.start(writer, request, None, ENGINE, 1, 100, START_US)
    bulk_actions.stop(writer, action.id, "enough", ENGINE, START_US)

    recorded = ledger.record(
        [],
        [move(record, lifecycle.CANCEL, START_US)],
        START_US,
        progress=ActionProgress(action.id, 0, 0, True),
    )

    assert recorded.moved == []
    assert bulk_actions.find(writer, action.id) == replace(action, state=ActionState.STOPPED, ended_us=START_US)
    assert audit(writer) == (1, [])


def test_a_bulk_action_that_has_just_ended_is_not_stopped(
    writer: Writer, stranger: Stranger, meanwhile: Meanwhile
) -> None:
    request = BulkRequest(Action.CANCEL, OrderFilter(), None)
    action = bulk_actions.start(writer, request, None, ENGINE, 1, 100, START_US)
    stranger.does("UPDATE bulk_actions SET state = 'done', ended_at = %s", START_US + 1)

    stopped = meanwhile(lambda: bulk_actions.stop(writer, action.id, None, ENGINE, START_US + 2))
    stranger.is_waited_for_by(1)
    stranger.commits()
    stopped.result(60)

    assert bulk_actions.find(writer, action.id) == replace(action, state=ActionState.DONE, ended_us=START_US + 1)
    assert len(audit_log.page(writer, limit=10)) == 1  # who began it


def test_estimates_are_judged_by_one_at_a_time(writer: Writer, stranger: Stranger, meanwhile: Meanwhile) -> None:
    Ledger(writer).record([make_order("a")], [], START_US)
    stranger.takes_turn(Turn.ESTIMATES)

    judged = meanwhile(lambda: note_and_judge(writer, [Estimate(1, START_US, 1, 2, 1, START_US)], START_US))
    stranger.is_waited_for_by(1)
    stranger.gives_way()

    assert judged.result(60) == 1


def test_webhooks_are_changed_while_nothing_that_was_sent_is_recorded(
    writer: Writer, stranger: Stranger, meanwhile: Meanwhile
) -> None:
    stranger.takes_turn(Turn.DELIVERIES)
    change = CreateWebhook("https://shop.example", ("order.completed",), None)

    changed = meanwhile(lambda: change_webhooks(writer, change, ENGINE, START_US, START_US))
    stranger.is_waited_for_by(1)
    stranger.gives_way()

    assert changed.result(60) is not None


def test_who_slows_a_limit_down_keeps_what_a_claim_has_counted(
    writer: Writer, stranger: Stranger, meanwhile: Meanwhile
) -> None:
    def slow_down() -> None:
        with write_transaction(writer):
            Limits(writer, Queues(writer), {"user": Limit(rate=1.0)}).close(make_order(user_id="u-1"), 9)

    stranger.does("SELECT id FROM queues WHERE id = 0 FOR UPDATE")  # as a claim does
    stranger.does("INSERT INTO limits (name, next_at) VALUES ('user:u-1', 7)")
    slowed = meanwhile(slow_down)
    stranger.is_waited_for_by(1)
    stranger.commits()
    slowed.result(60)

    assert run(writer, "SELECT name, next_at, closed_until FROM limits").fetchall() == [("user:u-1", 7, 9)]


def test_users_take_turns_whichever_engine_they_send_to(writer: Writer, postgres_url: str) -> None:
    with closing(connect(postgres_url).open_writer(Durability.NORMAL)) as other:
        one, another = Ledger(writer), Ledger(other)
        another.record([make_order("first", user_id="third")], [], START_US)
        one.record([make_order(f"a-{number}", user_id="much") for number in range(20)], [], START_US)
        one.record([make_order(f"b-{number}", user_id="little") for number in range(20)], [], START_US)
        another.look_around()
        another.record([make_order(f"c-{number}", user_id="much") for number in range(20)], [], START_US)

        claimed = another.record([], [], START_US, claim=Claim(41, START_US)).moved

    users = [step.after.order.user_id for step in claimed if step.after.order_id != "first"]
    assert Counter(users[:20]) == Counter(users[20:]) == {"much": 10, "little": 10}
