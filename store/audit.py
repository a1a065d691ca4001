"""The audit: everything that must be true of a database, whatever has happened to it. One place for all invariants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from peewee import SQL, Database, fn

from . import queries
from .arrival import disorder_us
from .domain import lifecycle
from .domain.failure import is_failed
from .domain.lifecycle import OrderStatus
from .statements import run
from .tables import ClockStepModel, FailureModel, OrderModel, TransitionModel

_PAGE = 2_000
_LEGAL = {(edge.source, edge.target) for edge in lifecycle.EDGES}
_RETRIES = {(edge.source, edge.target) for edge in lifecycle.RETRIES}
_RESCHEDULED = (lifecycle.RESCHEDULE.source, lifecycle.RESCHEDULE.target)
_FAILED = {(edge.source, edge.target) for edge in (lifecycle.FAIL, lifecycle.PARK)}
_MAY_HAVE_FAILED = {*_FAILED, (lifecycle.RETURN.source, lifecycle.RETURN.target)}


class Audit(NamedTuple):
    """What an audit found."""

    orders: int
    """Orders that were looked at."""
    faults: list[str]
    """Everything that is wrong, in words for people; empty where all is well."""


def audit(database: Database, progress: Callable[[int, int], None] = lambda _done, _all: None) -> Audit:
    """Check that the file is sound and that the tables agree with each other.

    The history of each order is a legal path from nothing to its status, its attempts rise one by one, no step is
    recorded twice, and as many attempts failed as are counted; each running total equals its recount; no history is
    without its order; no number will be given twice.

    Args:
        database: connected in this thread; an engine may be running over it, since one moment is looked at.
        progress: called now and then with the number of orders looked at, and of all.
    """
    with database.atomic():
        faults = [
            f"the file is damaged: {message}" for (message,) in run(database, "{damages}").fetchall() if message != "ok"
        ]
        if faults:
            return Audit(0, faults)
        count = OrderModel.select(fn.COUNT(SQL("*"))).scalar(database)
        done = 0
        for page_faults, page_size in _histories(database):
            faults += page_faults
            done += page_size
            progress(done, count)
        faults += _orphans(database)
        faults += _totals(database)
        faults += _numbers(database)
    return Audit(count, faults)


def _histories(database: Database) -> Iterator[tuple[list[str], int]]:
    after = created_us = 0
    disorder = disorder_us(database)
    while True:
        orders = list(
            OrderModel.select(
                OrderModel.sequence,
                OrderModel.order_id,
                OrderModel.status,
                OrderModel.attempts,
                OrderModel.failures,
                OrderModel.created_at,
                OrderModel.updated_at,
                OrderModel.last_error,
            )
            .where(OrderModel.sequence > after)
            .order_by(OrderModel.sequence)
            .limit(_PAGE)
            .tuples()
            .execute(database)
        )
        if not orders:
            return
        last = orders[-1][0]
        steps = (
            TransitionModel.select(
                TransitionModel.sequence,
                TransitionModel.order_id,
                TransitionModel.from_status,
                TransitionModel.to_status,
                TransitionModel.at,
                TransitionModel.attempt,
            )
            .where((TransitionModel.sequence > after) & (TransitionModel.sequence <= last))
            .order_by(TransitionModel.sequence, TransitionModel.id)
            .tuples()
            .execute(database)
        )
        by_order = {sequence: list(group) for sequence, group in groupby(steps, itemgetter(0))}
        noted, stepped = _noted(database, after, last)
        faults = [
            f"order {order[1]!r}: {fault}"
            for order in orders
            for fault in (*_path_faults(order, by_order.get(order[0], [])), *_failure_faults(order, noted))
        ]
        for order in orders:
            if order[5] < created_us - disorder and order[0] not in stepped:
                faults.append(
                    f"order {order[1]!r}: was accepted before the order that came before it, which is not noted"
                )
            created_us = order[5]
        yield faults, len(orders)
        after = last


def _path_faults(order: tuple[Any, ...], steps: list[tuple[Any, ...]]) -> Iterator[str]:
    _, order_id, status, attempts, failures, created_at, updated_at, _ = order
    at, attempt, where = created_at, 0, None
    fewest = most = 0  # attempts that have failed since the last retry: one that was returned may have, or not
    for _, step_order_id, source, target, step_at, step_attempt in steps:
        if step_order_id != order_id:
            yield f"a step of its history names order {step_order_id!r}"
        if source != where:
            yield f"goes on from {source} when it was {where}"
        if (source, target) not in _LEGAL:
            yield f"goes from {source} to {target}, which no order may"
        expected = attempt + (target == OrderStatus.PROCESSING)
        if step_attempt != expected:
            yield f"becomes {target} in attempt {step_attempt} when it was in {expected}"
        if step_at < at:
            yield f"becomes {target} before it became {where}"
        at, attempt, where = step_at, step_attempt, target
        if (source, target) in _RETRIES:
            fewest = 0
            if (source, target) != _RESCHEDULED:  # which may as well have been hurried
                most = 0
        fewest += (source, target) in _FAILED
        most += (source, target) in _MAY_HAVE_FAILED
    if where != status:
        yield f"is {status}, but its history ends with {where}"
    if attempt != attempts:
        yield f"has {attempts} attempts, but its history {attempt}"
    if not fewest <= failures <= most:
        yield f"has {failures} failures, but its history {fewest if fewest == most else f'{fewest} to {most}'}"
    if at != updated_at:
        yield "did not change last when its history says so"


def _noted(database: Database, after: int, last: int) -> tuple[set[int], set[int]]:
    """The orders among these that are noted as failures, and those that are noted as stamped too early."""
    failures = FailureModel.select(FailureModel.sequence).where(FailureModel.sequence.between(after + 1, last))
    steps = ClockStepModel.select(ClockStepModel.sequence).where(ClockStepModel.sequence.between(after + 1, last))
    found, stepped = ({sequence for (sequence,) in query.tuples().execute(database)} for query in (failures, steps))
    return found, stepped


def _failure_faults(order: tuple[Any, ...], noted: set[int]) -> Iterator[str]:
    sequence, _, status, _, failures, *_, last_error = order
    is_expected = last_error is not None and is_failed(OrderStatus(status), failures)
    if is_expected != (sequence in noted):
        yield f"is {status}, but is {'not ' if is_expected else ''}noted among the failures"


def _orphans(database: Database) -> list[str]:
    orphans = (
        TransitionModel.select(TransitionModel.order_id)
        .where(TransitionModel.sequence.not_in(OrderModel.select(OrderModel.sequence)))
        .distinct()
        .limit(20)
        .tuples()
        .execute(database)
    )
    return [f"there is a history of order {order_id!r}, but no such order" for (order_id,) in orphans]


def _totals(database: Database) -> list[str]:
    running, recounted = queries.totals(database), queries.recount(database)
    return [
        f"the total {name} is {running[name]}, recounted {recounted[name]}"
        for name in sorted(running.keys() | recounted.keys())
        if running[name] != recounted[name]
    ]


def _numbers(database: Database) -> list[str]:
    last = dict(run(database, "{given_numbers}").fetchall())
    return [
        f"the {name} will be given again: {last.get(table, 0)} is noted as the last one, and {highest} is there"
        for table, name, column in (
            ("orders", "sequences of orders", OrderModel.sequence),
            ("transitions", "ids of transitions", TransitionModel.id),
        )
        if (highest := column.model.select(fn.MAX(column)).scalar(database) or 0) > last.get(table, 0)
    ]
