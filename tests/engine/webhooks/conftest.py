"""A receiver of webhooks, as rude as a test wants it."""

from __future__ import annotations

import http.server
import json
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from standardwebhooks import Webhook as Verifier

from ordermill.engine import NewSecret, OrderEngine


class Received(NamedTuple):
    """A request that came."""

    headers: dict[str, str]
    body: bytes

    @property
    def event_id(self) -> str:
        """The event's."""
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    def verified(self, secret: str) -> Any:
        """The body, if its signature is right."""
        return Verifier(secret).verify(self.body, self.headers)


class Receiver:
    """A server that answers as the test says; 200 by default."""

    def __init__(self) -> None:
        self.answers: deque[tuple[int, dict[str, str]] | Callable[[], object]] = deque()
        self.says = b"said"
        """The body of each answer."""
        self._came: queue.SimpleQueue[Received] = queue.SimpleQueue()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """Takes a request, notes it, and answers."""

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                try:
                    answer = receiver.answers.popleft()
                except IndexError:
                    answer = 200, {}
                receiver._came.put(Received({k.lower(): v for k, v in self.headers.items()}, body))
                if callable(answer):
                    answer()
                    answer = 200, {}
                status, headers = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(receiver.says)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks"

    def next(self) -> Received:
        """The next request."""
        return self._came.get(timeout=60)

    @property
    def has_more(self) -> bool:
        """Whether another request has come."""
        return not self._came.empty()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def start_receiver() -> Iterator[Callable[[], Receiver]]:
    """Starts receivers."""
    started: list[Receiver] = []

    def start() -> Receiver:
        started.append(Receiver())
        return started[-1]

    yield start
    for receiver in started:
        receiver.close()


@pytest.fixture
def receiver(start_receiver: Callable[[], Receiver]) -> Receiver:
    """A receiver of webhooks."""
    return start_receiver()


@pytest.fixture
def hooked(
    start_engine: Callable[..., OrderEngine], receiver: Receiver
) -> Callable[..., tuple[OrderEngine, NewSecret]]:
    """Starts an engine with a webhook to the receiver."""

    def start(*arguments: Any, events: tuple[str, ...] | None = None, **settings: Any) -> tuple[OrderEngine, NewSecret]:
        engine = start_engine(*arguments, allow_private_webhooks=True, **settings)
        return engine, engine.create_webhook(receiver.url, events=events)

    return start
