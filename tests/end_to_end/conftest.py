"""A server in a process of its own, and clients for it."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ordermill.store import queries
from ordermill.store.audit import Audit, audit
from ordermill.store.sqlite import database as store

READY = re.compile(
    r"Ordermill serves http://127\.0\.0\.1:(\d+) with database (.+), (\d+) orders recovered\."
    r"( Work is simulated: give a --handler\.)?\n"
)


class Server:
    """`ordermill serve` in a process of its own."""

    def __init__(self, database: Path, options: Sequence[str], environment: dict[str, str], folder: Path) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ORDERMILL_")}
        self._errors = folder / f"stderr-{len(list(folder.glob('stderr-*')))}.txt"
        command = [sys.executable, "-m", "ordermill.http", "serve"]
        command += ["--db", str(database)] * ("ORDERMILL_DB" not in environment)
        command += ["--port", "0"] * ("ORDERMILL_PORT" not in environment and "--port" not in options)
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*command, *options],
                cwd=folder,
                env=inherited | environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # so that a signal may be sent to all of its processes
            )
        self.ready_line = ""
        self.port = 0
        self.recovered = 0

    @property
    def errors(self) -> str:
        """What it has written to standard error, but for the warning that this system allows few open files."""
        lines = self._errors.read_text().splitlines(keepends=True)
        return "".join(line for line in lines if "files may be open" not in line)

    def wait_until_ready(self) -> None:
        """Wait for the line that says so."""
        self.ready_line = self.read_line()
        match = READY.fullmatch(self.ready_line)
        assert match, self.ready_line + self.errors
        self.port, self.recovered = int(match[1]), int(match[3])

    def close_output(self) -> None:
        """Read no more of what it prints: a pipe without a reader is left."""
        assert self.process.stdout is not None
        self.process.stdout.close()

    def read_line(self) -> str:
        """The next line that it prints, or its handlers."""
        assert self.process.stdout is not None
        deadline = threading.Timer(60, self.process.kill)
        deadline.start()
        try:
            return self.process.stdout.readline()
        finally:
            deadline.cancel()
            deadline.join()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end, and give the exit code."""
        return self.process.wait(timeout=60)

    def stop(self) -> None:
        """Stop it in order."""
        self.signal(signal.SIGTERM)
        code = self.wait()
        assert code == 0, self.errors

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.process.wait(timeout=60)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def connect(self) -> http.client.HTTPConnection:
        """A connection that is kept for several requests."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def request(self, method: str, path: str, content: object = None) -> tuple[int, Any]:
        """One request over a connection of its own."""
        with closing(self.connect()) as connection:
            return self.exchange(connection, method, path, content)

    @staticmethod
    def exchange(
        connection: http.client.HTTPConnection, method: str, path: str, content: object = None
    ) -> tuple[int, Any]:
        """One request over a connection that is kept."""
        if content is None:
            connection.request(method, path)
        else:
            connection.request(method, path, json.dumps(content).encode(), {"Content-Type": "application/json"})
        with connection.getresponse() as response:
            return response.status, json.loads(response.read())

    def get(self, path: str) -> Any:
        """What a GET answers, which must be 200."""
        status, answer = self.request("GET", path)
        assert status == 200, answer
        return answer

    def exchange_at_once(self, requests: Sequence[tuple[str, str, object]]) -> list[tuple[int, Any]]:
        """Open a connection for each request, then send all requests, then read all answers."""
        return asyncio.run(_exchange_at_once(self.port, requests))


class Tables(NamedTuple):
    """What a database holds, read past the engine."""

    statuses: dict[str, str]
    """By order id."""
    recount: Counter[str]
    """The running totals, counted anew."""
    audit: Audit


async def _exchange_at_once(port: int, requests: Sequence[tuple[str, str, object]]) -> list[tuple[int, Any]]:
    all_are_open = asyncio.Barrier(len(requests))

    async def talk(method: str, path: str, content: object) -> tuple[int, Any]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await all_are_open.wait()
            body = b"" if content is None else json.dumps(content).encode()
            lines = (
                *(f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json"),
                *("Connection: close", f"Content-Length: {len(body)}"),
            )
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            head_of_answer, _, answer = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
            await writer.wait_closed()
        return int(head_of_answer.split(b" ", 2)[1]), json.loads(answer)

    return await asyncio.wait_for(asyncio.gather(*(talk(*request) for request in requests)), timeout=120)


@pytest.fixture(scope="session", autouse=True)
def many_files() -> None:
    """A thousand connections need as many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@pytest.fixture
def start_server(database: Path, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers over the test's database; what still runs in the end is killed."""
    with ExitStack() as servers:

        def start(*options: str, is_ready: bool = True, **environment: str) -> Server:
            server = Server(database, options, environment, tmp_path)
            servers.callback(server.kill)
            if is_ready:
                server.wait_until_ready()
            return server

        yield start


@pytest.fixture
def tables(database: Path) -> Callable[[], Tables]:
    """Reads the test's database, and checks it."""

    def read() -> Tables:
        with closing(sqlite3.connect(database)) as connection:
            statuses = dict(connection.execute("SELECT order_id, status FROM orders"))
        readers = store.open_readers(database, max_connections=1)
        try:
            with readers.connection_context():
                return Tables(statuses, queries.recount(readers), audit(readers))
        finally:
            readers.close_all()

    return read


@pytest.fixture
def order() -> Callable[..., dict[str, Any]]:
    """Makes an order as clients write it."""

    def make(order_id: str, **fields: Any) -> dict[str, Any]:
        return {"order_id": order_id, "user_id": "u-1", "item_ids": ["sku-1"], "total_amount": "19.99"} | fields

    return make
