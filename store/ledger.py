"""The only writer: records a batch of accepted orders and of steps in one transaction, each step guarded."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import chain
from operator import itemgetter

from peewee import Database, DataError, IntegrityError

from . import bulk_actions, queries, schedules, trace_contexts
from .arrival import disorder_us, latest_us, note_clock_step
from .audit_log import write_acts
from .deadlines import Deadlines
from .domain import lifecycle
from .domain.act import Act
from .domain.bulk_action import ActionProgress
from .domain.claim import Claim
from .domain.idempotency_key import IdempotencyKey
from .domain.key_policy import KeyPolicy
from .domain.lifecycle import Edge
from .domain.limit import NO_LIMITS, Limits
from .domain.metadata import metadata_text
from .domain.metrics import LATE_ORDERS, PROCESSING_MICROSECONDS, TIMED_ORDERS
from .domain.order import Order, is_plain, is_same
from .domain.outcome import Acceptance, Outcome, Recorded
from .domain.record import ENGINE, Cause, Move, OrderRecord, complete_by_us, new_record, not_before_us
from .domain.webhook import Tried
from .domain.weight import NO_WEIGHTS, Weights
from .failures import Failures
from .idempotency import remember
from .ledger_statements import (
    CLAMP_READY,
    KEYED,
    NOTE_KEY,
    SEQUENCES_FROM,
    insert_caused_first_steps,
    insert_caused_steps,
    insert_equal_steps,
    insert_first_steps,
    insert_orders,
    insert_orders_with_more,
    insert_steps,
    insert_taken_orders,
    update_orders,
    update_plainly,
)
from .outbox import Outbox, clamp_due_times, note_tries
from .queue import OrderQueue
from .rows import items_text, queue_column, serial_key
from .serial import SerialOrders
from .statements import run, run_for_each, write_transaction
from .totals import add_to_totals
from .translation import translated_errors
from .writer import TransactionConflict, Turn, Writer

_MOST_CONFLICTS = 5


class _GuardFailed(Exception):
    """Some step of a batch found its order elsewhere; a batch statement does not tell which one."""


class Ledger:
    """Writes orders and their transitions. One per database, used by one thread.

    Args:
        database: open in the calling thread with a connection that may write.
        kept: how many Pending orders are kept in memory at the most, so that a claim need not read them.
        key_policy: what the next order of a key waits for.
        serial_users: whether the user is the key of orders that have none.
        limits: those on the work that hold where operators have set none.
        weights: of users whose share of the turns is another than that of the others.
    """

    def __init__(
        self,
        database: Writer,
        kept: int = 0,
        key_policy: KeyPolicy = KeyPolicy.HOLD,
        *,
        serial_users: bool = False,
        limits: Limits = NO_LIMITS,
        weights: Weights = NO_WEIGHTS,
    ) -> None:
        self._database = database
        self._limits = limits
        self._weights = weights
        self._kept = kept
        self._key_policy = key_policy
        self._next_sequence = queries.last_sequence(database) + 1
        # As the database has it; None after a transaction that failed.
        self._queue: OrderQueue | None = self._make_queue()
        self._deadlines: Deadlines | None = Deadlines(database)
        self._serial_users = serial_users
        self.outbox = Outbox(database)
        """The events that are written beside the steps."""
        self._latest_us = latest_us(database)  # the last order's
        self._disorder_us = disorder_us(database)
        self._failures = Failures(database)

    def record(
        self,
        orders: Sequence[Order],
        moves: Sequence[Move],
        at_us: int,
        causes: Sequence[Cause] = (),
        keys: Sequence[IdempotencyKey | None] = (),
        ready_us: int | None = None,
        acts: Sequence[tuple[Move, Act]] = (),
        claim: Claim | None = None,
        tries: Sequence[Tried] = (),
        progress: ActionProgress | None = None,
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
            acts: which of the steps people take, and what the audit log has of them where they are recorded.
            claim: how many of the orders that are next are to be Processing then, the new ones among them; none by
                default.
            progress: how far a bulk action is, whose steps these are; None where it is not about one. Where that was
                stopped meanwhile, none of them is taken.
            tries: how attempts to send events went.

        Raises:
            StoreUnavailable: the database did not take the transaction; nothing was stored.
            IdempotencyKeyReused: another engine has given one of the keys to another request meanwhile; nothing was
                stored.
            peewee.IntegrityError, peewee.DataError, sqlite3.IntegrityError: the schema or the server refuses
                a row of it; nothing was stored.
        """
        transaction = partial(
            self._transaction,
            orders,
            moves,
            at_us,
            at_us if ready_us is None else ready_us,
            causes,
            keys,
            acts,
            claim,
            progress,
            tries,
        )
        try:
            with translated_errors(but=(IntegrityError, DataError, sqlite3.IntegrityError)):
                try:
                    return self._repeated(partial(transaction, step_by_step=False))
                except _GuardFailed:
                    return self._repeated(partial(transaction, step_by_step=True))
        except BaseException:
            self._queue = self._deadlines = None
            raise
        finally:
            # After an error too: a transaction may be stored although its commit failed.
            self._next_sequence += len(orders)

    def _repeated(self, transaction: Callable[[], Recorded]) -> Recorded:
        for _ in range(_MOST_CONFLICTS):
            try:
                return transaction()
            except TransactionConflict:
                self._queue = self._deadlines = None
        return transaction()

    @property
    def next_ready_us(self) -> int | None:
        """When the next order is ready of those that wait for their time, on the queue's clock.

        None where none waits, and 0 where that is not known.
        """
        return 0 if self._queue is None else self._queue.next_ready_us

    def look_around(self, *, is_alone: bool = False) -> None:
        """Find out what other engines over the database have done. Between two transactions.

        Args:
            is_alone: whether there is no other one at present.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        with translated_errors():
            if self._queue is not None:
                self._queue.look_around(is_alone=is_alone)
            if self._deadlines is not None:
                self._deadlines.look_around()
            self.outbox.load()
            self._latest_us = max(self._latest_us, latest_us(self._database))

    @property
    def next_deadline_us(self) -> int | None:
        """When it is to be looked next whether orders are late, in microseconds since 1970-01-01T00:00:00Z.

        None where none is to be completed by a time, and 0 where that is not known.
        """
        return 0 if self._deadlines is None else self._deadlines.next_us

    def obey_queues(self) -> None:
        """Take note of what operators have set about queues."""
        if self._queue is not None:
            self._queue.obey()

    def _make_queue(self) -> OrderQueue:
        return OrderQueue(self._database, self._kept, self._limits, self._weights, self._key_policy)

    def clamp_ready_times(self, now_us: int, longest_delay_us: int) -> int:
        """Let those orders wait no longer whose waiting no delay explains, and events on their way likewise.

        The clock was ahead when they began to.

        Args:
            now_us: the queue's time, microseconds since 1970-01-01T00:00:00Z.
            longest_delay_us: the longest that an order waits for its next attempt, in microseconds.

        Returns:
            How many orders they were.

        Raises:
            StoreUnavailable: the database did not take the transaction; nothing was stored.
        """
        with translated_errors(), write_transaction(self._database):
            clamped: int = run(
                self._database, CLAMP_READY, (now_us, now_us, 0, now_us, now_us + longest_delay_us)
            ).rowcount
            clamp_due_times(self._database, now_us)
        return clamped

    def _transaction(
        self,
        orders: Sequence[Order],
        moves: Sequence[Move],
        at_us: int,
        ready_us: int,
        causes: Sequence[Cause],
        keys: Sequence[IdempotencyKey | None],
        acts: Sequence[tuple[Move, Act]],
        claim: Claim | None,
        progress: ActionProgress | None,
        tries: Sequence[Tried],
        *,
        step_by_step: bool,
    ) -> Recorded:
        with write_transaction(self._database):
            queue = self._queue = self._queue or self._make_queue()
            if self._database.is_shared and self._may_meet_keys(queue, orders, moves, claim):
                self._database.wait_for_turn(Turn.KEYS)
                queue.note_keyed(by_others=True)
            if progress is not None and not bulk_actions.is_running(self._database, progress.action_id):
                moves, progress = (), None  # somebody has stopped it meanwhile, by way of another engine
            # First what was asked for: who wants an order cancelled, or hurried, comes before the claim.
            moved, refused = self._update_each(moves) if step_by_step else self._update(moves)
            queue.note_moves(moved)
            deadlines = self._deadlines = self._deadlines or Deadlines(self._database)
            complete = lifecycle.COMPLETE
            others = [step for step in moved if step.edge is not complete]
            if rescheduled := [step for step in others if step.edge is lifecycle.RESCHEDULE]:
                schedules.change(self._database, rescheduled)
                deadlines.change(rescheduled)
            if begun_anew := [step.after for step in others if step.edge in lifecycle.BEGINS_ANEW]:
                deadlines.watch(begun_anew)
            queue.let_go(moved)
            if claim is not None:
                queue.let_in(claim.now_us, claim.room)
            if claim is not None and orders and queue.is_room_for(claim, len(orders)) and self._are_plain(orders):
                acceptances, claimed = self._insert_taken(queue, orders, at_us, ready_us, keys)
                accepted = self._note_accepted(acceptances, causes, are_taken=True)
                moved += claimed
            else:
                acceptances = self._insert(queue, deadlines, orders, at_us, ready_us, keys) if orders else []
                accepted = self._note_accepted(acceptances, causes)
                if claim is not None and (claimed := queue.claim(claim, at_us)):
                    self._note_equal_steps(lifecycle.ASSIGN, [step.after.sequence for step in claimed])
                    moved += claimed
            if acts:
                not_taken = set(map(id, refused))
                write_acts(self._database, [act for step, act in acts if id(step) not in not_taken], at_us)
            if progress is not None:
                bulk_actions.advance(self._database, progress, len(moved), len(refused), at_us)
            if keys:
                self._remember(keys, acceptances, at_us)
            taken = Counter([step.edge for step in moved])
            if accepted:
                taken[lifecycle.ACCEPT] = accepted
            changes = _changes(taken, moved)
            if late := deadlines.find_late(at_us):
                changes[LATE_ORDERS] = len(late)
            add_to_totals(self._database, changes)
            has_events = self.outbox.write(acceptances, moved, ready_us, late, at_us)
            if tries:
                note_tries(self._database, tries, ready_us)
            self._failures.note(moved)
            if accepted and at_us < self._latest_us - self._disorder_us:
                first = next(record.sequence for outcome, record in acceptances if outcome is Outcome.ACCEPTED)
                note_clock_step(self._database, first)
        if accepted:
            self._latest_us = max(self._latest_us, at_us) if self._disorder_us else at_us
        return Recorded(acceptances, moved, refused, changes, taken, has_events)

    def _note_accepted(
        self, acceptances: Sequence[Acceptance], causes: Sequence[Cause], *, are_taken: bool = False
    ) -> int:
        # Those that are taken at once have two steps each.
        accepted = Outcome.ACCEPTED
        new = [record.sequence for outcome, record in acceptances if outcome is accepted]
        known = zip(acceptances, causes, strict=True) if causes else ()
        who = list(zip(*(cause for (outcome, _), cause in known if outcome is accepted), strict=True))
        if are_taken:
            insert = insert_caused_first_steps if causes else insert_first_steps
            _check_all(insert.run(self._database, new, *who[:2]), 2 * len(new))
        elif causes:
            noted = insert_caused_steps.run(self._database, new, *who[:2], shared=(None, lifecycle.ACCEPT.why))
            _check_all(noted, len(new))
        else:
            self._note_equal_steps(lifecycle.ACCEPT, new)
        if who and any(who[2]):
            trace_contexts.write(self._database, new, who[2])
        return len(new)

    def _note_equal_steps(self, edge: Edge, sequences: Sequence[int]) -> None:
        source = None if edge.source is None else edge.source.value
        noted = insert_equal_steps.run(self._database, sequences, shared=(source, edge.why))
        _check_all(noted, len(sequences))

    def _note_steps(self, sequences: Sequence[int], *why: Sequence[object]) -> None:
        _check_all(insert_steps.run(self._database, sequences, *why), len(sequences))

    def _remember(self, keys: Sequence[IdempotencyKey | None], acceptances: Sequence[Acceptance], at_us: int) -> None:
        kept = _worth_keeping(self._database, keys, acceptances)
        remember(self._database, list(kept), at_us)
        stored_before = [
            (at_us, record.sequence)
            for key, (outcome, record) in zip(keys, acceptances, strict=True)
            if key in kept and outcome is Outcome.DUPLICATE
        ]
        if stored_before:
            run_for_each(self._database, NOTE_KEY, stored_before)

    def _insert(
        self,
        queue: OrderQueue,
        deadlines: Deadlines,
        orders: Sequence[Order],
        at_us: int,
        ready_us: int,
        keys: Sequence[IdempotencyKey | None],
    ) -> list[Acceptance]:
        sequences, records = self._new_records(orders, at_us, ready_us)
        is_plain = self._are_plain(orders)
        ready: Sequence[OrderRecord] = records
        if not is_plain:
            ready = [record for record in records if record.ready_us == ready_us]
            queue.note_waiting([record.ready_us or 0 for record in records if record.ready_us != ready_us])
        places = queue.give_places(
            [record.sequence for record in ready],
            [record.order.user_id for record in ready],
            None if is_plain else [queue.line_of(record.order) for record in ready],
        )
        columns = _columns(sequences, orders, at_us, keys)
        if is_plain:
            inserted = insert_orders.run(
                self._database, *self._in_order([*columns, places]), shared=(at_us, at_us, ready_us)
            )
        else:
            place_of = {record.sequence: place for record, place in zip(ready, places, strict=True)}
            names = [serial_key(order, by_user=self._serial_users) for order in orders]
            if any(names):
                queue.note_keyed()
            inserted = self._insert_with_more(records, columns, place_of, names)
            deadlines.watch_new(records)
        acceptances, new = self._accept(queue, records, ready, places, inserted)
        queue.note([record for record in records if record.sequence in new])
        return acceptances

    def _insert_taken(
        self,
        queue: OrderQueue,
        orders: Sequence[Order],
        at_us: int,
        ready_us: int,
        keys: Sequence[IdempotencyKey | None],
    ) -> tuple[list[Acceptance], list[Move]]:
        """Insert plain orders that a claim takes as they come: they are Processing at once."""
        sequences, records = self._new_records(orders, at_us, ready_us)
        places = queue.give_places(sequences, [order.user_id for order in orders])
        columns = [*_columns(sequences, orders, at_us, keys), places]
        inserted = insert_taken_orders.run(self._database, *columns, shared=(at_us, at_us))
        acceptances, new = self._accept(queue, records, records, places, inserted)
        taken = [place for place in zip(places, records, strict=True) if place[1].sequence in new]
        return acceptances, queue.take_new(taken, at_us)

    def _accept(
        self,
        queue: OrderQueue,
        records: Sequence[OrderRecord],
        ready: Sequence[OrderRecord],
        places: Sequence[int],
        inserted: int,
    ) -> tuple[list[Acceptance], Collection[int]]:
        """What became of new orders, and the sequences of those that were stored; who was not has no place."""
        accepted = Outcome.ACCEPTED
        if inserted == len(records):
            return [Acceptance(accepted, record) for record in records], {record.sequence for record in records}
        first = records[0].sequence
        new = {sequence for (sequence,) in run(self._database, SEQUENCES_FROM, (first,)).fetchall()}
        queue.take_back_places(
            [
                (record.order.user_id, queue.line_of(record.order), place)
                for record, place in zip(ready, places, strict=True)
                if record.sequence not in new
            ]
        )
        acceptances = [
            Acceptance(accepted, record) if record.sequence in new else self._compare(record.order)
            for record in records
        ]
        return acceptances, new

    def _are_plain(self, orders: Sequence[Order]) -> bool:
        return not self._serial_users and all(map(is_plain, orders))

    def _new_records(
        self, orders: Sequence[Order], at_us: int, ready_us: int
    ) -> tuple[Sequence[int], list[OrderRecord]]:
        sequences = self._new_sequences(len(orders))
        return sequences, [
            new_record(order, sequence, at_us, ready_us) for sequence, order in zip(sequences, orders, strict=True)
        ]

    def _new_sequences(self, count: int) -> Sequence[int]:
        if not self._database.is_shared:
            return range(self._next_sequence, self._next_sequence + count)
        return [sequence for (sequence,) in run(self._database, "{new_sequences}", (count,)).fetchall()]

    def _insert_with_more(
        self,
        records: Sequence[OrderRecord],
        columns: Sequence[Sequence[object]],
        place_of: Mapping[int, int],
        names: Sequence[str | None],
    ) -> int:
        at_us = records[0].created_us
        columns = [
            *columns,
            [place_of.get(record.sequence) for record in records],
            [record.ready_us for record in records],
            [record.order.priority for record in records],
            [not_before_us(record.order) for record in records],
            [complete_by_us(record.order) for record in records],
            [metadata_text(record.order.metadata) for record in records],
            names,
            [queue_column(record.order) for record in records],
        ]
        return insert_orders_with_more.run(self._database, *self._in_order(columns), shared=(at_us, at_us))

    def _in_order(self, columns: Sequence[Sequence[object]]) -> Sequence[Sequence[object]]:
        """The same rows, by the ids of their orders where another engine may insert these at the same moment: so one of
        two waits for the other, and never each of them for the other."""
        if not self._database.is_shared:
            return columns
        return [*zip(*sorted(zip(*columns, strict=True), key=itemgetter(1)), strict=True)]

    def _may_meet_keys(
        self, queue: OrderQueue, orders: Sequence[Order], moves: Sequence[Move], claim: Claim | None
    ) -> bool:
        if queue.may_be_keyed or self._serial_users or (claim is not None and claim.only is not None):
            return True
        return any(order.key is not None for order in chain(orders, (step.after.order for step in moves)))

    def let_go_held(self) -> None:
        """Look at all that waits for others of its key: under another policy some of it may run.

        Raises:
            StoreUnavailable: the database did not take the transaction; nothing was stored.
        """
        with translated_errors(), write_transaction(self._database):
            self._database.wait_for_turn(Turn.KEYS)
            SerialOrders(self._database, self._key_policy).let_all_go()

    def _compare(self, order: Order) -> Acceptance:
        stored = queries.find(self._database, order.order_id)
        if stored is None:
            raise IntegrityError(f"the schema refuses order {order.order_id!r}")
        if is_same(stored.order, order) or is_same(schedules.as_sent(self._database, stored), order):
            return Acceptance(Outcome.DUPLICATE, stored)
        return Acceptance(Outcome.CONFLICT, stored)

    def _update(self, moves: Sequence[Move]) -> tuple[list[Move], list[Move]]:
        plain: dict[Edge, list[Move]] = {edge: [] for edge in update_plainly}
        rest: list[Move] = []
        for step in moves:
            edge = step.edge
            is_plain = edge in plain and step.reason is edge.why and step.cause is ENGINE
            (plain[edge] if is_plain else rest).append(step)
        for edge, steps in plain.items():
            if steps:
                self._update_plain(edge, steps)
        if rest:
            changed = update_orders.run(self._database, *zip(*map(_guarded_update, rest), strict=True))
            _check_guard(changed, rest)
            self._note_moved(rest)
        return list(moves), []

    def _update_plain(self, edge: Edge, steps: Sequence[Move]) -> None:
        sequences = [step.after.sequence for step in steps]
        changed = update_plainly[edge].run(
            self._database,
            sequences,
            [step.before.attempts for step in steps],
            [step.before.failures for step in steps],
            [step.after.updated_us for step in steps],
        )
        _check_guard(changed, steps)
        self._note_equal_steps(edge, sequences)

    def _update_each(self, moves: Sequence[Move]) -> tuple[list[Move], list[Move]]:
        moved: list[Move] = []
        refused: list[Move] = []
        for step in moves:
            found = update_orders.run(self._database, *zip(_guarded_update(step), strict=True))
            (moved if found else refused).append(step)
        self._note_moved(moved)
        return moved, refused

    def _note_moved(self, moved: Sequence[Move]) -> None:
        if moved:
            why = [(step.before.status.value, step.reason, *step.cause[:2]) for step in moved]
            self._note_steps([step.after.sequence for step in moved], *zip(*why, strict=True))


def _columns(
    sequences: Sequence[int], orders: Sequence[Order], at_us: int, keys: Sequence[IdempotencyKey | None]
) -> list[Sequence[object]]:
    return [
        sequences,
        [order.order_id for order in orders],
        [order.user_id for order in orders],
        [items_text(order.item_ids) for order in orders],
        [order.total_cents for order in orders],
        [None if key is None else at_us for key in keys] or [None] * len(orders),
    ]


def _check_guard(changed: int, steps: Sequence[Move]) -> None:
    if changed != len(steps):
        raise _GuardFailed


def _check_all(noted: int, taken: int) -> None:
    if noted != taken:
        raise IntegrityError(f"{taken} steps were taken, and {noted} of them could be noted")


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


def _changes(taken: Counter[Edge], moved: Sequence[Move]) -> Counter[str]:
    changes: Counter[str] = Counter()
    for edge, count in taken.items():
        if edge.source is not None:
            changes[edge.source] -= count
        changes[edge.target] += count
    if completed := taken[lifecycle.COMPLETE]:
        changes[TIMED_ORDERS] = completed
        changes[PROCESSING_MICROSECONDS] = sum(
            step.after.updated_us - step.before.updated_us for step in moved if step.edge is lifecycle.COMPLETE
        )
    return changes


def _worth_keeping(
    database: Database, keys: Sequence[IdempotencyKey | None], acceptances: Sequence[Acceptance]
) -> dict[IdempotencyKey, None]:
    # There are never more keys than orders: whoever sends what is there again and again, each time with another key,
    # adds nothing.
    kept: dict[IdempotencyKey, None] = {}
    first_duplicates: dict[IdempotencyKey, int] = {}
    for key, (outcome, record) in zip(keys, acceptances, strict=True):
        if key is None:
            continue
        if outcome is Outcome.ACCEPTED:
            kept[key] = None
        elif outcome is Outcome.DUPLICATE:
            first_duplicates.setdefault(key, record.sequence)
    for key, sequence in first_duplicates.items():
        if key not in kept and run(database, KEYED, (sequence,)).fetchone() == (None,):
            kept[key] = None
    return kept
