"""The HTTP server: one thread with an event loop, which CherryPy's bus starts and stops, as it does any server."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import socket
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ...store.domain.errors import InvalidConfiguration, OrdermillError
from ..config import ServerConfig
from ..wire.application import LoopApplication, OpenRequest, RunAside
from ..wire.message import WireRequest
from .bounded_log import BoundedLog
from .buffer_budget import Buffers
from .connection import Connection
from .forks import keep_from_children
from .handshakes import Handshakes
from .loops import new_event_loop
from .tls import Tls
from .tuning import GRACE_SECONDS, connections_allowed
from .wake_ups import WakeUps
from .workers import Workers
from .wsgi import WsgiCall

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_CONNECTION_BACKLOG = 4096
_SEND_BUFFER_BYTES = 64 * 1024
_ACCEPTED_AT_ONCE = 16
_ROOM = 16
_ACCEPT_AGAIN_SECONDS = 0.1
_CHECK_SECONDS = 0.25
_CHECKED_AT_ONCE = 32
_CHECK_AT_THE_END_SECONDS = 0.02
# What says that no connection can be accepted at present, whoever it comes from.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

_log = logging.getLogger("ordermill.http")


class CannotListen(OrdermillError):
    """The address is in use, or does not belong to this machine."""


class HttpServer:
    """Serves applications. `start` and `stop` are called by whoever runs it: CherryPy's `ServerAdapter`.

    Args:
        apps: by the path that they are mounted at, as in `cherrypy.tree.apps`. Those that are a `LoopApplication` are
            called in the loop, those that are WSGI callables in threads.
        config: the settings.

    Raises:
        InvalidConfiguration: the files for TLS are not usable.
    """

    def __init__(self, apps: Mapping[str, LoopApplication | WSGIApplication], config: ServerConfig) -> None:
        self._apps = apps
        self._config = config
        self.tls = _tls(config)
        """None where it speaks plain HTTP."""
        self.max_body_bytes = config.max_body_bytes
        self.socket_seconds = config.socket_seconds
        self.request_seconds = config.request_seconds
        self.max_connections = connections_allowed()
        """Beyond that, those that were silent longest make room."""
        self.buffers = Buffers.of(config.max_body_bytes)
        self.connections: set[Connection] = set()
        """Those that are open."""
        self.wake_ups = WakeUps()
        """For other threads that have something to do in the loop."""
        self.loop: asyncio.AbstractEventLoop
        self.run_aside: RunAside
        """Runs in a thread what may block."""
        self.ready = False
        """Whether requests are taken."""
        self._errors = BoundedLog(_log)
        self._socket: socket.socket | None = None
        self._opening: set[asyncio.Task[None]] = set()
        self._beginning = threading.Lock()
        self._has_begun = False
        self._is_stopping = False
        self._ends_at = math.inf
        self._has_ended = threading.Event()

    # For whoever runs it.

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on; with the port that it got, once `prepare` has run."""
        if self._socket is None:
            return self._config.host, self._config.port
        host, port = self._socket.getsockname()[:2]
        return host, port

    @property
    def url(self) -> str:
        """The address as clients write it."""
        return self.url_of(*self.address)

    def url_of(self, host: str, port: int) -> str:
        """The address of a server with these settings at that host and port."""
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def prepare(self) -> None:
        """Listen on the address; clients that come wait until `start`.

        Raises:
            CannotListen: it is not to be had.
        """
        try:
            self._socket = _listen(self._config.host, self._config.port, shared=self._config.http_processes > 1)
        except OSError as error:
            raise cannot_listen(self.url, error) from error
        keep_from_children(self._socket)

    def start(self) -> None:
        """Serve until `stop`, which another thread calls. It needs an address that was prepared."""
        assert self._socket is not None, "prepare it first"
        with self._beginning:
            if self._is_stopping:  # before it has begun
                return
            self._has_begun = True
        *self._mounts, self._root = sorted(map(self._mount, self._apps), key=lambda mount: -len(mount.path))
        assert not self._root.path, "mount one at the root: it answers what no other does"
        self._mounted_at = tuple([mount.path for mount in self._mounts])
        self._workers = Workers(self._config.threads, self.wake_ups)
        self.run_aside = self._workers.run
        self.loop = loop = new_event_loop()
        self._handshakes = Handshakes(loop, self._begin_opening, self.socket_seconds)
        if self.tls is not None:
            self.tls.may_say_hello = self._handshakes.may_say_hello
        try:
            loop.set_exception_handler(self._note_error)
            self.wake_ups.attach(loop)
            self._accept(self._socket)
            loop.call_soon(self._check)
            self.ready = True
            loop.run_forever()
        finally:
            self.ready = False
            self._handshakes.close()
            self._workers.close()
            self._socket.close()
            loop.close()
            self._has_ended.set()

    def begin_stop(self) -> None:
        """Keep no connection beyond the answer that it waits for: a stop has begun. From any thread."""
        self._is_stopping = True

    def stop(self) -> None:
        """Take no more connections, have what was asked for answered, and end. From another thread."""
        with self._beginning:
            self._is_stopping = True
            if not self._has_begun:
                if self._socket is not None:
                    self._socket.close()
                return
        self.wake_ups.call(self._begin_end)
        self._has_ended.wait()

    # For its connections.

    @property
    def keeps_connections(self) -> bool:
        """Whether a connection may stay open after its answer."""
        return not self._is_stopping and len(self.connections) <= self._config.max_idle_connections

    def open(self, request: WireRequest) -> OpenRequest:
        """Have a request judged by its head, before anything is done about its body."""
        if request.path.startswith(self._mounted_at):
            for mount in self._mounts:
                if request.path.startswith(mount.path) and request.path[len(mount.path) :][:1] in ("", "/"):
                    return mount.open(request)
        return self._root.open(request)

    def _mount(self, path: str) -> _Mount:
        app = self._apps[path]
        if isinstance(app, LoopApplication):
            return _Mount(path, app.open)
        return _Mount(path, partial(WsgiCall, app, path, (*self.address, "http" if self.tls is None else "https")))

    # In the loop.

    def _accept(self, listening: socket.socket) -> None:
        if listening.fileno() >= 0:  # or it was closed meanwhile
            self.loop.add_reader(listening, self._accept_some, listening)

    def _accept_some(self, listening: socket.socket) -> None:
        room = self.max_connections - len(self.connections) - len(self._opening) - len(self._handshakes)
        if room < _ROOM:
            self._make_room()
        try:
            for _ in range(min(max(room, _ROOM), _ACCEPTED_AT_ONCE)):
                try:
                    accepted, _ = listening.accept()
                except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                    return
                keep_from_children(accepted)
                if self.tls is None:
                    self._begin_opening(accepted)
                else:
                    accepted.setblocking(False)
                    self._handshakes.add(accepted)
        except Exception as error:
            self._errors.error("cannot accept connections for a moment", error)
            if isinstance(error, OSError) and error.errno in _EXHAUSTED:
                self._make_room()
            # Whoever waits to be accepted makes the socket readable all the time.
            self.loop.remove_reader(listening)
            self.loop.call_later(_ACCEPT_AGAIN_SECONDS, self._accept, listening)

    def _begin_opening(self, accepted: socket.socket) -> None:
        task = self.loop.create_task(self._open(accepted))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, accepted: socket.socket) -> None:
        secure: dict[str, Any] = {}
        if self.tls is not None:
            secure = {
                "ssl": self.tls.context,
                "ssl_handshake_timeout": self.socket_seconds,
                "ssl_shutdown_timeout": self.socket_seconds,
            }
        try:
            await self.loop.connect_accepted_socket(lambda: Connection(self), accepted, **secure)
        except OSError:  # the client has gone, or does not shake hands
            accepted.close()
        except Exception as error:
            accepted.close()
            self._errors.error("cannot open a connection", error)

    def _make_room(self) -> None:
        self._handshakes.drop_oldest(_ROOM)
        waiting = [connection for connection in self.connections if connection.is_waiting]
        for connection in sorted(waiting, key=lambda connection: connection.last_used)[:_ROOM]:
            connection.abort()

    def _check(self) -> None:
        self._handshakes.drop_late(self.loop.time())
        self._check_some(list(self.connections))

    def _check_some(self, connections: list[Connection]) -> None:
        # A few in each turn of the loop: all at once would keep their own requests waiting for milliseconds.
        now = self.loop.time()
        for connection in connections[:_CHECKED_AT_ONCE]:
            if connection in self.connections:
                self._check_one(connection, now)
        if len(connections) > _CHECKED_AT_ONCE:
            self.loop.call_soon(self._check_some, connections[_CHECKED_AT_ONCE:])
        elif self._ends_at == math.inf:
            self.loop.call_later(_CHECK_SECONDS, self._check)
        else:
            self._end_some(now)

    def _check_one(self, connection: Connection, now: float) -> None:
        try:
            connection.check(now)
        except Exception as error:
            self._errors.error("cannot check a connection", error)
            connection.abort()

    def _end_some(self, now: float) -> None:
        for connection in list(self.connections):
            if now >= self._ends_at:
                connection.abort()
            elif connection.is_idle:
                connection.close()
            else:
                connection.end_stream()
        if now >= self._ends_at:
            self._handshakes.drop_late(math.inf)
        if not (self.connections or self._opening or len(self._handshakes)) or now >= self._ends_at + 1:
            self.loop.stop()
        else:
            self.loop.call_later(_CHECK_AT_THE_END_SECONDS, self._check)

    def _begin_end(self) -> None:
        assert self._socket is not None
        self._accept_some(self._socket)  # whoever has come by now is answered
        self.loop.remove_reader(self._socket)
        self._socket.close()
        self._ends_at = self.loop.time() + min(self.socket_seconds, GRACE_SECONDS)
        self.loop.call_soon(self._check)

    def _note_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._errors.error(f"unexpected error in the loop: {context['message']}", context.get("exception"))


class _Mount(NamedTuple):
    """An application, and where it is."""

    path: str
    open: Callable[[WireRequest], OpenRequest]
    """See `LoopApplication`."""


def cannot_listen(url: str, error: OSError) -> CannotListen:
    """The error for an address that is not to be had."""
    return CannotListen(f"Cannot listen on {url}: {error}. Choose another --host or --port.")


def _listen(host: str, port: int, *, shared: bool) -> socket.socket:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6 and host in ("", "::"):
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # all addresses are those of IPv4 too
        # Connections have it from here. Linux would keep megabytes of answers for each client that never reads.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        listening.bind(address)
        listening.listen(_CONNECTION_BACKLOG)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def _tls(config: ServerConfig) -> Tls | None:
    if config.tls_cert is None and config.tls_key is None:
        return None
    if config.tls_cert is None or config.tls_key is None:
        raise InvalidConfiguration("TLS needs both --tls-cert and --tls-key.")
    return Tls(config.tls_cert, config.tls_key)
