"""The load generator: many connections that send at the same time, and a check of everything that came of it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from math import isclose
from statistics import quantiles
from types import MappingProxyType
from typing import Any

import aiohttp
import msgspec
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from ...store.domain.errors import OrdermillError
from ...store.domain.lifecycle import COMPLETE, OrderStatus
from ...store.domain.metrics import OrderMetrics
from ..transport.tuning import allow_connections
from .remote import Server, authorization

_WAIT_SECONDS = 30
_WAITING_AT_ONCE = 32
_TOLD_SECONDS = 2.0
_LOOK_SECONDS = 0.05
_IDLE_SECONDS = 0.5
_TIMED_ORDERS = 1_000
_SETTLED = frozenset({status for status in OrderStatus if status.is_terminal} | {OrderStatus.REVIEW})


class LoadError(OrdermillError):
    """The load could not be run at all."""


class LoadReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a load."""

    sent: int
    """Orders that were to be accepted."""
    simulated: bool
    """Whether the server only simulated the work."""
    accepted: int
    """Orders that were: answered 201."""
    deferred: int
    """Answers that said "later", after which the order was sent again."""
    failed: dict[str, int]
    """Other answers and errors, and how many of each."""
    statuses: dict[OrderStatus, int]
    """Where the accepted orders ended."""
    seconds_to_accept: float
    """From the first request until the last order was accepted."""
    seconds_to_finish: float
    """From the first request until processing was over for all."""
    milliseconds: dict[str, float]
    """Time of a request that sent an order: p50, p90, p99 and max."""
    times_compared: bool
    """Whether the processing times were compared with the histories; they are for up to 1,000 orders."""
    mismatches: list[str]
    """Where the metrics, or the orders, are not what was sent; empty where all agrees."""

    @property
    def ok(self) -> bool:
        """Whether every order was accepted and processing is over for it, and the metrics agree."""
        return not self.mismatches


class _Metrics(OrderMetrics, frozen=True, kw_only=True):
    simulated: bool = False


def run_load(
    server: Server,
    orders: int,
    concurrency: int,
    console: Console,
    timeout_seconds: float = 300.0,
    fields: Mapping[str, Any] = MappingProxyType({}),
) -> LoadReport:
    """Send new orders, wait until processing is over for all, and compare the metrics with what was sent.

    Args:
        server: one that nobody else sends orders to meanwhile. Its key, if it needs one, submits and reads for all
            users.
        orders: how many.
        concurrency: connections that send at the same time.
        console: where progress is shown.
        timeout_seconds: when to give up.
        fields: what each of them says besides, as REST has it.

    Raises:
        LoadError: the server goes away, or it takes too long.
        ServerRefused: the address is not valid, or the server cannot be reached.
    """
    server.check_address()
    allow_connections(concurrency)
    with _Bars(console) as bars:
        try:
            return asyncio.run(
                asyncio.wait_for(_Load(server, orders, concurrency, bars, fields).run(), timeout_seconds)
            )
        except TimeoutError:
            raise LoadError(f"Not done within {timeout_seconds:g} s: send fewer orders, or allow more time.") from None
        except aiohttp.ClientError as error:
            raise server.unreachable(error) from error


def made_up(order_id: str, number: int, fields: Mapping[str, Any]) -> dict[str, Any]:
    """An order to be sent.

    Args:
        order_id: its name.
        number: tells it from the others.
        fields: what it says besides, as REST has it.
    """
    return {
        "order_id": order_id,
        "user_id": f"user-{number % 1000}",
        "item_ids": [f"sku-{number % 97 + item}" for item in range(number % 3 + 1)],
        "total_amount": f"{number % 500}.{number % 100:02d}",
        **fields,
    }


def render(report: LoadReport, console: Console) -> None:
    """Print a report as a table, and the verdict."""
    table = Table("Load", "Value")
    table.add_row("orders accepted", f"{report.accepted} of {report.sent}")
    table.add_row('answers "later", and sent again', str(report.deferred))
    for failure, count in report.failed.items():
        table.add_row(f"failed: {failure}", str(count))
    for status, count in report.statuses.items():
        table.add_row(f"orders {status}", str(count))
    table.add_row("rate of accepting", f"{report.accepted / report.seconds_to_accept:,.0f} orders/s")
    table.add_row("rate of finishing", f"{sum(report.statuses.values()) / report.seconds_to_finish:,.0f} orders/s")
    for name, value in report.milliseconds.items():
        table.add_row(f"request {name}", f"{value:,.1f} ms")
    if not report.times_compared:
        table.add_row("processing times", f"not compared above {_TIMED_ORDERS:,} orders")
    console.print(table)
    for mismatch in report.mismatches:
        console.print(mismatch, style="red", highlight=False, soft_wrap=True)
    whose = "the simulated handler, which only sleeps" if report.simulated else "the server's own handler"
    console.print(f"Finishing includes {whose}; accepting and requests do not wait for it.", highlight=False)
    if report.ok:
        console.print("Every order was accepted and finished, and the metrics agree.", highlight=False)


@dataclass
class _Load:
    server: Server
    orders: int
    concurrency: int
    bars: _Bars
    fields: Mapping[str, Any]
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    seconds: list[float] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    deferred: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    statuses: Counter[OrderStatus] = field(default_factory=Counter)

    async def run(self) -> LoadReport:
        # An idle connection is given up before the server does, which would break the request that goes over it next.
        connector = aiohttp.TCPConnector(
            limit=self.concurrency, keepalive_timeout=_IDLE_SECONDS, ssl=self.server.trust()
        )
        async with aiohttp.ClientSession(
            self.server.url,
            connector=connector,
            timeout=aiohttp.ClientTimeout(),
            headers=authorization(self.server.key),
        ) as session:
            before = await _metrics(session)
            began = time.perf_counter()
            await self._send_all(session)
            accepted_after = time.perf_counter() - began
            await self._follow_all(session)
            finished_after = time.perf_counter() - began
            after = await self._metrics_after(session, before)
            mismatches = self._compare(before, after) + await self._compare_times(session, before, after)
        return LoadReport(
            sent=self.orders,
            simulated=before.simulated,
            accepted=len(self.accepted),
            deferred=self.deferred,
            failed=dict(self.failed),
            statuses=dict(self.statuses),
            seconds_to_accept=accepted_after,
            seconds_to_finish=finished_after,
            milliseconds=_percentiles(self.seconds),
            times_compared=len(self.accepted) <= _TIMED_ORDERS,
            mismatches=mismatches,
        )

    async def _metrics_after(self, session: aiohttp.ClientSession, before: _Metrics) -> _Metrics:
        # Where an order is the database tells at once, and the metrics are told of it a moment later.
        give_up_at = time.perf_counter() + _TOLD_SECONDS
        after = await _metrics(session)
        while self._compare(before, after) and time.perf_counter() < give_up_at:
            await asyncio.sleep(_LOOK_SECONDS)
            after = await _metrics(session)
        return after

    async def _send_all(self, session: aiohttp.ClientSession) -> None:
        numbers = iter(range(self.orders))
        workers = min(self.concurrency, self.orders)
        gate = asyncio.Barrier(workers)
        with self.bars.task("sending", self.orders) as advance:

            async def worker() -> None:
                await gate.wait()
                for number in numbers:
                    await self._send(session, number)
                    advance()

            await _run_together(worker, workers)

    async def _send(self, session: aiohttp.ClientSession, number: int) -> None:
        order_id = f"load-{self.run_id}-{number}"
        order = made_up(order_id, number, self.fields)
        while True:
            began = time.perf_counter()
            try:
                async with session.post("/orders", json=order, allow_redirects=False) as answer:
                    body = await answer.read()
            except aiohttp.ClientError as error:
                self.failed[f"{type(error).__name__}: {error}"] += 1
                return
            self.seconds.append(time.perf_counter() - began)
            if answer.status == 201:
                self.accepted.append(order_id)
                return
            if answer.status in (429, 503) and answer.headers.get("Retry-After", "").isdecimal():
                self.deferred += 1
                await asyncio.sleep(float(answer.headers["Retry-After"]))
                continue
            self.failed[_describe(answer.status, body)] += 1
            return

    async def _follow_all(self, session: aiohttp.ClientSession) -> None:
        order_ids = iter(self.accepted)
        with self.bars.task("waiting", len(self.accepted)) as advance:

            async def follower() -> None:
                for order_id in order_ids:
                    self.statuses[await _follow(session, order_id)] += 1
                    advance()

            await _run_together(follower, min(_WAITING_AT_ONCE, len(self.accepted)))

    def _compare(self, before: OrderMetrics, after: OrderMetrics) -> list[str]:
        mismatches = [f"{count} orders failed: {failure}" for failure, count in self.failed.items()]
        if len(self.accepted) != self.orders:
            mismatches.append(f"{len(self.accepted)} orders were accepted of {self.orders} sent")
        if review := self.statuses[OrderStatus.REVIEW]:
            mismatches.append(f"{review} orders wait in Review")
        for status in OrderStatus:
            grown = after.orders_by_status.get(status, 0) - before.orders_by_status.get(status, 0)
            if grown != self.statuses[status]:
                mismatches.append(
                    f"the metrics count {grown} more orders {status}, seen were {self.statuses[status]}; "
                    "is anybody else sending orders?"
                )
        processed = after.total_orders_processed - before.total_orders_processed
        if processed != self.statuses[OrderStatus.COMPLETED]:
            mismatches.append(
                f"total_orders_processed grew by {processed}, Completed are {self.statuses[OrderStatus.COMPLETED]}"
            )
        count, average = after.processing_seconds_count, after.average_processing_time_seconds
        if not isclose(average * count, after.processing_seconds_total, rel_tol=1e-9):
            mismatches.append(
                f"average_processing_time_seconds is {average:.6f} s, which is not "
                f"{after.processing_seconds_total:.6f} s over {count} orders"
            )
        return mismatches

    async def _compare_times(
        self, session: aiohttp.ClientSession, before: OrderMetrics, after: OrderMetrics
    ) -> list[str]:
        if len(self.accepted) > _TIMED_ORDERS:
            return []
        seen = 0.0
        for order_id in self.accepted:
            seen += await _processing_seconds(session, order_id)
        told = after.processing_seconds_total - before.processing_seconds_total
        # The sums are exact in the database, and rounded to floats on their way here.
        if abs(told - seen) > 1e-6 * max(1, len(self.accepted)):
            return [f"the metrics count {told:.6f} s of processing, the histories say {seen:.6f} s"]
        return []


class _Bars:
    """Progress on a terminal; a line for each stage elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(console=console, disable=not console.is_terminal)

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Any]:
        """A stage of the work; yields a function to call for each step."""
        task: TaskID = self._progress.add_task(name, total=total)
        yield lambda: self._progress.advance(task)
        if not self._console.is_terminal:
            self._console.print(f"{name}: {total} orders", highlight=False)


async def _run_together(work: Callable[[], Coroutine[Any, Any, None]], workers: int) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work())
    except ExceptionGroup as errors:
        # One cause, seen by many workers: the caller handles it by its own type.
        raise errors.exceptions[0] from None


async def _metrics(session: aiohttp.ClientSession) -> _Metrics:
    async with session.get("/metrics", headers={"Accept": "application/json"}, allow_redirects=False) as answer:
        body = await answer.read()
        if answer.status != 200:
            raise LoadError(f"GET /metrics answers {_describe(answer.status, body)}.")
    try:
        return msgspec.json.decode(body, type=_Metrics)
    except msgspec.MsgspecError as error:
        raise LoadError("GET /metrics does not answer as an Ordermill server does.") from error


async def _follow(session: aiohttp.ClientSession, order_id: str) -> OrderStatus:
    pause = 0.05
    while True:
        async with session.get(f"/orders/{order_id}", params={"wait": _WAIT_SECONDS}, allow_redirects=False) as answer:
            body = await answer.read()
        if answer.status != 200:
            raise LoadError(f"Order {order_id} was accepted, and is gone: {_describe(answer.status, body)}.")
        status = OrderStatus(msgspec.json.decode(body)["status"])
        if status in _SETTLED:
            return status
        # The server answers at once when too many wait already.
        await asyncio.sleep(pause)
        pause = min(1.0, pause * 2)


async def _processing_seconds(session: aiohttp.ClientSession, order_id: str) -> float:
    transitions: list[dict[str, str]] = []
    asked: dict[str, str] | None = {}
    while asked is not None:
        async with session.get(f"/orders/{order_id}/history", params=asked, allow_redirects=False) as answer:
            body = await answer.read()
        if answer.status != 200:
            raise LoadError(f"The history of {order_id} cannot be read: {_describe(answer.status, body)}.")
        page = msgspec.json.decode(body)
        transitions += page["transitions"]
        asked = {"cursor": page["next_cursor"]} if page["next_cursor"] else None
    for previous, step in pairwise(transitions):
        if (step["from"], step["to"]) == (COMPLETE.source, COMPLETE.target):
            return (datetime.fromisoformat(step["at"]) - datetime.fromisoformat(previous["at"])).total_seconds()
    return 0.0


def _describe(status: int, body: bytes) -> str:
    with suppress(msgspec.MsgspecError, AttributeError, KeyError, TypeError, UnicodeDecodeError):
        problem = msgspec.json.decode(body)
        return f"{status} {problem['title']}: {problem['detail'].removesuffix('.')}"
    return str(status)


def _percentiles(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    cuts = quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else seconds * 99
    return {
        "p50": cuts[49] * 1000,
        "p90": cuts[89] * 1000,
        "p99": cuts[98] * 1000,
        "max": max(seconds) * 1000,
    }
