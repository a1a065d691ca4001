"""Kills a server again and again while clients send orders, and counts what was lost, doubled or left behind.

`python tests/faults/chaos.py --rounds 200 --seed 1 --kill-during-recovery`: a real `ordermill serve` over one database,
clients in threads, SIGKILL at random moments. A client that got no answer sends its order again after the restart.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from ordermill.store.audit import audit
from ordermill.store.sqlite import database as store
from report import tell

_SECONDS = 60  # nothing takes longer, or it hangs
_READY = re.compile(r"Ordermill serves http://[^:]+:(\d+) with database .+, (\d+) orders recovered\.")
# A kill counts as a failed attempt of the orders in hand, and an order may be unlucky more than five times.
_OPTIONS = ("--port", "0", "--simulate-seconds", "0", "--max-attempts", "1000")


@dataclass
class Verdict:
    """What came of it."""

    seed: int
    rounds: int = 0
    killed_in_recovery: int = 0
    """Kills before the server was ready, each besides the kill of its round."""
    recovered: int = 0
    """Orders that were in hand at a kill, as the restarts tell."""
    acknowledged: int = 0
    sent_again: int = 0
    """Orders that were sent once more, since a kill came before the answer."""
    stored_before: int = 0
    """Those of them that were on disk already: 200 instead of 201."""
    lost: int = 0
    duplicated: int = 0
    stuck: int = 0
    faults: list[str] = field(default_factory=list)
    """What the audits found."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.duplicated or self.stuck or self.faults)


class Chaos:
    """A database, the clients' memory, and one server process after the other."""

    def __init__(self, folder: Path, seed: int, clients: int) -> None:
        self._folder = folder
        self._database = folder / "orders.db"
        self._chance = random.Random(seed)
        self._clients = clients
        self._never = threading.Event()
        self._acknowledged: set[str] = set()
        self._unanswered: deque[str] = deque()
        self._lock = threading.Lock()
        self.verdict = Verdict(seed)

    def round(self, number: int, kill_during_recovery: bool) -> None:
        """Start, let clients send, kill."""
        if kill_during_recovery and self._chance.random() < 0.5:
            with self._server() as process:
                self._never.wait(self._chance.uniform(0.0, 1.0))
                process.kill()
                assert process.stdout is not None
                self.verdict.killed_in_recovery += not process.stdout.read()
        with self._server() as process, ThreadPoolExecutor(self._clients) as threads:
            port = self._wait_until_ready(process)
            clients = [threads.submit(self._send_until_killed, port, f"r{number}-{i}") for i in range(self._clients)]
            self._never.wait(self._chance.uniform(0.02, 0.6))
            process.kill()
            for client in clients:
                client.result(timeout=_SECONDS)
        self.verdict.rounds += 1

    def audit_copy(self) -> None:
        """Audit a copy of what the kill has left, so that the looking changes nothing for the next start."""
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            for name in ("orders.db", "orders.db-wal"):
                if (self._folder / name).exists():
                    shutil.copy(self._folder / name, folder)
            self._audit(Path(folder, "orders.db"))
            self._count(Path(folder, "orders.db"))

    def finish(self) -> Verdict:
        """Start once more, send again what got no answer, wait until all is done, stop in order, and look."""
        with self._server() as process:
            port = self._wait_until_ready(process)
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)) as connection:
                while self._unanswered:
                    self._send(connection, self._unanswered.popleft(), is_again=True)
                for order_id, status in self._statuses().items():
                    if status != "Completed":  # where it does not get there, the count says so
                        _exchange(connection, "GET", f"/orders/{order_id}?wait=5")
            process.terminate()
            if (code := process.wait(timeout=_SECONDS)) != 0:
                self.verdict.faults.append(f"the server ended with exit code {code}")
        self._audit(self._database)
        self._count(self._database)
        self.verdict.stuck = sum(status != "Completed" for status in self._statuses().values())
        self.verdict.acknowledged = len(self._acknowledged)
        return self.verdict

    @contextmanager
    def _server(self) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, "-m", "ordermill.http", "serve", "--db", str(self._database), *_OPTIONS]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ORDERMILL_")}
        with (
            (self._folder / "stderr.txt").open("ab") as errors,
            subprocess.Popen(
                command, cwd=self._folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
            ) as process,
        ):
            watchdog = threading.Timer(_SECONDS, process.kill)
            watchdog.start()
            try:
                yield process
            finally:
                process.kill()
                watchdog.cancel()
                watchdog.join()

    def _wait_until_ready(self, process: subprocess.Popen[str]) -> int:
        assert process.stdout is not None
        found = _READY.match(line := process.stdout.readline())
        if found is None:
            raise RuntimeError(f"the server did not start: {line}{(self._folder / 'stderr.txt').read_text()[-2000:]}")
        self.verdict.recovered += int(found[2])
        return int(found[1])

    def _send_until_killed(self, port: int, prefix: str) -> None:
        number = 0
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)) as connection:
            while True:
                try:
                    order_id, is_again = self._unanswered.popleft(), True
                except IndexError:
                    order_id, is_again = f"{prefix}-{number}", False
                    number += 1
                try:
                    self._send(connection, order_id, is_again)
                except (OSError, http.client.HTTPException):
                    self._unanswered.append(order_id)
                    return

    def _send(self, connection: http.client.HTTPConnection, order_id: str, is_again: bool) -> None:
        order = {"order_id": order_id, "user_id": "u-1", "item_ids": ["sku-1"], "total_amount": "19.99"}
        status, answer = _exchange(connection, "POST", "/orders", order)
        with self._lock:
            self.verdict.sent_again += is_again
            self.verdict.stored_before += is_again and status == 200
            if status == 201 or (is_again and status == 200):
                self._acknowledged.add(order_id)
            else:
                self.verdict.faults.append(f"order {order_id} was answered {status}: {answer}")

    def _audit(self, path: Path) -> None:
        readers = store.open_readers(path, max_connections=1)
        try:
            with readers.connection_context():
                self.verdict.faults += audit(readers).faults
        finally:
            readers.close_all()

    def _statuses(self) -> dict[str, str]:
        with closing(sqlite3.connect(self._database)) as connection:
            return dict(connection.execute("SELECT order_id, status FROM orders"))

    def _count(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            stored = {order_id for (order_id,) in connection.execute("SELECT order_id FROM orders")}
            doubled = connection.execute(
                "SELECT order_id FROM orders GROUP BY order_id HAVING count(*) > 1 UNION "
                "SELECT order_id FROM transitions WHERE from_status IS NULL OR to_status = 'Completed' "
                "GROUP BY order_id, to_status = 'Completed' HAVING count(*) > 1"
            ).fetchall()
        self.verdict.lost = max(self.verdict.lost, len(self._acknowledged - stored))
        self.verdict.duplicated = max(self.verdict.duplicated, len(doubled))


def run_chaos(folder: Path, rounds: int, seed: int, clients: int, kill_during_recovery: bool, out: Console) -> Verdict:
    """Run the rounds over a database in a folder.

    Args:
        folder: empty; afterwards it has the database and what the servers wrote to standard error.
        rounds: kills under load.
        seed: of the random moments. The machine has a say too: no two runs are the same.
        clients: threads that send orders.
        kill_during_recovery: whether, in half of the rounds, a server is killed while it starts.
        out: where the progress is shown.
    """
    chaos = Chaos(folder, seed, clients)
    with Progress(console=out, transient=True) as progress:
        for number in progress.track(range(rounds), description="Rounds"):
            chaos.round(number, kill_during_recovery)
            if number % max(1, rounds // 20) == 0:
                chaos.audit_copy()
        return chaos.finish()


def _exchange(
    connection: http.client.HTTPConnection, method: str, path: str, content: object = None
) -> tuple[int, dict[str, object]]:
    body = None if content is None else json.dumps(content).encode()
    connection.request(method, path, body, {} if body is None else {"Content-Type": "application/json"})
    with connection.getresponse() as response:
        return response.status, json.loads(response.read())


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Kills under load.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the random moments.")] = 1,
    clients: Annotated[int, typer.Option(min=1, help="Threads that send orders.")] = 8,
    kill_during_recovery: Annotated[
        bool, typer.Option("--kill-during-recovery", help="In half of the rounds, kill a server while it starts, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Kill a server again and again; exit code 1 if any order is lost, doubled or stuck."""
    with tempfile.TemporaryDirectory() as folder:
        verdict = run_chaos(Path(folder), rounds, seed, clients, kill_during_recovery, Console(stderr=True))
    tell(verdict, as_json=as_json)


if __name__ == "__main__":
    typer.run(main)
