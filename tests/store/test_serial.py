"""Orders of one key run one after another, in the sequence of their arrival, whatever becomes of them."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peewee import SqliteDatabase

from ordermill.engine.testing import make_order
from ordermill.store import queries, queue, serial
from ordermill.store.audit import audit
from ordermill.store.domain import lifecycle
from ordermill.store.domain.claim import Claim
from ordermill.store.domain.durability import Durability
from ordermill.store.domain.key_policy import KeyPolicy
from ordermill.store.domain.lifecycle import Edge, OrderStatus
from ordermill.store.domain.limit import parse_limits
from ordermill.store.domain.record import OrderRecord, move, utc
from ordermill.store.ledger import Ledger
from ordermill.store.retention import prune
from ordermill.store.sqlite.database import open_writer
from ordermill.store.statements import run

HOLD, CONTINUE, HALT = KeyPolicy.HOLD, KeyPolicy.CONTINUE, KeyPolicy.HALT


def accept(ledger: Ledger, *order_ids: str, now_us: int = 10, key: str | None = "k", **fields: Any) -> None:
    ledger.record([make_order(order_id, key=key, **fields) for order_id in order_ids], [], now_us)


def claim(ledger: Ledger, now_us: int = 10, room: int = 9, **more: Any) -> list[OrderRecord]:
    return [step.after for step in ledger.record([], [], now_us, claim=Claim(room, now_us, **more)).moved]


def ids(records: Sequence[OrderRecord]) -> list[str]:
    return [found.order_id for found in records]


def take(ledger: Ledger, found: OrderRecord, edge: Edge, now_us: int = 10, **more: Any) -> OrderRecord:
    step = move(found, edge, now_us, **more)
    assert ledger.record([], [step], now_us).refused == []
    return step.after


def fail(ledger: Ledger, found: OrderRecord, until_us: int, now_us: int = 10) -> OrderRecord:
    return take(ledger, found, lifecycle.RETURN, now_us, ready_us=until_us, error="boom")


def test_one_of_a_key_at_a_time_is_taken_in_the_sequence_of_their_arrival(ledger: Ledger) -> None:
    accept(ledger, "a", "b", "c")
    accept(ledger, "x", key=None)

    for expected in (["x", "a"], ["b"], ["c"]):
        found = claim(ledger)
        assert sorted(ids(found)) == sorted(expected)
        assert claim(ledger) == []
        for one in found:
            take(ledger, one, lifecycle.COMPLETE)
    assert claim(ledger) == []


def test_the_next_one_is_claimed_in_the_transaction_that_ends_the_one_before(ledger: Ledger) -> None:
    accept(ledger, "a", "b")
    (found,) = claim(ledger)

    recorded = ledger.record([], [move(found, lifecycle.COMPLETE, 10)], 10, claim=Claim(9, 10))

    assert [step.after.order_id for step in recorded.moved] == ["a", "b"]


def test_a_new_order_of_a_key_is_claimed_in_the_transaction_that_takes_it_in(ledger: Ledger) -> None:
    orders = [make_order(order_id, key=key) for order_id, key in [("a", "k"), ("b", "k"), ("c", "l")]]

    recorded = ledger.record(orders, [], 10, claim=Claim(9, 10))

    assert [step.after.order_id for step in recorded.moved] == ["a", "c"]


def standing(writer: SqliteDatabase) -> dict[str, tuple[bool, str | None]]:
    """Of each Pending order whether it has a place, and what it is out of line for."""
    rows = run(writer, "SELECT order_id, rank IS NOT NULL, parked FROM orders WHERE status = 'Pending'").fetchall()
    return {order_id: (bool(has_place), parked) for order_id, has_place, parked in rows}


@pytest.mark.sqlite
@pytest.mark.parametrize("policy", KeyPolicy)
@pytest.mark.parametrize("most_aside", [0, 1, 9])
def test_all_of_a_key_have_their_places_and_keep_them_while_others_are_in_their_way(
    writer: SqliteDatabase, policy: KeyPolicy, most_aside: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_MOST_ASIDE", most_aside)
    ledger = Ledger(writer, 9, policy)
    accept(ledger, "a", "b", "c")
    accept(ledger, "d")
    assert standing(writer) == dict.fromkeys("abcd", (True, None))
    ranks = dict(run(writer, "SELECT order_id, rank FROM orders").fetchall())

    first = claim(ledger)
    assert ids(first) == ["a"]
    assert standing(writer) == {
        order_id: (True, None if number < most_aside else "key") for number, order_id in enumerate("bcd")
    }
    for expected in "bcd":
        (before,) = first
        take(ledger, before, lifecycle.COMPLETE)
        first = claim(ledger)
        assert ids(first) == [expected]
    assert dict(run(writer, "SELECT order_id, rank FROM orders").fetchall()) == ranks


def test_who_waited_for_another_goes_before_those_that_came_later(writer: SqliteDatabase, ledger: Ledger) -> None:
    accept(ledger, "a", "b")
    (first,) = claim(ledger)
    accept(ledger, "x", "y", key=None)

    take(ledger, first, lifecycle.COMPLETE)

    assert ids(claim(ledger, room=2)) == ["b", "x"]
    assert ids(claim(Ledger(writer))) == ["y"]


@pytest.mark.parametrize("policy", KeyPolicy)
def test_where_the_first_of_a_key_is_refused_the_next_one_that_came_with_it_goes(
    writer: SqliteDatabase, policy: KeyPolicy
) -> None:
    ledger = Ledger(writer, 9, policy)
    accept(ledger, "a", key=None)
    (found,) = claim(ledger)
    take(ledger, found, lifecycle.COMPLETE)

    accept(ledger, "a", "b", "c")

    assert ids(claim(ledger)) == ["b"]


def test_more_of_a_key_than_are_remembered_are_met_one_after_another(
    writer: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_MOST_ASIDE", 2)
    monkeypatch.setattr(queue, "_MOST_PARKED", 3)
    ledger = Ledger(writer, 9)
    accept(ledger, *(f"k-{number:02}" for number in range(12)))
    accept(ledger, "x", key=None)

    found = claim(ledger)
    while ledger.next_ready_us is not None:
        found += claim(ledger)

    assert ids(found) == ["k-00", "x"]
    for number in range(1, 12):
        take(ledger, found[0], lifecycle.COMPLETE)
        found = claim(ledger)
        assert ids(found) == [f"k-{number:02}"]


def test_a_plain_order_is_claimed_while_others_wait_for_one_of_their_key(ledger: Ledger) -> None:
    accept(ledger, "a", "b")
    (first,) = claim(ledger)
    assert claim(ledger) == []

    accept(ledger, "x", key=None)
    assert ids(claim(ledger)) == ["x"]
    recorded = ledger.record([make_order("y")], [], 10, claim=Claim(9, 10))
    assert [step.after.order_id for step in recorded.moved] == ["y"]
    take(ledger, first, lifecycle.COMPLETE)
    assert ids(claim(ledger)) == ["b"]


def test_who_waits_for_others_of_its_key_takes_no_room_of_a_limit(writer: SqliteDatabase) -> None:
    ledger = Ledger(writer, 9, limits=parse_limits("user=2, queue:default=3"))
    accept(ledger, "a", "b", user_id="u-1")
    accept(ledger, "x", "y", key=None, user_id="u-1")

    found = claim(ledger, room=3)
    while ledger.next_ready_us is not None:
        found += claim(ledger, room=3)

    assert ids(found) == ["a", "x"]
    take(ledger, found[0], lifecycle.COMPLETE)
    assert ids(claim(ledger)) == ["b"]


@pytest.mark.parametrize(("policy", "expected"), [(HOLD, "a"), (HALT, "a"), (CONTINUE, "b")])
def test_a_new_order_that_waits_for_its_time_lets_others_pass_only_where_they_are_to_continue(
    writer: SqliteDatabase, policy: KeyPolicy, expected: str
) -> None:
    ledger = Ledger(writer, 9, policy)
    orders = [make_order("a", key="k", not_before=utc(50)), make_order("b", key="k")]
    ledger.record(orders, [], 10)

    assert ids(claim(ledger)) == (["b"] if expected == "b" else [])
    if expected == "a":
        assert ids(claim(ledger, 50)) == ["a"]


@pytest.mark.parametrize("edge", [lifecycle.COMPLETE, lifecycle.FAIL])
def test_whatever_ends_an_order_lets_the_next_one_go(ledger: Ledger, edge: Edge) -> None:
    accept(ledger, "a", "b")
    (found,) = claim(ledger)

    take(ledger, found, edge)

    assert ids(claim(ledger)) == ["b"]


def test_who_is_cancelled_holds_nobody_whether_held_or_not(writer: SqliteDatabase, ledger: Ledger) -> None:
    accept(ledger, "a", "b", "c", "d")
    for order_id in ("c", "a"):
        found = queries.find(writer, order_id)
        assert found is not None
        take(ledger, found, lifecycle.CANCEL)

    (second,) = claim(ledger)
    assert second.order_id == "b"
    take(ledger, second, lifecycle.COMPLETE)
    assert ids(claim(ledger)) == ["d"]


@pytest.mark.parametrize("policy", [HOLD, HALT])
def test_the_next_one_waits_while_one_waits_for_its_next_attempt(writer: SqliteDatabase, policy: KeyPolicy) -> None:
    ledger = Ledger(writer, 9, policy)
    accept(ledger, "a", "b")
    fail(ledger, claim(ledger)[0], 50)

    assert claim(ledger, 49) == []
    assert ids(claim(ledger, 50)) == ["a"]


def test_the_next_one_passes_one_that_waits_for_its_next_attempt(writer: SqliteDatabase) -> None:
    ledger = Ledger(writer, 9, CONTINUE)
    accept(ledger, "a", "b", "c")
    fail(ledger, claim(ledger)[0], 50)

    (second,) = claim(ledger, 20)
    assert second.order_id == "b"
    assert claim(ledger, 60) == []  # not beside the other, although its time has come
    take(ledger, second, lifecycle.COMPLETE, 60)
    assert ids(claim(ledger, 60)) == ["a"]


def test_who_comes_while_the_only_other_one_waits_for_its_next_attempt_passes_it(writer: SqliteDatabase) -> None:
    ledger = Ledger(writer, 9, CONTINUE)
    accept(ledger, "a")
    fail(ledger, claim(ledger)[0], 50)
    accept(ledger, "b", now_us=20)

    (second,) = claim(ledger, 20)
    assert second.order_id == "b"
    take(ledger, second, lifecycle.COMPLETE, 20)
    assert claim(ledger, 49) == []
    assert ids(claim(ledger, 50)) == ["a"]


@pytest.mark.parametrize(("policy", "expected"), [(HOLD, []), (HALT, []), (CONTINUE, ["b"])])
def test_in_review_an_order_holds_the_next_one_but_where_others_are_to_continue(
    writer: SqliteDatabase, policy: KeyPolicy, expected: list[str]
) -> None:
    ledger = Ledger(writer, 9, policy)
    accept(ledger, "a", "b")
    (found,) = claim(ledger)

    parked = take(ledger, found, lifecycle.PARK, error="cut short")

    assert ids(claim(ledger)) == expected
    take(ledger, parked, lifecycle.SETTLE_COMPLETED)
    assert ids(claim(ledger)) == ([] if expected else ["b"])


def test_a_failed_order_halts_its_key_until_it_is_retried(writer: SqliteDatabase) -> None:
    ledger = Ledger(writer, 9, HALT)
    accept(ledger, "a", "b")
    accept(ledger, "x", key="other")
    found = next(found for found in claim(ledger) if found.order_id == "a")
    failed = take(ledger, found, lifecycle.FAIL, error="boom")

    assert claim(ledger) == []
    assert prune(writer, 99, 9, None).orders == 0, "what others wait for stays"
    take(ledger, failed, lifecycle.RETRY_FAILED, 20)
    (again,) = claim(ledger, 20)
    assert again.order_id == "a"
    take(ledger, again, lifecycle.COMPLETE, 20)
    assert ids(claim(ledger, 20)) == ["b"]


def test_what_is_retried_waits_for_what_runs_and_comes_before_what_waits(ledger: Ledger) -> None:
    accept(ledger, "a", "b", "c")
    failed = take(ledger, claim(ledger)[0], lifecycle.FAIL, error="boom")
    (second,) = claim(ledger)
    take(ledger, failed, lifecycle.RETRY_FAILED, 20)

    assert claim(ledger, 20) == []
    take(ledger, second, lifecycle.COMPLETE, 20)
    assert ids(claim(ledger, 20)) == ["a"]


def test_another_policy_holds_from_the_start_on(writer: SqliteDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_MOST_ASIDE", 0)
    ledger = Ledger(writer, 9, HALT)
    accept(ledger, "a", "b")
    take(ledger, claim(ledger)[0], lifecycle.FAIL, error="boom")
    assert claim(ledger) == []

    started = Ledger(writer, 9, HOLD)
    assert claim(started) == []
    started.let_go_held()

    assert ids(claim(Ledger(writer, 9, HOLD))) == ["b"]


def test_a_user_may_be_the_key(writer: SqliteDatabase) -> None:
    ledger = Ledger(writer, 9, serial_users=True)
    accept(ledger, "a", "b", key=None, user_id="u-1")
    accept(ledger, "c", key=None, user_id="u-2")
    accept(ledger, "d", "e", key="u-1", user_id="u-1")

    assert sorted(ids(claim(ledger))) == ["a", "c", "d"]
    assert [record.order.key for record in queries.page(writer, limit=9)] == ["u-1", "u-1", None, None, None]


def test_a_held_order_waits_for_its_own_time_too(ledger: Ledger) -> None:
    accept(ledger, "a")
    accept(ledger, "b", not_before=utc(50))
    accept(ledger, "c")
    take(ledger, claim(ledger)[0], lifecycle.COMPLETE)

    assert claim(ledger, 49) == []
    assert ids(claim(ledger, 50)) == ["b"]


def test_a_held_order_is_not_taken_alone_either(writer: SqliteDatabase, ledger: Ledger) -> None:
    accept(ledger, "a", "b")

    assert claim(ledger, only=2) == []
    assert queries.first_ready(writer, [2], 10) is None


def test_nothing_is_looked_up_where_nothing_is_held(
    writer: SqliteDatabase, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_MOST_ASIDE", 0)
    accept(ledger, "a", "b")
    (first,) = claim(ledger)
    assert serial.SerialOrders(writer, HOLD).is_any_held
    take(ledger, first, lifecycle.COMPLETE)
    assert not serial.SerialOrders(writer, HOLD).is_any_held


@pytest.mark.sqlite
@pytest.mark.parametrize("policy", KeyPolicy)
def test_no_table_is_read_whole(writer: SqliteDatabase, policy: KeyPolicy) -> None:
    keys = serial.SerialOrders(writer, policy)
    statements = [(keys._blocked, ("[1]",)), (keys._let_go, ('["key:k"]',)), (serial._HOLD, ("[1]",))]
    for statement, parameters in [*statements, (serial._IS_ANY, ()), (serial._IS_ANY_HELD, ())]:
        plan = [line for *_, line in run(writer, f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()]
        assert not [line for line in plan if line.startswith("SCAN orders") or line.startswith("SCAN other")], plan
        assert not [line for line in plan if "other" in line and "orders_of_key (serial_key=? AND status=?" not in line]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("accept"), st.lists(st.sampled_from(["k4", "k9", "l4", "l0", "-4"]), min_size=1, max_size=5)),
        *(st.tuples(st.just(what), st.integers(0, 9)) for what in ("claim", "return", "fail", "complete", "reject")),
        *(st.tuples(st.just(what), st.integers(0, 9)) for what in ("cancel", "retry", "restart", "wait")),
    ),
    max_size=40,
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, st.sampled_from(KeyPolicy))
def test_no_two_of_a_key_run_at_once_none_overtakes_and_none_waits_for_ever(
    events: list[Any], policy: KeyPolicy
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = open_writer(Path(folder) / "orders.db", Durability.NORMAL)
        try:
            play(writer, events, policy)
            assert audit(writer).faults == []
            assert queries.totals(writer) == queries.recount(writer)
        finally:
            writer.close()


def play(writer: SqliteDatabase, events: list[Any], policy: KeyPolicy) -> None:
    ledger, now, sent = Ledger(writer, 3, policy), 10, 0
    in_hand: dict[int, OrderRecord] = {}
    begun: dict[str, list[int]] = {"k": [], "l": []}

    def of(status: OrderStatus) -> list[OrderRecord]:
        return queries.page(writer, status=status, limit=1000)[::-1]

    def claim_some(room: int) -> None:
        for step in ledger.record([], [], now, claim=Claim(room, now)).moved:
            found = step.after
            in_hand[found.sequence] = found
            if found.order.key is not None and found.attempts == 1:
                begun[found.order.key].append(found.sequence)
        keys = Counter(found.order.key for found in in_hand.values() if found.order.key is not None)
        assert max(keys.values(), default=0) <= 1, "no two of a key at once"

    for what, detail in events:
        picked = sorted(in_hand)[detail % len(in_hand)] if in_hand and isinstance(detail, int) else None
        match what:
            case "accept":
                orders = [
                    make_order(f"o-{sent + place}", key=None if line[0] == "-" else line[0], priority=int(line[1]))
                    for place, line in enumerate(detail)
                ]
                sent += len(orders)
                ledger.record(orders, [], now)
            case "claim":
                claim_some(1 + detail)
            case "return" if picked is not None:
                take(ledger, in_hand.pop(picked), lifecycle.RETURN, now, reason="not begun")
            case "fail" if picked is not None:
                fail(ledger, in_hand.pop(picked), now + 5, now)
            case "complete" if picked is not None:
                take(ledger, in_hand.pop(picked), lifecycle.COMPLETE, now)
            case "reject" if picked is not None:
                take(ledger, in_hand.pop(picked), lifecycle.FAIL, now, error="no")
            case "cancel" if pending := of(OrderStatus.PENDING):
                take(ledger, pending[detail % len(pending)], lifecycle.CANCEL, now)
            case "retry" if failed := of(OrderStatus.FAILED):
                again = failed[detail % len(failed)]
                take(ledger, again, lifecycle.RETRY_FAILED, now)
            case "restart":
                ledger = Ledger(writer, 3, policy)
            case "wait":
                now += detail
    for _ in range(2 * sent + 2):
        now += 10
        for failed in of(OrderStatus.FAILED):
            take(ledger, failed, lifecycle.RETRY_FAILED, now)
        claim_some(1000)
        for found in list(in_hand.values()):
            take(ledger, in_hand.pop(found.sequence), lifecycle.COMPLETE, now)
    assert of(OrderStatus.PENDING) == [], "nobody waits for ever"
    for sequences in begun.values():
        assert sequences == sorted(sequences), "first attempts come in the sequence of arrival"
