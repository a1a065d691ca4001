"""Bulk work: carries out what operators do to many orders, some of them between two commits."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ...store import bulk_actions, queries
from ...store.domain.act import edge_of
from ...store.domain.bulk_action import ActionProgress, BulkAction
from ...store.domain.errors import ActionNotFound, StoreUnavailable, TransitionRefused
from ...store.domain.order_filter import OrderPage
from ...store.domain.record import Move, move
from ...store.writer import Writer
from ..clock import Timer
from ..reply import answer, fail
from ..requests import StartAction, StopAction
from .context import EngineContext
from .messages import AdvanceActions

_MOVED_AT_ONCE = 200
_LOOKED_AT_AT_ONCE = 1_000
_AGAIN_SECONDS = 1.0


class BulkStep(NamedTuple):
    """What the next transaction does of a bulk action."""

    moves: list[Move]
    progress: ActionProgress


class BulkWork:
    """Begins, carries out and stops bulk actions.

    Args:
        context: the engine's clocks.
        database: the connection that writes.
        tell: tells the recorder a message.
        tell_after: likewise, after some seconds.
    """

    def __init__(
        self,
        context: EngineContext,
        database: Writer,
        tell: Callable[[object], None],
        tell_after: Callable[[float, object], Timer],
    ) -> None:
        self._context = context
        self._tell = tell
        self._tell_after = tell_after
        self._commands: list[StartAction | StopAction] = []
        self._is_due = False
        self.use(database)

    def use(self, database: Writer) -> None:
        """From now on, this connection is the one that writes."""
        self._database = database

    def note(self, message: StartAction | StopAction | AdvanceActions) -> None:
        """The recorder was told this: it is done between two of its transactions."""
        if isinstance(message, AdvanceActions):
            self._is_due = True
        else:
            self._commands.append(message)

    def obey(self) -> None:
        """Begin and stop what was noted: one that goes wrong keeps no other from being done.

        Raises:
            BaseException: what was unexpected of the last that went wrong; whoever waits for its answer has got it.
        """
        commands, self._commands = self._commands, []
        failure: BaseException | None = None
        for command in commands:
            try:
                action = self._start(command) if isinstance(command, StartAction) else self._stop(command)
            except BaseException as error:
                fail(command.reply, error)
                if not isinstance(error, StoreUnavailable | ActionNotFound):
                    failure = error
            else:
                answer(command.reply, action)
        if failure is not None:
            raise failure

    def next_step(self) -> BulkStep | None:
        """What the next transaction does; None where there is nothing to do, or it is not due.

        Raises:
            StoreUnavailable: the database did not answer.
        """
        if not self._is_due:
            return None
        self._is_due = False
        action = self._database.read(bulk_actions.first_running)
        return None if action is None else self._plan(action)

    def go_on(self) -> None:
        """Have the rest done after what waits in the mailbox."""
        self._tell(AdvanceActions())

    def go_on_later(self) -> None:
        """Have it tried again in a while, since it has failed."""
        self._tell_after(_AGAIN_SECONDS, AdvanceActions())

    def stop(self, action_id: int, reason: str) -> None:
        """Carry a bulk action out no further, since one of its orders cannot be recorded.

        Raises:
            StoreUnavailable: the database did not take it.
        """
        action = self._database.read(lambda database: bulk_actions.find(database, action_id))
        if action is not None:
            bulk_actions.stop(self._database, action_id, reason, action.cause, self._context.clock.now_us())

    def _start(self, command: StartAction) -> BulkAction:
        before = self._database.read(queries.last_sequence) + 1
        now = self._context.clock.now_us()
        action = bulk_actions.start(
            self._database, command.request, command.reason, command.cause, command.matched, before, now
        )
        self.go_on()
        return action

    def _stop(self, command: StopAction) -> BulkAction:
        now = self._context.clock.now_us()
        bulk_actions.stop(self._database, command.action_id, command.reason, command.cause, now)
        action = self._database.read(lambda database: bulk_actions.find(database, command.action_id))
        if action is None:
            raise ActionNotFound(command.action_id)
        return action

    def _plan(self, action: BulkAction) -> BulkStep:
        page: OrderPage = self._database.read(
            lambda database: bulk_actions.next_orders(
                database, action.request, before=action.before, limit=_MOVED_AT_ONCE, scanned=_LOOKED_AT_AT_ONCE
            )
        )
        at_us, queue_us = self._context.now()
        moves: list[Move] = []
        request = action.request
        for record in page.orders:
            edge = edge_of(request.action, record, request.settled)
            try:
                moves.append(move(record, edge, at_us, action.reason, ready_us=queue_us, cause=action.cause))
            except TransitionRefused:
                continue
        refused = len(page.orders) - len(moves)
        before = 0 if page.before is None else page.before
        return BulkStep(moves, ActionProgress(action.id, before, refused, page.before is None))
