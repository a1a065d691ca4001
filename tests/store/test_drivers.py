"""One suite for the drivers of all databases: an order's way through the real ledger is the same in each."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from peewee import Database, DataError, IntegrityError

from ordermill.engine.testing import make_order
from ordermill.store import (
    audit_log,
    bulk_actions,
    engines,
    event_log,
    failures,
    idempotency,
    outbox,
    queries,
    retention,
    search,
    webhooks,
)
from ordermill.store.attempts import LatestAttempts
from ordermill.store.audit import audit
from ordermill.store.connect import connect
from ordermill.store.control import read_control, write_control
from ordermill.store.domain import lifecycle
from ordermill.store.domain.act import Act, Action
from ordermill.store.domain.bulk_action import ActionProgress, ActionState, BulkRequest
from ordermill.store.domain.claim import Claim
from ordermill.store.domain.control import Control
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.event import EventFilter
from ordermill.store.domain.idempotency_key import LIFETIME_US, IdempotencyKey
from ordermill.store.domain.lifecycle import OrderStatus
from ordermill.store.domain.limit import parse_limits
from ordermill.store.domain.order import Order
from ordermill.store.domain.order_filter import ALL_ORDERS, OrderFilter
from ordermill.store.domain.outcome import Outcome, Recorded
from ordermill.store.domain.outlook import Accuracy, Estimate
from ordermill.store.domain.queue_settings import QueueSettings
from ordermill.store.domain.record import ENGINE, Cause, OrderRecord, move
from ordermill.store.domain.schedule import Schedule, reschedule
from ordermill.store.domain.webhook import (
    Attempt,
    CreateWebhook,
    DeleteWebhook,
    DeliveryState,
    NewSecret,
    ReplayDeliveries,
    SendTestEvent,
    Tried,
)
from ordermill.store.ledger import Ledger
from ordermill.store.outlooks import evidence, note_and_judge
from ordermill.store.places import Entrance, place
from ordermill.store.queues import queue_states, write_queue
from ordermill.store.sqlite.database import open_writer
from ordermill.store.writer import Writer


@pytest.fixture(params=["sqlite", "postgres"])
def writer(request: pytest.FixtureRequest, database: Path) -> Iterator[Database]:
    """The connection that writes to a new database, of each kind in turn."""
    opened: Database
    if request.param == "sqlite":
        opened = open_writer(database, Durability.NORMAL)
    else:
        url = request.getfixturevalue("postgres_url")
        from ordermill.store.postgres.database import open_writer as open_postgres

        opened = open_postgres(url, Durability.NORMAL)
    yield opened
    opened.close()


@pytest.fixture
def ledger(writer: Database) -> Ledger:
    """The ledger of that database."""
    return Ledger(writer)


def record(ledger: Ledger, orders: Any = (), moves: Any = (), **more: Any) -> Recorded:
    return ledger.record(orders, moves, 10, **more)


def map_orders(order_ids: str) -> list[Order]:
    return [make_order(order_id) for order_id in order_ids]


def claim(ledger: Ledger, room: int, now_us: int = 10) -> list[OrderRecord]:
    return [step.after for step in record(ledger, claim=Claim(room, now_us)).moved]


def assert_counted(database: Database) -> None:
    assert queries.totals(database) == queries.recount(database)


def test_orders_are_accepted_claimed_completed_and_read_back(writer: Database, ledger: Ledger) -> None:
    orders = [make_order(order_id) for order_id in "abc"]
    assert [outcome for outcome, _ in record(ledger, orders).acceptances] == [Outcome.ACCEPTED] * 3

    claimed = claim(ledger, 2)
    record(ledger, moves=[move(found, lifecycle.COMPLETE, 30) for found in claimed])

    found = {order_id: queries.find(writer, order_id) for order_id in "abc"}
    assert [stored and (stored.status, stored.attempts) for stored in found.values()] == [
        ("Completed", 1),
        ("Completed", 1),
        ("Pending", 0),
    ]
    assert [stored and stored.order for stored in found.values()] == orders
    assert [step.to_status for step in queries.history(writer, "a")] == ["Pending", "Processing", "Completed"]
    assert_counted(writer)


def test_an_order_that_is_there_is_a_duplicate_and_another_one_of_its_name_a_conflict(
    writer: Database, ledger: Ledger
) -> None:
    record(ledger, [make_order("a", user_id="u-1")])

    recorded = record(ledger, [make_order("a", user_id="u-1"), make_order("a", user_id="u-2"), make_order("b")])

    assert [outcome for outcome, _ in recorded.acceptances] == [
        Outcome.DUPLICATE,
        Outcome.CONFLICT,
        Outcome.ACCEPTED,
    ]
    assert_counted(writer)


def test_an_order_that_failed_waits_for_its_time_and_is_tried_again(writer: Database, ledger: Ledger) -> None:
    record(ledger, [make_order("a")])
    (first,) = claim(ledger, 1)
    record(ledger, moves=[move(first, lifecycle.RETURN, 20, ready_us=50, error="boom")])

    assert claim(ledger, 1, 49) == []
    (again,) = claim(ledger, 1, 50)

    assert (again.attempts, again.failures, again.last_error) == (2, 1, "boom")
    assert_counted(writer)


def test_a_step_of_an_order_that_has_moved_on_is_refused(writer: Database, ledger: Ledger) -> None:
    _, (_, b) = record(ledger, [make_order("a"), make_order("b")]).acceptances
    claim(ledger, 2)

    recorded = record(ledger, moves=[move(b, lifecycle.CANCEL, 20)])

    assert (recorded.moved, [step.after.order_id for step in recorded.refused]) == ([], ["b"])
    assert_counted(writer)


def test_who_sent_an_order_is_in_its_history(writer: Database, ledger: Ledger) -> None:
    record(ledger, [make_order("a")], causes=[Cause("r-1", "shop")])

    (step,) = queries.history(writer, "a")
    assert step.request_id == "r-1"


def test_a_new_order_will_stand_where_it_is_said_to(writer: Database, ledger: Ledger) -> None:
    record(ledger, [make_order(f"o-{number}", user_id=f"u-{number % 3}") for number in range(1_200)])
    record(ledger, [make_order("k", key="k"), make_order("first", priority=9)])
    claim(ledger, 2)
    entrance = Entrance(60_000_000)
    by = datetime(2099, 1, 1, tzinfo=UTC)
    for number in range(5):
        new = make_order(f"new-{number}", user_id=f"u-{number}", complete_by=by)
        of, of_key = entrance.places(writer, [new, make_order("l", key="k", complete_by=by)], 11 + number)
        record(ledger, [new])
        stored = queries.find(writer, new.order_id)
        assert stored is not None
        assert of == place(writer, stored, 60_000_000)
        assert of_key is None


def test_what_is_told_of_an_order_is_judged_when_it_is_over(writer: Database, ledger: Ledger) -> None:
    record(ledger, [make_order("a"), make_order("b"), make_order("c", priority=9)])
    found = {order_id: queries.find(writer, order_id) for order_id in "abc"}
    places = {order_id: place(writer, stored, 60_000_000) for order_id, stored in found.items() if stored}
    assert [(of.ahead_in_line, of.ahead_by_priority, of.ahead_of_key) for of in places.values()] == [
        (0, 1, None),
        (1, 1, None),
        (0, 0, None),
    ]
    told = [Estimate(stored.sequence, 10, 0, 100, 0, 40) for stored in found.values() if stored]
    assert note_and_judge(writer, told, 10) == 3

    for over_us in (30, 50):
        (next_one,) = claim(ledger, 1, over_us)
        record(ledger, moves=[move(next_one, lifecycle.COMPLETE, over_us)])

    assert note_and_judge(writer, [], 51) == 1
    known = evidence(writer, LatestAttempts(9), 51)
    assert known.accuracy == Accuracy(1 / 3, 3)
    assert (len(known.attempts), len(known.judged), len(known.arrivals)) == (2, 2, 3)


def test_users_take_turns(writer: Database, ledger: Ledger) -> None:
    record(ledger, [make_order(f"a-{number}", user_id="a") for number in range(3)])
    record(ledger, [make_order("b", user_id="b")])

    assert [found.order_id for found in claim(Ledger(writer), 4)] == ["a-0", "b", "a-1", "a-2"]


def test_what_is_at_a_limit_or_in_a_paused_queue_is_passed_over_until_there_is_room(writer: Database) -> None:
    ledger = Ledger(writer, limits=parse_limits("user=1, queue:mail=20/s"))
    write_queue(writer, QueueSettings("sms", is_paused=True), Act(Action.SET_QUEUE, "sms", None), 10)
    ledger.obey_queues()
    orders = [make_order(f"m-{number}", user_id=f"u-{number}", queue="mail") for number in range(3)]
    orders += [make_order("a-1", user_id="ann"), make_order("a-2", user_id="ann"), make_order("s", queue="sms")]
    record(ledger, orders)

    first = claim(ledger, 9)
    assert sorted(found.order_id for found in first) == ["a-1", "m-0", "m-1"]
    assert ledger.next_ready_us == 10 + 50_000
    record(ledger, moves=[move(found, lifecycle.COMPLETE, 20) for found in first if found.order_id == "a-1"])
    assert [found.order_id for found in claim(ledger, 9)] == ["a-2"]

    states = {state.queue: state for state in queue_states(writer, parse_limits("queue:mail=20/s"), 10)}
    assert (states["mail"].pending, states["mail"].processing, states["mail"].rate) == (1, 2, 20.0)
    assert (states["sms"].paused, states["sms"].pending) == (True, 1)
    started = Ledger(writer, limits=parse_limits("user=1, queue:mail=20/s"))
    (later,) = [step.after for step in record(started, claim=Claim(9, 10 + 50_000)).moved]
    assert (later.order_id, later.order.queue) == ("m-2", "mail")
    assert audit(writer).faults == []


def test_a_claim_passes_orders_over_or_takes_one_alone(ledger: Ledger) -> None:
    first, second, third = (stored.sequence for _, stored in record(ledger, map_orders("abc")).acceptances)

    passed = record(ledger, claim=Claim(1, 10, but_not=(first,))).moved
    alone = record(ledger, claim=Claim(1, 10, only=third)).moved

    assert [step.after.sequence for step in (*passed, *alone)] == [second, third]


def test_orders_are_found_by_any_filter(writer: Database, ledger: Ledger) -> None:
    record(ledger, [make_order("a-1", user_id="ann"), make_order("a-2", user_id="bob"), make_order("b-1")])
    (first,) = claim(ledger, 1)
    record(ledger, moves=[move(first, lifecycle.FAIL, 20, error="ValueError: boom")])

    def found(**wanted: Any) -> list[str]:
        return [order.order_id for order in search.page(writer, OrderFilter(**wanted), limit=10).orders]

    assert found() == ["b-1", "a-2", "a-1"]
    assert found(order_id_prefix="a-") == ["a-2", "a-1"]
    assert found(status=OrderStatus.PENDING, user_id="bob") == ["a-2"]
    assert found(status=OrderStatus.FAILED, user_id="ann") == ["a-1"]
    assert found(error="ValueError", created_from_us=10, updated_from_us=20, updated_to_us=21) == ["a-1"]
    assert found(created_to_us=10) == []
    assert [group.count for group in failures.groups(writer, 10)] == [1]
    assert queries.stored(writer, ["a-1", "none"]) == {"a-1"}
    pending = search.count(writer, OrderFilter(order_id_prefix="a-"), among=(OrderStatus.PENDING, OrderStatus.REVIEW))
    assert pending == (1, None)


def test_an_idempotency_key_names_one_request_until_it_is_old(writer: Database, ledger: Ledger) -> None:
    key = IdempotencyKey("k", "ann", "one")
    record(ledger, [make_order("a")], keys=[key])
    record(ledger, [make_order("a")], keys=[key])

    assert not idempotency.is_reused(writer, key, 11)
    assert idempotency.is_reused(writer, key._replace(fingerprint="other"), 11)
    assert not idempotency.is_reused(writer, key._replace(fingerprint="other"), 11 + LIFETIME_US)


def test_no_number_is_given_again_when_the_orders_are_gone(writer: Database, ledger: Ledger) -> None:
    _, (_, last) = record(ledger, map_orders("ab")).acceptances
    record(ledger, moves=[move(found, lifecycle.COMPLETE, 30) for found in claim(ledger, 2)])
    last_event = event_log.last_id(writer)

    assert retention.prune(writer, 31, 10, None).orders == 2

    assert event_log.last_id(writer) == last_event
    assert event_log.page(writer, 0, 10).removed_through == last_event
    ((_, new),) = record(Ledger(writer), map_orders("c")).acceptances
    assert new.sequence > last.sequence
    (event,) = event_log.page(writer, last_event, 10, EventFilter(order_id="c")).events
    assert event.id > last_event
    assert audit(writer).faults == []
    assert_counted(writer)


def test_what_people_do_is_logged_and_forgotten(writer: Database) -> None:
    paused = Control(is_paused=True, reason="tired")
    write_control(writer, lambda _: paused, Act(Action.PAUSE, None, "tired"), 5)
    request = BulkRequest(Action.CANCEL, ALL_ORDERS)
    action = bulk_actions.start(writer, request, "no more", ENGINE, 7, 100, 6)
    running = bulk_actions.first_running(writer)
    bulk_actions.stop(writer, action.id, None, ENGINE, 8)

    assert read_control(writer) == paused
    assert running == action
    assert [entry.action for entry in audit_log.page(writer, limit=10)][-1] == Action.PAUSE
    assert bulk_actions.first_running(writer) is None
    assert retention.prune_acts(writer, 9, 10) == 4


def test_a_bulk_action_notes_how_far_it_is_in_the_transaction_of_its_steps(writer: Database, ledger: Ledger) -> None:
    request = BulkRequest(Action.CANCEL, ALL_ORDERS)
    stored = [found for _, found in record(ledger, map_orders("ab")).acceptances]
    action = bulk_actions.start(writer, request, None, ENGINE, 2, 100, 6)
    assert bulk_actions.count_orders(writer, request, None) == (2, None)

    moves = [move(found, lifecycle.CANCEL, 20) for found in stored]
    record(ledger, moves=moves, progress=ActionProgress(action.id, 1, 0, is_last=True))

    after = bulk_actions.find(writer, action.id)
    assert after is not None
    assert (after.state, after.moved, after.refused) == (ActionState.DONE, 2, 0)


def test_events_are_sent_to_those_who_want_them_in_the_sequence_of_each_order(writer: Database, ledger: Ledger) -> None:
    change = CreateWebhook("https://shop.example", ("order.accepted", "order.completed"), None)
    made: NewSecret = webhooks.change_webhooks(writer, change, ENGINE, 5, 5)
    ledger.outbox.load()
    record(ledger, map_orders("a"), causes=[Cause("r", "shop", "00-trace")])
    record(ledger, moves=[move(found, lifecycle.COMPLETE, 30) for found in claim(ledger, 1)])
    number = made.webhook.number

    (first,) = outbox.due(writer, number, 100, 10)
    assert (first.type, first.number, first.traceparent) == ("order.accepted", 1, "00-trace")
    done = Tried(first.delivery, 1, Attempt(40, 204, None, None, 9), None, is_delivered=True)
    record(ledger, tries=[done, done])  # told twice, noted once

    (second,) = outbox.due(writer, number, 100, 10)
    assert (second.type, second.number) == ("order.completed", 3)
    later = Tried(second.delivery, 1, Attempt(50, None, "refused", None, 9), 10_000, is_delivered=False)
    record(ledger, tries=[later])
    assert outbox.next_due_us(writer, number, 100) == 10_000
    states = [found.state for found in webhooks.deliveries(writer, made.webhook.webhook_id, limit=10)]
    assert states == [DeliveryState.WAITING, DeliveryState.DELIVERED]


def test_deliveries_are_sent_again_and_go_with_their_webhook(writer: Database, ledger: Ledger) -> None:
    made: NewSecret = webhooks.change_webhooks(
        writer, CreateWebhook("https://shop.example", ("order.accepted",), None), ENGINE, 5, 5
    )
    webhook_id, number = made.webhook.webhook_id, made.webhook.number
    ledger.outbox.load()
    record(ledger, map_orders("a"))
    (sent,) = outbox.due(writer, number, 100, 10)
    record(ledger, tries=[Tried(sent.delivery, 1, Attempt(40, 204, None, None, 9), None, is_delivered=True)])

    replay = ReplayDeliveries(webhook_id, None, None, None, is_failed_only=False)
    assert webhooks.change_webhooks(writer, replay, ENGINE, 6, 6) == 1
    assert webhooks.change_webhooks(writer, SendTestEvent(webhook_id), ENGINE, 7, 7) == 1
    assert len(outbox.due(writer, number, 100, 10)) == 2

    webhooks.change_webhooks(writer, DeleteWebhook(webhook_id), ENGINE, 8, 8)
    while webhooks.remove_some(writer):
        pass
    assert webhooks.all_webhooks(writer) == []


def test_each_run_of_an_engine_has_a_number_of_its_own(writer: Database) -> None:
    assert engines.last(writer) == 0
    assert [engines.join(writer, at_us, None, 8, 1) for at_us in (5, 6)] == [1, 2]
    assert engines.last(writer) == 2


def test_what_the_schema_refuses_is_stored_nowhere(writer: Database, ledger: Ledger) -> None:
    good, bad = make_order("good"), Order.stored("bad", "ann", ("sku",), 10**15)

    with pytest.raises((IntegrityError, sqlite3.IntegrityError)):
        record(ledger, [good, bad])

    assert queries.totals(writer)["Pending"] == 0
    ((_, stored),) = record(ledger, [good]).acceptances
    assert queries.find(writer, "good") == stored
    assert audit(writer).faults == []


def test_a_text_that_the_server_takes_never_is_not_taken_for_an_outage(postgres_url: str) -> None:
    with closing(connect(postgres_url).open_writer(Durability.NORMAL)) as opened:
        ledger = Ledger(opened)
        record(ledger, [make_order("a")])
        (found,) = claim(ledger, 1)

        with pytest.raises(DataError, match="NUL"):
            record(ledger, moves=[move(found, lifecycle.FAIL, 20, error="\0")])

        record(ledger, moves=[move(found, lifecycle.FAIL, 20, error="plain")])


def test_two_connections_that_claim_at_once_take_different_orders(postgres_url: str) -> None:
    from ordermill.store.postgres.connection import PostgresWriter
    from ordermill.store.postgres.database import open_writer as open_postgres
    from ordermill.store.queue import OrderQueue

    one, other = open_postgres(postgres_url, Durability.NORMAL), PostgresWriter(postgres_url, waits_for_disk=False)
    try:
        other.connect()
        record(Ledger(one), [make_order(order_id) for order_id in "abcd"])
        other.wait_at_most(30)  # an error instead of a wait without end
        with one.atomic(), other.atomic():
            taken = [
                step.after.order_id
                for database in (one, other)
                for step in OrderQueue(database, 0).claim(Claim(2, 10), 20)
            ]
    finally:
        one.close()
        other.close()
    assert taken == ["a", "b", "c", "d"]


@pytest.fixture
def two_writers(postgres_url: str) -> Iterator[list[Writer]]:
    """The connections of two engines over one database."""
    with ExitStack() as opened:
        yield [opened.enter_context(closing(connect(postgres_url).open_writer(Durability.NORMAL))) for _ in range(2)]


def test_what_another_engine_has_rescheduled_is_claimed_as_it_is_by_now(two_writers: list[Writer]) -> None:
    one, other = (Ledger(writer, kept=10) for writer in two_writers)
    ((_, stored),) = record(one, [make_order("a", priority=0, queue="mail")]).acceptances

    record(other, moves=[reschedule(stored, Schedule(9, queue="sms"), 11, 11)])
    one.look_around()

    (claimed,) = claim(one, 1, 12)
    assert (claimed.order.priority, claimed.order.queue) == (9, "sms")


def test_an_engine_whose_limited_orders_another_one_has_begun_waits_for_none_of_them(two_writers: list[Writer]) -> None:
    one, other = (Ledger(writer, limits=parse_limits("user=1")) for writer in two_writers)
    record(one, map_orders("ab"))
    (first,) = claim(one, 2)
    record(one, moves=[move(first, lifecycle.COMPLETE, 20)])

    other.look_around()
    assert [found.order_id for found in claim(other, 2)] == ["b"]
    one.look_around()

    assert claim(one, 2) == []
    assert one.next_ready_us is None


def test_who_sends_to_an_engine_that_claims_nothing_overtakes_nobody_for_ever(two_writers: list[Writer]) -> None:
    claims, takes = map(Ledger, two_writers)
    record(claims, [make_order(f"a-{number}", user_id="ann") for number in range(4)])

    taken: list[str] = []
    for number in range(16):  # as fast as they are claimed
        takes.look_around()
        record(takes, [make_order(f"b-{number}", user_id=f"bob-{number}")])
        taken += [found.order_id for found in claim(claims, 1)]

    assert [order_id for order_id in taken if order_id.startswith("a")] == ["a-0", "a-1", "a-2", "a-3"]


def test_what_another_engine_has_in_hand_of_a_queue_that_it_has_added_counts(two_writers: list[Writer]) -> None:
    one, other = (Ledger(writer, limits=parse_limits("queue:mail=1, user=1")) for writer in two_writers)
    record(one, [make_order("a", user_id="ann"), make_order("b", user_id="bob", queue="mail")])
    assert [found.order_id for found in claim(one, 2)] == ["a", "b"]

    record(other, [make_order("c", user_id="cid"), make_order("d", user_id="dan", queue="mail")])

    assert [found.order_id for found in claim(other, 2)] == ["c"]


def test_an_order_that_another_engine_has_parked_in_a_queue_that_it_has_added_is_under_its_limits(
    two_writers: list[Writer],
) -> None:
    one, other = (Ledger(writer, limits=parse_limits("queue:mail=1, user=1")) for writer in two_writers)
    orders = [make_order("a", user_id="ann"), make_order("b", user_id="ann", queue="mail")]
    record(one, [*orders, make_order("c", user_id="cid", queue="mail")])
    taken = claim(one, 3)
    assert sorted(found.order_id for found in taken) == ["a", "c"]
    record(one, moves=[move(found, lifecycle.COMPLETE, 20) for found in taken if found.order_id == "a"])

    other.look_around()

    assert claim(other, 3) == []  # the queue has one in hand still
