"""The one place that puts engine, routes and server together: our own server, and what any other one serves."""

from __future__ import annotations

from typing import Any

from ..engine import Engine
from .api.event_feed import EventFeed
from .api.problems import PROBLEM_KINDS
from .config import ServerConfig
from .dashboard import application as dashboard
from .dashboard.pages import Pages
from .dashboard.section import ROOT
from .dashboard.sign_in import SignIn
from .framework.facade import Facade
from .loop_engine import LoopEngine
from .openapi import viewer as docs
from .routes import routes
from .security.protection import UNPROTECTED, protect
from .transport.server import HttpServer


def wsgi_application(engine: Engine, max_waiting: int = 16, max_watchers: int = 4) -> Facade:
    """The API as a WSGI application, for a server such as waitress or gunicorn.

    Args:
        engine: running.
        max_waiting: requests that may wait for an order at the same time; each takes a thread of that server's.
        max_watchers: requests to /events that are served at the same time; each takes a thread likewise.

    Returns:
        A WSGI callable.
    """
    feed = EventFeed(engine, max_watchers)
    return Facade(routes(engine, feed, max_waiting, UNPROTECTED), UNPROTECTED, PROBLEM_KINDS)


def http_server(engine: Engine, config: ServerConfig, tree: Any) -> HttpServer:
    """A server with all that it serves.

    Args:
        engine: running.
        config: the settings.
        tree: CherryPy's, which the applications are mounted in.

    Raises:
        InvalidConfiguration: a setting is wrong, or others than this machine could call without a key.
        KeysUnusable: the file of the keys is not usable.
    """
    server = HttpServer(tree.apps, config)
    trouble = tuple if server.tls is None else server.tls.trouble
    protection = protect(config, engine.session_secret)
    call_in_loop = server.wake_ups.call
    feed = EventFeed(engine, config.max_watchers, call_in_loop)
    table = routes(LoopEngine(engine, call_in_loop), feed, config.max_waiting, protection, trouble)
    tree.mount(Facade(table, protection, PROBLEM_KINDS), "")
    tree.mount(docs.pages(protection.check_origin), docs.MOUNTED_AT)
    sign_in = SignIn(protection, is_secure=server.tls is not None)
    pages = Pages(engine, sign_in, lambda: (*protection.authenticator.trouble(), *trouble()))
    tree.mount(dashboard.pages(pages, sign_in, PROBLEM_KINDS), ROOT)
    return server
