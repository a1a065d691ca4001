"""The HTTP server around the facade: sockets, threads and limits; and CherryPy's bus, which starts and stops it all."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Annotated, Any, NamedTuple, NoReturn, Self

import cheroot.server
import cheroot.wsgi
import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types
from cheroot.workers.threadpool import ThreadPool
from cherrypy.process.plugins import SimplePlugin  # type: ignore[import-untyped]  # likewise
from msgspec import Meta, structs
from pykka import Timeout

from ..engine import (
    Desk,
    EngineStopped,
    InvalidConfiguration,
    OrderEngine,
    OrdermillError,
    OrderStatus,
    Settings,
)
from .app import Facade
from .connection import Connection, OpenConnections
from .facades import Facades, reserve_port
from .forks import handle_here_only, keep_from_children
from .gateway import Gateway
from .limits import GRACE_SECONDS, allow_connections, connections_allowed
from .memory import Memory
from .patience import PatientConnections
from .protection import protect
from .tls import PatientTls

_BODIES_AT_ONCE = 16
_CONNECTION_BACKLOG = 4096
_SWITCH_INTERVAL_SECONDS = 0.0005

_log = logging.getLogger("ordermill.http")


class ServerConfig(Settings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the HTTP server; each is an option of `ordermill serve`."""

    files = ("keys_file", "tls_cert", "tls_key")

    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 8080
    facades: Annotated[
        int,
        Meta(
            ge=1,
            le=64,
            description="Processes that serve HTTP; more than one share the port, and hand orders to the engine.",
        ),
    ] = 1
    threads: Annotated[
        int,
        Meta(ge=1, le=1000, description="Threads of a facade. None of them waits for a client or for the engine."),
    ] = 4
    max_waiting: Annotated[
        int, Meta(ge=0, description="Requests with ?wait= that wait at the same time; more are answered at once.")
    ] = 1_000
    max_body_bytes: Annotated[int, Meta(ge=1024, description="Largest body that is taken, in bytes.")] = (
        16 * 1024 * 1024
    )
    socket_seconds: Annotated[
        int,
        Meta(ge=1, description="How long a connection may be silent, in a request or between two, in seconds."),
    ] = 5
    request_seconds: Annotated[
        int,
        Meta(ge=1, description="How long a client may take to send a request, or to take its answer, in seconds."),
    ] = 30
    max_idle_connections: Annotated[
        int, Meta(ge=0, description="Connections kept open between two requests at the most.")
    ] = 10_000
    keys_file: Annotated[
        str | None, Meta(description="File of the keys that callers need; none is needed without it.")
    ] = None
    allow_anonymous: Annotated[
        bool, Meta(description="Listen on an address that others reach, although no key is needed.")
    ] = False
    tls_cert: Annotated[str | None, Meta(description="File of the certificate for TLS, as PEM.")] = None
    tls_key: Annotated[str | None, Meta(description="File of its private key, as PEM.")] = None
    cors_origins: Annotated[
        str | None,
        Meta(description="Origins whose pages may call from a browser, with commas between them; `*` for all."),
    ] = None
    user_rate: Annotated[
        Annotated[float, Meta(ge=0.001, le=1e6)] | None,
        Meta(description="Orders a second that each user may send; any number by default."),
    ] = None
    user_burst: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Orders that a user may send at once after a pause; as many as in a second by default."),
    ] = None


class CannotListen(OrdermillError):
    """The address is in use, or is none of this machine's."""


class FacadeServer(cheroot.wsgi.Server):
    """Cheroot, with the limits of the configuration and problem details for its own errors.

    Args:
        desk: of a running engine.
        config: the settings.

    Raises:
        InvalidConfiguration: a setting is wrong, or others than this machine could call without a key.
        KeysUnusable: the file of the keys is not usable.
    """

    def __init__(self, desk: Desk, config: ServerConfig) -> None:
        super().__init__(
            (config.host, config.port),
            Facade(desk, config.max_waiting, protect(config)),
            numthreads=config.threads,
            server_name="ordermill",
            request_queue_size=_CONNECTION_BACKLOG,
            timeout=config.socket_seconds,
            shutdown_timeout=min(config.socket_seconds, GRACE_SECONDS),
            reuse_port=config.facades > 1,
        )
        self.gateway = Gateway
        self.ssl_adapter = _tls(config)
        self.max_request_body_size = config.max_body_bytes
        self.request_seconds = config.request_seconds
        self.requests = _Threads(self, min=config.threads)
        self.open_connections = OpenConnections()
        self.memory = Memory(_BODIES_AT_ONCE * config.max_body_bytes)
        self.keep_alive_conn_limit = config.max_idle_connections
        self._connections: PatientConnections

    @property
    def url(self) -> str:
        """The address that it listens on; with the port that it got, once `prepare` has run."""
        return self.url_of(*self.bind_addr[:2])

    def url_of(self, host: str, port: int) -> str:
        """The address of a server with these settings at that host and port."""
        scheme = "http" if self.ssl_adapter is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def prepare(self) -> None:
        """Listen on the address.

        Raises:
            CannotListen: it is not to be had.
        """
        try:
            super().prepare()
        except OSError as error:
            raise _cannot_listen(self.url, error) from error
        keep_from_children(self.socket)
        self._connections.close()
        self._connections = PatientConnections(self, connections_allowed())

    @property
    def can_add_keepalive_connection(self) -> bool:
        """Whether a connection may stay open after its answer."""
        return bool(self.ready) and len(self.open_connections) <= self.keep_alive_conn_limit

    def process_conn(self, conn: Connection) -> None:
        """Give a thread to a connection once a whole request has come over it."""
        self._connections.go_on(conn)

    def put_conn(self, conn: Connection) -> None:
        """Take back a connection from a thread: its client or its answer has to be waited for."""
        if self.ready or conn.is_answering:
            self._connections.put(conn)
        else:
            conn.close()

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        """Cheroot's errors go where ours go."""
        _log.log(level, "%s", msg, exc_info=traceback)


def _tls(config: ServerConfig) -> PatientTls | None:
    if config.tls_cert is None and config.tls_key is None:
        return None
    if config.tls_cert is None or config.tls_key is None:
        raise InvalidConfiguration("TLS needs both --tls-cert and --tls-key.")
    return PatientTls(config.tls_cert, config.tls_key)


class _Threads(ThreadPool):
    def __init__(self, server: FacadeServer, min: int) -> None:  # Cheroot's name
        super().__init__(server, min=min)
        # Cheroot's own is a queue.Queue, whose lock and conditions are Python code that runs for each request.
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self.get = self._queue.get


class _FacadePlugin(SimplePlugin):  # type: ignore[misc]  # CherryPy has no types
    """Stops the engine, then the facade.

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


class _Interrupted(BaseException):
    """A signal tells the server to stop. No Exception: nothing on the way takes it for an error."""


class _Signals:
    """Lets SIGTERM and SIGINT stop the server: the first in order, the second at once. In the main thread.

    SIGHUP says that the terminal is gone, which is a reason to stop in order. A server without one gets it from
    operators and tools that want files read anew: keys are followed anyway, so it goes on.
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
            os.read(self._read, 1)

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
    steps_to_close: tuple[Callable[[], object], ...]


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
        set_up: called first in each process of a facade, where there are several: see `Facades`.

    Raises:
        CannotListen: the address is not to be had.
        FacadeFailed: a facade's process does not start.
        DatabaseRefused: the database is not usable, or another engine works on it.
    """
    tune_process(config)
    bus = cherrypy.engine
    bus.autoreload.unsubscribe()
    cherrypy.server.unsubscribe()
    cherrypy.log.screen = False
    cherrypy.log.error_log.setLevel(logging.WARNING)  # the bus tells each of its steps
    server = FacadeServer(engine, config)  # first: it refuses what is wrong with the settings
    steps: list[Callable[[], object]] = [engine.interrupt_waits, engine.stop]
    _FacadePlugin(bus, steps).subscribe()
    bus.start()
    with suppress(_Interrupted), _Signals() as signals:
        try:
            engine.start()
            if config.facades == 1:
                with signals.held():
                    url, closing = _open_one(server)
                    steps += closing
            else:
                url, closing = _open_many(engine, server, config, set_up)
                steps += closing
            on_ready(url)
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


def tune_process(config: ServerConfig) -> None:
    """Prepare a process to serve: for many short tasks in few threads, and for many connections."""
    # Threads that have little to do each time should not wait 5 ms for the interpreter's lock.
    sys.setswitchinterval(_SWITCH_INTERVAL_SECONDS)
    allow_connections(config.max_idle_connections)


def _open_one(server: FacadeServer) -> Opened:
    server.prepare()
    thread = threading.Thread(target=server.serve, name="ordermill-http")
    thread.start()
    return Opened(server.url, (server.stop, thread.join))


def _open_many(engine: OrderEngine, server: FacadeServer, config: ServerConfig, set_up: Callable[[], None]) -> Opened:
    # The server is a pattern for those of the other processes: this process only holds the port for them.
    try:
        holder = reserve_port(config.host, config.port)
    except OSError as error:
        raise _cannot_listen(server.url, error) from error
    keep_from_children(holder)
    port: int = holder.getsockname()[1]
    facades = Facades(engine, structs.replace(config, port=port), set_up)
    try:
        facades.start()
    except BaseException:
        holder.close()
        raise
    return Opened(server.url_of(config.host, port), (facades.stop, holder.close))


def _cannot_listen(url: str, error: OSError) -> CannotListen:
    return CannotListen(f"Cannot listen on {url}: {error}. Choose another --host or --port.")
