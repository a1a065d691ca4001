"""What CherryPy's bus starts and stops, and what signals do."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, NoReturn, Self

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types
from cherrypy.process.plugins import SimplePlugin  # type: ignore[import-untyped]  # likewise
from cherrypy.process.servers import ServerAdapter  # type: ignore[import-untyped]  # likewise
from msgspec import structs
from pykka import Timeout

from ..engine import EngineStopped, OrderEngine, OrderStatus
from .application import http_server
from .config import ServerConfig
from .followed import look_at_all
from .processes.port import reserve_port
from .processes.supervisor import Supervisor
from .transport.forks import handle_here_only, keep_from_children
from .transport.server import HttpServer, cannot_listen
from .transport.tuning import tune_process

_log = logging.getLogger("ordermill.http")


class _EnginePlugin(SimplePlugin):  # type: ignore[misc]  # CherryPy has no types
    """Stops the engine, before the server: until the very end, whoever calls is told that it is stopping.

    CherryPy ends the whole process where a listener raises, so a stop only logs what went wrong.
    """

    def __init__(self, bus: Any, steps: Sequence[Callable[[], object]]) -> None:
        super().__init__(bus)
        self._steps = steps

    def stop(self) -> None:
        for step in self._steps:
            try:
                step()
            except Exception:
                _log.exception("unexpected error while stopping")

    stop.priority = ServerAdapter.stop.priority - 1  # type: ignore[attr-defined]  # CherryPy's way to say what is first


class _Interrupted(BaseException):
    """A signal tells the server to stop. No Exception: nothing on the way takes it for an error."""


class _Signals:
    """Lets SIGTERM and SIGINT stop the server: the first in order, the second at once. In the main thread.

    SIGHUP says that the terminal is gone, which is a reason to stop in order. A server without one gets it from
    operators and tools that want files read anew: the keys and the certificate are, and it goes on.
    """

    def __init__(self) -> None:
        self._is_stopping = False
        self._is_held = False
        self._has_terminal = _has_terminal()

    def __enter__(self) -> Self:
        numbers = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup has said what to do
            numbers.append(signal.SIGHUP)
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._fd_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        handle_here_only(numbers)
        self._before = {number: signal.signal(number, self._on_signal) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        handle_here_only(())
        signal.set_wakeup_fd(self._fd_before)
        os.close(self._read)
        os.close(self._write)

    @contextmanager
    def held(self) -> Iterator[None]:
        """What is done meanwhile is done as a whole; a signal stops the server after it."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        if self._is_stopping:
            raise _Interrupted

    def begin_stop(self) -> None:
        """From now on a signal ends the process at once."""
        self._is_stopping = True

    def wait(self) -> NoReturn:
        """Wait for a signal, which is raised."""
        while True:  # not with `signal.pause`, which would sleep through one that came a moment before
            if os.read(self._read, 1) == bytes([signal.SIGHUP]):
                look_at_all()

    def _on_signal(self, number: int, _: object) -> None:
        if number == signal.SIGHUP and (self._is_stopping or not self._has_terminal):
            return  # a terminal that goes may send several
        if self._is_stopping:
            # What is in hand stays Processing, as after a crash: the next start settles it.
            os._exit(128 + number)
        self._is_stopping = True
        if not self._is_held:
            raise _Interrupted


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


class Opened(NamedTuple):
    """A facade that takes requests."""

    url: str
    begin_stop: Callable[[], object]
    steps_to_close: tuple[Callable[[], object], ...] = ()


def serve(
    engine: OrderEngine,
    config: ServerConfig,
    on_ready: Callable[[str], None],
    set_up: Callable[[], None] = lambda: None,
) -> None:
    """Run the engine and its facade until SIGTERM or SIGINT; then answer what was accepted, and stop in order.

    Requests are answered until the engine has stopped: those that it takes no more with 503. A second signal ends the
    process at once. Call it in the main thread: signals reach no other.

    Args:
        engine: not started yet.
        config: the settings of the server.
        on_ready: called with the address once requests are taken.
        set_up: called first in each process of a facade, where there are several: see `Supervisor`.

    Raises:
        CannotListen: the address is not to be had.
        HttpProcessFailed: a facade's process does not start.
        DatabaseRefused: the database is not usable, or another engine works on it.
    """
    tune_process(config.max_idle_connections)
    bus = cherrypy.engine
    bus.autoreload.unsubscribe()
    cherrypy.server.unsubscribe()
    cherrypy.config.update({"log.screen": False, "checker.on": False})
    cherrypy.log.error_log.setLevel(logging.WARNING)  # the bus tells each of its steps
    server = http_server(engine, config, cherrypy.tree)  # first: it refuses what is wrong with the settings
    steps: list[Callable[[], object]] = [engine.interrupt_waits, engine.stop]
    _EnginePlugin(bus, steps).subscribe()
    with suppress(_Interrupted), _Signals() as signals:
        try:
            engine.start()
            if config.http_processes == 1:
                server.prepare()
                opened = Opened(server.url, server.begin_stop)
                ServerAdapter(bus, server).subscribe()
            else:
                opened = _open_many(engine, server, config, set_up)
            steps[:] = (engine.interrupt_waits, opened.begin_stop, engine.stop, *opened.steps_to_close)
            with signals.held():
                bus.start()
            on_ready(opened.url)
            signals.wait()
        finally:
            signals.begin_stop()
            _tell_what_is_waited_for(engine)
            bus.exit()


def _tell_what_is_waited_for(engine: OrderEngine) -> None:
    try:
        in_hand = engine.begin_metrics().get(timeout=1).orders_by_status[OrderStatus.PROCESSING]
    except (EngineStopped, Timeout):
        in_hand = 0
    if in_hand:
        _log.warning(
            "stopping: %d orders in hand are waited for, %g s at the most; a second signal stops at once",
            in_hand,
            engine.config.stop_seconds,
        )
    else:
        _log.info("stopping: no order is in hand")


def _open_many(engine: OrderEngine, server: HttpServer, config: ServerConfig, set_up: Callable[[], None]) -> Opened:
    # The server is a pattern for those of the other processes: this process only holds the port for them.
    try:
        holder = reserve_port(config.host, config.port)
    except OSError as error:
        raise cannot_listen(server.url, error) from error
    keep_from_children(holder)
    port: int = holder.getsockname()[1]
    supervisor = Supervisor(engine, structs.replace(config, port=port), set_up)
    try:
        supervisor.start()
    except BaseException:
        holder.close()
        raise
    return Opened(server.url_of(config.host, port), supervisor.begin_stop, (supervisor.stop, holder.close))
