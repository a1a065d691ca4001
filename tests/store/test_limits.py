"""What is at a limit is passed over, in the way of nothing else, and takes its turn when there is room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from peewee import SqliteDatabase

from ordermill.engine.testing import make_order
from ordermill.store import limits, queries
from ordermill.store import queues as stored_queues
from ordermill.store.audit import audit
from ordermill.store.domain import lifecycle
from ordermill.store.domain.act import Act, Action
from ordermill.store.domain.claim import Claim
from ordermill.store.domain.limit import parse_limits
from ordermill.store.domain.queue_settings import QueueSettings
from ordermill.store.domain.record import OrderRecord, move, utc
from ordermill.store.ledger import Ledger
from ordermill.store.queues import queue_states, write_queue
from ordermill.store.statements import run

SECOND = 1_000_000


def ledger_with(writer: SqliteDatabase, text: str) -> Ledger:
    return Ledger(writer, 100, limits=parse_limits(text))


def accept(ledger: Ledger, *order_ids: str, **fields: Any) -> list[OrderRecord]:
    recorded = ledger.record([make_order(order_id, **fields) for order_id in order_ids], [], 10)
    return [accepted for _, accepted in recorded.acceptances]


def claim(ledger: Ledger, room: int = 9, now_us: int = 10, **more: Any) -> list[OrderRecord]:
    return [step.after for step in ledger.record([], [], now_us, claim=Claim(room, now_us, **more)).moved]


def complete(ledger: Ledger, *records: OrderRecord, at_us: int = 20) -> None:
    ledger.record([], [move(record, lifecycle.COMPLETE, at_us) for record in records], at_us)


def ids(records: Sequence[OrderRecord]) -> list[str]:
    return [record.order_id for record in records]


def set_queue(writer: SqliteDatabase, ledger: Ledger, name: str, **settings: Any) -> None:
    write_queue(writer, QueueSettings(name, **settings), Act(Action.SET_QUEUE, name, None), 10)
    ledger.obey_queues()


def assert_sound(writer: SqliteDatabase) -> None:
    assert audit(writer).faults == []


def test_after_a_start_orders_of_a_user_that_are_parked_are_in_front_of_his_next_ones(writer: SqliteDatabase) -> None:
    ledger = ledger_with(writer, "user=1")
    accept(ledger, "o-1", "o-2", "o-3", user_id="u")
    (first,) = claim(ledger)
    ledger = ledger_with(writer, "user=1")
    accept(ledger, "o-4", user_id="u")

    began = [first.order_id]
    while began[-1] != "o-4":
        complete(ledger, first)
        (first,) = claim(ledger)
        began.append(first.order_id)

    assert began == ["o-1", "o-2", "o-3", "o-4"]


def test_of_a_queue_no_more_are_processing_than_its_concurrency(writer: SqliteDatabase) -> None:
    ledger = ledger_with(writer, "queue:mail=2")
    accept(ledger, "m1", "m2", "m3", queue="mail")
    accept(ledger, "a", "b")

    first, *others = claim(ledger)

    assert ids([first, *others]) == ["m1", "m2", "a", "b"]
    assert claim(ledger) == []
    complete(ledger, others[1])
    assert claim(ledger) == []
    complete(ledger, first)
    assert ids(claim(ledger)) == ["m3"]
    assert_sound(writer)


def test_a_paused_queue_starts_nothing_and_the_others_go_on(writer: SqliteDatabase, ledger: Ledger) -> None:
    accept(ledger, "m1", queue="mail", priority=9)
    set_queue(writer, ledger, "mail", is_paused=True)
    accept(ledger, "m2", queue="mail")
    accept(ledger, "a")

    assert ids(claim(ledger)) == ["a"]
    assert Ledger(writer).next_ready_us is None
    set_queue(writer, ledger, "mail")
    assert ids(claim(ledger)) == ["m1", "m2"]
    assert_sound(writer)


def test_the_default_queue_may_be_limited_too(writer: SqliteDatabase, ledger: Ledger) -> None:
    accept(ledger, "a", "b")
    accept(ledger, "m", queue="mail")
    set_queue(writer, ledger, "default", concurrency=1)

    assert ids(claim(ledger)) == ["a", "m"]


def test_what_was_set_for_a_queue_holds_after_a_start_and_takes_the_place_of_the_configuration(
    writer: SqliteDatabase,
) -> None:
    set_queue(writer, Ledger(writer), "mail", concurrency=1)
    started = ledger_with(writer, "queue:mail=3")
    accept(started, "m1", "m2", queue="mail")

    assert ids(claim(started)) == ["m1"]
    set_queue(writer, started, "mail")
    assert ids(claim(started)) == ["m2"]


def test_a_queue_begins_so_many_a_second(writer: SqliteDatabase) -> None:
    ledger = ledger_with(writer, "queue:mail=20/s")
    accept(ledger, *(f"m{number}" for number in range(9)), queue="mail")
    accept(ledger, "a")

    assert ids(claim(ledger, now_us=SECOND)) == ["m0", "m1", "a"]  # as many at once as come in a tenth of a second
    assert ledger.next_ready_us == SECOND + 50_000
    assert claim(ledger, now_us=SECOND + 49_999) == []
    assert ids(claim(ledger, now_us=SECOND + 50_000)) == ["m2"]
    assert ids(claim(Ledger(writer, limits=parse_limits("queue:mail=20/s")), now_us=SECOND + 90_000)) == []
    assert ids(claim(ledger, now_us=SECOND + 100_000)) == ["m3"]
    assert_sound(writer)


@pytest.mark.parametrize("limit", ["user=1", "metadata.shop=1"])
def test_what_is_over_the_limit_of_a_value_is_parked_and_in_the_way_of_nothing(
    writer: SqliteDatabase, limit: str
) -> None:
    ledger = ledger_with(writer, limit)
    for order_id in ("a1", "a2", "b1", "a3", "b2"):
        accept(ledger, order_id, user_id=order_id[0], metadata={"shop": order_id[0]})

    first = claim(ledger)

    assert sorted(ids(first)) == ["a1", "b1"]
    assert queries.first_in_line(writer) is None
    complete(ledger, *[record for record in first if record.order_id == "a1"])
    second = claim(ledger)
    assert ids(second) == ["a2"]
    complete(ledger, *second)
    complete(ledger, *[record for record in first if record.order_id == "b1"])
    assert sorted(ids(claim(ledger))) == ["a3", "b2"]
    assert_sound(writer)


def test_a_parked_order_keeps_its_place(writer: SqliteDatabase) -> None:
    ledger = ledger_with(writer, "user:ann=1")
    accept(ledger, "a1", "a2", user_id="ann")
    (first,) = claim(ledger)
    assert claim(ledger) == []
    for order_id in ("x", "y"):
        accept(ledger, order_id, user_id=order_id)
    complete(ledger, first)

    assert ids(claim(ledger)) == ["a2", "x", "y"]
    assert_sound(writer)


def test_a_value_begins_so_many_a_second_and_wakes_whoever_waits_for_that(writer: SqliteDatabase) -> None:
    ledger = ledger_with(writer, "user=10/s")
    accept(ledger, "a1", "a2", "a3", user_id="ann")

    (first,) = claim(ledger, now_us=SECOND)
    complete(ledger, first, at_us=SECOND + 1)

    assert claim(ledger, now_us=SECOND + 2) == []
    assert ledger.next_ready_us == SECOND + 100_000
    assert ids(claim(ledger, now_us=SECOND + 100_000)) == ["a2"]
    assert ids(claim(ledger, now_us=SECOND + 200_000)) == ["a3"]
    assert ledger.next_ready_us is None
    assert_sound(writer)


def test_one_value_may_have_a_limit_of_its_own(writer: SqliteDatabase) -> None:
    ledger = ledger_with(writer, "user=1, user:big=2")
    accept(ledger, "b1", "b2", "b3", user_id="big")
    accept(ledger, "a1", "a2", user_id="ann")

    assert sorted(ids(claim(ledger))) == ["a1", "b1", "b2"]


def test_an_order_is_begun_when_all_its_limits_let_it(writer: SqliteDatabase) -> None:
    ledger = ledger_with(writer, "user=1, metadata.shop=1, queue:mail=1")
    accept(ledger, "one", user_id="ann", queue="mail", metadata={"shop": "s"})
    accept(ledger, "same-user", user_id="ann", metadata={"shop": "t"})
    accept(ledger, "same-shop", user_id="bob", metadata={"shop": "s"})
    accept(ledger, "same-queue", user_id="cat", queue="mail", metadata={"shop": "u"})
    accept(ledger, "free", user_id="dan")
    claimed = claim(ledger)
    assert sorted(ids(claimed)) == ["free", "one"]

    complete(ledger, *[record for record in claimed if record.order_id == "one"])

    assert sorted(ids(claim(ledger))) == ["same-queue", "same-shop", "same-user"]
    assert_sound(writer)


def test_a_place_that_is_cancelled_goes_to_the_next_one(writer: SqliteDatabase) -> None:
    ledger = ledger_with(writer, "user=1")
    records = accept(ledger, "a1", "a2", "a3", user_id="ann")
    (first,) = claim(ledger)
    complete(ledger, first)
    ledger.record([], [move(records[1], lifecycle.CANCEL, 30)], 30)

    assert ids(claim(ledger)) == ["a3"]
    assert_sound(writer)


def test_an_order_in_a_paused_queue_keeps_no_other_of_its_user_waiting(writer: SqliteDatabase) -> None:
    ledger = ledger_with(writer, "user=1")
    accept(ledger, "first", user_id="ann")
    (first,) = claim(ledger)
    set_queue(writer, ledger, "mail", is_paused=True)
    accept(ledger, "m", user_id="ann", queue="mail")
    accept(ledger, "second", user_id="ann")
    assert claim(ledger) == []
    complete(ledger, first)

    assert ids(claim(ledger)) == ["second"]
    assert_sound(writer)


def test_after_a_start_with_other_limits_what_is_parked_is_looked_at_again(
    writer: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_SWEPT_AT_ONCE", 2)
    ledger = ledger_with(writer, "user=1")
    for user_id in "abcde":
        accept(ledger, f"{user_id}1", f"{user_id}2", user_id=user_id)
    assert len(claim(ledger, 99)) == 5
    assert claim(ledger, 99) == []

    started = ledger_with(writer, "")
    found = [ids(claim(started, 99)) for _ in range(4)]

    assert sorted(order_id for some in found for order_id in some) == ["a2", "b2", "c2", "d2", "e2"]
    assert started.next_ready_us is None
    assert_sound(writer)


def test_a_claim_parks_so_many_and_goes_on_in_the_next_one(
    writer: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ordermill.store.queue._MOST_PARKED", 3)
    ledger = ledger_with(writer, "user=1")
    accept(ledger, *(f"a{number}" for number in range(8)), user_id="ann")
    for user_id in "bc":
        accept(ledger, user_id, user_id=user_id, priority=3)

    assert ids(claim(ledger)) == ["a0"]
    assert ledger.next_ready_us == 10
    assert [ids(claim(ledger)) for _ in range(2)] == [[], ["b", "c"]]
    assert ledger.next_ready_us is None
    assert queue_states(writer, {}, 10)[0].pending == 0


def test_the_only_order_that_is_claimed_minds_its_limits(writer: SqliteDatabase) -> None:
    ledger = ledger_with(writer, "user=1")
    first, second = accept(ledger, "a1", "a2", user_id="ann")

    assert ids(claim(ledger, 1, only=first.sequence)) == ["a1"]
    assert claim(ledger, 1, only=second.sequence) == []
    assert_sound(writer)


def test_what_nobody_needs_to_know_any_more_is_forgotten(
    writer: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_TIDIED_EVERY", 1)
    ledger = ledger_with(writer, "user=100/s")
    for number in range(5):
        accept(ledger, f"o-{number}", user_id=f"u-{number}")
    claim(ledger, now_us=SECOND)
    assert run(writer, "SELECT count(*) FROM limits").fetchone() == (5,)

    claim(ledger, now_us=2 * SECOND)

    assert run(writer, "SELECT count(*) FROM limits").fetchone() == (0,)


def test_an_order_that_is_rescheduled_takes_its_turn_in_the_other_queue(writer: SqliteDatabase) -> None:
    ledger = ledger_with(writer, "user=1")
    _, parked = accept(ledger, "a1", "a2", user_id="ann")
    (first,) = claim(ledger)
    step = move(parked, lifecycle.RESCHEDULE, 20)
    step = replace(step, after=replace(step.after, order=replace(parked.order, queue="mail")))
    ledger.record([], [step], 20)
    complete(ledger, first)
    set_queue(writer, ledger, "mail", is_paused=True)
    assert claim(ledger, now_us=30) == []
    set_queue(writer, ledger, "mail")

    (moved,) = claim(ledger, now_us=30)

    assert (moved.order_id, moved.order.queue) == ("a2", "mail")
    assert_sound(writer)


def test_of_too_many_queues_the_last_are_not_told_apart(
    writer: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_queues, "MAX_QUEUES", 2)
    ledger = Ledger(writer)
    for name in ("a", "b", "c"):
        accept(ledger, name, queue=name)

    assert ids(claim(ledger)) == ["a", "b", "c"]
    assert [state.queue for state in queue_states(writer, {}, 10)] == ["default", "a"]
    assert stored_queues.queue_settings(writer, "d") is None
    assert [record.order.queue for record in queries.page(writer, limit=9)] == ["c", "b", "a"]


def test_queues_tell_how_they_are_doing(writer: SqliteDatabase) -> None:
    ledger = ledger_with(writer, "queue:mail=1 9/s")
    accept(ledger, "m1", "m2", "m3", queue="mail")
    accept(ledger, "a")
    claim(ledger)

    default, mail = queue_states(writer, parse_limits("queue:mail=1 9/s"), 10)

    assert (default.queue, default.pending, default.processing, default.concurrency) == ("default", 0, 1, None)
    assert (mail.queue, mail.pending, mail.processing, mail.concurrency, mail.rate) == ("mail", 2, 1, 1, 9.0)


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("statement", "parameters", "index"),
    [
        (limits._PARKED_FROM, ("user:a", 0), "orders_parked (parked=? AND rank>?)"),
        (limits._LET_GO, ("user:a", 0, 9, 1), "orders_parked (parked=? AND rank>? AND rank<?)"),
        (limits._NEXT_NAME, ("",), "orders_parked (parked>?)"),
        (limits._IN_HAND, (), "orders_by_status (status=?)"),
        (limits._OPENED, (9, 9), "limits_opening (opens_at>? AND opens_at<?)"),
        (limits._OPENS, (), "limits_opening"),
    ],
    ids=["parked from", "let go", "next name", "in hand", "opened", "opens"],
)
def test_no_table_is_read_whole(
    writer: SqliteDatabase, statement: str, parameters: tuple[object, ...], index: str
) -> None:
    plan = [line for *_, line in run(writer, f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()]

    assert any(index in line for line in plan), plan
    assert not [line for line in plan if "TEMP B-TREE" in line or line.startswith("SCAN orders")]


def test_where_another_engine_has_made_room_a_claim_is_worth_it_after_a_look_around(
    writer: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (ledger_with(writer, "user=1") for _ in range(2))
    accept(one, "a", "b")
    monkeypatch.setattr(type(writer), "is_shared", True)
    (first,) = claim(one, 1)
    other.look_around()
    assert claim(other) == []  # and so "b" is parked, of which the one does not know
    complete(one, first)
    assert claim(one) == []

    other.look_around()

    assert other.next_ready_us is not None
    assert other.next_ready_us <= 20
    assert ids(claim(other, now_us=20)) == ["b"]
    assert other.next_ready_us is None
    assert_sound(writer)


@pytest.mark.sqlite
def test_what_is_processing_is_counted_once_and_known_from_then_on(
    writer: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "queue:mail=3, user=3, metadata.shop=9"
    ledger = ledger_with(writer, text)
    for number in range(30):
        fields = {"queue": "mail"} if number % 3 else {"metadata": {"shop": f"s-{number % 2}"}}
        accept(ledger, f"o-{number}", user_id=f"u-{number % 4}", key=f"k-{number % 7}", **fields)
    counted: list[None] = []
    count = limits.Limits._count
    monkeypatch.setattr(limits.Limits, "_count", lambda one: (counted.append(None), count(one)))
    ends = (lifecycle.COMPLETE, lifecycle.RETURN, lifecycle.FAIL)

    begun = claim(ledger, 5)
    for number in range(20):
        if begun:
            step = move(
                begun.pop(number % len(begun)), ends[number % 3], 20 + number, error="boom" if number % 2 else None
            )
            ledger.record([], [step], 20 + number)
        begun += claim(ledger, 3, 20 + number)

        assert ledger._queue is not None
        anew = limits.Limits(writer, stored_queues.Queues(writer), parse_limits(text))
        count(anew)
        known = ledger._queue._limits._in_hand
        assert all(known[name] == anew._in_hand[name] for name in {*known, *anew._in_hand} if name != "queue:default")
    assert len(counted) == 1


def test_limits_that_operators_set_while_orders_are_processing_count_these(
    writer: SqliteDatabase, ledger: Ledger
) -> None:
    accept(ledger, "m1", "m2", "m3", queue="mail")
    first, _ = claim(ledger, 2)

    set_queue(writer, ledger, "mail", concurrency=2)
    assert claim(ledger) == []
    complete(ledger, first)
    assert ids(claim(ledger)) == ["m3"]


def test_an_order_that_is_not_taken_alone_is_not_counted_as_begun(writer: SqliteDatabase) -> None:
    ledger = ledger_with(writer, "user=1")
    accept(ledger, "later", not_before=utc(50))
    accept(ledger, "now")

    assert claim(ledger, only=1) == []
    assert ids(claim(ledger)) == ["now"]
