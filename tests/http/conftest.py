"""A real server around a real engine in this process, clients that talk to it over sockets, and a handler to hold."""

from __future__ import annotations

import gzip
import http.client
import json
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from typing import Any, NamedTuple

import cherrypy
import pytest
from jsonschema import Draft202012Validator
from waitress.server import create_server

from ordermill.engine import Engine, Order, OrderEngine
from ordermill.engine.testing import Held
from ordermill.http.api.event_feed import EventFeed
from ordermill.http.api.problems import PROBLEM_KINDS
from ordermill.http.api.responses import encode
from ordermill.http.application import http_server
from ordermill.http.config import ServerConfig
from ordermill.http.framework.facade import Facade
from ordermill.http.openapi.describe import describe
from ordermill.http.processes import engine_server
from ordermill.http.processes.channel import ChannelLoop
from ordermill.http.processes.engine_server import EngineServer
from ordermill.http.processes.remote_engine import RemoteEngine
from ordermill.http.routes import routes
from ordermill.http.security.protection import UNPROTECTED
from ordermill.http.transport.server import HttpServer

IS_REMOTE = os.environ.get("ORDERMILL_TEST_ENGINE") == "remote"
"""Whether the facade reaches the engine over a channel, as one in a process of its own does."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Over a channel, leave out what starts no server: it has no engine to be far from, and would be the same again."""
    if IS_REMOTE:
        over = [item for item in items if "start_server" in item.fixturenames]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(over)])
        items[:] = over


@pytest.fixture(autouse=True)
def at_hand(request: pytest.FixtureRequest) -> None:
    """Leave out what looks into the engine, where the engine is in another process."""
    if IS_REMOTE and request.node.get_closest_marker("engine_at_hand"):
        pytest.skip("looks into the engine")


JSON_HEADERS = {"Content-Type": "application/json"}
PROTOCOL = {
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "server",
    "transfer-encoding",
    "vary",
}
"""Headers of HTTP itself, which a description says nothing about."""
POLICY = {"cache-control", "content-security-policy", "x-content-type-options"}
POLICY |= {f"access-control-{name}" for name in ("allow-origin", "expose-headers")}
"""Headers for browsers, likewise."""
PLACEHOLDER = {"/orders/": "{order_id}", "/webhooks/": "{webhook_id}"}
ONE_OF_MANY = re.compile(rf"^({'|'.join(PLACEHOLDER)})[^/]+")
REQUEST_LINE = re.compile(rb"([A-Z]+) (/[!-~]*) HTTP/1\.[01]\r\n")


@cache
def document(needs_keys: bool) -> dict[str, Any]:
    """The description of the API, of a server with keys or without."""
    engine = OrderEngine("never-opened.db")
    table = routes(engine, EventFeed(engine, 1), 1, UNPROTECTED)
    tree: dict[str, Any] = json.loads(encode(describe(table, PROBLEM_KINDS, needs_keys=needs_keys)))
    return tree


def check_described(described: dict[str, Any], method: str, path: str, reply: Reply) -> None:
    """An answer is one that the description has, where it has the call; HEAD is described with GET."""
    path = path.partition("?")[0]
    wanted = method.lower().replace("head", "get")
    paths = described["paths"]
    item = paths.get(path) or paths.get(ONE_OF_MANY.sub(lambda found: f"{found[1]}{PLACEHOLDER[found[1]]}", path), {})
    if wanted not in item:
        return
    responses = item[wanted]["responses"]
    assert str(reply.status) in responses, f"{method} {path} is not described to answer {reply.status}"
    response = responses[str(reply.status)]
    for name, header in response["headers"].items():
        assert name in reply.headers or not header["required"], f"{name} is missing"
        if name in reply.headers and header["schema"]["type"] == "string":
            Draft202012Validator(header["schema"]).validate(reply.headers[name])
    told = {name.lower() for name in response["headers"]} | PROTOCOL | POLICY
    assert {name.lower() for name in reply.headers} <= told
    if method == "HEAD" or "content" not in response:
        assert reply.body == b""
        return
    media_type = reply.headers.get_content_type()
    text = gzip.decompress(reply.body) if "Content-Encoding" in reply.headers else reply.body
    body = json.loads(text) if media_type.endswith("json") else text.decode()
    schema = response["content"][media_type]["schema"]
    Draft202012Validator(schema | {"components": described["components"]}).validate(body)


class Reply(NamedTuple):
    """An answer, read to its end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        assert self.headers.get_content_type() in {"application/json", "application/problem+json"}
        return json.loads(self.body)


class Client:
    """Sends requests to a server, each over a connection of its own.

    Every answer must be one that the API's description has.
    """

    def __init__(
        self, server: HttpServer, application: Facade, engine: OrderEngine, served: Engine, needs_keys: bool = False
    ) -> None:
        self.address: tuple[str, int] = server.address
        self.server = server
        self.application = application
        self.engine = engine
        self.served = served
        self.needs_keys = needs_keys

    def send(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
        """Send a request and read the answer."""
        with closing(http.client.HTTPConnection(*self.address, timeout=40)) as connection:
            connection.request(method, path, body, headers or {})
            with connection.getresponse() as response:
                reply = Reply(response.status, response.headers, response.read())
        self.check(method, path, reply)
        return reply

    def hear(self) -> None:
        """Wait until the facade has heard how the engine is by now; at once, where it need not be told."""
        if isinstance(self.served, RemoteEngine):
            for _ in range(2):  # the first may have been on its way already
                heard = self.served._health
                while self.served._health is heard:
                    time.sleep(0.001)

    def check(self, method: str, path: str, reply: Reply) -> None:
        """An answer is one that the API's description has."""
        check_described(document(self.needs_keys), method, path, reply)

    def check_raw(self, request: bytes, reply: Reply) -> None:
        """The answer to these bytes is one that the API's description has, if their first line names a call of it."""
        if (line := REQUEST_LINE.match(request)) is not None:
            self.check(line[1].decode(), line[2].decode(), reply)

    def get(self, path: str, **headers: str) -> Reply:
        """GET."""
        return self.send("GET", path, headers=headers)

    def post(self, path: str, content: object = None) -> Reply:
        """POST something as JSON; without it, no body."""
        if content is None:
            return self.send("POST", path)
        return self.send("POST", path, json.dumps(content).encode(), JSON_HEADERS)

    def send_json(self, method: str, path: str, content: object, headers: dict[str, str]) -> Reply:
        """Send something as JSON, with headers; without it, no body."""
        if content is None:
            return self.send(method, path, headers=headers)
        return self.send(method, path, json.dumps(content).encode(), JSON_HEADERS | headers)

    def post_text(self, text: str | bytes, path: str = "/orders", media_type: str = "application/json") -> Reply:
        """POST a body as it stands."""
        body = text.encode() if isinstance(text, str) else text
        return self.send("POST", path, body, {"Content-Type": media_type})

    @contextmanager
    def raw(self) -> Iterator[socket.socket]:
        """A bare connection."""
        with socket.create_connection(self.address, timeout=40) as connection:
            yield connection

    def talk(self, request: bytes, *, is_all: bool = True) -> Reply:
        """Send bytes as they stand, say that no more follow if that is so, and read the first answer."""
        with self.raw() as connection:
            connection.sendall(request)
            if is_all:
                connection.shutdown(socket.SHUT_WR)
            with closing(http.client.HTTPResponse(connection, method=request.partition(b" ")[0].decode())) as response:
                response.begin()
                reply = Reply(response.status, response.headers, response.read())
        self.check_raw(request, reply)
        return reply


@pytest.fixture
def gate() -> Held:
    """A handler that holds every order until the test releases it."""
    return Held()


class Far(NamedTuple):
    """An engine as it is had in another process."""

    engine: RemoteEngine
    end: socket.socket

    def serve(self, server: HttpServer) -> None:
        """Serve it, until the server is stopped: as in `run_worker`, the engine is let go of first."""
        self.engine.serve(server, self.end)
        stop = server.stop

        def let_go_and_stop() -> None:
            self.engine.close()
            stop()

        server.stop = let_go_and_stop  # type: ignore[method-assign]  # of this server alone


@contextmanager
def remote_engine(engine: OrderEngine) -> Iterator[Far]:
    """The engine as a process that serves HTTP has it."""
    engine_server._TELL_SECONDS = 0.02
    channels = ChannelLoop()
    channels.start()
    ours, theirs = socket.socketpair()
    near = EngineServer(engine, channels, ours)
    try:
        yield Far(RemoteEngine(engine.address), theirs)
    finally:
        near.close()
        channels.stop()
        theirs.close()  # where nothing came to be served


@contextmanager
def cherrypy_tree() -> Iterator[Any]:
    """A tree of applications that is not the one of all servers in this process.

    The loggers that CherryPy names after each application would stay for ever, and pytest goes through all that there
    are three times per test.
    """
    before = set(logging.root.manager.loggerDict)
    yield type(cherrypy.tree)()
    for name in set(logging.root.manager.loggerDict) - before:
        if name.startswith(("cherrypy.error.", "cherrypy.access.")):
            del logging.root.manager.loggerDict[name]


@pytest.fixture
def start_server(start_engine: Callable[..., OrderEngine], gate: Held) -> Iterator[Callable[..., Client]]:
    """Starts a server around an engine; the handler returns at once, settings are the server's or the engine's."""
    with ExitStack() as servers:

        def start(handler: Callable[[Order], object] = lambda _: None, **settings: Any) -> Client:
            own = {name: settings.pop(name) for name in ServerConfig.__struct_fields__ if name in settings}
            engine = start_engine(handler, **settings)
            far = servers.enter_context(remote_engine(engine)) if IS_REMOTE else None
            served = engine if far is None else far.engine
            config = ServerConfig.of({"port": 0, "threads": 4, "max_waiting": 2} | own)
            tree = servers.enter_context(cherrypy_tree())
            server = http_server(served, config, tree)
            server.prepare()
            if far is not None:
                far.serve(server)
            thread = threading.Thread(target=server.start)
            thread.start()
            for step in (thread.join, server.stop, engine.interrupt_waits):
                servers.callback(step)
            client = Client(server, tree.apps[""], engine, served, needs_keys="keys_file" in own)
            client.hear()
            return client

        servers.callback(gate.release)
        yield start
        gate.release()


@pytest.fixture
def client(start_server: Callable[..., Client]) -> Client:
    """A client of a server whose handler returns at once."""
    return start_server()


@pytest.fixture
def held(start_server: Callable[..., Client], gate: Held) -> Client:
    """A client of a server whose handler holds every order until the test releases it."""
    return start_server(gate)


@pytest.fixture
def order() -> Callable[..., dict[str, Any]]:
    """Makes an order as clients write it, with defaults for whatever the test does not care about."""

    def make(order_id: str = "o-1", **fields: Any) -> dict[str, Any]:
        return {"order_id": order_id, "user_id": "u-1", "item_ids": ["sku-1"], "total_amount": "19.99"} | fields

    return make


@pytest.fixture
def reviewed(
    start_server: Callable[..., Client],
    order: Callable[..., dict[str, Any]],
    sql: Callable[[str], list[Any]],
    gate: Held,
) -> Client:
    """A client of a server that found o-1 in hand of an engine that had died."""
    first = start_server(gate)
    first.post("/orders", order(item_ids=["sku-1", "sku-2"]))
    gate.begun()
    gate.release()
    first.get("/orders/o-1?wait=30")
    first.engine.stop()
    # As it was before the handler returned.
    sql("UPDATE orders SET status = 'Processing', updated_at = (SELECT at FROM transitions WHERE id = 2)")
    sql("DELETE FROM transitions WHERE id = 3")
    sql("UPDATE totals SET value = CASE name WHEN 'Processing' THEN 1 ELSE 0 END")
    return start_server(on_interrupted="review")


@pytest.fixture
def waitress() -> Iterator[Callable[..., tuple[str, int]]]:
    """Serves a WSGI application by waitress, and gives its address: `waitress(application, threads=2)`."""
    stopping = threading.Event()
    with ExitStack() as servers:

        def serve(application: Any, threads: int) -> tuple[str, int]:
            server = create_server(
                application, host="127.0.0.1", port=0, threads=threads, clear_untrusted_proxy_headers=True
            )

            def run() -> None:
                while not stopping.is_set():
                    server.asyncore.loop(timeout=60, map=server._map, count=1)

            def stop() -> None:
                # Closed by this thread, once the loop has ended: were the loop told to close it, then it could do so,
                # woken by something else, while this thread still writes to the pipe that wakes it.
                stopping.set()
                server.pull_trigger()
                thread.join()
                server.task_dispatcher.shutdown()
                server.asyncore.close_all(server._map)

            thread = threading.Thread(target=run)
            thread.start()
            servers.callback(stop)
            return "127.0.0.1", int(server.effective_port)

        yield serve
