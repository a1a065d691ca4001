"""What bounds one PostgreSQL, and how far it carries: measured costs, and a simulation of many engines with them.

`python benchmarks/scale.py` measures what an order costs the server, then simulates 10, 100 and 1,000 engines over one.
Processor time is the server's own, from /proc, so it depends little on what else the machine does.
"""

from __future__ import annotations

import heapq
import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

import embedded
import postgres_server
from ordermill.engine import OrderEngine

_TICKS = os.sysconf("SC_CLK_TCK")
_LINE = "FROM orders WHERE rank IS NOT NULL AND ready_at IS NOT NULL ORDER BY rank, sequence LIMIT 100"


class Costs(NamedTuple):
    """What the server spends, in seconds of processor time unless it says otherwise."""

    transaction: float
    """For each transaction, whatever is in it."""
    order: float
    """For each order: accepted, claimed and completed."""
    skip: float
    """For each order that a claim finds locked by another one."""
    flush: float
    """For each flush of the log, which many commits share: seconds that pass, not processor time."""


class Load(NamedTuple):
    """What a run of orders did to the server."""

    orders: int
    commits: int
    log_bytes: int
    flushes: int
    flush_seconds: float
    cpu_seconds: float


# Measured


def measure_load(url: str, orders: int, lot: int) -> Load:
    """Put orders through an engine with 8 processors and a handler that does nothing.

    Args:
        url: of a database of a server that nobody else uses.
        orders: how many.
        lot: how many are submitted at once, each lot when the one before is Completed.
    """
    import psycopg

    with psycopg.connect(url, autocommit=True) as watcher:
        with OrderEngine(url, handler=embedded.do_nothing, max_backlog=10_000_000) as engine:
            before, cpu_before = _statistics(watcher), _server_seconds(watcher)
            rest = list(embedded.make_orders(orders))
            for first in range(0, orders, lot):
                engine.submit_many(rest[first : first + lot])
                engine.drain(embedded.DRAIN_SECONDS)
            cpu = _server_seconds(watcher) - cpu_before
        time.sleep(1.5)  # statistics come a second later
        after = _statistics(watcher)
    commits, log_bytes, flushes, flush_ms = (there - here for here, there in zip(before, after, strict=True))
    return Load(orders, int(commits), int(log_bytes), int(flushes), flush_ms / 1e3, cpu)


def measure_skip(url: str, locked: int) -> float:
    """What a claim spends on each order that is locked by others, in seconds of processor time.

    Args:
        url: of a database with so many orders that wait, and some more.
        locked: how many another transaction has locked.
    """
    import psycopg

    claim = f"SELECT sequence {_LINE} FOR UPDATE SKIP LOCKED".encode()
    with psycopg.connect(url) as holder, psycopg.connect(url) as claimer:
        claimer.execute("SET enable_bitmapscan = off; SET enable_sort = off")  # as in the engine's session
        claimer.commit()
        free = _claim_seconds(claimer, claim)
        holder.execute(claim.replace(b"LIMIT 100", f"LIMIT {locked}".encode())).fetchall()
        busy = _claim_seconds(claimer, claim)
        holder.rollback()
    return max(0.0, busy - free) / locked


def _claim_seconds(connection: Any, claim: bytes, times: int = 200) -> float:
    process = connection.info.backend_pid
    before = _seconds(process)
    for _ in range(times):
        connection.execute(claim).fetchall()
        connection.rollback()
    return (_seconds(process) - before) / times


def _statistics(connection: Any) -> tuple[float, ...]:
    connection.execute("SELECT pg_stat_clear_snapshot()")
    return tuple(
        connection.execute(
            "SELECT (SELECT sum(xact_commit) FROM pg_stat_database), (SELECT wal_bytes FROM pg_stat_wal),"
            " (SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'),"
            " (SELECT sum(fsync_time) FROM pg_stat_io WHERE object = 'wal')"
        ).fetchone()
    )


def _server_seconds(connection: Any) -> float:
    """What all processes of the server have used that are there now."""
    (backend,) = connection.execute("SELECT pg_backend_pid()").fetchone()
    parent = int(_stat(backend)[1])
    return sum(_seconds(process) for process in _children(parent))


def _children(parent: int) -> Iterator[int]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if int(_stat(int(folder.name))[1]) == parent:
                    yield int(folder.name)
            except OSError:  # it has just ended
                continue


def _seconds(process: int) -> float:
    fields = _stat(process)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _stat(process: int) -> list[str]:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


# Simulated

_POLL_SECONDS = 1.0
"""How often an engine without work looks for some, and one with work for that of others; with jitter."""


@dataclass(order=True)
class _Event:
    at: float
    number: int
    act: Callable[[], None] = field(compare=False)


class Simulation:
    """Engines over one server: each has one transaction under way, which takes in all that is there for it.

    The server's cores serve transactions in the sequence of their arrival. A commit waits for a flush of the log; one
    flush is under way at a time, and the next one takes in all commits that wait by then.

    Args:
        engines: how many.
        processors: of each engine.
        handler_seconds: what the handler takes.
        rate: orders a second that arrive at all engines together.
        cores: of the server.
        costs: what the server spends.
        seconds: how long orders arrive.
    """

    def __init__(
        self,
        engines: int,
        processors: int,
        handler_seconds: float,
        rate: float,
        cores: int,
        costs: Costs,
        seconds: float,
    ) -> None:
        self._costs, self._cores, self._rate, self._seconds = costs, cores, rate, seconds
        self._handler_seconds = handler_seconds
        self._random = random.Random(engines)
        self._now, self._number = 0.0, 0
        self._events: list[_Event] = []
        self._engines = [_Engine(processors) for _ in range(engines)]
        self._ready: deque[float] = deque()  # accepted, by their arrival
        self._free_cores = cores
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()
        self._commits: list[Callable[[], None]] = []
        self._is_flushing = False
        self._claiming = 0  # orders that are locked by claims under way
        self.busy_seconds = 0.0
        self.transactions = 0
        self.accepted: list[float] = []
        """How long each acceptance took."""
        self.completed: list[float] = []
        """From the arrival until it was Completed, without the handler's time."""

    def run(self) -> None:
        """Simulate until the time is over."""
        self._later(self._random.expovariate(self._rate), self._arrive)
        for engine in self._engines:
            self._later(self._random.random() * _POLL_SECONDS, lambda engine=engine: self._poll(engine))  # type: ignore[misc]
        while self._events and self._now < self._seconds:
            event = heapq.heappop(self._events)
            self._now = event.at
            event.act()

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, _Event(self._now + seconds, self._number, act))

    def _arrive(self) -> None:
        engine = self._random.choice(self._engines)
        engine.new.append(self._now)
        self._begin(engine)
        self._later(self._random.expovariate(self._rate), self._arrive)

    def _poll(self, engine: _Engine) -> None:
        engine.polls = True
        self._begin(engine)
        self._later(_POLL_SECONDS * self._random.uniform(0.5, 1.5), lambda: self._poll(engine))

    def _begin(self, engine: _Engine) -> None:
        """Begin the engine's next transaction, where it has none under way and something to do."""
        claims = engine.idle > 0 and (bool(self._ready) or engine.polls)
        if engine.is_busy or not (engine.new or engine.ended or claims):
            return
        engine.is_busy, engine.polls = True, False
        new, engine.new = engine.new, []
        ended, engine.ended = engine.ended, []
        claimed = [self._ready.popleft() for _ in range(min(engine.idle, len(self._ready)))]
        engine.idle -= len(claimed)
        cpu = self._costs.transaction + (len(new) + len(claimed) + len(ended)) / 3 * self._costs.order
        cpu += self._claiming * self._costs.skip if claims else 0
        self._claiming += len(claimed)
        self.transactions += 1

        def commit() -> None:
            self._claiming -= len(claimed)
            engine.is_busy = False
            self.accepted += [self._now - arrived for arrived in new]
            self._ready.extend(new)
            self.completed += [self._now - arrived - self._handler_seconds for arrived in ended]
            engine.idle += len(ended)
            for arrived in claimed:
                self._later(self._handler_seconds, lambda arrived=arrived: self._end(engine, arrived))  # type: ignore[misc]
            self._begin(engine)

        writes = bool(new or ended or claimed)
        self._serve(cpu, (lambda: self._flush(commit)) if writes else commit)

    def _end(self, engine: _Engine, arrived: float) -> None:
        engine.ended.append(arrived)
        self._begin(engine)

    def _serve(self, cpu: float, done: Callable[[], None]) -> None:
        self._waiting.append((cpu, done))
        self._next()

    def _next(self) -> None:
        while self._free_cores and self._waiting:
            cpu, done = self._waiting.popleft()
            self._free_cores -= 1
            self.busy_seconds += cpu

            def free(done: Callable[[], None] = done) -> None:
                self._free_cores += 1
                done()
                self._next()

            self._later(cpu, free)

    def _flush(self, commit: Callable[[], None]) -> None:
        self._commits.append(commit)
        if not self._is_flushing:
            self._is_flushing = True
            self._later(0.0, self._write)  # with all that commits at this moment

    def _write(self) -> None:
        commits, self._commits = self._commits, []

        def written() -> None:
            for commit in commits:
                commit()
            self._is_flushing = bool(self._commits)
            if self._is_flushing:
                self._write()

        self._later(self._costs.flush, written)


class _Engine:
    def __init__(self, processors: int) -> None:
        self.idle = processors
        self.is_busy = False
        self.polls = False
        self.new: list[float] = []
        self.ended: list[float] = []


# Told


def command(
    orders: Annotated[int, typer.Option(min=100, help="Orders that are put through, to measure.")] = 20_000,
    cores: Annotated[int, typer.Option(min=1, help="Cores of the simulated server.")] = 16,
    flush: Annotated[float | None, typer.Option(min=0, help="Seconds of a flush; as measured here by default.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long to simulate.")] = 10.0,
) -> None:
    """Measure what an order costs a PostgreSQL server, and simulate many engines over one."""
    console = Console()
    costs = _measure(orders, console)
    if flush is not None:
        costs = costs._replace(flush=flush)
    table = Table("engines", "orders a second", "completed", "accepted p50, p99 ms", "through p99 ms", "cores busy")
    for engines in (10, 100, 1_000):
        for rate in (1_000, 5_000, 10_000, 20_000, 40_000):
            table.add_row(*_simulate(engines, rate, cores, costs, seconds))
    console.print(table)


def _measure(orders: int, console: Console) -> Costs:
    table = Table(
        "submitted", "commits an order", "bytes of log an order", "flushes an order", "ms a flush", "server µs"
    )
    loads = []
    with postgres_server.server(track_wal_io_timing="on") as url:
        for lot, count in ((1, orders // 10), (8, orders // 4), (500, orders)):
            load = measure_load(postgres_server.new_database(url), count, lot)
            loads.append(load)
            table.add_row(
                f"{lot} at a time",
                f"{load.commits / count:.3f}",
                f"{load.log_bytes / count:,.0f}",
                f"{load.flushes / count:.3f}",
                f"{1e3 * load.flush_seconds / max(1, load.flushes):.2f}",
                f"{1e6 * load.cpu_seconds / count:.0f}",
            )
        skip = _measure_skip(postgres_server.new_database(url))
    console.print(table)
    single, _, lots = loads
    # Two runs, two unknowns: so much for each transaction, and so much for each order.
    commits, cpu = single.commits / single.orders, single.cpu_seconds / single.orders
    lot_commits, lot_cpu = lots.commits / lots.orders, lots.cpu_seconds / lots.orders
    transaction = max(0.0, (cpu - lot_cpu) / (commits - lot_commits))
    costs = Costs(
        transaction=transaction,
        order=max(1e-6, lot_cpu - lot_commits * transaction),
        skip=skip,
        flush=single.flush_seconds / max(1, single.flushes),
    )
    console.print(
        f"The server spends {1e6 * costs.transaction:.0f} µs a transaction, {1e6 * costs.order:.0f} µs an order, "
        f"{1e6 * costs.skip:.2f} µs for each order that a claim skips; a flush takes {1e3 * costs.flush:.2f} ms."
    )
    return costs


def _measure_skip(url: str) -> float:
    with OrderEngine(url, handler=embedded.do_nothing, max_backlog=10_000_000) as engine:
        engine.pause()
        embedded.submit_in_lots(engine, embedded.make_orders(12_000), 1_000)
    return measure_skip(url, 10_000)


def _simulate(engines: int, rate: float, cores: int, costs: Costs, seconds: float) -> tuple[str, ...]:
    processors = max(8, round(4 * rate * 0.05 / engines))
    simulation = Simulation(engines, processors, 0.05, rate, cores, costs, seconds)
    simulation.run()
    half, most = _percentiles(simulation.accepted)
    return (
        f"{engines:,}",
        f"{rate:,.0f}",
        f"{len(simulation.completed) / seconds:,.0f}",
        f"{1e3 * half:.1f}, {1e3 * most:.1f}",
        f"{1e3 * _percentiles(simulation.completed)[1]:.1f}",
        f"{simulation.busy_seconds / seconds:.1f} of {cores}",
    )


def _percentiles(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return float("nan"), float("nan")
    cuts = quantiles(values, n=100)
    return cuts[49], cuts[98]


if __name__ == "__main__":
    typer.run(command)
