"""The only writer: records a batch of accepted orders and of steps in one transaction, each step guarded."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import repeat, starmap, zip_longest

from peewee import SQL, Database, Field, Insert, IntegrityError, Model, Select

from . import queries
from .domain import lifecycle
from .domain.claim import Claim
from .domain.idempotency_key import IdempotencyKey
from .domain.lifecycle import OrderStatus
from .domain.metrics import PROCESSING_MICROSECONDS, TIMED_ORDERS
from .domain.order import Order
from .domain.outcome import Acceptance, Outcome, Recorded
from .domain.record import ENGINE, Cause, Move, OrderRecord
from .idempotency import remember
from .queue import OrderQueue
from .rows import ORDER_COLUMNS, TRANSITION_COLUMNS, order_row, transition_row
from .statements import ManyRows, given_values, run, run_for_each, to_sql, write_transaction
from .tables import OrderModel, TransitionModel
from .totals import add_to_totals
from .translation import translated_errors

_INSERTED_ORDER = (*ORDER_COLUMNS, OrderModel.keyed_at, OrderModel.rank)
_INSERTED_TRANSITION = (TransitionModel.sequence, TransitionModel.order_id, *TRANSITION_COLUMNS)


def _insert(model: type[Model], columns: Sequence[Field], size: int) -> Insert:
    values = given_values(size, len(columns))
    return model.insert_from(Select([values], [SQL("*")]).where(SQL("given.column1 IS NOT NULL")), columns)


_insert_orders = ManyRows(
    lambda size: to_sql(_insert(OrderModel, _INSERTED_ORDER, size).on_conflict(action="ignore")), len(_INSERTED_ORDER)
)
_insert_transitions = ManyRows(
    lambda size: to_sql(_insert(TransitionModel, _INSERTED_TRANSITION, size)), len(_INSERTED_TRANSITION)
)


# An order that becomes Pending waits for its time, and gets a place in the queue when that has come. Not one that comes
# back unharmed, which has its place still: see `keeps_place`.
_RANK = SQL("CASE WHEN given.column1 <> 'Pending' OR status = 'Processing' AND failures = given.column3 THEN rank END")


def _update(size: int) -> str:
    value = [SQL(f"given.column{number}") for number in range(11)]  # in the sequence of `_guarded_update`
    return to_sql(
        OrderModel.update(
            {
                OrderModel.status: value[1],
                OrderModel.attempts: value[2],
                OrderModel.failures: value[3],
                OrderModel.updated_at: value[4],
                OrderModel.ready_at: value[5],
                OrderModel.last_error: value[6],
                OrderModel.rank: _RANK,
            }
        )
        .from_(given_values(size, 10))
        .where(
            (OrderModel.sequence == value[7])
            & (OrderModel.status == value[8])
            & (OrderModel.attempts == value[9])
            & (OrderModel.failures == value[10])  # which an operator may have set back while the order was Pending
        )
    )


_update_orders = ManyRows(_update, 10)
_UPDATE_ORDER = _update(1)
_NOTE_KEY = to_sql(OrderModel.update({OrderModel.keyed_at: 0}).where(OrderModel.sequence == 0))
_CLAMP_READY = to_sql(
    OrderModel.update({OrderModel.ready_at: 0}).where(
        OrderModel.rank.is_null()
        & (OrderModel.ready_at > 0)
        & ((OrderModel.failures == 0) | (OrderModel.updated_at > 0) | (OrderModel.ready_at > 0))
    )
)
_SEQUENCES_FROM = to_sql(OrderModel.select(OrderModel.sequence).where(OrderModel.sequence >= 0))


class _GuardFailed(Exception):
    """Some step of a batch found its order elsewhere; a batch statement does not tell which one."""


class Ledger:
    """Writes orders and their transitions. One per database, used by one thread.

    Args:
        database: open in the calling thread with a connection that may write.
        kept: how many Pending orders are kept in memory at the most, so that a claim need not read them.
    """

    def __init__(self, database: Database, kept: int = 0) -> None:
        self._database = database
        self._kept = kept
        self._next_sequence = queries.last_sequence(database) + 1
        self._queue: OrderQueue | None = None

    def record(
        self,
        orders: Sequence[Order],
        moves: Sequence[Move],
        at_us: int,
        causes: Sequence[Cause] = (),
        keys: Sequence[IdempotencyKey | None] = (),
        ready_us: int | None = None,
        claim: Claim | None = None,
    ) -> Recorded:
        """Store everything in one transaction, or nothing.

        Args:
            orders: new orders, duplicates and conflicts alike.
            moves: steps of orders stored before, at most one for each order.
            at_us: the time that new orders are accepted, microseconds since 1970-01-01T00:00:00Z.
            causes: who brought each of the orders; empty where nothing is known.
            keys: the idempotency key that came with each of the orders, which stays as long as its key; empty where
                none did.
            ready_us: since when the new orders may be processed, on the queue's clock; `at_us` by default.
            claim: how many of the orders that are next are to be Processing then, the new ones among them; none by
                default.

        Raises:
            StoreUnavailable: the database did not take the transaction; nothing was stored.
            peewee.IntegrityError, sqlite3.IntegrityError: the schema refuses a row of it; nothing was stored.
        """
        transaction = partial(
            self._transaction, orders, moves, at_us, at_us if ready_us is None else ready_us, causes, keys, claim
        )
        try:
            with translated_errors(but=(IntegrityError, sqlite3.IntegrityError)):
                try:
                    return transaction(step_by_step=False)
                except _GuardFailed:
                    return transaction(step_by_step=True)
        except BaseException:
            self._queue = None
            raise
        finally:
            # After an error too: a transaction may be stored although its commit failed.
            self._next_sequence += len(orders)

    @property
    def next_ready_us(self) -> int | None:
        """When the next order is ready of those that wait for their time, on the queue's clock.

        None where none waits, and 0 where that is not known.
        """
        return 0 if self._queue is None else self._queue.next_ready_us

    def clamp_ready_times(self, now_us: int, longest_delay_us: int) -> int:
        """Let those orders wait no longer whose waiting no delay explains: the clock was ahead when they began to.

        Args:
            now_us: the queue's time, microseconds since 1970-01-01T00:00:00Z.
            longest_delay_us: the longest that an order waits for its next attempt, in microseconds.

        Returns:
            How many they were.

        Raises:
            StoreUnavailable: the database did not take the transaction; nothing was stored.
        """
        with translated_errors(), write_transaction(self._database):
            clamped: int = run(
                self._database, _CLAMP_READY, (now_us, now_us, 0, now_us, now_us + longest_delay_us)
            ).rowcount
        return clamped

    def _transaction(
        self,
        orders: Sequence[Order],
        moves: Sequence[Move],
        at_us: int,
        ready_us: int,
        causes: Sequence[Cause],
        keys: Sequence[IdempotencyKey | None],
        claim: Claim | None,
        *,
        step_by_step: bool,
    ) -> Recorded:
        with write_transaction(self._database):
            queue = self._queue = self._queue or OrderQueue(self._database, self._kept)
            # What was handed in first: who asked for an order to be cancelled or hurried comes before the claim.
            moved, refused = self._update_each(moves) if step_by_step else self._update(moves)
            queue.note_moves(moved)
            if claim is not None:
                queue.let_in(claim.now_us, claim.room)
            acceptances = self._insert(queue, orders, at_us, ready_us, keys) if orders else []
            accepted = [
                (record, cause)
                for (outcome, record), cause in zip(acceptances, causes or repeat(ENGINE), strict=False)
                if outcome is Outcome.ACCEPTED
            ]
            if claim is not None:
                moved += queue.claim(claim, at_us)
            transitions = [_transition(None, record, lifecycle.ACCEPT.why, cause) for record, cause in accepted]
            transitions += starmap(_transition, moved)
            _insert_transitions.run(self._database, transitions)
            if keys:
                self._remember(keys, acceptances, at_us)
            changes = _changes(len(accepted), moved)
            add_to_totals(self._database, changes)
        return Recorded(acceptances, moved, refused, changes)

    def _remember(self, keys: Sequence[IdempotencyKey | None], acceptances: Sequence[Acceptance], at_us: int) -> None:
        remember(self._database, list(dict.fromkeys(key for key in keys if key is not None)), at_us)
        stored_before = [
            (at_us, record.sequence)
            for key, (outcome, record) in zip(keys, acceptances, strict=True)
            if key is not None and outcome is not Outcome.ACCEPTED
        ]
        if stored_before:
            run_for_each(self._database, _NOTE_KEY, stored_before)

    def _insert(
        self,
        queue: OrderQueue,
        orders: Sequence[Order],
        at_us: int,
        ready_us: int,
        keys: Sequence[IdempotencyKey | None],
    ) -> list[Acceptance]:
        first = self._next_sequence
        records = [
            OrderRecord(order, sequence, OrderStatus.PENDING, 0, 0, at_us, at_us, ready_us)
            for sequence, order in enumerate(orders, first)
        ]
        places = queue.give_places(order.user_id for order in orders)
        rows = [
            (*order_row(record), None if key is None else at_us, place)
            for record, key, place in zip_longest(records, keys, places)
        ]
        inserted = _insert_orders.run(self._database, rows)
        if inserted == len(records):
            queue.note(records)
            return [Acceptance(Outcome.ACCEPTED, record) for record in records]
        new = {sequence for (sequence,) in run(self._database, _SEQUENCES_FROM, (first,)).fetchall()}
        queue.note([record for record in records if record.sequence in new])
        queue.take_back_places(
            [
                (record.order.user_id, place)
                for record, place in zip(records, places, strict=True)
                if record.sequence not in new
            ]
        )
        return [
            Acceptance(Outcome.ACCEPTED, record) if record.sequence in new else self._compare(record.order)
            for record in records
        ]

    def _compare(self, order: Order) -> Acceptance:
        stored = queries.find(self._database, order.order_id)
        if stored is None:
            raise IntegrityError(f"the schema refuses order {order.order_id!r}")
        return Acceptance(Outcome.DUPLICATE if stored.order == order else Outcome.CONFLICT, stored)

    def _update(self, moves: Sequence[Move]) -> tuple[list[Move], list[Move]]:
        if moves:
            changed = _update_orders.run(self._database, [_guarded_update(step) for step in moves])
            if changed != len(moves):
                raise _GuardFailed
        return list(moves), []

    def _update_each(self, moves: Sequence[Move]) -> tuple[list[Move], list[Move]]:
        moved: list[Move] = []
        refused: list[Move] = []
        for step in moves:
            found = run(self._database, _UPDATE_ORDER, _guarded_update(step)).rowcount
            (moved if found else refused).append(step)
        return moved, refused


def _transition(before: OrderRecord | None, after: OrderRecord, reason: str, cause: Cause) -> tuple[object, ...]:
    return after.sequence, after.order.order_id, *transition_row(before, after, reason, cause)


def _guarded_update(step: Move) -> tuple[object, ...]:
    before, after = step.before, step.after
    return (
        after.status.value,
        after.attempts,
        after.failures,
        after.updated_us,
        after.ready_us,
        after.last_error,
        after.sequence,
        before.status.value,
        before.attempts,
        before.failures,
    )


def _changes(accepted: int, moved: list[Move]) -> Counter[str]:
    changes: Counter[str] = Counter()
    if accepted:
        changes[OrderStatus.PENDING] = accepted
    for before, after, _, _ in moved:
        changes[before.status] -= 1
        changes[after.status] += 1
        if after.status is OrderStatus.COMPLETED and before.status is OrderStatus.PROCESSING:
            changes[TIMED_ORDERS] += 1
            changes[PROCESSING_MICROSECONDS] += after.updated_us - before.updated_us
    return changes
