"""Surrounds a server with hostile clients, and measures what normal clients notice of it.

`python tests/http/hostile.py --hostile 1000 --seconds 10`: a real `ordermill serve`, a process of clients that are
silent, send one byte a second, never read, leave in the middle or stay for nothing, and normal clients that send orders
and ask for them, first alone, then among the others.
"""

from __future__ import annotations

import asyncio
import json
import math
import multiprocessing
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import count, cycle, islice
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import quantiles
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ordermill.http.transport.tuning import allow_connections

_SECONDS = 60  # nothing takes longer, or it hangs
_READY = re.compile(r"Ordermill serves https?://[^:]+:(\d+) ")
_SETTLE_SECONDS = 4
_ORDERS = 1_000
_HEAD = b"Host: localhost\r\nContent-Type: application/json\r\n"
_LISTING = b"GET /orders?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass
class Service:
    """What normal clients got."""

    requests: int
    rate: float
    """Requests a second, of all clients together."""
    p50: float
    """Half of the answers came within so many milliseconds."""
    p99: float


@dataclass
class Verdict:
    """What came of it."""

    hostile: int
    clients: int
    alone: Service | None = None
    among: Service | None = None
    ratio: dict[str, float] = field(default_factory=dict)
    """What normal clients got among hostile ones, in relation to what they got alone."""
    wrong: list[str] = field(default_factory=list)
    """Answers to normal clients that were not the right ones, and what the server said was wrong."""

    @property
    def is_clean(self) -> bool:
        """Whether every normal request was answered as it must be."""
        return not self.wrong


async def be_silent(port: int) -> None:
    """Connect, and say nothing."""
    await _read_all(port, b"")


async def drip_a_head(port: int) -> None:
    """Send a head, one byte a second."""
    await _drip(port, b"GET /healthz HTTP/1.1\r\nX: ")


async def drip_a_body(port: int) -> None:
    """Send a body, one byte a second."""
    await _drip(port, b"POST /orders HTTP/1.1\r\n" + _HEAD + b"Content-Length: 100000\r\n\r\n")


async def never_read(port: int) -> None:
    """Ask for more than fits into the buffers on the way, and read nothing of it."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, ("127.0.0.1", port))
        await loop.sock_sendall(connection, _LISTING * 4)
        await asyncio.sleep(_SECONDS)


async def leave(port: int) -> None:
    """Disconnect in the middle of a body."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /orders HTTP/1.1\r\n" + _HEAD + b"Content-Length: 100\r\n\r\n{")
    await asyncio.sleep(1)
    writer.close()


async def stay(port: int) -> None:
    """Ask one thing, and keep the connection for nothing."""
    await _read_all(port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")


HOSTILE: tuple[Callable[[int], Coroutine[Any, Any, None]], ...] = (
    be_silent,
    drip_a_head,
    drip_a_body,
    never_read,
    leave,
    stay,
)


async def _read_all(port: int, request: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await reader.read()
    writer.close()


async def _drip(port: int, beginning: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(beginning)
    while not reader.at_eof():
        writer.write(b"a")
        with suppress(TimeoutError):
            await asyncio.wait_for(reader.read(65536), 1)
    writer.close()


def _be_hostile(port: int, clients: int, parent: Connection) -> None:
    async def again_and_again(attack: Callable[[int], Coroutine[Any, Any, None]], begin: float) -> None:
        await asyncio.sleep(begin * _SETTLE_SECONDS)
        while True:
            try:
                await attack(port)
            except OSError:
                await asyncio.sleep(0.1)

    async def run() -> None:
        attacks = islice(cycle(HOSTILE), clients)
        tasks = [asyncio.create_task(again_and_again(attack, i / clients)) for i, attack in enumerate(attacks)]
        await asyncio.sleep(_SETTLE_SECONDS + 1)  # all have connected, and the buffers are full
        parent.send("ready")
        await asyncio.get_running_loop().run_in_executor(None, parent.recv)
        for task in tasks:
            task.cancel()

    allow_connections(clients)
    asyncio.run(run())


class Normal:
    """Clients that send orders and ask for them, each over a connection that it keeps.

    Args:
        port: of the server.
        clients: how many.
        wrong: where answers go that are not the right ones.
        lines: of the header of each request besides, as they are sent.
        trust: certificates, where the server speaks TLS.
    """

    def __init__(
        self, port: int, clients: int, wrong: list[str], lines: bytes = b"", trust: ssl.SSLContext | None = None
    ) -> None:
        self._lines = lines
        self._trust = trust
        self._port = port
        self._clients = clients
        self._wrong = wrong
        self._numbers = count()

    async def serve(self, seconds: float = math.inf, orders: float = math.inf) -> Service:
        """Send for so long, or so many orders."""
        took: list[float] = []
        began = time.perf_counter()

        async def client() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._trust)
            while time.perf_counter() < began + seconds and len(took) < 2 * orders:
                order_id = f"o-{next(self._numbers)}"
                order = {"order_id": order_id, "user_id": "u-1", "item_ids": ["sku-1"], "total_amount": "19.99"}
                body = json.dumps(order).encode()
                head = b"POST /orders HTTP/1.1\r\n" + _HEAD + self._lines + b"Content-Length: %d\r\n\r\n" % len(body)
                await ask(reader, writer, head + body, b"HTTP/1.1 201 ", order_id)
                head = b"GET /orders/%b HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (order_id.encode(), self._lines)
                await ask(reader, writer, head, b"HTTP/1.1 200 ", order_id)
            writer.close()

        async def ask(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, status: bytes, order_id: str
        ) -> None:
            sent = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            took.append(time.perf_counter() - sent)
            if not head.startswith(status) or json.loads(body).get("order_id") != order_id:
                self._wrong.append(f"{order_id} was answered {head[:30]!r} {body[:200]!r}")

        limit = _SECONDS + (seconds if seconds < math.inf else 0)
        done, hanging = await asyncio.wait([asyncio.create_task(client()) for _ in range(self._clients)], timeout=limit)
        self._wrong += [repr(task.exception()) for task in done if task.exception() is not None]
        for task in hanging:
            self._wrong.append(f"a request was not answered within {_SECONDS} s")
            task.cancel()
            took.append(limit)
        cuts = quantiles([1000 * second for second in took], n=100)
        rate = len(took) / (time.perf_counter() - began)
        return Service(len(took), round(rate, 1), round(cuts[49], 2), round(cuts[98], 2))


@contextmanager
def serving(folder: Path, options: list[str], wrong: list[str]) -> Iterator[tuple[int, int]]:
    """A server; its port, and the id of its process."""
    command = [sys.executable, "-m", "ordermill.http", "serve", "--db", str(folder / "orders.db"), "--port", "0"]
    command += ["--simulate-seconds", "0", "--max-backlog", "10000000", *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORDERMILL_")}
    with (
        (folder / "stderr.txt").open("w+") as errors,
        subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            found = _READY.match(line := process.stdout.readline())
            if found is None:
                raise RuntimeError(f"the server did not start: {line}")
            yield int(found[1]), process.pid
            process.terminate()
            if (code := process.wait(timeout=_SECONDS)) != 0:
                wrong.append(f"the server ended with exit code {code}")
        finally:
            process.kill()
            errors.seek(0)
            told = errors.read().splitlines()
            wrong.extend([line for line in told if "files may be open" not in line and " stopping: " not in line][:20])


@contextmanager
def _surrounded(port: int, clients: int) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_be_hostile, args=(port, clients, there), daemon=True)
    process.start()
    try:
        assert here.poll(_SECONDS), "the hostile clients did not start"
        here.recv()
        yield
        here.send("stop")
        process.join(_SECONDS)
    finally:
        process.kill()
        process.join()


def run_hostile(folder: Path, hostile: int, clients: int, seconds: float, options: list[str]) -> Verdict:
    """Measure normal clients alone, then among hostile ones.

    Args:
        folder: empty; afterwards it has the database and what the server wrote to standard error.
        hostile: hostile clients.
        clients: normal clients.
        seconds: how long each of the two takes.
        options: of the server.
    """
    verdict = Verdict(hostile, clients)
    with serving(folder, options, verdict.wrong) as (port, _):
        normal = Normal(port, clients, verdict.wrong)
        asyncio.run(normal.serve(orders=_ORDERS))  # so that there is something to list
        verdict.alone = asyncio.run(normal.serve(seconds))
        with _surrounded(port, hostile):
            verdict.among = asyncio.run(normal.serve(seconds))
        asyncio.run(normal.serve(orders=10))
    alone, among = asdict(verdict.alone), asdict(verdict.among)
    verdict.ratio = {name: round(among[name] / alone[name], 2) for name in ("rate", "p50", "p99")}
    return verdict


def main(
    hostile: Annotated[int, typer.Option(min=1, help="Hostile clients.")] = 1000,
    clients: Annotated[int, typer.Option(min=1, help="Normal clients.")] = 8,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each of the two measurements takes.")] = 10,
    option: Annotated[
        list[str] | None, typer.Option(help="An option of the server, as in --option=--threads=8.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Surround a server with hostile clients; exit code 1 if any normal request is not answered as it must be."""
    with tempfile.TemporaryDirectory() as folder:
        verdict = run_hostile(Path(folder), hostile, clients, seconds, option or [])
    if as_json:
        print(json.dumps(asdict(verdict), indent=2))
    else:
        assert verdict.alone is not None
        assert verdict.among is not None
        table = Table("", "Alone", "Among", "Ratio", title=f"{clients} normal clients, {hostile} hostile ones")
        for name, unit in (("rate", "requests/s"), ("p50", "ms"), ("p99", "ms")):
            alone, among = (getattr(service, name) for service in (verdict.alone, verdict.among))
            table.add_row(name, f"{alone:,.1f} {unit}", f"{among:,.1f} {unit}", f"{verdict.ratio[name]:.2f}")
        Console().print(table)
        for wrong in verdict.wrong[:20]:
            print(wrong)
    if not verdict.is_clean:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
