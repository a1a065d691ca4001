"""OrderEngine: starts the actors, passes on what its callers want, stops everything in order."""

from __future__ import annotations

import os
import weakref
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from socket import socket
from types import TracebackType
from typing import Any, Self, TypeVar

from pykka import ActorDeadError

from ..store.connect import connect
from ..store.domain.errors import EngineStopped, InvalidArgument, StoreUnavailable
from ..store.statements import Database
from .actors.context import EngineContext
from .actors.messages import Attend
from .clock import Clock
from .config import EngineConfig, ExecutorKind
from .deadlines import DeadlineCheck, has_deadline
from .execution.handler import Handler, Probe, Simulated, check_callable
from .execution.runner_factory import runner_factory
from .interface import Engine
from .life import IS_INHERITED, Life, Phase
from .recovery import Recovered
from .rehearsal.rehearsals import BUDGET_SECONDS, LIMIT_BYTES, LIMIT_SECONDS
from .rehearsal.rehearse import Question
from .reply import answer
from .requests import (
    AwaitEvents,
    AwaitOrder,
    CancelOrder,
    ChangeWebhooks,
    Drain,
    DrawChart,
    ListProcessors,
    PauseEngine,
    ReadControl,
    ReadQueues,
    Rehearse,
    Request,
    RescheduleOrder,
    ResumeEngine,
    RetryOrder,
    SetProcessors,
    SetQueue,
    SettleOrder,
    StartAction,
    StopAction,
    SubmitOrders,
    TakeExposition,
    TakeOutlook,
    TakePromises,
    TakeSnapshot,
)
from .startup import RunningEngine, start_actors

T = TypeVar("T")

_SIMULATED = "work is simulated, since no handler is given: orders become Completed, and nothing is done for them"


class OrderEngine(Engine):
    """Takes orders, keeps them safe, and puts each through a handler.

    Use it in a `with` block, or call `start` and `stop`. All methods may be called from any thread. An engine that is
    not stopped is stopped when the program ends, or when nothing refers to it any more. A child that is forked from the
    process while the engine runs does not have it: there every call raises EngineStopped.

    Example:
        >>> def charge(order):
        ...     print("charging", order.user_id, order.total_amount)
        >>> order = Order(order_id="o-1", user_id="u-1", item_ids=("sku-1",), total_amount=Decimal("19.99"))
        >>> with OrderEngine("orders.db", handler=charge) as engine:
        ...     receipt = engine.submit(order)
        ...     receipt.wait(timeout=30)
        charging u-1 19.99
        <OrderStatus.COMPLETED: 'Completed'>

    Args:
        database: a path, created where it does not exist; or a URL such as `sqlite:///orders.db` or
            `postgresql://host/database`.
        handler: called with each order; see `Handler`. Without one, work is simulated.
        probe: asked about orders whose handler was cut short; see `Probe`. The handler's attribute `probe` by default.
        executor: where the handler runs: `threads`, `processes`, the address of a Dask scheduler as
            `dask://host:8786`, or an executor of your own, which is not shut down.
        clock: where the time comes from; the machine's by default.
        settings: the fields of `EngineConfig`, by name.

    Raises:
        InvalidConfiguration: a setting is unknown or out of range, the address names no database, or the handler's work
            would not be done by calling it.
    """

    def __init__(
        self,
        database: str | os.PathLike[str],
        *,
        handler: Handler | None = None,
        probe: Probe | None = None,
        executor: Executor | str = ExecutorKind.THREADS,
        clock: Clock | None = None,
        **settings: Any,
    ) -> None:
        own = executor if isinstance(executor, Executor) else None
        self.config = EngineConfig.of(settings if own is not None else {**settings, "executor": executor})
        """The settings in force."""
        self._handler = Simulated(self.config.simulate_seconds) if handler is None else handler
        check_callable(self._handler, "handler")
        self._backend = connect(database)
        self.path = self._backend.path
        """The database file; None where a server has it."""
        self.address = self._backend.address
        """The database, as another process names it; the URL of a server's may have a password."""
        self.database_name = self._backend.name
        """The database, as people are told of it."""
        self.recovered = Recovered()
        """What the last start found in hand of an engine that had died, and did with it."""
        self._probe = getattr(handler, "probe", None) if probe is None else probe
        if self._probe is not None:
            check_callable(self._probe, "probe")
        where = self.config.executor if own is None else own
        self._runners = runner_factory(self._handler, where, self.config.handler_timeout)
        self._given_clock = clock
        self._life = Life()
        weakref.finalize(self, self._life.begin_stop).atexit = False  # the end of the program is its life's business

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Open the database, settle what an earlier engine left in hand, and begin to work; nothing if it is running.

        Where a stop is under way, it is waited for first.

        Raises:
            InvalidConfiguration: the handler cannot run where it is to run.
            DatabaseRefused: the database is not usable, or another engine works on it.
            StoreUnavailable: the database does not take writes.
            EngineStopped: a signal's handler has called `stop` meanwhile, or it is the parent's of this process.
        """
        self._life.start(self._start_actors)

    def _start_actors(self) -> RunningEngine:
        is_simulated = isinstance(self._handler, Simulated)
        running = start_actors(
            self._backend, self.config, self._runners, self._probe, self._given_clock, is_simulated=is_simulated
        )
        self.recovered = running.recovered
        return running

    def stop(self) -> None:
        """Take no more orders, wait for those in hand, then end all actors; nothing if it is not running.

        An order whose handler does not return within `stop_seconds` goes back to Pending, or to Review where
        `on_interrupted` says so; with a probe it stays Processing, and the next start asks. Results that the database
        does not take are tried again as long. Nothing is lost. A second Ctrl-C interrupts only the waiting: the stop
        goes on, and `stop` waits for it again. `pykka.ActorRegistry.stop_all()` does the same as this.
        """
        self._life.stop()

    def interrupt_waits(self) -> None:
        """Have every `wait` end with EngineStopped, now and from now on: for a server that is about to stop."""
        running = self._life.running
        if running is not None:
            running.context.waiters.close()
            running.context.event_waiters.close()
            running.rehearsals.stop()

    def unready_reasons(self) -> tuple[str, ...]:
        """Why the engine is not ready to take orders, in words for people; empty while it is."""
        running = self._life.running
        if running is None:
            return (f"the engine is {self._life.phase}",)
        context = running.context
        reasons = [*self.dead_actors()]
        if context.store_trouble is not None:
            reasons.append(context.store_trouble)
        elif context.database is not None and (fault := context.database.known_fault()) is not None:
            reasons.append(str(StoreUnavailable(fault)))  # before any order has met with it
        for reason, count in context.unfit.items():
            reasons.append(f"{count} of {context.processors} processors cannot work: {reason}")
        if context.missing:
            overrun = f"{context.abandoned} handlers have overrun their time"
            reasons.append(f"{overrun}: {context.missing} processors are missing")
        return tuple(reasons)

    def warnings(self) -> tuple[str, ...]:
        """What an operator should mend although orders are taken, in words for people; empty where there is nothing."""
        running = self._life.running
        if running is None:
            return ()
        return (*running.context.warnings(), *((_SIMULATED,) if running.context.is_simulated else ()))

    def incidents(self) -> Counter[str]:
        """Unexpected errors since the start, by actor; each was logged, and the actor went on."""
        running = self._life.running
        return Counter() if running is None else running.context.incidents.counts()

    def dead_actors(self) -> tuple[str, ...]:
        """Actors that have died, which none should, in words for people; empty while all live."""
        running = self._life.running
        if running is None:
            return ()
        names = ("intake", "recorder", "pool", "metrics")
        return tuple(f"the {name} actor has died" for name in names if not getattr(running.context, name).is_alive())

    def _need(self) -> RunningEngine:
        running = self._life.running
        if running is None:
            raise self._stopped()
        return running

    def _stopped(self) -> EngineStopped:
        if self._life.phase is Phase.INHERITED:
            return EngineStopped(IS_INHERITED)
        if self._life.phase in (Phase.CREATED, Phase.STARTING):
            return EngineStopped("The engine is not running: use it in a `with` block, or call start() first.")
        return EngineStopped()

    def expect_orders(self, *, are_coming: bool) -> None:
        """Say that orders are being read, or that all have been sent which were: a commit may wait a moment for them.

        Args:
            are_coming: whether some are.
        """
        if (running := self._life.running) is not None:
            incoming = running.context.incoming
            incoming.expect() if are_coming else incoming.end()

    def attend(self, file: socket, read: Callable[[], bool]) -> None:
        """Have a socket that orders come from read by the thread that commits them, whenever it is about to.

        Args:
            file: it.
            read: reads what is there, without waiting; whether that may happen again. It raises nothing.

        Raises:
            EngineStopped: the engine is not running.
        """
        with self._life.gate:
            self._need().context.recorder.tell(Attend(file, read))

    def send(self, request: Request) -> None:
        """Pass on a request, whose reply will be set.

        Raises:
            EngineStopped: the engine is not running.
            OrderNotFound, StoreUnavailable: for an AwaitOrder, as `order`.
            StoreUnavailable: for an AwaitEvents, as `event_page`.
            RehearsalsBusy: for a Rehearse, as `rehearse`.
        """
        if isinstance(request, AwaitOrder):
            self._await(request, self._need().context)
        elif isinstance(request, AwaitEvents):
            self._await_events(request, self._need().context)
        elif isinstance(request, Rehearse):
            self._rehearse(request)
        elif isinstance(request, SubmitOrders):
            self._submit(request, self._pass_on)
        else:
            self._pass_on(request)

    def hand_in(self, request: SubmitOrders) -> None:
        """As `send`, for whoever reads what `attend` was called with: they are admitted without any other thread.

        Raises:
            EngineStopped: the engine is not running.
        """
        self._submit(request, self._admit)

    def _submit(self, request: SubmitOrders, pass_on: Callable[[SubmitOrders], None]) -> None:
        if (tracing := self._need().context.tracing) is None:
            self._check(request, pass_on)
        else:
            with tracing.sending(request) as followed:
                self._check(followed, pass_on)

    def _check(self, request: SubmitOrders, pass_on: Callable[[SubmitOrders], None]) -> None:
        if any(map(has_deadline, request.orders)):
            DeadlineCheck(request, self.config.min_confidence, self._pass_on, self._need().context).begin()
        else:
            pass_on(request)

    def _admit(self, request: SubmitOrders) -> None:
        with self._life.gate:
            self._need().context.admit(request)

    def _pass_on(self, request: Request) -> None:
        # Whatever is told while the gate is open is in the mailbox before the first word of a stop.
        with self._life.gate:
            context = self._need().context
            match request:
                case SubmitOrders():
                    actor = context.intake
                case TakeSnapshot() | TakeExposition() | DrawChart() | ListProcessors() | Drain():
                    actor = context.metrics
                case TakeOutlook() | TakePromises():
                    actor = context.metrics
                case CancelOrder() | RetryOrder() | SettleOrder() | RescheduleOrder() | AwaitOrder():
                    actor = context.recorder
                case PauseEngine() | ResumeEngine() | SetProcessors() | ReadControl() | StartAction() | StopAction():
                    actor = context.recorder
                case SetQueue() | ReadQueues() | ChangeWebhooks():
                    actor = context.recorder
                case _:
                    raise InvalidArgument(f"{type(request).__name__} is not a request that an engine takes.")
            try:
                actor.tell(request)
            except ActorDeadError:  # a signal's handler has stopped the engine in this thread, gate or not
                raise EngineStopped from None

    def _await(self, request: AwaitOrder, context: EngineContext) -> None:
        waiters = context.waiters
        may_wait = waiters.enter(request)
        try:
            is_over = self.status(request.order_id).is_terminal
        except BaseException:
            waiters.leave(request)
            raise
        if not is_over:
            if not may_wait:
                raise EngineStopped
            context.hurry_results()
        if is_over and (waiters.leave(request) or not may_wait):
            # By way of the recorder, which first tells intake and the metrics what it has recorded.
            self._pass_on(request)

    def _await_events(self, request: AwaitEvents, context: EngineContext) -> None:
        may_wait = context.event_waiters.enter(request)
        try:
            is_there = self.last_event_id() > request.after
        except BaseException:
            context.event_waiters.leave(request)
            raise
        if is_there:
            answer(request.reply, None)
        elif not may_wait:
            raise EngineStopped

    def _rehearse(self, request: Rehearse) -> None:
        running = self._need()
        context = running.context
        now = context.now()
        question = Question(
            self.address,
            request.scenario,
            self.config,
            context.processors,
            context.control.is_paused,
            context.control.paused_until_us,
            context.clock.now_us(),
            now.queue_us,
            BUDGET_SECONDS,
            LIMIT_SECONDS,
            LIMIT_BYTES,
        )
        running.rehearsals.begin(question, request.reply)

    def _read(self, query: Callable[[Database], T]) -> T:
        if (reader := self._life.reader) is None:
            raise self._stopped()
        return reader.read(query)
