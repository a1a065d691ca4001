"""What exists between the start and the stop of an engine: started in one sequence, stopped in another."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

from pykka import ActorDeadError, ActorRef, Timeout

from ..store import engines, outbox, queries, trace_contexts
from ..store.backend import Backend, Listener, Lock
from ..store.control import read_control
from ..store.domain import lifecycle
from ..store.domain.errors import InvalidConfiguration
from ..store.reader import Reader
from ..store.translation import translated_errors
from ..store.writer import Writer
from .actors import messages
from .actors.backlog import Backlog
from .actors.context import EngineContext
from .actors.intake import IntakeActor
from .actors.membership import declare_dead
from .actors.metrics import MetricsActor
from .actors.pool import PoolActor, most_processing
from .actors.recorder import RecorderActor
from .clock import Clock, SystemClock
from .config import EngineConfig
from .execution import begun
from .execution.handler import Probe
from .execution.runner import Runners
from .logger import EngineLogger
from .process_identity import process_identity
from .recovery import Recovered, recover
from .rehearsal.rehearsals import Rehearsals
from .reply import Reply
from .tracing import Tracing
from .webhooks.sender import WebhookSender

MAX_READERS = 8
"""Threads that read at the same time, of those that call an engine: more would only take the time of its actors."""
_READING_ACTORS = 2
_READING_SENDER = 2
_WRITE_AGAIN_SECONDS = 0.2

_log = EngineLogger("ordermill.engine")


class RunningEngine(NamedTuple):
    """An engine at work."""

    context: EngineContext
    runners: Runners
    """Where the handler runs."""
    reader: Reader
    """For whoever calls the engine."""
    own_reader: Reader
    """For the actors, who wait for nobody else's reading."""
    sender: WebhookSender
    rehearsals: Rehearsals
    listener: Listener
    """Hears from other engines."""
    lock: Lock
    """Keeps other engines from the database."""
    owns_clock: bool
    """Whether the clock ends with the engine."""
    recovered: Recovered
    """What was found in hand of an engine that had died, and what became of it."""


def start_actors(
    backend: Backend,
    config: EngineConfig,
    runners: Runners,
    probe: Probe | None,
    given_clock: Clock | None,
    *,
    is_simulated: bool,
) -> RunningEngine:
    """Open the database, settle what an earlier engine left in hand, and start the actors.

    Args:
        backend: the database.
        config: the settings.
        runners: gives each processor a place to run the handler at.
        probe: asked about orders whose handler was cut short.
        given_clock: where the time comes from; the machine's by default.
        is_simulated: whether work is only simulated.

    Raises:
        InvalidConfiguration: the handler cannot run where it is to run.
        DatabaseRefused: the database is not usable, or another engine works on it.
        StoreUnavailable: the database does not take reads or writes.
    """
    with ExitStack() as undo:
        undo.callback(runners.close)
        trouble = runners.open()
        first = runners.make()
        undo.callback(first.close)
        if (trouble := trouble or first.check()) is not None:
            raise InvalidConfiguration(f"The engine cannot start: {trouble}.")
        lock = backend.lock()
        undo.callback(lock.release)
        open_database = partial(_open_writer, lock, backend, config)
        database = open_database()
        undo.callback(database.close)
        with translated_errors():
            clock = given_clock or SystemClock()
            if given_clock is None:
                undo.callback(clock.close)
            context = EngineContext(
                config=config,
                clock=clock,
                make_runner=chain([first], iter(runners.make, None)).__next__,
                slots=runners.slots,
                probe=probe,
                last_step_us=queries.last_transition_us(database),
                is_simulated=is_simulated,
                control=read_control(database),
            )
            for warning in context.warnings():
                _log.warning("%s", warning)
            if database.is_shared:
                declare_dead(database)
            recovered = recover(database, context, begun.read(backend.path, engines.last(database)))
            # What the last run has left behind is settled: only now may the notes of this one take its place.
            lease_us = round(config.lease_seconds * 1e6) if database.is_shared else None
            context.engine_id = engines.join(database, clock.now_us(), process_identity(), context.processors, lease_us)
            if database.is_shared:
                alive = engines.living(database)
                context.leads, context.is_alone = alive[0].id == context.engine_id, len(alive) == 1
            context.begun = _note_begun(backend.path, context.engine_id, context.processors)
            totals = queries.totals(database)
            users = Counter() if config.user_backlog is None else queries.backlog_by_user(database)
            reader, own_reader = Reader(backend, MAX_READERS), Reader(backend, _READING_ACTORS)
            if config.tracing:
                context.tracing = Tracing(lambda sequence: reader.read(partial(trace_contexts.find, sequence=sequence)))
            has_webhooks = bool(outbox.targets(database, clock.now_us()))
            sender = WebhookSender(context, Reader(backend, _READING_SENDER))
            context.wake_sender = sender.wake
            # It reads as well, so it is the first: where that fails, no actor is left behind.
            context.recorder = RecorderActor.start(context, open_database, database)
            undo.callback(context.recorder.stop)
        context.metrics = MetricsActor.start(context, totals, own_reader)
        undo.callback(context.metrics.stop)
        backlog = Backlog(config, clock, sum(totals[status] for status in lifecycle.BACKLOG), users)
        context.intake = IntakeActor.start(context, backlog, own_reader)
        undo.callback(context.intake.stop)
        context.pool = PoolActor.start(context)
        undo.callback(context.pool.stop)
        listener = backend.listen(lambda: context.engine_id, partial(_tell, context.recorder, messages.LookAround()))
        undo.pop_all()
    runners.watch(partial(_tell, context.pool, messages.SlotsChanged()))
    context.pool.tell(messages.WakeUp())
    context.recorder.tell(messages.PruneOrders())
    context.recorder.tell(messages.CheckFiles())
    context.recorder.tell(messages.EndPause())
    context.recorder.tell(messages.AdvanceActions())
    context.recorder.tell(messages.JudgeEstimates())
    if has_webhooks:
        sender.wake()
    rehearsals, owns_clock = Rehearsals(), given_clock is None
    return RunningEngine(
        context, runners, reader, own_reader, sender, rehearsals, listener, lock, owns_clock, recovered
    )


def _tell(actor: ActorRef[Any], message: object) -> None:
    with suppress(ActorDeadError):  # it has stopped meanwhile
        actor.tell(message)


def _open_writer(lock: Lock, backend: Backend, config: EngineConfig) -> Writer:
    lock.check()
    return backend.open_writer(config.durability, skip_upgrade_copy=config.skip_upgrade_copy)


def _note_begun(path: Path | None, run_id: int, processors: int) -> begun.BegunFile | None:
    if path is None:  # the next engine may run on another machine
        return None
    try:
        return begun.BegunFile(path, run_id, most_processing(processors))
    except OSError as error:
        _log.warning("no file for what has begun (%s): after a crash, all that was claimed counts as begun", error)
        return None


def stop_actors(running: RunningEngine) -> None:
    """Take no more orders, wait for those in hand, record how they ended, then end all actors. Reads go on.

    Whatever goes wrong, the database is free for the next engine in the end.
    """
    context = running.context
    with ExitStack() as last:  # the last first
        last.callback(running.lock.release)
        last.callback(running.reader.close)
        last.callback(running.own_reader.close)
        if running.owns_clock:
            last.callback(context.clock.close)
        last.callback(running.runners.close)
        last.callback(context.waiters.close)
        last.callback(context.event_waiters.close)
        # The recorder first, which tells the others what it records at the last.
        for actor in (context.metrics, context.intake, context.pool, context.recorder):
            last.callback(actor.stop)
        last.callback(running.listener.close)
        last.callback(running.sender.stop)
        last.callback(running.rehearsals.stop)
        _finish_work(context, monotonic() + context.config.stop_seconds)


def _finish_work(context: EngineContext, deadline: float) -> None:
    context.recorder.tell(messages.EndBy(deadline))
    closed: Reply[None] = Reply()
    context.intake.tell(messages.Close(closed))
    closed.get()
    idle: Reply[None] = Reply()
    context.pool.tell(messages.StopWork(idle))
    try:
        idle.get(timeout=max(0.0, deadline - monotonic()))
    except Timeout:
        context.pool.tell(messages.AbandonWork())
        idle.get()
    while _results_left(context) and (seconds := deadline - monotonic()) > 0:
        sleep(min(_WRITE_AGAIN_SECONDS, seconds))


def _results_left(context: EngineContext) -> int:
    left: Reply[int] = Reply()
    context.recorder.tell(messages.RecordRest(left))
    return left.get()
