"""Servers in processes of their own: ours, and the peer. Each over a database that a benchmark names."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from load import SCRIPTS
from measure import MeasurementFailed

_READY = re.compile(r"Ordermill serves (http://\S+) ")
_READY_SECONDS = 120
_COMPLETED_SECONDS = 600
_POLL_SECONDS = 0.2
_TICKS = os.sysconf("SC_CLK_TCK")

Statuses = dict[str, int]


class NotReady(Exception):
    """A server does not start; what it has written says why."""


class Server:
    """A server that runs, the leader of a session of its own.

    Args:
        process: the server.
        url: its address.
        read_statuses: asks it how many orders are in each status.
    """

    def __init__(self, process: subprocess.Popen[str], url: str, read_statuses: Callable[[Server], Statuses]) -> None:
        self.url = url
        self._process = process
        self._read_statuses = read_statuses

    def get(self, path: str) -> Any:
        """The JSON that it answers.

        Raises:
            MeasurementFailed: it answers with an error.
            OSError: it does not answer.
        """
        with closing(self.connect()) as client:
            client.request("GET", path)
            answer = client.getresponse()
            body = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise MeasurementFailed(f"GET {path} answers {answer.status}: {body.decode(errors='replace')}")
        return json.loads(body)

    def connect(self) -> http.client.HTTPConnection:
        """A connection to it, to be closed."""
        return http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=_READY_SECONDS)

    def post_lot(self, orders: Iterable[dict[str, Any]]) -> None:
        """Have it accept orders, in one request.

        Raises:
            MeasurementFailed: it does not take all of them.
            OSError: it does not answer.
        """
        lines = [json.dumps(order) for order in orders]
        with closing(self.connect()) as client:
            body = "\n".join(lines).encode()
            client.request("POST", "/orders/bulk", body, {"Content-Type": "application/x-ndjson"})
            answer = client.getresponse()
            told = answer.read()
        if answer.status != http.HTTPStatus.OK or json.loads(told)["accepted"] != len(lines):
            raise MeasurementFailed(
                f"POST /orders/bulk answers {answer.status}: {told[:1000].decode(errors='replace')}"
            )

    def completed(self) -> int:
        """How many orders are Completed."""
        return self._read_statuses(self).get("Completed", 0)

    def wait_until_completed(self, at_least: int) -> int:
        """Wait until it has nothing left to do.

        Args:
            at_least: orders that were acknowledged.

        Returns:
            Orders that are Completed: those, and what was on its way when the load ended.

        Raises:
            MeasurementFailed: an order was lost, or it takes too long.
        """
        deadline = time.monotonic() + _COMPLETED_SECONDS
        while time.monotonic() < deadline:
            statuses = self._read_statuses(self)
            completed = statuses.get("Completed", 0)
            if completed == sum(statuses.values()):
                if completed < at_least:
                    raise MeasurementFailed(f"{at_least} orders were acknowledged, only {completed} are there")
                return completed
            time.sleep(_POLL_SECONDS)
        raise MeasurementFailed(f"orders are unfinished after {_COMPLETED_SECONDS} s: {statuses}")

    def cpu_seconds(self) -> float:
        """The processor time that it has used, with all processes that it has started."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                # The name, which may contain anything, ends with the last parenthesis; `state` is field 3.
                fields = stat.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
            _state, _parent, _group, session = fields[:4]
            if int(session) == self._process.pid:
                ticks += sum(int(field) for field in fields[11:15])  # of its own, and of children that have ended
        return ticks / _TICKS


@contextmanager
def ordermill(database: Path | str, *options: str, simulate_seconds: float = 0) -> Iterator[Server]:
    """`ordermill serve`, once it takes requests.

    Args:
        database: its file, or its URL.
        options: further ones.
        simulate_seconds: how long the handler takes.
    """
    command = [sys.executable, "-m", "ordermill.http", "serve", "--db", str(database), "--port", "0"]
    command += ["--simulate-seconds", str(simulate_seconds), "--max-backlog", "10000000", *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORDERMILL_")}
    with _process(command, database.parent if isinstance(database, Path) else None, environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        ready = _READY.match(line)
        if not ready:
            raise NotReady(f"ordermill serve is not ready: {line}")
        yield Server(process, ready[1], lambda server: dict(server.get("/metrics")["orders_by_status"]))


@contextmanager
def peer(database: Path) -> Iterator[Server]:
    """`peers/fastapi_peer.py` under uvicorn, once it takes requests.

    Args:
        database: its file, which it makes anew.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "fastapi_peer:app", "--app-dir", str(SCRIPTS), "--port", str(port)]
    command += ["--no-access-log", "--log-level", "error"]
    with _process(command, database.parent, {**os.environ, "PEER_DB": str(database)}) as process:
        server = Server(process, f"http://127.0.0.1:{port}", lambda server: dict(server.get("/counts")))
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                server.completed()
                break
            except OSError as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise NotReady("the peer is not ready") from error
                time.sleep(0.05)
        yield server


def missing_peer() -> str:
    """Why the peer cannot run; an empty string where it can."""
    missing = [package for package in ("fastapi", "uvicorn", "aiosqlite") if find_spec(package) is None]
    return f"no {', '.join(missing)}: pip install -r benchmarks/requirements.txt" if missing else ""


def has_option(name: str) -> bool:
    """Whether `ordermill serve` has an option."""
    command = [sys.executable, "-m", "ordermill.http", "serve", "--help"]
    environment = {**os.environ, "TERMINAL_WIDTH": "200"}  # or long names would be cut off
    help_text = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return re.search(rf"{re.escape(name)}\b", help_text) is not None


@contextmanager
def _process(
    command: Sequence[str], folder: Path | None, environment: dict[str, str]
) -> Iterator[subprocess.Popen[str]]:
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "text": True, "start_new_session": True}
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, cwd=folder, env=environment, stderr=errors, **options) as process,
    ):
        try:
            yield process
        except NotReady as error:
            process.kill()
            errors.seek(0)
            raise MeasurementFailed(f"{error}: {errors.read()}") from None
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
