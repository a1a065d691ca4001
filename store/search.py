"""Searching orders by any combination of filters, a page at a time.

Each combination has an index that leads to the orders in the sequence of pages. What the index does not tell is looked
up, for so many orders a page and no more: whatever the filters match, a page takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from peewee import SQL, Database, ModelSelect, fn

from . import queries
from .arrival import Arrivals
from .domain.lifecycle import OrderStatus
from .domain.order import DEFAULT_QUEUE
from .domain.order_filter import ALL_ORDERS, OrderFilter, OrderPage
from .domain.record import OrderRecord
from .failures import error_ids
from .rows import ORDER_COLUMNS, order_of
from .statements import run, to_sql
from .tables import OrderModel

SCANNED = 4_000
"""Orders that are looked at for one page."""
_LOOKED_UP_AT_ONCE = 500
_END = 2**63 - 1

_WITH_PREFIX = to_sql(
    OrderModel.select(OrderModel.sequence).where((OrderModel.order_id >= "") & (OrderModel.order_id < "")).limit(1)
)


def page(
    database: Database,
    wanted: OrderFilter = ALL_ORDERS,
    *,
    before: int | None = None,
    limit: int,
    scanned: int = SCANNED,
    among: Sequence[OrderStatus] = (),
    has_failed: bool = False,
) -> OrderPage:
    """Orders, newest first.

    Args:
        database: connected in this thread.
        wanted: which ones.
        before: only those with a sequence below this one, to go on where the last page ended.
        limit: how many at the most.
        scanned: how many are looked at for it at the most, where an index does not tell all.
        among: only those in one of these statuses; any, where there is none.
        has_failed: whether only those are wanted that have failed, or have failed attempts behind them.
    """
    plan = _Plan.of(database, wanted, before, among, has_failed=has_failed)
    if plan.low >= plan.high:
        return OrderPage([], None)
    if wanted.order_id_prefix is not None:
        narrow = _with_prefix(database, wanted.order_id_prefix, scanned)
        if narrow is not None:
            return _pick(database, plan, narrow, limit)
        plan.conditions.append(_begins_with(wanted.order_id_prefix))
    return _walk(database, plan, limit, scanned)


def count(
    database: Database,
    wanted: OrderFilter = ALL_ORDERS,
    *,
    before: int | None = None,
    scanned: int = SCANNED,
    among: Sequence[OrderStatus] = (),
    has_failed: bool = False,
) -> tuple[int, int | None]:
    """How many orders are wanted among those that are looked at; and the sequence below which to go on counting.

    Args:
        database: connected in this thread.
        wanted: which ones.
        before: only those with a sequence below this one.
        scanned: how many are looked at.
        among: only those in one of these statuses; any, where there is none.
        has_failed: whether only those are wanted that have failed, or have failed attempts behind them.
    """
    plan = _Plan.of(database, wanted, before, among, has_failed=has_failed)
    if plan.low >= plan.high:
        return 0, None
    if wanted.order_id_prefix is not None:
        narrow = _with_prefix(database, wanted.order_id_prefix, scanned)
        if narrow is not None:
            return len(_pick(database, plan, narrow, len(narrow)).orders), None
        plan.conditions.append(_begins_with(wanted.order_id_prefix))
    sources = plan.sources()
    floor = max((source.floor(database, plan, scanned, is_exact=False) for source in sources), default=plan.low)
    found = sum(source.count(database, floor, plan.high) for source in sources)
    return found, floor if floor > plan.low else None


def sequences(
    database: Database,
    wanted: OrderFilter = ALL_ORDERS,
    *,
    among: Sequence[OrderStatus] = (),
    has_failed: bool = False,
) -> Iterator[int]:
    """The sequences of all orders that are wanted, in any sequence. It takes as long as there are many.

    Args:
        database: connected in this thread.
        wanted: which ones.
        among: only those in one of these statuses; any, where there is none.
        has_failed: whether only those are wanted that have failed, or have failed attempts behind them.
    """
    plan = _Plan.of(database, wanted, None, among, has_failed=has_failed)
    if wanted.order_id_prefix is not None:
        plan.conditions.append(_begins_with(wanted.order_id_prefix))
    for source in plan.sources():
        yield from source.sequences(database, plan.low, plan.high)


@dataclass
class _Plan:
    """How to find them."""

    wanted: OrderFilter
    low: int = 1
    """The lowest sequence that they may have."""
    high: int = _END
    """A sequence above all that they may have."""
    errors: list[int] | None = None
    """The numbers of their errors; None for any, or none at all."""
    has_failed: bool = False
    """Whether only failures are wanted, whatever their errors."""
    conditions: list[Any] = field(default_factory=list)
    """What has to be looked up in the orders themselves."""

    @classmethod
    def of(
        cls,
        database: Database,
        wanted: OrderFilter,
        before: int | None,
        among: Sequence[OrderStatus],
        *,
        has_failed: bool,
    ) -> _Plan:
        if len(among) == 1:
            wanted = msgspec.structs.replace(wanted, status=among[0])
        plan = cls(wanted, high=_END if before is None else before, has_failed=has_failed)
        if len(among) > 1:
            either = " OR ".join(["{not_indexed}t1.status = ?"] * len(among))
            plan.conditions.append(SQL(f"({either})", tuple(status.value for status in among)))
        plan._bound(database)
        plan._look_up(updated_at=(wanted.updated_from_us, wanted.updated_to_us))
        if wanted.error is not None:
            plan.errors = error_ids(database, wanted.error)
        return plan

    def _bound(self, database: Database) -> None:
        # Nothing changes before it arrives.
        wanted = self.wanted
        ends = [at_us for at_us in (wanted.created_to_us, wanted.updated_to_us) if at_us is not None]
        if wanted.created_from_us is None and not ends:
            return
        arrivals = Arrivals(database, queries.last_sequence(database) + 1)
        if wanted.created_from_us is not None:
            self.low = max(self.low, arrivals.first_since(wanted.created_from_us))
        if ends:
            self.high = min(self.high, arrivals.end_before(min(ends)))
        if not arrivals.is_exact:
            self._look_up(created_at=(wanted.created_from_us, wanted.created_to_us))

    def _look_up(self, **ranges: tuple[int | None, int | None]) -> None:
        # By no index, since that would have another sequence.
        for column, (since_us, until_us) in ranges.items():
            if since_us is not None:
                self.conditions.append(SQL(f"{{not_indexed}}t1.{column} >= ?", (since_us,)))
            if until_us is not None:
                self.conditions.append(SQL(f"{{not_indexed}}t1.{column} < ?", (until_us,)))

    def looked_up(self) -> list[Any]:
        """All that has to be looked up where no index tells the status, the user or the error."""
        conditions = list(self.conditions)
        if self.wanted.status is not None:
            conditions.append(queries.has_status(self.wanted.status))
        if self.wanted.user_id is not None:
            conditions.append(SQL("{not_indexed}t1.user_id = ?", (self.wanted.user_id,)))
        return conditions + self._in_queue()

    def _in_queue(self) -> list[Any]:
        queue = self.wanted.queue
        if queue is None:
            return []
        if queue == DEFAULT_QUEUE:
            return [SQL("t1.queue IS NULL")]
        return [SQL("{not_indexed}t1.queue = ?", (queue,))]

    def sources(self) -> list[_Source]:
        """The indexes to follow."""
        if self.errors is not None:
            return [_failed_with(error_id, self.looked_up()) for error_id in self.errors]
        if self.has_failed:
            return [_failed_with(None, self.looked_up())]
        status, conditions = self.wanted.status, list(self.conditions)
        if status is not None and not queries.is_indexed(status, self.wanted.user_id):
            conditions.append(queries.has_status(status))
            status = None
        query = queries.listing(status, self.wanted.user_id)
        if self.wanted.queue not in (None, DEFAULT_QUEUE) and self.wanted.status is self.wanted.user_id is None:
            return [_Source(query.where(OrderModel.queue == self.wanted.queue), OrderModel.sequence, conditions)]
        return [_Source(query, OrderModel.sequence, [*conditions, *self._in_queue()])]


def _walk(database: Database, plan: _Plan, limit: int, scanned: int) -> OrderPage:
    """Follow the index of the status, the user or the error from the newest order down."""
    sources = plan.sources()
    floor = max((source.floor(database, plan, scanned) for source in sources), default=plan.low)
    found: list[OrderRecord] = []
    for source in sources:
        found += source.read(database, floor, plan.high, limit + 1)
    found.sort(key=_newest_first)
    if len(found) > limit:
        return OrderPage(found[:limit], found[limit - 1].sequence)
    return OrderPage(found, floor if floor > plan.low else None)


@dataclass
class _Source:
    """Orders in the sequence of an index, and what is looked up of each."""

    query: ModelSelect[OrderModel]
    sequence: Any
    """The sequence as that index has it."""
    conditions: Sequence[Any]

    def floor(self, database: Database, plan: _Plan, scanned: int, *, is_exact: bool = True) -> int:
        """The lowest sequence that is looked at for this page; all, where the index tells everything."""
        if is_exact and not self.conditions:
            return plan.low
        query = self.query.where((self.sequence >= plan.low) & (self.sequence < plan.high))
        (row,) = query.select(self.sequence).limit(1).offset(scanned - 1).tuples().execute(database) or [None]
        return plan.low if row is None else int(row[0])

    def count(self, database: Database, low: int, high: int) -> int:
        """How many there are within bounds."""
        query = self.query.where((self.sequence >= low) & (self.sequence < high), *self.conditions)
        ((found,),) = query.select(fn.COUNT(SQL("*"))).order_by().tuples().execute(database)
        return int(found)

    def sequences(self, database: Database, low: int, high: int) -> Iterator[int]:
        """The sequences of those within bounds."""
        query = self.query.where((self.sequence >= low) & (self.sequence < high), *self.conditions)
        for (sequence,) in query.select(self.sequence).tuples().iterator(database):
            yield int(sequence)

    def read(self, database: Database, low: int, high: int, limit: int) -> list[OrderRecord]:
        """The newest of them within bounds."""
        query = self.query.where((self.sequence >= low) & (self.sequence < high), *self.conditions).limit(limit)
        return [order_of(row) for row in query.tuples().execute(database)]


def _failed_with(error_id: int | None, conditions: Sequence[Any]) -> _Source:
    sequence = SQL("f.sequence")
    query = (
        OrderModel.select(*ORDER_COLUMNS)
        .from_(SQL("failures AS f CROSS JOIN orders AS t1"))
        .where(OrderModel.sequence == sequence)
        .order_by(sequence.desc())
    )
    if error_id is not None:
        query = query.where(SQL("f.error_id = ?", (error_id,)))
    return _Source(query, sequence, conditions)


def _pick(database: Database, plan: _Plan, sequences: Iterable[int], limit: int) -> OrderPage:
    """Take from orders that are known by their sequences."""
    left = sorted((sequence for sequence in sequences if plan.low <= sequence < plan.high), reverse=True)
    conditions = plan.looked_up()
    if plan.errors is not None:
        errors = msgspec.json.encode(plan.errors).decode()
        conditions.append(
            SQL(
                "EXISTS (SELECT 1 FROM failures AS f WHERE f.sequence = t1.sequence AND f.error_id IN {integers:?})",
                (errors,),
            )
        )
    elif plan.has_failed:
        conditions.append(SQL("EXISTS (SELECT 1 FROM failures AS f WHERE f.sequence = t1.sequence)"))
    found: list[OrderRecord] = []
    while left and len(found) <= limit:
        some, left = left[:_LOOKED_UP_AT_ONCE], left[_LOOKED_UP_AT_ONCE:]
        known = SQL("t1.sequence IN {integers:?}", (msgspec.json.encode(some).decode(),))
        query = OrderModel.select(*ORDER_COLUMNS).where(known, *conditions)
        found += sorted((order_of(row) for row in query.tuples().execute(database)), key=_newest_first)
    return OrderPage(found[:limit], found[limit - 1].sequence if len(found) > limit else None)


def _with_prefix(database: Database, prefix: str, most: int) -> list[int] | None:
    """The orders whose ids begin with this, in any sequence; None where they are too many."""
    found = run(database, _WITH_PREFIX, (*_range_of(prefix), most + 1)).fetchall()
    return None if len(found) > most else [sequence for (sequence,) in found]


def _begins_with(prefix: str) -> SQL:
    return SQL("{not_indexed}t1.order_id >= ? AND {not_indexed}t1.order_id < ?", _range_of(prefix))


def _range_of(prefix: str) -> tuple[str, str]:
    # Ids are compared byte by byte, and none has a character above "z".
    return prefix, f"{prefix}{{"


def _newest_first(record: OrderRecord) -> int:
    return -record.sequence
