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
from .clock import Clock
from .config import EngineConfig, OnInterrupted
from .handler import Effect, Probe
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


def recover(database: Database, config: EngineConfig, clock: Clock, probe: Probe | None) -> Recovered:
    """Move every Processing order on. No engine may be running over the database.

    Args:
        database: a connection that may write.
        config: says what becomes of the orders without a probe, and how many are probed at once.
        clock: for the time of the steps.
        probe: asked about each order, if there is one.

    Raises:
        StoreUnavailable: the database did not take a write; what was recorded before stays.
    """
    ledger = Ledger(database)
    count: Counter[OrderStatus] = Counter()
    with ThreadPoolExecutor(config.processors, thread_name_prefix="ordermill-probe") as threads:
        while records := queries.processing(database, _BATCH):
            effects = list(threads.map(partial(_ask, probe, config), records))
            now = clock.now_us()
            moves = [_settle(record, effect, now, config) for record, effect in zip(records, effects, strict=True)]
            ledger.record((), moves, now)
            count.update(step.after.status for step in moves)
    return Recovered(
        returned=count[OrderStatus.PENDING],
        completed=count[OrderStatus.COMPLETED],
        failed=count[OrderStatus.FAILED],
        parked=count[OrderStatus.REVIEW],
    )


def _ask(probe: Probe | None, config: EngineConfig, record: OrderRecord) -> Effect:
    if probe is None:
        return Effect.UNKNOWN if config.on_interrupted is OnInterrupted.REVIEW else Effect.NOT_DONE
    try:
        return Effect(probe(record.order))
    except Exception:
        _log.exception("the probe failed for order %s: it waits in Review", record.order_id)
        return Effect.UNKNOWN


def _settle(record: OrderRecord, effect: Effect, now_us: int, config: EngineConfig) -> Move:
    match effect:
        case Effect.DONE:
            return move(record, lifecycle.COMPLETE, now_us, f"{_INTERRUPTED}; the probe found its effect done")
        case Effect.NOT_DONE:
            # A crash counts as a failed attempt, or an order that kills the process would do so for ever.
            return after_failure(record, now_us, _INTERRUPTED, config, at_once=True)
        case Effect.UNKNOWN:
            return move(record, lifecycle.PARK, now_us, failed=True)
