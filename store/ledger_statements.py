"""The statements of the ledger: built once, each for many rows."""

from __future__ import annotations

from collections.abc import Sequence

from peewee import JOIN, SQL, Query, Select

from .domain import lifecycle
from .domain.lifecycle import Edge, OrderStatus
from .rows import TRANSITION_COLUMNS
from .statements import ManyRows, given_values, to_sql
from .tables import OrderModel, TransitionModel

_STEP_COLUMNS = (TransitionModel.sequence, TransitionModel.order_id, *TRANSITION_COLUMNS)
_NULL, _SHARED = SQL("NULL"), SQL("?")
_IF_NEW = "ON CONFLICT DO NOTHING"
# An order that becomes Pending waits for its time, and gets a place in the queue when that has come. Not one that comes
# back unharmed, which has its place still: see `keeps_place`.
_RANK = SQL("CASE WHEN given.column1 <> 'Pending' OR status = 'Processing' AND failures = given.column3 THEN rank END")


def _given(width: int) -> list[SQL]:
    return [SQL(f"given.column{number + 1}") for number in range(width)]


def _insert(*state: SQL) -> Query:
    # In a row: sequence, order_id, user_id, item_ids, total_cents, keyed_at, rank; shared: those of the state.
    values = Select([given_values(7)], [*_given(7), *state]).where(SQL("given.column1 IS NOT NULL"))
    return OrderModel.insert_from(values, _NEW_COLUMNS)


def _insert_more() -> Query:
    # In a row: likewise, then ready_at, priority, not_before, complete_by, metadata, serial_key and queue;
    # shared: created_at, updated_at.
    value = _given(14)
    values = Select([given_values(14)], [*value[:7], *_NEW, *value[7:]]).where(SQL("given.column1 IS NOT NULL"))
    columns = (
        *_NEW_COLUMNS,
        OrderModel.priority,
        OrderModel.not_before,
        OrderModel.complete_by,
        OrderModel.metadata,
        OrderModel.serial_key,
        OrderModel.queue,
    )
    return OrderModel.insert_from(values, columns)


_NEW_COLUMNS = (
    OrderModel.sequence,
    OrderModel.order_id,
    OrderModel.user_id,
    OrderModel.item_ids,
    OrderModel.total_cents,
    OrderModel.keyed_at,
    OrderModel.rank,
    OrderModel.status,
    OrderModel.attempts,
    OrderModel.failures,
    OrderModel.created_at,
    OrderModel.updated_at,
    OrderModel.ready_at,
)


def _update() -> Query:
    # In a row: what changes, then sequence and guards.
    value = _given(10)
    changes = {
        OrderModel.status: value[0],
        OrderModel.attempts: value[1],
        OrderModel.failures: value[2],
        OrderModel.updated_at: value[3],
        OrderModel.ready_at: value[4],
        OrderModel.last_error: value[5],
        OrderModel.rank: _RANK,
        OrderModel.parked: _NULL,
    }
    return (
        OrderModel.update(changes)
        .from_(given_values(10))
        .where(
            (OrderModel.sequence == value[6])
            & (OrderModel.status == value[7])
            & (OrderModel.attempts == value[8])
            & (OrderModel.failures == value[9])  # which an operator may have set back while the order was Pending
        )
    )


def _update_edge(edge: Edge) -> Query:
    # In a row: sequence, guards, then updated_at.
    sequence, attempts, failures, updated_at = _given(4)
    return (
        OrderModel.update({OrderModel.status: _text(edge.target), OrderModel.updated_at: updated_at})
        .from_(given_values(4))
        .where(
            (OrderModel.sequence == sequence)
            & (OrderModel.status == _text(edge.source))
            & (OrderModel.attempts == attempts)
            & (OrderModel.failures == failures)
        )
    )


def _steps(from_status: SQL, why: Sequence[SQL], width: int) -> Query:
    # In a row: sequence, then those of the others that are not shared. What the step led to, the order itself says.
    given, orders = given_values(width), OrderModel.alias("stored")
    step = (
        orders.sequence,
        orders.order_id,
        from_status,
        orders.status,
        orders.updated_at,
        orders.attempts,
        *why,
    )
    steps = Select([given.join(orders, JOIN.CROSS)], step).where(orders.sequence == SQL("given.column1"))
    return TransitionModel.insert_from(steps, _STEP_COLUMNS)


def _both_steps(why: Sequence[SQL], width: int) -> Query:
    # In a row: sequence, then those that are not shared. Of each order: how it was accepted, and how it was taken.
    given, orders = given_values(width), OrderModel.alias("stored")
    accept, assign = lifecycle.ACCEPT, lifecycle.ASSIGN
    both = SQL(
        f"(VALUES (NULL, '{accept.target}', 0, '{accept.why}'),"
        f" ('{assign.source}', '{assign.target}', 1, '{assign.why}')) AS step"
    )
    from_status, to_status, attempt, reason = (SQL(f"step.column{number}") for number in (1, 2, 3, 4))
    caused = [SQL(f"CASE WHEN {attempt.sql} = 0 THEN {value.sql} END") for value in why]
    step = (orders.sequence, orders.order_id, from_status, to_status, orders.created_at, attempt, reason, *caused)
    # CROSS JOIN: SQLite takes the tables in that sequence, so that the steps of an order are in theirs.
    steps = Select([given.join(orders, JOIN.CROSS).join(both, JOIN.CROSS)], step)
    return TransitionModel.insert_from(steps.where(orders.sequence == SQL("given.column1")), _STEP_COLUMNS)


def _text(status: OrderStatus | None) -> SQL:
    return SQL(f"'{status}'")


_NEW = (_text(lifecycle.ACCEPT.target), SQL("0"), SQL("0"), _SHARED, _SHARED)  # status to updated_at
_TAKEN = (_text(lifecycle.ASSIGN.target), SQL("1"), SQL("0"), _SHARED, _SHARED)
insert_orders = ManyRows(_insert(*_NEW, _SHARED), 7, "itttiii", _IF_NEW)
"""Of orders that have only what each has, as nearly all: six values less in a row."""
insert_taken_orders = ManyRows(_insert(*_TAKEN, _NULL), 7, "itttiii", _IF_NEW)
"""Likewise, of orders that are taken in the moment that they come: two steps for one, and no entry in an index of what
waits."""
insert_orders_with_more = ManyRows(_insert_more(), 14, "itttiiiiiiittt", _IF_NEW)
update_orders = ManyRows(_update(), 10, "tiiiititii")
insert_steps = ManyRows(_steps(_given(2)[1], _given(5)[2:], 5), 5, "itttt")
insert_caused_steps = ManyRows(_steps(_SHARED, (_SHARED, *_given(3)[1:]), 3), 3, "itt")
insert_equal_steps = ManyRows(_steps(_SHARED, (_SHARED, _NULL, _NULL), 1), 1, "i")
insert_caused_first_steps = ManyRows(_both_steps(_given(3)[1:], 3), 3, "itt")
insert_first_steps = ManyRows(_both_steps((_NULL, _NULL), 1), 1, "i")
update_plainly: dict[Edge, ManyRows] = {
    lifecycle.COMPLETE: ManyRows(_update_edge(lifecycle.COMPLETE), 4, "iiii"),
}
"""The step that nearly every order takes, alike but for the order and the time: so it costs a third less."""
KEYED = to_sql(OrderModel.select(OrderModel.keyed_at).where(OrderModel.sequence == 0))
NOTE_KEY = to_sql(OrderModel.update({OrderModel.keyed_at: 0}).where(OrderModel.sequence == 0))
CLAMP_READY = to_sql(
    OrderModel.update({OrderModel.ready_at: 0}).where(
        OrderModel.rank.is_null()
        & (OrderModel.ready_at > 0)
        & SQL("(not_before IS NULL OR ready_at <> not_before)")
        & ((OrderModel.failures == 0) | (OrderModel.updated_at > 0) | (OrderModel.ready_at > 0))
    )
)
SEQUENCES_FROM = to_sql(OrderModel.select(OrderModel.sequence).where(OrderModel.sequence >= 0))
