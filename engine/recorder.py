"""2. Recorder: owns the one connection that writes; all that waits becomes one transaction (group commit)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from peewee import SqliteDatabase
from pykka import ActorDeadError

from ..store import lifecycle, queries
from ..store.errors import OrderNotFound, StoreUnavailable, TransitionRefused
from ..store.ledger import Ledger, Outcome, Recorded
from ..store.lifecycle import Edge, OrderStatus
from ..store.record import Move, OrderRecord, move
from .actor import BatchActor, fail
from .crew import Crew
from .messages import (
    AssignmentsFailed,
    AssignOrders,
    BacklogReleased,
    CancelOrder,
    LedgerCommitted,
    OrdersAssigned,
    OrdersHandled,
    OrdersReady,
    RetryOrder,
    SettleOrder,
    SubmitOrders,
    WakeUp,
)

_WRITE_AGAIN_AFTER_US = 200_000

Command = CancelOrder | RetryOrder | SettleOrder
Message = SubmitOrders | Command | AssignOrders | OrdersHandled | WakeUp


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
        self._unrecorded: list[Move] = []

    def on_stop(self) -> None:
        """Record what came before the stop, then close the database."""
        super().on_stop()
        if self._unrecorded:
            self._log.error("%d results were never recorded: their orders are still Processing", len(self._unrecorded))
        self._database.close()

    def rebuild(self) -> None:
        """Begin anew with a new connection."""
        self._database.close()
        self._database = self._open_database()
        self._ledger = Ledger(self._database)

    def receive_batch(self, messages: Sequence[Message]) -> None:
        """Record everything in one transaction."""
        submissions: list[SubmitOrders] = []
        commands: list[tuple[Command, Move]] = []
        assignments: list[Move] = []
        handled, self._unrecorded = self._unrecorded, []
        for message in messages:
            match message:
                case SubmitOrders():
                    submissions.append(message)
                case AssignOrders(moves):
                    assignments += moves
                case OrdersHandled(results):
                    with suppress(IndexError):
                        while True:
                            handled.append(results.popleft())
                case WakeUp():
                    pass
                case _:
                    if (step := self._plan(message)) is not None:
                        commands.append((message, step))
        orders = [order for submission in submissions for order in submission.orders]
        moves = [step for _, step in commands] + assignments + handled
        if not orders and not moves:
            return
        try:
            recorded = self._ledger.record(orders, moves, self._crew.clock.now_us())
        except StoreUnavailable as error:
            self._log.error("%s", error)
            self._crew.store_trouble = str(error)
            self._unrecorded = handled
            self._write_again_later()
            if assignments:
                self._crew.pool.tell(AssignmentsFailed(assignments))
            self._crew.intake.tell(BacklogReleased(len(orders)))
            for waiting in (*submissions, *(command for command, _ in commands)):
                fail(waiting.reply, error)
            return
        self._crew.store_trouble = None
        self._tell(recorded)
        self._answer(submissions, commands, recorded)

    def _plan(self, command: Command) -> Move | None:
        record = queries.find(self._database, command.order_id)
        if record is None:
            fail(command.reply, OrderNotFound(command.order_id))
            return None
        try:
            edge, reason = _edge(command, record)
            return move(record, edge, self._crew.clock.now_us(), reason)
        except TransitionRefused as error:
            fail(command.reply, error)
            return None

    def _tell(self, recorded: Recorded) -> None:
        ready = [record for outcome, record in recorded.acceptances if outcome is Outcome.ACCEPTED]
        released = len(recorded.acceptances) - len(ready)
        assigned: list[OrderRecord] = []
        finished: list[OrderRecord] = []
        for before, after, _ in recorded.moved:
            if after.status is OrderStatus.PROCESSING:
                assigned.append(after)
            elif after.status is OrderStatus.PENDING:
                ready.append(after)
                released -= before.status not in lifecycle.BACKLOG
            else:
                finished.append(after)
                released += before.status in lifecycle.BACKLOG
        refused: list[OrderRecord] = []
        for before, after, reason in recorded.refused:
            if after.status is OrderStatus.PROCESSING:
                refused.append(before)
            else:
                self._log.info(
                    "order %s moved on before: not recorded as %s (%s)", after.order_id, after.status, reason
                )
        self._crew.metrics.tell(LedgerCommitted(recorded.changes))
        if released:
            self._crew.intake.tell(BacklogReleased(released))
        if ready:
            self._crew.pool.tell(OrdersReady(ready))
        if assigned or refused:
            self._crew.pool.tell(OrdersAssigned(assigned, refused))
        self._crew.waiting_room.wake(finished)

    def _answer(
        self, submissions: list[SubmitOrders], commands: list[tuple[Command, Move]], recorded: Recorded
    ) -> None:
        position = 0
        for orders, reply in submissions:
            reply.set(recorded.acceptances[position : position + len(orders)])
            position += len(orders)
        for command, step in commands:
            if any(step is refused for refused in recorded.refused):
                # Another command of the same transaction came first.
                now = queries.find(self._database, command.order_id) or step.before
                fail(command.reply, TransitionRefused(command.order_id, now.status, step.after.status))
            else:
                command.reply.set(step.after)

    def _write_again_later(self) -> None:
        def wake() -> None:
            with suppress(ActorDeadError):
                self.actor_ref.tell(WakeUp())

        self._crew.clock.call_at(self._crew.clock.now_us() + _WRITE_AGAIN_AFTER_US, wake)


def _edge(command: Command, record: OrderRecord) -> tuple[Edge, str | None]:
    match command:
        case CancelOrder():
            return lifecycle.CANCEL, None
        case RetryOrder():
            in_review = record.status is OrderStatus.REVIEW
            return (lifecycle.RETRY_REVIEWED if in_review else lifecycle.RETRY_FAILED), None
        case SettleOrder(status=status, reason=reason):
            completed = status is OrderStatus.COMPLETED
            return (lifecycle.SETTLE_COMPLETED if completed else lifecycle.SETTLE_FAILED), reason
