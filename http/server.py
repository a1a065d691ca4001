"""The one place that puts engine, application, server and CherryPy's bus together, and what signals do."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types
from cherrypy.process.plugins import SimplePlugin  # type: ignore[import-untyped]  # likewise
from cherrypy.process.servers import ServerAdapter  # type: ignore[import-untyped]  # likewise
from msgspec import structs

from ..engine import Desk, OrderEngine
from . import docs
from .app import Facade
from .config import ServerConfig
from .facades import Facades, reserve_port
from .loop_desk import LoopDesk
from .protection import protect
from .transport.server import HttpServer, cannot_listen
from .transport.tuning import tune_process

_log = logging.getLogger("ordermill.http")


def http_server(desk: Desk, config: ServerConfig, tree: Any) -> HttpServer:
    """A server with all that it serves.

    Args:
        desk: of a running engine.
        config: the settings.
        tree: CherryPy's, which the applications are mounted in.

    Raises:
        InvalidConfiguration: a setting is wrong, or others than this machine could call without a key.
        KeysUnusable: the file of the keys is not usable.
    """
    server = HttpServer(tree.apps, config)
    trouble = tuple if server.tls is None else server.tls.trouble
    tree.mount(Facade(LoopDesk(desk, server.wake_ups.call), config.max_waiting, protect(config), trouble), "")
    tree.mount(docs.pages(), docs.MOUNTED_AT)
    return server


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
    tune_process(config.max_idle_connections)
    bus = cherrypy.engine
    bus.autoreload.unsubscribe()
    cherrypy.server.unsubscribe()
    cherrypy.config.update({"log.screen": False, "checker.on": False})
    cherrypy.log.error_log.setLevel(logging.WARNING)  # the bus tells each of its steps
    server = http_server(engine, config, cherrypy.tree)  # first: it refuses what is wrong with the settings
    engine.start()
    try:
        url, steps = (
            _open_one(engine, server, bus) if config.facades == 1 else _open_many(engine, server, config, set_up)
        )
    except BaseException:
        engine.stop()
        raise
    stop = _Stop(bus)
    bus.signal_handler.handlers = {
        signal.SIGTERM.name: partial(stop.on_signal, signal.SIGTERM),
        signal.SIGINT.name: partial(stop.on_signal, signal.SIGINT),
    }
    bus.signal_handler.subscribe()
    _EnginePlugin(bus, [*steps, engine.stop]).subscribe()
    bus.start()
    on_ready(url)
    bus.block()


def _open_one(engine: OrderEngine, server: HttpServer, bus: Any) -> Opened:
    server.prepare()
    ServerAdapter(bus, server).subscribe()
    return Opened(server.url, (engine.interrupt_waits, server.begin_stop))


def _open_many(engine: OrderEngine, server: HttpServer, config: ServerConfig, set_up: Callable[[], None]) -> Opened:
    # The server is a pattern for those of the other processes: this process only holds the port for them.
    try:
        holder = reserve_port(config.host, config.port)
    except OSError as error:
        raise cannot_listen(server.url, error) from error
    port: int = holder.getsockname()[1]
    facades = Facades(engine, structs.replace(config, port=port), set_up)
    try:
        facades.start()
    except BaseException:
        holder.close()
        raise
    return Opened(server.url_of(config.host, port), (facades.stop, holder.close))
