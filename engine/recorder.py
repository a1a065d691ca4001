"""2. Recorder: owns the one connection that writes; all that waits becomes one transaction (group commit)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from time import monotonic

from peewee import DatabaseError, SqliteDatabase

from ..store import lifecycle, queries
from ..store.errors import (
    IdempotencyKeyReused,
    OrdermillError,
    OrderNotFound,
    StoreUnavailable,
    TransitionRefused,
)
from ..store.idempotency import IdempotencyKey, is_reused
from ..store.ledger import Ledger, Outcome, Recorded
from ..store.lifecycle import Edge, OrderStatus
from ..store.log import WriteAheadLog
from ..store.order import Order
from ..store.record import ENGINE, Cause, Move, OrderRecord, move
from ..store.retention import Pruned, prune
from ..store.statements import run
from .actor import BatchActor
from .backlog import users_released
from .crew import Crew
from .journal import log_transitions
from .messages import (
    AssignmentsFailed,
    AssignOrders,
    AwaitOrder,
    BacklogRead,
    BacklogReleased,
    CancelOrder,
    EndBy,
    LedgerCommitted,
    OrdersAssigned,
    OrdersHandled,
    OrdersReady,
    PruneOrders,
    ReadTotals,
    RecordRest,
    RetryOrder,
    SettleOrder,
    SubmitOrders,
    TotalsRead,
    WakeUp,
)
from .reply import answer, fail

_WRITE_AGAIN_AFTER_SECONDS = 0.2
_PRUNE_EVERY_SECONDS = 10.0
_PRUNED_AT_ONCE = 200
_LEAST_PATIENCE_SECONDS = 0.5

Command = CancelOrder | RetryOrder | SettleOrder
Message = (
    SubmitOrders
    | Command
    | AssignOrders
    | OrdersHandled
    | AwaitOrder
    | PruneOrders
    | ReadTotals
    | WakeUp
    | EndBy
    | RecordRest
)


@dataclass(kw_only=True)
class _Batch:
    """What goes into one transaction."""

    submissions: list[SubmitOrders] = field(default_factory=list)
    commands: list[tuple[Command, Move]] = field(default_factory=list)
    assignments: list[Move] = field(default_factory=list)
    handled: list[Move] = field(default_factory=list)

    @property
    def orders(self) -> list[Order]:
        return [order for submission in self.submissions for order in submission.orders]

    @property
    def causes(self) -> list[Cause]:
        """Who brought each of the orders."""
        return [
            cause
            for submission in self.submissions
            for cause in submission.causes or repeat(ENGINE, len(submission.orders))
        ]

    @property
    def keys(self) -> list[IdempotencyKey | None]:
        """The idempotency key that came with each of the orders; empty where none did."""
        if all(submission.idempotency is None for submission in self.submissions):
            return []
        return [submission.idempotency for submission in self.submissions for _ in submission.orders]

    @property
    def moves(self) -> list[Move]:
        return [step for _, step in self.commands] + self.assignments + self.handled

    def parts(self) -> Iterator[_Batch]:
        """Everything in a batch of its own."""
        for submission in self.submissions:
            yield _Batch(submissions=[submission])
        for command in self.commands:
            yield _Batch(commands=[command])
        for assignment in self.assignments:
            yield _Batch(assignments=[assignment])
        for result in self.handled:
            yield _Batch(handled=[result])


class RecorderActor(BatchActor):
    """Records what the others say, then tells them, then answers those who wait.

    In that sequence: who has got an answer finds the order in the metrics too.

    Args:
        crew: the engine's actors and settings.
        open_database: opens the connection that writes.
        database: that connection, open already.
    """

    def __init__(self, crew: Crew, open_database: Callable[[], SqliteDatabase], database: SqliteDatabase) -> None:
        super().__init__(crew)
        self._open_database = open_database
        self._database = database
        self._ledger = Ledger(database)
        self._log_file = WriteAheadLog(database)
        self._unrecorded: list[Move] = []
        self._received = 0
        self._end_by: float | None = None
        self._counts_users = crew.config.user_backlog is not None

    def on_stop(self) -> None:
        """Record what came before the stop, then close the database."""
        if self._unrecorded:
            self._batch.append(WakeUp())
        super().on_stop()
        if self._unrecorded:
            self._log.error(
                "the database took no writes until the stop was over: %d results are not recorded,"
                " and the next start settles these orders as after a crash",
                len(self._unrecorded),
            )
        self._database.close()

    def rebuild(self) -> None:
        """Begin anew with a new connection, and tell the others how things are."""
        self._database.close()
        self._database = self._open_database()
        self._ledger = Ledger(self._database)
        self._log_file = WriteAheadLog(self._database)
        self._tell_anew()

    def receive_batch(self, messages: Sequence[Message]) -> None:
        """Record everything in one transaction."""
        # First of all, since whatever goes wrong then, these are no longer under way.
        self._received += sum(len(message.orders) for message in messages if isinstance(message, SubmitOrders))
        batch = self._gather(messages)
        self._limit_patience()
        # After trouble an empty transaction is tried as well: it tells when the trouble is over.
        if batch.orders or batch.moves or self._crew.store_trouble is not None:
            try:
                self._record(batch)
            except StoreUnavailable as error:
                self._put_off(batch, error)
            except Exception as error:  # something in the batch cannot be recorded: the rest must not suffer
                self.note_incident(error)
                for part in batch.parts():
                    self._record_alone(part)
        if any(isinstance(message, ReadTotals) for message in messages):
            self._tell_anew()
        if any(isinstance(message, PruneOrders) for message in messages):
            self._prune()
        for message in messages:
            if isinstance(message, RecordRest):
                answer(message.reply, len(self._unrecorded))
        self._bound_log()

    def _gather(self, messages: Sequence[Message]) -> _Batch:
        batch = _Batch(handled=self._unrecorded)
        self._unrecorded = []
        for message in messages:
            match message:
                case SubmitOrders():
                    if message.idempotency is None or self._is_first_use(message.idempotency, message, batch):
                        batch.submissions.append(message)
                case AssignOrders(moves):
                    batch.assignments += moves
                case OrdersHandled(results):
                    with suppress(IndexError):
                        while True:
                            batch.handled.append(results.popleft())
                case AwaitOrder(reply=reply):
                    answer(reply, None)
                case EndBy(deadline):
                    self._end_by = deadline
                case PruneOrders() | ReadTotals() | WakeUp() | RecordRest():
                    pass
                case _:
                    if (step := self._plan(message)) is not None:
                        batch.commands.append((message, step))
        return batch

    def _limit_patience(self) -> None:
        if self._end_by is not None:
            seconds = min(self._database.timeout, max(_LEAST_PATIENCE_SECONDS, self._end_by - monotonic()))
            with suppress(DatabaseError):  # whatever is wrong, the next statement says so
                run(self._database, f"PRAGMA busy_timeout = {round(seconds * 1000)}")

    def _is_first_use(self, given: IdempotencyKey, message: SubmitOrders, batch: _Batch) -> bool:
        # Or a repetition of the same request, whose orders are duplicates.
        beside = any(
            other is not None and other[:2] == given[:2] and other != given
            for other in (submission.idempotency for submission in batch.submissions)
        )
        try:
            if not beside and not is_reused(self._database, given, self._crew.clock.now_us()):
                return True
            self._answer_with(_Batch(submissions=[message]), IdempotencyKeyReused(given.key))
        except DatabaseError as error:
            self._answer_with(_Batch(submissions=[message]), StoreUnavailable(error))
        return False

    def _plan(self, command: Command) -> Move | None:
        at_us, queue_us = self._crew.now()
        try:
            record = queries.find(self._database, command.order_id)
            if record is None:
                raise OrderNotFound(command.order_id)
            edge = _edge(command, record, queue_us)
            return move(record, edge, at_us, command.reason, ready_us=queue_us, cause=command.cause)
        except OrdermillError as error:
            fail(command.reply, error)
        except DatabaseError as error:
            fail(command.reply, StoreUnavailable(error))
        return None

    def _record(self, batch: _Batch) -> None:
        orders = batch.orders
        at_us, queue_us = self._crew.now()
        recorded = self._ledger.record(orders, batch.moves, at_us, batch.causes, batch.keys, queue_us)
        log_transitions(recorded, batch.causes)
        had_trouble = self._crew.store_trouble is not None
        self._crew.store_trouble = None
        self._tell(orders, recorded)
        if had_trouble:
            self._tell_anew()
        self._answer(batch, recorded)

    def _record_alone(self, part: _Batch) -> None:
        try:
            self._record(part)
        except StoreUnavailable as error:
            self._put_off(part, error)
        except Exception as error:  # this is the one
            self._refuse(part, error)

    def _put_off(self, batch: _Batch, error: StoreUnavailable) -> None:
        # Who waits for an answer gets the error. Results are kept: what a handler has done cannot be done again.
        self._log.error("%s", error)
        self._crew.store_trouble = str(error)
        if batch.assignments:
            self._crew.pool.tell(AssignmentsFailed(batch.assignments))
        self._answer_with(batch, error)
        self._unrecorded += batch.handled
        self._write_again_later()

    def _refuse(self, part: _Batch, error: Exception) -> None:
        if part.assignments:
            self._crew.pool.tell(OrdersAssigned((), [step.before for step in part.assignments]))
        self._answer_with(part, error)
        for step in part.handled:
            reason = f"its result cannot be recorded: {type(error).__name__}"
            plain = move(step.before, lifecycle.FAIL, self._crew.clock.now_us(), reason, error=reason)
            if step.reason != reason:  # once is enough
                self._record_alone(_Batch(handled=[plain]))

    def _answer_with(self, batch: _Batch, error: Exception) -> None:
        if orders := batch.orders:
            users = Counter(order.user_id for order in orders) if self._counts_users else None
            self._crew.intake.tell(BacklogReleased(len(orders), 0, users, self._received))
        for waiting in (*batch.submissions, *(command for command, _ in batch.commands)):
            fail(waiting.reply, error)

    def _tell(self, orders: Sequence[Order], recorded: Recorded) -> None:
        ready = [record for outcome, record in recorded.acceptances if outcome is Outcome.ACCEPTED]
        released = len(recorded.acceptances) - len(ready)
        assigned: list[OrderRecord] = []
        finished: list[OrderRecord] = []
        worked_off = 0
        for before, after, _, _ in recorded.moved:
            if after.status is OrderStatus.PROCESSING:
                assigned.append(after)
            elif after.status is OrderStatus.PENDING:
                ready.append(after)
                released -= before.status not in lifecycle.BACKLOG
            else:
                finished.append(after)
                worked_off += before.status in lifecycle.BACKLOG
        released += worked_off
        refused: list[OrderRecord] = []
        unclear: list[Move] = []
        for step in recorded.refused:
            if step.after.status is OrderStatus.PROCESSING:
                self._sort_out(step, assigned, refused, unclear)
            else:
                finished.append(step.after)  # or so it may be: whoever waits looks again
                self._log.info("order %s moved on before: not recorded as %s", step.after.order_id, step.after.status)
        # Intake before the metrics: whoever learns from them that an order is over finds its room in the backlog free.
        users = users_released(orders, recorded) if self._counts_users else None
        if released or worked_off or users:
            self._crew.intake.tell(BacklogReleased(released, worked_off, users, self._received))
        self._crew.metrics.tell(LedgerCommitted(recorded.changes))
        if ready:
            self._crew.pool.tell(OrdersReady(ready))
        if assigned or refused:
            self._crew.pool.tell(OrdersAssigned(assigned, refused))
        if unclear:
            self._crew.pool.tell(AssignmentsFailed(unclear))
        self._crew.waiting_room.wake(finished)

    def _sort_out(
        self, step: Move, assigned: list[OrderRecord], refused: list[OrderRecord], unclear: list[Move]
    ) -> None:
        # Only the pool assigns: an order in that very attempt was taken by a transaction that said it had failed.
        try:
            stored = queries.find(self._database, step.before.order_id)
        except DatabaseError:
            unclear.append(step)
            return
        if stored is not None and (stored.status, stored.attempts) == (step.after.status, step.after.attempts):
            assigned.append(stored)
        else:
            refused.append(step.before)

    def _tell_anew(self) -> None:
        # After trouble, for one: what failed may have been stored all the same, and nobody was told.
        try:
            totals = queries.totals(self._database)
            users = queries.backlog_by_user(self._database) if self._counts_users else None
        except DatabaseError as error:
            self._crew.store_trouble = str(StoreUnavailable(error))
            self._write_again_later()
            return
        backlog = sum(totals[status] for status in lifecycle.BACKLOG)
        self._crew.intake.tell(BacklogRead(backlog, self._received, users))
        self._crew.metrics.tell(TotalsRead(totals))
        self._crew.pool.tell(WakeUp())

    def _answer(self, batch: _Batch, recorded: Recorded) -> None:
        position = 0
        for submission in batch.submissions:
            end = position + len(submission.orders)
            answer(submission.reply, recorded.acceptances[position:end])
            position = end
        for command, step in batch.commands:
            if any(step is refused for refused in recorded.refused):
                fail(command.reply, self._refusal(command, step))
            else:
                answer(command.reply, step.after)

    def _refusal(self, command: Command, step: Move) -> OrdermillError:
        # Another command of the same transaction came first.
        try:
            now = queries.find(self._database, command.order_id) or step.before
        except DatabaseError as error:  # no reason to record again what is recorded
            return StoreUnavailable(error)
        return TransitionRefused(command.order_id, now.status, step.after.status)

    def _bound_log(self) -> None:
        try:
            self._log_file.keep_bounded()
        except (DatabaseError, OSError) as error:
            self._log.warning("the write-ahead log was not begun anew: %s", error)

    def _prune(self) -> None:
        config, now = self._crew.config, self._crew.clock.now_us()
        if config.retain_seconds is None:
            return
        before_us = now - round(config.retain_seconds * 1e6)
        try:
            pruned = prune(
                self._database,
                before_us,
                _PRUNED_AT_ONCE,
                None if config.export_path is None else Path(config.export_path),
            )
        except StoreUnavailable as error:
            self._log.error("old orders were not removed: %s", error)
            pruned = Pruned(0, Counter())
        if pruned.orders:
            # What waits in the mailbox meanwhile comes first.
            self._crew.metrics.tell(LedgerCommitted(pruned.changes))
            self.tell_self(PruneOrders())
        else:
            self.tell_self_after(_PRUNE_EVERY_SECONDS, PruneOrders())

    def _write_again_later(self) -> None:
        self.tell_self_after(_WRITE_AGAIN_AFTER_SECONDS, WakeUp())


def _edge(command: Command, record: OrderRecord, now_us: int) -> Edge:
    match command:
        case CancelOrder():
            return lifecycle.CANCEL
        case RetryOrder() if record.status is OrderStatus.REVIEW:
            return lifecycle.RETRY_REVIEWED
        case RetryOrder() if record.ready_us is not None and record.ready_us > now_us:
            return lifecycle.HURRY
        case RetryOrder():
            return lifecycle.RETRY_FAILED
        case SettleOrder(status=status):
            return lifecycle.SETTLE_COMPLETED if status is OrderStatus.COMPLETED else lifecycle.SETTLE_FAILED
