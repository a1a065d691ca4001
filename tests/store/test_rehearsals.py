"""What a rehearsal begins with is what the queue would do next, of orders that have keys too."""

from __future__ import annotations

import pytest
from peewee import SqliteDatabase

from ordermill.engine.testing import make_order
from ordermill.store import queries, queue
from ordermill.store.domain import lifecycle
from ordermill.store.domain.act import Action
from ordermill.store.domain.bulk_action import BulkRequest
from ordermill.store.domain.claim import Claim
from ordermill.store.domain.key_policy import KeyPolicy
from ordermill.store.domain.limit import parse_limits
from ordermill.store.domain.order_filter import OrderFilter
from ordermill.store.domain.record import move, utc
from ordermill.store.ledger import Ledger
from ordermill.store.rehearsals import Backlog, backlog, keys_in_way

HOLD, CONTINUE, HALT = KeyPolicy.HOLD, KeyPolicy.CONTINUE, KeyPolicy.HALT


def standing(found: Backlog) -> list[int]:
    """The sequences of those that stand in line."""
    return [found.sequences[slot] for slot in found.in_line]


def held(found: Backlog) -> list[int]:
    """The sequences of those that others of their key are in the way of."""
    return sorted(found.sequences[slot] for _, slot, _ in found.held)


@pytest.mark.parametrize("most_aside", [0, 9])
def test_of_each_key_one_stands_in_line_whether_a_claim_has_met_the_others_or_not(
    writer: SqliteDatabase, most_aside: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_MOST_ASIDE", most_aside)
    ledger = Ledger(writer)
    ledger.record([make_order(f"o-{number}", key=f"k-{number % 2}", user_id="u") for number in range(5)], [], 10)
    ledger.record([make_order("x")], [], 10)

    found = backlog(writer, HOLD)
    assert (standing(found), held(found)) == ([1, 6, 2], [3, 4, 5])
    assert keys_in_way(found) == {"key:k-0": 1, "key:k-1": 1}

    ledger.record([], [], 10, claim=Claim(1, 10))
    ledger.record([], [], 10, claim=Claim(9, 10))
    found = backlog(writer, HOLD)
    assert (standing(found), held(found)) == ([], [3, 4, 5])
    places = dict(queries.run(writer, "SELECT sequence, rank FROM orders").fetchall())
    assert {found.sequences[slot]: rank for _, slot, rank in found.held} == {one: places[one] for one in (3, 4, 5)}
    given, slots = found.standing(1, lambda _user, _line: False)
    assert (list(given.ranks), list(slots)) == ([], [])


@pytest.mark.parametrize(
    ("policy", "in_line", "apart"), [(HOLD, [], [2, 3]), (HALT, [], [2, 3]), (CONTINUE, [2], [1, 3])]
)
def test_one_that_waits_for_its_time_is_in_the_way_unless_others_may_pass(
    writer: SqliteDatabase, policy: KeyPolicy, in_line: list[int], apart: list[int]
) -> None:
    ledger = Ledger(writer, key_policy=policy)
    ledger.record([make_order("a", key="k", not_before=utc(50)), make_order("b", key="k")], [], 10)
    ledger.record([make_order("c", key="k", not_before=utc(60))], [], 10)

    found = backlog(writer, policy)

    assert (standing(found), held(found)) == (in_line, apart)
    assert [found.sequences[slot] for _, slot in found.waiting] == ([] if policy is CONTINUE else [1])


def test_one_that_is_parked_for_a_limit_has_others_of_its_key_wait(writer: SqliteDatabase) -> None:
    limits = parse_limits("user=1")
    ledger = Ledger(writer, limits=limits)
    ledger.record([make_order("x", user_id="u"), make_order("a", key="k", user_id="u")], [], 10)
    ledger.record([make_order("b", key="k", user_id="other")], [], 10)
    ledger.record([], [], 10, claim=Claim(9, 10))

    found = backlog(writer, HOLD, limits)

    assert [(name, found.sequences[slot]) for name, _, slot in found.parked] == [("user:u", 2)]
    assert held(found) == [3]


def test_what_an_action_cancels_is_in_nobodys_way(writer: SqliteDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_MOST_ASIDE", 0)
    ledger = Ledger(writer)
    ledger.record([make_order("a", key="k", user_id="u-1")], [], 10)
    ledger.record([make_order(order_id, key="k", user_id="u-2") for order_id in ("b", "c")], [], 10)
    (step,) = ledger.record([], [], 10, claim=Claim(9, 10)).moved
    ledger.record([], [move(step.after, lifecycle.RETURN, 10, ready_us=99, error="boom")], 10)

    found = backlog(writer, HOLD, action=BulkRequest(Action.CANCEL, OrderFilter(user_id="u-1")))

    assert (found.waiting, standing(found), held(found)) == ([], [], [2, 3])
    assert keys_in_way(found) == {}
