"""Recovery: settles, before anything else runs, the orders that were in hand when an engine died."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from peewee import Database

from ..store import lifecycle, queries
from ..store.ledger import Ledger
from ..store.lifecycle import OrderStatus
from ..store.record import Move, OrderRecord, move
from .clock import Moment
from .config import EngineConfig, OnInterrupted
from .crew import Crew
from .handler import Effect, Probe
from .journal import log_transitions
from .logger import EngineLogger
from .processor import after_failure

_BATCH = 1000
_INTERRUPTED = "the engine died while the order was in hand"

_log = EngineLogger("ordermill.engine.recovery")


class Recovered(NamedTuple):
    """What recovery did with the orders that were Processing."""

    returned: int = 0
    """Back to Pending, to be handled again."""
    completed: int = 0
    """Completed, since a probe found their effect done."""
    failed: int = 0
    """Failed, since that was their last attempt."""
    parked: int = 0
    """In Review, for an operator to settle."""


def recover(database: Database, crew: Crew, probe: Probe | None) -> Recovered:
    """Move every Processing order on, and see to it that every Pending one gets its turn.

    No engine may be running over the database.

    Args:
        database: a connection that may write.
        crew: the settings, which say what becomes of orders without a probe and how many are probed at once; the time.
        probe: asked about each order, if there is one.

    Raises:
        StoreUnavailable: the database did not take a write; what was recorded before stays.
    """
    config = crew.config
    ledger = Ledger(database)
    _let_wait_no_longer(ledger, crew)
    count: Counter[OrderStatus] = Counter()
    with ThreadPoolExecutor(config.processors, thread_name_prefix="ordermill-probe") as threads:
        while records := queries.processing(database, _BATCH):
            effects = list(threads.map(partial(_ask, probe, config), records))
            now = crew.now()
            moves = [_settle(record, effect, now, config) for record, effect in zip(records, effects, strict=True)]
            log_transitions(ledger.record((), moves, now.at_us), ())
            count.update(step.after.status for step in moves)
    return Recovered(
        returned=count[OrderStatus.PENDING],
        completed=count[OrderStatus.COMPLETED],
        failed=count[OrderStatus.FAILED],
        parked=count[OrderStatus.REVIEW],
    )


def _let_wait_no_longer(ledger: Ledger, crew: Crew) -> None:
    clamped = ledger.clamp_ready_times(crew.queue_clock.now_us(), round(crew.config.retry_max_seconds * 1e6))
    if clamped:
        _log.warning("%d orders were to wait for a time that lies too far ahead: they are processed now", clamped)


def _ask(probe: Probe | None, config: EngineConfig, record: OrderRecord) -> Effect:
    if probe is None:
        return Effect.UNKNOWN if config.on_interrupted is OnInterrupted.REVIEW else Effect.NOT_DONE
    try:
        return Effect(probe(record.order))
    except Exception:
        _log.exception("the probe failed for order %s: it waits in Review", record.order_id)
        return Effect.UNKNOWN


def _settle(record: OrderRecord, effect: Effect, now: Moment, config: EngineConfig) -> Move:
    match effect:
        case Effect.DONE:
            return move(record, lifecycle.COMPLETE, now.at_us, f"{_INTERRUPTED}; the probe found its effect done")
        case Effect.NOT_DONE:
            # A crash counts as a failed attempt, or an order that kills the process would do so for ever.
            return after_failure(record, now, _INTERRUPTED, config, at_once=True)
        case Effect.UNKNOWN:
            return move(record, lifecycle.PARK, now.at_us, error=_INTERRUPTED)
