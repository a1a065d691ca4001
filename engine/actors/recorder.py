"""2. Recorder: owns the one connection that writes; all that waits becomes one transaction (group commit)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from socket import socket
from time import monotonic

from ...store import event_log, queries
from ...store.domain import lifecycle
from ...store.domain.act import edge_of
from ...store.domain.claim import Claim
from ...store.domain.errors import (
    AuthorityLost,
    DatabaseRefused,
    EngineStopped,
    IdempotencyKeyReused,
    NotLeading,
    OrdermillError,
    OrderNotFound,
    StoreUnavailable,
)
from ...store.domain.idempotency_key import IdempotencyKey
from ...store.domain.lifecycle import OrderStatus
from ...store.domain.outcome import Recorded
from ...store.domain.record import Move, OrderRecord, move
from ...store.domain.schedule import reschedule
from ...store.idempotency import is_reused
from ...store.ledger import Ledger
from ...store.queue import next_in_line
from ...store.writer import Writer
from ..reply import answer, fail
from ..requests import (
    AwaitOrder,
    CancelOrder,
    ChangeWebhooks,
    PauseEngine,
    ReadControl,
    ReadQueues,
    RescheduleOrder,
    ResumeEngine,
    SetProcessors,
    SetQueue,
    StartAction,
    StopAction,
    SubmitOrders,
)
from .announcements import Announcements
from .base import BatchActor, fail_message
from .batch import ACTIONS, Batch, Command
from .bulk_work import BulkStep, BulkWork
from .context import EngineContext
from .dispatcher import Dispatcher
from .estimates import Estimates
from .lateness import Lateness
from .lookout import Lookout
from .maintenance import Maintenance
from .membership import Membership
from .messages import (
    AdvanceActions,
    Attend,
    BoundLog,
    CheckFiles,
    ClaimOrders,
    ClaimsStopped,
    DeadlineCome,
    DeliveriesTried,
    EndBy,
    EndPause,
    GiveHint,
    JudgeEstimates,
    LookAround,
    NoteEstimates,
    OrderReleased,
    OrdersDue,
    OrdersHandled,
    PruneDeliveries,
    PruneOrders,
    ReadTotals,
    RecordRest,
    ReleaseOrder,
    ResultsAwaited,
    StopClaims,
    TryBreaker,
    WakeUp,
)
from .steering import Command as SteeringCommand
from .steering import Steering
from .transition_log import log_transitions
from .webhooks import Webhooks

_WRITE_AGAIN_SECONDS = 0.2
_WRITE_AGAIN_AT_THE_LATEST_SECONDS = 5.0
_LEAST_PATIENCE_SECONDS = 0.5
_INCOMING_SECONDS = 0.003
"""How long a commit waits for orders that are being read at the moment. Half of them in one transaction and half in the
next take longer than all in one that begins later: each has its own sync, and holds up those who read the others."""

Message = (
    SubmitOrders
    | Command
    | SteeringCommand
    | ChangeWebhooks
    | PruneDeliveries
    | DeliveriesTried
    | EndPause
    | TryBreaker
    | StartAction
    | StopAction
    | AdvanceActions
    | ClaimOrders
    | StopClaims
    | OrdersDue
    | OrdersHandled
    | OrderReleased
    | AwaitOrder
    | NoteEstimates
    | JudgeEstimates
    | DeadlineCome
    | PruneOrders
    | Attend
    | BoundLog
    | CheckFiles
    | ReadTotals
    | LookAround
    | GiveHint
    | ResultsAwaited
    | WakeUp
    | EndBy
    | RecordRest
)


_TOLD = frozenset({ChangeWebhooks, PauseEngine, ResumeEngine, SetProcessors, SetQueue, StartAction, StopAction})
"""What people want that other engines have to know of."""


class RecorderActor(BatchActor):
    """Records what the others say, then tells them, then answers those who wait.

    In that sequence: who has got an answer finds the order in the metrics too. What goes wrong after a commit is never
    taken for a failed commit: nothing is recorded twice.

    Args:
        context: the engine's actors and settings.
        open_database: opens the connection that writes.
        database: that connection, open already.
    """

    def __init__(self, context: EngineContext, open_database: Callable[[], Writer], database: Writer) -> None:
        super().__init__(context)
        self._open_database = open_database
        self._database = database
        self._ledger = self._make_ledger()
        self._dispatcher = Dispatcher(context, self.tell_self_after)
        self._membership = Membership(context, database, self.tell_self, self._tell_pool)
        self._maintenance = Maintenance(context, database, self.tell_self, self.tell_self_after, self._log)
        self._steering = Steering(context, database, self.tell, self.tell_self_after, self._log, self._obey_queues)
        self._webhooks = Webhooks(context, database, self.tell_self)
        self._bulk_work = BulkWork(context, database, self.tell_self, self.tell_self_after)
        self._estimates = Estimates(context, database, self.tell_self_after)
        self._lateness = Lateness(context, self.tell_self_after)
        self._announcements = Announcements(context, self.tell, self.tell_unhurried, self._log)
        self._unsettled: list[Batch] = []  # what is being recorded at this moment, the next one last
        self._unrecorded: list[Move] = []  # results that the database did not take
        self._cancelling: dict[int, list[Command]] = {}  # by sequence, until the order is Pending again
        self._planned_anew: list[Command] = []  # in the next transaction, since the last one has moved their orders
        self._has_news = False  # that other engines were not told of
        self._last_event_id = 0  # when it was looked at last
        self._is_in_doubt = False  # a transaction has failed: what the others know of the totals may be wrong
        self._write_again_seconds = _WRITE_AGAIN_SECONDS
        self._will_write_again = False
        self._end_by: float | None = None

    def on_stop(self) -> None:
        """Record what came before the stop, then close the database."""
        if self._unrecorded or self._planned_anew:
            self._batch.append(WakeUp())
        super().on_stop()
        if self._mailbox.lookout is not None:
            self._mailbox.lookout.close()
        for command in (*self._planned_anew, *chain.from_iterable(self._cancelling.values())):
            fail(command.reply, EngineStopped())
        if self._unrecorded:
            self._log.error(
                "the database took no writes until the stop was over: %d results are not recorded,"
                " and the next start settles these orders as after a crash",
                len(self._unrecorded),
            )
        if self._context.begun is not None:
            self._context.begun.close(is_all_recorded=not self._unrecorded)
        with suppress(StoreUnavailable):  # then it is over with its lease
            self._membership.close()
        self._database.close()

    def rebuild(self) -> None:
        """Begin anew with a new connection, tell the others how things are, and lose nothing that was in hand."""
        unsettled, self._unsettled = self._unsettled, []
        for batch in unsettled:
            self._keep(batch)
        self._maintenance.prune_later()
        if self._unrecorded:
            self._write_again_later()
        self._is_in_doubt = True
        try:
            self._reopen()
        except StoreUnavailable as error:
            self._context.store_trouble = str(error)
            self._write_again_later()
        else:
            self._tell_anew()
        self.tell(self._context.pool, WakeUp())  # what it has said since may be lost

    def is_urgent(self, message: Message) -> bool:
        """Whether a message is to be handled at once.

        Results wait a moment for new orders, and share their commit: not where somebody waits for an order to be over,
        or an order for a processor.
        """
        if not isinstance(message, OrdersHandled | ClaimOrders) or self._context.waiters or self._may_claim():
            return True
        return self._context.store_trouble is not None or self._end_by is not None

    def await_more(self) -> bool:
        """Read what servers have sent, and wait for orders that are being read at the moment."""
        has_come = self._mailbox.lookout is not None and self._mailbox.lookout.look()
        return self._context.incoming.wait(_INCOMING_SECONDS) or has_come

    def receive_batch(self, messages: Sequence[Message]) -> None:
        """Record everything in one transaction."""
        self._in_hand = messages = [*self._planned_anew, *messages]
        batch = Batch(handled=self._unrecorded)
        self._planned_anew, self._unrecorded, self._unsettled = [], [], [batch]
        if self._database.is_shared:
            self._guard(self._keep_lease)
        for message in messages:
            try:
                self._gather(message, batch)
            except BaseException as error:  # one that nobody can make sense of keeps no other out
                self.note_incident(error, (message,))
                self._is_in_doubt = True
                fail_message(message, error)
        self._limit_patience()
        kinds = set(map(type, messages))
        # An empty transaction is tried as well where there is trouble: it tells of it, and when it is over.
        has_fault = CheckFiles in kinds and self._maintenance.finds_fault()
        batch.claim = self._plan_claim()
        is_late = self._lateness.has_come(self._ledger.next_deadline_us)
        is_due = batch.orders or batch.moves or batch.tried or self._context.store_trouble is not None
        is_due = is_due or has_fault or is_late
        if is_due or (batch.claim is not None and self._finds_any(batch.claim)):
            self._record_all()
        self._unsettled = []
        if self._is_in_doubt and self._context.store_trouble is None:
            self._guard(self._tell_anew)
        if PruneOrders in kinds:
            self._guard(self._prune)
        self._guard(self._steering.work)
        self._guard(partial(self._webhooks.work, self._ledger.outbox))
        self._guard(self._bulk_work.obey)
        self._guard(self._advance_actions)
        self._guard(self._estimates.work)
        for message in messages:
            if isinstance(message, RecordRest):
                answer(message.reply, len(self._unrecorded))
        self._guard(partial(self._maintenance.bound_log, again=BoundLog in kinds))
        if LookAround in kinds:
            self._guard(self._look_around)
            self._membership.look_later()
        self._guard(self._look_ahead)
        self._has_news = self._has_news or not _TOLD.isdisjoint(kinds)
        if self._has_news and not self._context.is_alone:
            self._guard(self._hint)

    def _gather(self, message: Message, batch: Batch) -> None:
        match message:
            case SubmitOrders():
                # First of all, since whatever goes wrong then, these are no longer under way.
                self._announcements.received += len(message.orders)
                if message.idempotency is None or self._is_first_use(message.idempotency, message, batch):
                    batch.submissions.append(message)
            case ClaimOrders():
                self._dispatcher.want(message)
            case StopClaims():
                self._dispatcher.close()
                self.tell(self._context.pool, ClaimsStopped())
            case OrdersDue():
                self._dispatcher.wake_up()
            case OrderReleased(returned, command):
                batch.handled.append(returned)
                self._dispatcher.hold(returned.before.sequence)
                self._cancelling.setdefault(returned.before.sequence, []).append(command)
            case OrdersHandled(results):
                with suppress(IndexError):
                    while True:
                        batch.handled.append(results.popleft())
            case AwaitOrder(reply=reply):
                answer(reply, None)
            case ReadTotals():
                self._is_in_doubt = True
            case EndBy(deadline):
                self._end_by = deadline
                self._membership.note_stop()
            case WakeUp():
                self._will_write_again = False
            case PruneOrders() | BoundLog() | CheckFiles():
                self._maintenance.note(message)
            case DeliveriesTried():
                batch.tried.append(message)
            case ChangeWebhooks() | PruneDeliveries():
                self._webhooks.note(message)
            case PauseEngine() | ResumeEngine() | SetProcessors() | ReadControl() | EndPause() | TryBreaker():
                self._steering.note(message)
            case SetQueue() | ReadQueues():
                self._steering.note(message)
            case StartAction() | StopAction() | AdvanceActions():
                self._bulk_work.note(message)
            case NoteEstimates() | JudgeEstimates():
                self._estimates.note(message)
            case DeadlineCome():
                self._lateness.note(message)
            case Attend(file, read):
                self._attend(file, read)
            case RecordRest() | LookAround() | GiveHint() | ResultsAwaited():
                pass
            case _:
                if (step := self._plan(message)) is not None:
                    batch.commands.append((message, step))

    def _attend(self, file: socket, read: Callable[[], bool]) -> None:
        if self._mailbox.lookout is None:
            self._mailbox.lookout = Lookout()
        self._mailbox.lookout.attend(file, read)

    def _keep_lease(self) -> None:
        try:
            if not self._database.is_closed() and self._membership.keep():
                self._dispatcher.forget_in_hand()
                self._is_in_doubt = True
        except StoreUnavailable as error:
            self._log.log_seldom(logging.ERROR, "the engine's lease could not be renewed: %s", error)

    def _look_around(self) -> None:
        """Find out what other engines over the database have done: nobody tells of it."""
        if self._database.is_closed() or not self._context.has_authority:
            return
        try:
            self._membership.look()
            self._steering.look_around()
            self._ledger.look_around(is_alone=self._context.is_alone)
            awaited = self._context.waiters.order_ids()
            over = self._database.read(partial(queries.over_among, order_ids=awaited)) if awaited else []
            last_event_id = self._database.read(event_log.last_id)
            # Whoever is told that an order is over finds it in the totals.
            self._tell_anew()
        except StoreUnavailable as error:
            self._log.log_seldom(logging.ERROR, "what other engines do could not be found out: %s", error)
            return
        self._dispatcher.wake_up()
        self._context.waiters.wake_named(over)
        if last_event_id > self._last_event_id:
            self._last_event_id = last_event_id
            self._context.event_waiters.wake()
        if self._ledger.outbox.is_wanted:
            self._context.wake_sender()
        self._bulk_work.note(AdvanceActions())  # somebody may have begun one by way of another engine
        self._advance_actions()

    def _hint(self) -> None:
        with suppress(StoreUnavailable):  # whatever is wrong, the next statement says so; others look by themselves
            self._has_news = not self._membership.hint()

    def _limit_patience(self) -> None:
        if self._end_by is not None:
            seconds = min(self._database.timeout, max(_LEAST_PATIENCE_SECONDS, self._end_by - monotonic()))
            with suppress(StoreUnavailable):  # whatever is wrong, the next statement says so
                self._database.wait_at_most(seconds)

    def _is_first_use(self, given: IdempotencyKey, message: SubmitOrders, batch: Batch) -> bool:
        # Or a repetition of the same request, whose orders are duplicates.
        beside = any(
            other is not None and other[:2] == given[:2] and other != given
            for other in (submission.idempotency for submission in batch.submissions)
        )
        now_us = self._context.clock.now_us()
        try:
            if not beside and not self._database.read(lambda database: is_reused(database, given, now_us)):
                return True
            self._answer_with(Batch(submissions=[message]), IdempotencyKeyReused(given.key))
        except StoreUnavailable as error:
            self._answer_with(Batch(submissions=[message]), error)
        return False

    def _without_reused(self, batch: Batch) -> Batch:
        left = replace(batch, submissions=[])
        for message in batch.submissions:
            if message.idempotency is None or self._is_first_use(message.idempotency, message, left):
                left.submissions.append(message)
        return left

    def _plan(self, command: Command) -> Move | None:
        at_us, queue_us = self._context.now()
        try:
            record = self._find(command.order_id)
            if record is None:
                raise OrderNotFound(command.order_id)
            if isinstance(command, CancelOrder | RescheduleOrder) and record.status is OrderStatus.PROCESSING:
                self._context.pool.tell(ReleaseOrder(record, command))
                return None
            if isinstance(command, RescheduleOrder):
                return reschedule(record, command.schedule, at_us, queue_us, command.reason, command.cause)
            edge = edge_of(ACTIONS[type(command)], record, getattr(command, "status", None))
            return move(record, edge, at_us, command.reason, ready_us=queue_us, cause=command.cause)
        except OrdermillError as error:
            fail(command.reply, error)
        return None

    def _plan_claim(self) -> Claim | None:
        try:
            return self._database.read(self._dispatcher.plan)
        except BaseException as error:  # what was handed in is recorded all the same
            if isinstance(error, StoreUnavailable):
                self._log.log_seldom(logging.ERROR, "no orders could be claimed: %s", error)
            else:
                self.note_incident(error)
            self._write_again_later()
            return None

    def _may_claim(self) -> bool:
        return self._dispatcher.may_be_more or self._has_come(self._ledger.next_ready_us)

    def _has_come(self, time_us: int | None) -> bool:
        return time_us is not None and time_us <= self._context.queue_clock.now_us()

    def _finds_any(self, claim: Claim) -> bool:
        """Whether a claim is worth a transaction of its own."""
        if self._has_come(self._ledger.next_ready_us):
            return True
        if self._dispatcher.may_be_more:
            try:
                if self._first_in_line(claim) is not None:
                    return True
            except StoreUnavailable:
                return True  # the transaction says what is wrong
            self._dispatcher.note_none()
        return False

    def _first_in_line(self, claim: Claim) -> int | None:
        return claim.only or self._database.read(partial(queries.first_in_line, but_not=claim.but_not))

    def _look_ahead(self) -> None:
        if self._context.store_trouble is not None:
            return  # the next transaction looks
        if self._planned_anew or (self._may_claim() and self._plan_claim() is not None):
            self.tell_self(OrdersDue())
        self._dispatcher.wake_later(self._ledger.next_ready_us)
        self._lateness.wake_later(self._ledger.next_deadline_us)

    def _find(self, order_id: str) -> OrderRecord | None:
        return self._database.read(lambda database: queries.find(database, order_id))

    def _record_all(self) -> None:
        recorded: list[tuple[Batch, Recorded]] = []
        while self._unsettled:
            batch = self._unsettled.pop()
            began_us = self._context.queue_clock.now_us()
            try:
                stored = self._store(batch)
            except StoreUnavailable as error:
                self._put_off(batch, error)
            except IdempotencyKeyReused:  # since it was looked at, by another engine
                self._unsettled.append(self._without_reused(batch))
            except BaseException as error:
                self._is_in_doubt = True
                if batch.is_part:  # this is the one
                    self._refuse(batch, error)
                else:  # something in it cannot be recorded: the rest must not suffer
                    self.note_incident(error)
                    self._unsettled = [*batch.parts()][::-1]
            else:
                self._take_note(batch, stored, began_us)
                recorded.append((batch, stored))
        if self._is_in_doubt and self._context.store_trouble is None:
            self._guard(self._tell_anew)
        for batch, stored in recorded:
            if (failure := self._guard(partial(self._answer, batch, stored))) is not None:
                self._fail_all(batch, failure)

    def _store(self, batch: Batch) -> Recorded:
        if self._database.is_closed():
            self._reopen()
        at_us, queue_us = self._context.now()
        return self._ledger.record(
            batch.orders,
            batch.moves,
            at_us,
            batch.causes,
            batch.keys,
            queue_us,
            batch.acts,
            batch.claim,
            batch.tries,
        )

    def _make_ledger(self) -> Ledger:
        config = self._context.config
        return Ledger(
            self._database,
            config.window,
            config.key_policy,
            serial_users=config.serial_users,
            limits=config.work_limits,
            weights=config.user_weights,
        )

    def _obey_queues(self) -> None:
        self._ledger.obey_queues()
        self._dispatcher.wake_up()

    def _reopen(self) -> None:
        try:
            if not self._database.is_closed():
                self._database.check_replaceable()
            self._database.close()
            self._database = self._open_database()
        except DatabaseRefused as error:  # which tells of places, and those are not for clients
            self._log.log_seldom(logging.ERROR, "the database cannot be opened again: %s", error)
            raise StoreUnavailable(error.__cause__ or error) from error
        self._ledger = self._make_ledger()
        self._membership.use(self._database)
        self._maintenance.use(self._database)
        self._steering.use(self._database)
        self._webhooks.use(self._database)
        self._bulk_work.use(self._database)
        self._estimates.use(self._database)

    def _take_note(self, batch: Batch, recorded: Recorded, began_us: int) -> None:
        """Tell the others of a commit. Whatever goes wrong here, it stays a commit."""
        if self._context.store_trouble is not None:
            self._context.store_trouble = None
            self._log.log_seldom(logging.INFO, "the database takes writes again")
        self._write_again_seconds = _WRITE_AGAIN_SECONDS
        self._maintenance.count_steps(recorded)
        self._has_news = self._has_news or _is_news(recorded)
        self._guard(partial(self._announcements.forget_begun, recorded))
        self._guard(partial(self._give, batch, recorded))
        self._guard(partial(self._steering.judge, recorded.moved))
        self._guard(partial(self._announcements.tell_totals, batch.orders, recorded, began_us))
        self._guard(partial(self._announcements.wake, recorded))
        self._guard(partial(log_transitions, recorded, batch.causes))

    def _give(self, batch: Batch, recorded: Recorded) -> None:
        if (claimed := self._dispatcher.note(batch.claim, recorded)) is not None:
            self.tell(self._context.pool, claimed)
        if self._cancelling:
            for step in (*recorded.moved, *recorded.refused):
                if (commands := self._cancelling.pop(step.before.sequence, None)) is not None:
                    self._dispatcher.let_go(step.before.sequence)
                    self._planned_anew += commands

    def _guard(self, step: Callable[[], None]) -> BaseException | None:
        """Do something of which others must not suffer if it fails. Returns the error."""
        try:
            step()
        except BaseException as error:
            self.note_incident(error)
            self._is_in_doubt = True
            return error
        return None

    def _put_off(self, batch: Batch, error: StoreUnavailable) -> None:
        if isinstance(error, AuthorityLost):
            self._membership.lose()
        # Who waits for an answer gets the error.
        self._context.store_trouble = str(error)
        self._is_in_doubt = True
        self._keep(batch)
        self._answer_with(batch, error)
        self._write_again_later()
        self._log.log_seldom(logging.ERROR, "the database takes no writes: %s", error)

    def _keep(self, batch: Batch) -> None:
        # What a handler has done cannot be done again.
        self._unrecorded += batch.handled

    def _refuse(self, part: Batch, error: BaseException) -> None:
        if part.claim is not None:
            self._guard(partial(self._isolate, part.claim))
        self._answer_with(part, error)
        for step in part.handled:
            reason = f"its result cannot be recorded: {type(error).__name__}"
            if step.reason == reason:  # not even this: tried again with the next batch
                self._unrecorded.append(step)
                self._write_again_later()
            else:
                plain = move(step.before, lifecycle.FAIL, self._context.clock.now_us(), reason, error=reason)
                self._unsettled.append(Batch(handled=[plain], is_part=True))

    def _isolate(self, claim: Claim) -> None:
        config = self._context.config
        next_one = partial(next_in_line, claim=claim, limits=config.work_limits, key_policy=config.key_policy)
        sequence = self._database.read(next_one)
        if sequence is None:
            self._dispatcher.pause()
        elif claim.room == 1:
            self._dispatcher.leave_out(sequence)
        else:  # one of them alone may be the reason
            self._unsettled.append(Batch(claim=claim._replace(room=claim.room // 2), is_part=True))

    def _answer_with(self, batch: Batch, error: BaseException) -> None:
        if orders := batch.orders:
            self._guard(partial(self._announcements.release, orders))
        self._fail_all(batch, error)

    def _fail_all(self, batch: Batch, error: BaseException) -> None:
        for waiting in (*batch.submissions, *batch.tried, *(command for command, _ in batch.commands)):
            fail(waiting.reply, error)

    def _tell_anew(self) -> None:
        # After trouble, for one: what failed may have been stored all the same, and nobody was told.
        try:
            totals = self._database.read(queries.totals)
            is_limited = self._context.config.user_backlog is not None
            users = self._database.read(queries.backlog_by_user) if is_limited else None
            lost = self._database.read(self._dispatcher.find_lost)
        except StoreUnavailable as error:
            self._context.store_trouble = str(error)
            self._write_again_later()
            return
        self._is_in_doubt = False
        if lost is not None:
            self.tell(self._context.pool, lost)
        self._announcements.begin_anew(totals, users)

    def _answer(self, batch: Batch, recorded: Recorded) -> None:
        position = 0
        for submission in batch.submissions:
            end = position + len(submission.orders)
            answer(submission.reply, recorded.acceptances[position:end])
            position = end
        for command, step in batch.commands:
            if any(step is refused for refused in recorded.refused):  # another one of this transaction came first
                self._planned_anew.append(command)
            else:
                answer(command.reply, step.after)
        for told in batch.tried:
            answer(told.reply, None)
        if any(tried.is_gone for tried in batch.tries):
            self._ledger.outbox.load()
            self._context.wake_sender()

    def _prune(self) -> None:
        if not self._context.leads:
            self._maintenance.prune_later()
            return
        try:
            with self._database.leading():
                changes = self._maintenance.prune()
            if changes:
                self._announcements.tell_metrics(changes)
        except NotLeading:
            self._context.leads = False
        except StoreUnavailable as error:
            self._log.log_seldom(logging.ERROR, "old orders were not removed: %s", error)
            self._is_in_doubt = True  # or they were, and the answer was lost

    def _advance_actions(self) -> None:
        if not self._context.leads:
            return
        try:
            step = self._bulk_work.next_step()
            if step is not None:
                with self._database.leading():
                    self._take_bulk_step(step)
        except NotLeading:
            self._context.leads = False
        except StoreUnavailable as error:
            self._log.log_seldom(logging.ERROR, "a bulk action could not go on: %s", error)
            self._is_in_doubt = True  # or it has, and the answer was lost
            self._bulk_work.go_on_later()

    def _take_bulk_step(self, step: BulkStep) -> None:
        now = self._context.now()
        try:
            recorded = self._ledger.record((), step.moves, now.at_us, progress=step.progress)
        except (StoreUnavailable, NotLeading):
            raise
        except BaseException as error:  # the others must not suffer
            self._bulk_work.stop(step.progress.action_id, f"it cannot be recorded: {type(error).__name__}")
            self._bulk_work.go_on()
            raise
        self._take_note(Batch(), recorded, now.queue_us)
        self._bulk_work.go_on()

    def _tell_pool(self, message: object) -> None:
        self.tell(self._context.pool, message)

    def _write_again_later(self) -> None:
        # One timer, however many transactions have failed; it comes less often the longer they do.
        if not self._will_write_again:
            self._will_write_again = True
            self.tell_self_after(self._write_again_seconds, WakeUp())
            self._write_again_seconds = min(2 * self._write_again_seconds, _WRITE_AGAIN_AT_THE_LATEST_SECONDS)


def _is_news(recorded: Recorded) -> bool:
    """Whether somebody may wait for it at another engine, or another one may have processors for what is left."""
    taken = recorded.taken
    is_left = sum(taken[edge] for edge in taken if edge.target is OrderStatus.PENDING) > taken[lifecycle.ASSIGN]
    return is_left or not lifecycle.FINISHES.isdisjoint(taken)
