"""What exists between the start and the stop of an engine: put up in one sequence, taken down in another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from itertools import chain
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

from pykka import Timeout

from ..store import engines, queries
from ..store.domain import lifecycle
from ..store.domain.errors import InvalidConfiguration
from ..store.sqlite import database as store
from ..store.sqlite.connection import Writer
from ..store.sqlite.lock import EngineLock
from ..store.sqlite.reader import Reader
from ..store.translation import translated_errors
from .actors import messages
from .actors.backlog import Backlog
from .actors.context import Crew
from .actors.intake import IntakeActor
from .actors.metrics import MetricsActor
from .actors.pool import PoolActor, most_processing
from .actors.recorder import RecorderActor
from .clock import Clock, SystemClock
from .config import EngineConfig
from .execution import begun
from .execution.handler import Probe
from .execution.runner import Bench
from .logger import EngineLogger
from .recovery import Recovered, recover
from .reply import Reply

MAX_READERS = 8
"""Threads that read at the same time, of those that call an engine: more would only take the time of its actors."""
_READING_ACTORS = 2
_WRITE_AGAIN_SECONDS = 0.2

_log = EngineLogger("ordermill.engine")


class Running(NamedTuple):
    """An engine at work."""

    crew: Crew
    reader: Reader
    """For whoever calls the engine."""
    own_reader: Reader
    """For the actors, who wait for nobody else's reading."""
    lock: EngineLock
    """Keeps other engines from the database."""
    owns_clock: bool
    """Whether the clock ends with the engine."""
    recovered: Recovered
    """What was found in hand of an engine that had died, and what became of it."""


def put_up(
    path: Path,
    config: EngineConfig,
    make_bench: Callable[[], Bench],
    probe: Probe | None,
    given_clock: Clock | None,
    *,
    is_simulated: bool,
) -> Running:
    """Open the database, settle what an earlier engine left in hand, and start the actors.

    Args:
        path: the database file.
        config: the settings.
        make_bench: gives each processor a place to run the handler at.
        probe: asked about orders whose handler was cut short.
        given_clock: where the time comes from; the machine's by default.
        is_simulated: whether work is only simulated.

    Raises:
        InvalidConfiguration: the handler cannot run where it is to run.
        DatabaseRefused: the database is not usable, or another engine works on it.
        StoreUnavailable: the database does not take reads or writes.
    """
    with ExitStack() as undo:
        first = make_bench()
        undo.callback(first.close)
        if (trouble := first.check()) is not None:
            raise InvalidConfiguration(f"The engine cannot start: {trouble}.")
        make_bench = chain([first], iter(make_bench, None)).__next__
        lock = EngineLock(path)
        undo.callback(lock.release)
        open_database = partial(_open_writer, lock, path, config)
        database = open_database()
        undo.callback(database.close)
        with translated_errors():
            clock = given_clock or SystemClock()
            if given_clock is None:
                undo.callback(clock.close)
            crew = Crew(
                config=config,
                clock=clock,
                make_bench=make_bench,
                probe=probe,
                last_step_us=queries.last_transition_us(database),
                is_simulated=is_simulated,
            )
            for warning in crew.warnings():
                _log.warning("%s", warning)
            recovered = recover(database, crew, begun.read(path, engines.last(database)))
            # What the last run has left behind is settled: only now may the notes of this one take its place.
            crew.engine_id = engines.register(database, clock.now_us())
            crew.begun = _note_begun(path, crew.engine_id, config)
            totals = queries.totals(database)
            users = Counter() if config.user_backlog is None else queries.backlog_by_user(database)
            reader, own_reader = Reader(path, MAX_READERS), Reader(path, _READING_ACTORS)
            # It reads as well, so it is the first: where that fails, no actor is left behind.
            crew.recorder = RecorderActor.start(crew, open_database, database)
            undo.callback(crew.recorder.stop)
        crew.metrics = MetricsActor.start(crew, totals)
        undo.callback(crew.metrics.stop)
        backlog = Backlog(config, clock, sum(totals[status] for status in lifecycle.BACKLOG), users)
        crew.intake = IntakeActor.start(crew, backlog, own_reader)
        undo.callback(crew.intake.stop)
        crew.pool = PoolActor.start(crew, own_reader)
        undo.pop_all()
    crew.pool.tell(messages.WakeUp())
    crew.recorder.tell(messages.PruneOrders())
    crew.recorder.tell(messages.CheckFiles())
    return Running(crew, reader, own_reader, lock, given_clock is None, recovered)


def _open_writer(lock: EngineLock, path: Path, config: EngineConfig) -> Writer:
    lock.check()
    return store.open_writer(path, config.durability, skip_upgrade_copy=config.skip_upgrade_copy)


def _note_begun(path: Path, run_id: int, config: EngineConfig) -> begun.BegunFile | None:
    try:
        return begun.BegunFile(path, run_id, most_processing(config.processors))
    except OSError as error:
        _log.warning("no file for what has begun (%s): after a crash, all that was claimed counts as begun", error)
        return None


def take_down(running: Running) -> None:
    """Take no more orders, wait for those in hand, record how they ended, then end all actors. Reads go on.

    Whatever goes wrong, the database is free for the next engine in the end.
    """
    crew = running.crew
    with ExitStack() as last:  # the last first
        last.callback(running.lock.release)
        last.callback(running.reader.close)
        last.callback(running.own_reader.close)
        if running.owns_clock:
            last.callback(crew.clock.close)
        last.callback(crew.waiting_room.close)
        # The recorder first, which tells the others what it records at the last.
        for actor in (crew.metrics, crew.intake, crew.pool, crew.recorder):
            last.callback(actor.stop)
        _finish_work(crew, monotonic() + crew.config.stop_seconds)


def _finish_work(crew: Crew, deadline: float) -> None:
    crew.recorder.tell(messages.EndBy(deadline))
    closed: Reply[None] = Reply()
    crew.intake.tell(messages.Close(closed))
    closed.get()
    idle: Reply[None] = Reply()
    crew.pool.tell(messages.StopWork(idle))
    try:
        idle.get(timeout=max(0.0, deadline - monotonic()))
    except Timeout:
        crew.pool.tell(messages.AbandonWork())
        idle.get()
    while _results_left(crew) and (seconds := deadline - monotonic()) > 0:
        sleep(min(_WRITE_AGAIN_SECONDS, seconds))


def _results_left(crew: Crew) -> int:
    left: Reply[int] = Reply()
    crew.recorder.tell(messages.RecordRest(left))
    return left.get()
