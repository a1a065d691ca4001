"""The HTTP server around the facade: sockets, threads and limits; and CherryPy's bus, which starts and stops it all."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Annotated, Any, NamedTuple

import cheroot.server
import cheroot.wsgi
import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types
from cheroot.workers.threadpool import ThreadPool
from cherrypy.process.plugins import SimplePlugin  # type: ignore[import-untyped]  # likewise
from msgspec import Meta, structs

from ..engine import Desk, InvalidConfiguration, OrderEngine, OrdermillError, Settings
from .app import Facade
from .connection import Connection, OpenConnections
from .facades import Facades, reserve_port
from .gateway import Gateway
from .limits import allow_connections, connections_allowed
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
            shutdown_timeout=config.socket_seconds,
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
    """Stops the facade, then the engine.

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


class _Stop:
    """What a signal does: the first stops in order, the second at once."""

    def __init__(self, bus: Any) -> None:
        self._bus = bus
        self._is_stopping = False

    def on_signal(self, number: signal.Signals) -> None:
        if self._is_stopping:
            # What is in hand stays Processing, as after a crash: the next start settles it.
            os._exit(128 + number)
        self._is_stopping = True
        # Not in this thread, which has to stay free for the second signal.
        threading.Thread(target=self._bus.exit, name="ordermill-stop").start()


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

    A second signal ends the process at once. Call it in the main thread: signals reach no other.

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
    engine.start()
    try:
        url, steps = _open_one(engine, server) if config.facades == 1 else _open_many(engine, server, config, set_up)
    except BaseException:
        engine.stop()
        raise
    stop = _Stop(bus)
    bus.signal_handler.handlers = {
        signal.SIGTERM.name: partial(stop.on_signal, signal.SIGTERM),
        signal.SIGINT.name: partial(stop.on_signal, signal.SIGINT),
    }
    bus.signal_handler.subscribe()
    _FacadePlugin(bus, [*steps, engine.stop]).subscribe()
    bus.start()
    on_ready(url)
    bus.block()


def tune_process(config: ServerConfig) -> None:
    """Prepare a process to serve: for many short tasks in few threads, and for many connections."""
    # Threads that have little to do each time should not wait 5 ms for the interpreter's lock.
    sys.setswitchinterval(_SWITCH_INTERVAL_SECONDS)
    allow_connections(config.max_idle_connections)


def _open_one(engine: OrderEngine, server: FacadeServer) -> Opened:
    server.prepare()
    thread = threading.Thread(target=server.serve, name="ordermill-http")
    thread.start()
    return Opened(server.url, (engine.interrupt_waits, server.stop, thread.join))


def _open_many(engine: OrderEngine, server: FacadeServer, config: ServerConfig, set_up: Callable[[], None]) -> Opened:
    # The server is a pattern for those of the other processes: this process only holds the port for them.
    try:
        holder = reserve_port(config.host, config.port)
    except OSError as error:
        raise _cannot_listen(server.url, error) from error
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
