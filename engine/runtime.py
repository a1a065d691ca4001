"""OrderEngine: starts the actors, passes on what its callers want, stops everything in order."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from peewee import DatabaseError
from playhouse.pool import (  # type: ignore[import-untyped]  # has no types
    MaxConnectionsExceeded,
    PooledSqliteDatabase,
)
from pykka import ActorRef, Future, ThreadingFuture, Timeout

from ..store import database as store
from ..store import lifecycle, queries
from ..store.errors import EngineStopped, InvalidConfiguration, OrderConflict, OrderNotFound, StoreUnavailable
from ..store.ledger import Acceptance, Outcome
from ..store.lifecycle import OrderStatus
from ..store.order import Order
from ..store.record import OrderRecord, Transition
from . import messages
from .clock import Clock
from .config import EngineConfig
from .crew import Crew
from .handler import Handler, simulated
from .receipt import Receipt
from .recovery import Recovered
from .running import Running, put_up, take_down, take_down_forgotten
from .snapshot import MetricsSnapshot

T = TypeVar("T")


class OrderEngine:
    """Takes orders, keeps them safe, and puts each through a handler.

    Use it in a `with` block, or call `start` and `stop`. All methods may be called from any thread. An engine that is
    not stopped is stopped when the program ends, or when nothing refers to it any more.

    Args:
        database: a path, or a URL such as `sqlite:///orders.db`; created where it does not exist.
        handler: called with each order; see `Handler`. Without one, work is simulated.
        clock: where the time comes from; the machine's by default.
        settings: the fields of `EngineConfig`, by name.

    Raises:
        InvalidConfiguration: a setting is unknown or out of range, or the address names no database.
    """

    def __init__(
        self,
        database: str | os.PathLike[str],
        *,
        handler: Handler | None = None,
        clock: Clock | None = None,
        **settings: Any,
    ) -> None:
        self.config = EngineConfig.of(settings)
        """The settings in force."""
        self.path = store.locate(database)
        """The database file."""
        self.recovered = Recovered()
        """What the last start found in hand of an engine that had died, and did with it."""
        if handler is not None and not callable(handler):
            raise InvalidConfiguration(f"The handler must be callable with an order; {handler!r} is not.")
        self._handler = handler or simulated(self.config.simulate_seconds)
        self._given_clock = clock
        self._lifecycle = threading.Lock()
        self._gate = threading.Lock()
        self._running: Running | None = None
        self._at_exit = partial(_stop_at_exit, weakref.ref(self))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Open the database, settle what an earlier engine left in hand, and begin to work; nothing if it is running.

        Raises:
            DatabaseRefused: the database is not usable, or another engine works on it.
            StoreUnavailable: the database does not take writes.
        """
        with self._lifecycle:
            if self._running is None:
                running = put_up(self.path, self.config, self._handler, self._given_clock)
                self.recovered = running.recovered
                with self._gate:
                    self._running = running
                self._when_forgotten = weakref.finalize(self, take_down_forgotten, running)
                self._when_forgotten.atexit = False
                atexit.register(self._at_exit)

    def stop(self) -> None:
        """Take no more orders, wait for those in hand, then end all actors; nothing if it is not running.

        An order whose handler does not return within `stop_seconds` goes back to Pending. Nothing is lost.
        """
        with self._lifecycle:
            with self._gate:
                running, self._running = self._running, None
            if running is not None:
                self._when_forgotten.detach()
                atexit.unregister(self._at_exit)
                take_down(running)

    def submit(self, order: Order) -> Receipt:
        """Accept an order. Returns when it is safely on disk.

        The very same order may be submitted again: it is stored and handled once.

        Raises:
            OrderConflict: its id is taken by an order with other content.
            BacklogFull: too many orders are unfinished.
            StoreUnavailable: the database did not take it.
            EngineStopped: the engine is not running.
        """
        (receipt,) = self.submit_many((order,))
        if receipt.outcome is Outcome.CONFLICT:
            raise OrderConflict(order.order_id)
        return receipt

    def submit_many(self, orders: Iterable[Order]) -> list[Receipt]:
        """Accept orders in one transaction. Returns when all are safely on disk.

        Returns:
            A receipt for each, in the same sequence. One whose id is taken by other content has the outcome
            `conflict` and does not keep the others out.

        Raises:
            BacklogFull: there is no room for all of them; none was accepted.
            StoreUnavailable: the database did not take them; none was accepted.
            EngineStopped: the engine is not running.
        """
        wanted = tuple(orders)
        if not wanted:
            return []
        accepted: list[Acceptance] = self._ask(lambda crew: crew.intake, partial(messages.SubmitOrders, wanted))
        return [Receipt(acceptance, self.wait) for acceptance in accepted]

    def cancel(self, order_id: str) -> OrderRecord:
        """Cancel an order that is Pending.

        Returns:
            The order as it is afterwards.

        Raises:
            OrderNotFound: there is none of that id.
            TransitionRefused: it is not Pending.
            StoreUnavailable: the database did not take it.
            EngineStopped: the engine is not running.
        """
        record: OrderRecord = self._ask(lambda crew: crew.recorder, partial(messages.CancelOrder, order_id))
        return record

    def retry(self, order_id: str) -> OrderRecord:
        """Put an order that is Failed or in Review back to Pending. If the attempts are used up it gets one more.

        Returns:
            The order as it is afterwards.

        Raises:
            As `cancel`.
        """
        record: OrderRecord = self._ask(lambda crew: crew.recorder, partial(messages.RetryOrder, order_id))
        return record

    def settle(self, order_id: str, status: OrderStatus, reason: str = "settled by an operator") -> OrderRecord:
        """End the Review of an order.

        Args:
            order_id: the order.
            status: Completed or Failed.
            reason: why; it goes into the history.

        Returns:
            The order as it is afterwards.

        Raises:
            InvalidConfiguration: `status` is neither Completed nor Failed.
            As `cancel`.
        """
        if status not in (lifecycle.SETTLE_COMPLETED.target, lifecycle.SETTLE_FAILED.target):
            raise InvalidConfiguration(f"An order is settled as Completed or Failed, not as {status}.")
        record: OrderRecord = self._ask(
            lambda crew: crew.recorder, partial(messages.SettleOrder, order_id, status, reason)
        )
        return record

    def order(self, order_id: str) -> OrderRecord:
        """An order and where it is.

        Raises:
            OrderNotFound: there is none of that id.
            StoreUnavailable: the database did not answer.
            EngineStopped: the engine is not running.
        """
        record = self._read(lambda database: queries.find(database, order_id))
        if record is None:
            raise OrderNotFound(order_id)
        return record

    def status(self, order_id: str) -> OrderStatus:
        """Where an order is; raises as `order`."""
        return self.order(order_id).status

    def history(self, order_id: str) -> tuple[Transition, ...]:
        """How an order got there, oldest first; raises as `order`."""
        transitions = self._read(lambda database: queries.history(database, order_id))
        if not transitions:
            raise OrderNotFound(order_id)
        return transitions

    def orders(
        self,
        *,
        status: OrderStatus | None = None,
        user_id: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[OrderRecord]:
        """Orders, newest first.

        Args:
            status: only these.
            user_id: only this user's.
            before: only those with a `sequence` below this one: the last of a page leads to the next page.
            limit: how many at the most.

        Raises:
            EngineStopped: the engine is not running.
        """
        return self._read(partial(queries.page, status=status, user_id=user_id, before=before, limit=limit))

    def wait(self, order_id: str, timeout: float | None = None) -> OrderStatus:
        """Wait until processing is over for an order.

        Args:
            order_id: the order.
            timeout: seconds; None waits for ever.

        Returns:
            Completed, Failed or Cancelled.

        Raises:
            TimeoutError: it was not over in time.
            OrderNotFound: there is no order of that id.
            EngineStopped: the engine is not running, or stopped meanwhile.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        room = self._need().crew.waiting_room
        while True:
            with room.place(order_id) as woken:
                status = self.status(order_id)
                if status.is_terminal:
                    return status
                remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
                if room.is_closed:
                    raise EngineStopped
                if not woken(remaining):
                    raise TimeoutError(f"Order {order_id!r} is still {status} after {timeout} s.")

    def drain(self, timeout: float | None = None) -> MetricsSnapshot:
        """Wait until nothing is Pending or Processing.

        Args:
            timeout: seconds; None waits for ever.

        Returns:
            The metrics of that moment.

        Raises:
            TimeoutError: that did not happen in time.
            EngineStopped: the engine is not running, or stopped meanwhile.
        """
        try:
            return self._ask(lambda crew: crew.metrics, messages.Drain, timeout)
        except Timeout:
            raise TimeoutError(f"{self.metrics().backlog} orders are unfinished after {timeout} s.") from None

    def metrics(self) -> MetricsSnapshot:
        """How the engine is doing. Whatever was acknowledged before is in it.

        Raises:
            EngineStopped: the engine is not running.
        """
        return self._ask(lambda crew: crew.metrics, messages.TakeSnapshot)

    def interrupt_waits(self) -> None:
        """Have every `wait` end with EngineStopped, now and from now on: for a door that is about to close."""
        running = self._running
        if running is not None:
            running.crew.waiting_room.close()

    def trouble(self) -> tuple[str, ...]:
        """Why the engine is not ready to take orders, in words for people; empty while it is."""
        running = self._running
        if running is None:
            return ("the engine is not running",)
        crew = running.crew
        trouble = [*self.dead_actors()]
        if crew.store_trouble is not None:
            trouble.append(crew.store_trouble)
        if crew.missing:
            trouble.append(f"{crew.abandoned} handlers have overrun their time: {crew.missing} processors are missing")
        return tuple(trouble)

    def incidents(self) -> Counter[str]:
        """Unexpected errors since the start, by actor; each was logged, and the actor went on."""
        running = self._running
        return Counter() if running is None else Counter(incident.actor for incident in running.crew.incidents)

    def dead_actors(self) -> tuple[str, ...]:
        """Actors that have died, which none should, in words for people; empty while all live."""
        running = self._running
        if running is None:
            return ()
        names = ("intake", "recorder", "pool", "metrics")
        return tuple(f"the {name} actor has died" for name in names if not getattr(running.crew, name).is_alive())

    def _need(self) -> Running:
        running = self._running
        if running is None:
            raise EngineStopped("The engine is not running: use it in a `with` block, or call start() first.")
        return running

    def _ask(
        self,
        choose: Callable[[Crew], ActorRef[Any]],
        message: Callable[[Future[T]], object],
        timeout: float | None = None,
    ) -> T:
        reply: Future[T] = ThreadingFuture()
        # Whatever is told while the gate is open is in the mailbox before the first word of a stop.
        with self._gate:
            choose(self._need().crew).tell(message(reply))
        return reply.get(timeout=timeout)

    def _read(self, query: Callable[[PooledSqliteDatabase], T]) -> T:
        running = self._need()
        try:
            with running.readers.connection_context():
                return query(running.readers)
        except (DatabaseError, MaxConnectionsExceeded) as error:
            raise StoreUnavailable(error) from error
        finally:
            if self._running is not running:  # stopped meanwhile, when this connection was in use: close it as well
                running.readers.close_idle()


def _stop_at_exit(engine: weakref.ref[OrderEngine]) -> None:
    if (running := engine()) is not None:
        running.stop()
