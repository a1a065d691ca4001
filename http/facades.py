"""Facades in processes of their own, which share the port: Python lets one process use one core."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import socket
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from pykka import Timeout

from ..engine import OrderEngine, OrdermillError, Reply
from ..engine.reply import answer, fail
from .channel import FacadeLine, RemoteDesk
from .forks import keep_from_children

if TYPE_CHECKING:
    from .server import ServerConfig

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0

_log = logging.getLogger("ordermill.http.facades")


class FacadeFailed(OrdermillError):
    """A facade's process could not be started."""


class Facades:
    """Keeps so many facade processes running; one that dies is replaced.

    Args:
        engine: running; it answers what the facades ask for.
        config: the settings of each facade's server, with the port that they share.
        set_up: called in each new process before anything else: logging, for one. Importable from its module.
    """

    def __init__(self, engine: OrderEngine, config: ServerConfig, set_up: Callable[[], None]) -> None:
        self._engine = engine
        self._config = config
        self._set_up = set_up
        self._stopping = threading.Event()
        self._lines: list[FacadeLine | None] = [None] * config.facades
        self._started: list[Reply[None]] = [Reply() for _ in self._lines]
        self._lock = threading.Lock()
        self._keepers = [
            threading.Thread(target=self._keep, args=(place,), name=f"ordermill-facade-{place}")
            for place in range(config.facades)
        ]

    def start(self) -> None:
        """Start them; returns when all take requests.

        Raises:
            FacadeFailed: one does not.
        """
        for keeper in self._keepers:
            keeper.start()
        try:
            for started in self._started:
                started.get(timeout=_START_SECONDS)
        except Timeout:
            self.stop()
            raise FacadeFailed(f"A facade did not start within {_START_SECONDS:g} s: see its log above.") from None
        except FacadeFailed:
            self.stop()
            raise

    def stop(self) -> None:
        """Have them answer what they have taken, then end; nothing if they have ended."""
        with self._lock:
            self._stopping.set()
            lines = [line for line in self._lines if line is not None]
        for line in lines:
            line.end()
        for keeper in self._keepers:
            keeper.join()

    def _keep(self, place: int) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            process, line = self._launch(place)
            line.serve()
            process.join(_STOP_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()
            line.close()
            if self._stopping.is_set():
                return
            if not self._started[place].is_done:
                fail(self._started[place], FacadeFailed("A facade ended before it took requests: see its log above."))
                return
            _log.error("a facade died with exit code %s: another one takes its place", process.exitcode)
            if line.announced.is_done:
                pause = _FIRST_PAUSE_SECONDS
            self._stopping.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _launch(self, place: int) -> tuple[multiprocessing.process.BaseProcess, FacadeLine]:
        # Never a fork: this process has threads.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=run_facade,
            args=(theirs, self._config, self._engine.path, self._set_up),
            name=f"ordermill-facade-{place}",
            daemon=True,
        )
        process.start()
        theirs.close()  # or its death would not be seen here
        keep_from_children(ours)  # or it would not see the death of this process
        line = FacadeLine(self._engine, ours)
        line.announced.when_done(partial(answer, self._started[place], None))
        with self._lock:
            self._lines[place] = line
            if self._stopping.is_set():
                line.end()
        return process, line


def run_facade(connection: Connection, config: ServerConfig, path: Path, set_up: Callable[[], None]) -> None:
    """Serve HTTP in this process, until the engine's process says that it stops or has gone.

    Args:
        connection: to the engine's process.
        config: the settings.
        path: the engine's database.
        set_up: called first.
    """
    from .server import FacadeServer, tune_process

    # The engine's process says when to stop: a signal to the whole group must not end the facades before it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    set_up()
    tune_process(config)
    desk = RemoteDesk(connection, path)
    server = FacadeServer(desk, config)
    server.prepare()
    thread = threading.Thread(target=server.serve, name="ordermill-http")
    thread.start()
    desk.announce()
    desk.serve()
    desk.interrupt_waits()
    server.stop()
    thread.join()
    desk.close()


def reserve_port(host: str, port: int) -> socket.socket:
    """Take a port that several processes are to share.

    Args:
        host: the address.
        port: 0 for a free one.

    Returns:
        A socket that holds the port, and takes no connections.

    Raises:
        OSError: it is not to be had: another program listens on it, even if it would share it.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as alone:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind(address)
        alone.listen(1)  # connections of an earlier program that are being closed keep nobody out, a listener does
        address = alone.getsockname()
    holder = socket.socket(family, kind, protocol)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind(address)
    return holder
