"""HTTP in processes of its own, which share the port: Python lets one process use one core."""

from __future__ import annotations

import logging
import multiprocessing
import socket
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from time import monotonic

from pykka import Timeout

from ...engine import OrderEngine, OrdermillError, Reply
from ...engine.execution.children import shielded
from ...engine.reply import answer, fail
from ..config import ServerConfig
from ..transport.forks import keep_from_children
from ..transport.tuning import GRACE_SECONDS
from .channel import ChannelLoop
from .engine_server import EngineServer
from .worker import run_worker

_START_SECONDS = 30.0
_STOP_SECONDS = GRACE_SECONDS + 2.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0

_log = logging.getLogger("ordermill.http.processes")


class HttpProcessFailed(OrdermillError):
    """A facade's process could not be started."""


class Supervisor:
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
        self._channels = ChannelLoop()
        self._has_begun_to_stop = False
        self._stopping = threading.Event()
        self._running: list[tuple[BaseProcess, EngineServer] | None] = [None] * config.http_processes
        self._started: list[Reply[None]] = [Reply() for _ in self._running]
        self._lock = threading.Lock()
        self._keepers = [
            threading.Thread(target=self._keep, args=(place,), name=f"ordermill-facade-{place}")
            for place in range(config.http_processes)
        ]

    def start(self) -> None:
        """Start them; returns when all take requests.

        Raises:
            HttpProcessFailed: one does not.
        """
        self._channels.start()
        for keeper in self._keepers:
            keeper.start()
        try:
            for started in self._started:
                started.get(timeout=_START_SECONDS)
        except Timeout:
            self.stop()
            raise HttpProcessFailed(f"A facade did not start within {_START_SECONDS:g} s: see its log above.") from None
        except BaseException:
            self.stop()
            raise

    def begin_stop(self) -> None:
        """Have them keep no connection any more: a stop has begun."""
        with self._lock:
            self._has_begun_to_stop = True
            for running in self._running:
                if running is not None:
                    running[1].tell_stop()

    def stop(self) -> None:
        """Have them tell whoever waits that the engine has stopped, then end; nothing if they have ended.

        One that does not end, since it hangs, is killed.
        """
        with self._lock:
            self._stopping.set()
            running = [facade for facade in self._running if facade is not None]
        for process, line in running:
            if line.announced.is_done:
                line.tell_end()
            else:  # it is still starting, and has nothing to answer
                process.kill()
        deadline = monotonic() + _STOP_SECONDS
        for process, _ in running:
            # Its keeper joins it: here it is only looked at, by what is readable when it has ended.
            if not wait([process.sentinel], max(0.0, deadline - monotonic())):
                _log.warning("a facade did not stop within %g s: it is killed", _STOP_SECONDS)
                process.kill()
        for keeper in self._keepers:
            keeper.join()
        self._channels.stop()

    def _keep(self, place: int) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            try:
                process, line = self._launch(place)
            except OSError as error:  # too few open files, or no memory
                if not self._started[place].is_done:
                    fail(self._started[place], HttpProcessFailed(f"A facade's process cannot be started: {error}."))
                    return
                _log.error("a facade's process cannot be started: %s; tried again in %g s", error, pause)
                self._stopping.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                continue
            line.ended.wait()
            process.join(_STOP_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()
            line.close()
            if self._stopping.is_set():
                return
            if not self._started[place].is_done:
                fail(
                    self._started[place],
                    HttpProcessFailed("A facade ended before it took requests: see its log above."),
                )
                return
            _log.error("a facade died with exit code %s: another one takes its place", process.exitcode)
            if line.announced.is_done:
                pause = _FIRST_PAUSE_SECONDS
            self._stopping.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _launch(self, place: int) -> tuple[BaseProcess, EngineServer]:
        # Never a fork: this process has threads.
        context = multiprocessing.get_context("spawn")
        ours, theirs = socket.socketpair()
        process = context.Process(
            target=run_worker,
            args=(theirs, self._config, self._engine.address, self._set_up),
            name=f"ordermill-facade-{place}",
            daemon=True,
        )
        try:
            with shielded():
                process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()  # or its death would not be seen here
        keep_from_children(ours)  # or it would not see the death of this process
        line = EngineServer(self._engine, self._channels, ours)
        line.announced.when_done(partial(answer, self._started[place], None))
        with self._lock:
            self._running[place] = process, line
            if self._has_begun_to_stop:
                line.tell_stop()
            if self._stopping.is_set():
                process.kill()
        return process, line
