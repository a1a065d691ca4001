"""What runs in a process that serves HTTP for an engine in another one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types

from ...engine.execution.children import leave_stopping_to_parent
from ..application import http_server
from ..config import ServerConfig
from ..transport.tuning import tune_process
from .remote_engine import RemoteEngine


def run_worker(end: socket.socket, config: ServerConfig, address: str, set_up: Callable[[], None]) -> None:
    """Serve HTTP in this process, until the engine's process says that it stops or has gone.

    Args:
        end: of the pair of sockets that lead to the engine's process.
        config: the settings.
        address: the engine's database.
        set_up: called first.
    """
    leave_stopping_to_parent()
    set_up()
    tune_process(config.max_idle_connections)
    engine = RemoteEngine(address)
    server = http_server(engine, config, cherrypy.tree)
    server.prepare()
    # At once: what the engine refuses comes right behind, and its answers have to say that their connections end.
    engine.stopping.when_done(server.begin_stop)
    engine.serve(server, end)
    thread = threading.Thread(target=server.start, name="ordermill-http")
    thread.start()
    engine.ended.wait()
    engine.close()  # first, so that whoever waits for an answer gets one
    server.stop()
    thread.join()
