"""A thousand who watch what happens, against none: what they cost the engine that they watch."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection

import cherrypy

import embedded
from command import run
from measure import Benchmark, Conditions, Figures, MeasurementFailed, Row, Rule
from ordermill.engine import OrderEngine
from ordermill.http.application import http_server
from ordermill.http.config import ServerConfig
from ordermill.http.transport.server import HttpServer
from stopwatch import Stopwatch

_ORDERS = 100_000
_WATCHERS = 1_000


def measure_watched(conditions: Conditions, watchers: int) -> Figures:
    """Row 1 in a process that serves HTTP as well, with so many who watch everything."""
    count = conditions.count(_ORDERS)
    orders = list(embedded.make_orders(count))
    with (
        embedded.start_engine(conditions.folder / "orders.db") as engine,
        _serving(engine) as server,
        _watching(server.address, watchers),
    ):
        with Stopwatch() as watch:
            embedded.submit_in_lots(engine, orders)
            completed = engine.drain(embedded.DRAIN_SECONDS).total_orders_processed
        engine.interrupt_waits()
    if completed != count:
        raise MeasurementFailed(f"{completed} of {count} orders were completed")
    return watch.rate(count)


@contextmanager
def _serving(engine: OrderEngine) -> Iterator[HttpServer]:
    tree = type(cherrypy.tree)()
    server = http_server(engine, ServerConfig.of({"port": 0}), tree)
    server.prepare()
    thread = threading.Thread(target=server.start)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


@contextmanager
def _watching(address: tuple[str, int], watchers: int) -> Iterator[None]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_watch, args=(*address, watchers, theirs))
    process.start()
    try:
        if not ours.poll(60) or ours.recv() != watchers:
            raise MeasurementFailed("not all watch")
        yield
    finally:
        process.kill()
        process.join()


def _watch(host: str, port: int, watchers: int, told: Connection) -> None:
    asyncio.run(_watch_all(host, port, watchers, told))


async def _watch_all(host: str, port: int, watchers: int, told: Connection) -> None:
    readers = []
    for _ in range(watchers):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"retry: 1000")
        readers.append(reader)
    told.send(len(readers))
    await asyncio.gather(*(_read_to_the_end(reader) for reader in readers))
    await asyncio.Event().wait()


async def _read_to_the_end(reader: asyncio.StreamReader) -> None:
    while await reader.read(65_536):
        pass


BENCHMARKS = (
    Benchmark(
        name="watchers",
        work="row 1 in a process that serves HTTP, while 1,000 clients watch every event",
        against="the same while nobody watches",
        ours=partial(measure_watched, watchers=_WATCHERS),
        theirs=partial(measure_watched, watchers=0),
        rows=(Row("W", "completed_per_second", Rule.AT_LEAST, 0.9),),
    ),
)

if __name__ == "__main__":
    run(BENCHMARKS)
