"""A receiver that fails, redirects and hangs up, and servers that are killed: every event arrives, in order, signed."""

from __future__ import annotations

import http.server
import itertools
import json
import os
import random
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from standardwebhooks import Webhook as Verifier

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Server

    MakeOrder = Callable[..., dict[str, Any]]

ROUNDS = int(os.environ.get("ORDERMILL_TEST_KILL_ROUNDS", "5"))
OPTIONS = ("--simulate-seconds", "0", "--max-attempts", "1000", "--allow-private-webhooks")


class MoodyReceiver:
    """Takes most events, and is rude about the others. It remembers what it took, in the sequence of its answers."""

    def __init__(self) -> None:
        self.taken: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
        """By order: type, sequence and id of each event that was answered with 200."""
        self.secret = ""
        self.forged = 0
        self._chance = random.Random(1)
        self._lock = threading.Lock()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """One request."""

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = receiver.judge({k.lower(): v for k, v in self.headers.items()}, body)
                if status == 0:
                    self.connection.close()
                    return
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "http://127.0.0.1:1/")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def judge(self, headers: dict[str, str], body: bytes) -> int:
        """The status of the answer; 0 for none."""
        with self._lock:
            if self._chance.random() < 0.02:
                return self._chance.choice([0, 302, 500])
            if self.secret:
                try:
                    Verifier(self.secret).verify(body, headers)
                except Exception:
                    self.forged += 1
            event = json.loads(body)
            data = event["data"]
            self.taken[data["order"]["order_id"]].append((event["type"], data["sequence"], headers["webhook-id"]))
            return 200

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[MoodyReceiver]:
    """A receiver."""
    receiver = MoodyReceiver()
    yield receiver
    receiver.close()


@pytest.mark.slow
def test_no_event_is_lost_though_servers_are_killed_again_and_again(
    start_server: Callable[..., Server], database: Path, order: MakeOrder, receiver: MoodyReceiver
) -> None:
    chance, numbers, never = random.Random(2), itertools.count(), threading.Event()
    accepted: set[str] = set()

    def send(server: Server) -> None:
        with closing(server.connect()) as connection, suppress(OSError, HTTPException):
            while True:
                orders = [order(f"o-{next(numbers)}") for _ in range(10)]
                status, answer = server.exchange(connection, "POST", "/orders/bulk", orders)
                assert status == 200
                accepted.update(result["order_id"] for result in answer["results"] if result["outcome"] == "accepted")

    for number in range(ROUNDS):
        server = start_server(*OPTIONS)
        if number == 0:
            body = {"url": receiver.url, "events": ["order.accepted", "order.completed"]}
            receiver.secret = server.request("POST", "/webhooks", body)[1]["secret"]
        with ThreadPoolExecutor(2) as threads:
            sending = [threads.submit(send, server) for _ in range(2)]
            never.wait(chance.uniform(0.1, 0.6))
            server.kill()
            for future in sending:
                future.result(timeout=60)
    server = start_server(*OPTIONS)
    (webhook,) = server.get("/webhooks")["webhooks"]
    for order_id in sorted(accepted)[:: max(1, len(accepted) // 50)]:
        server.get(f"/orders/{order_id}?wait=30")
    fewest, at = open_deliveries(database), time.monotonic()
    while (left := open_deliveries(database)) > 0:
        if left < fewest:
            fewest, at = left, time.monotonic()
        assert time.monotonic() - at < 60, f"{left} events and orders are left, and nothing moves"
        # What was refused waits for its next attempt: enabled again, a webhook gets it at once.
        server.request("PATCH", f"/webhooks/{webhook['webhook_id']}", {"enabled": True})
        never.wait(0.2)
    server.stop()

    assert accepted
    assert receiver.forged == 0
    assert accepted <= receiver.taken.keys()
    for order_id, events in receiver.taken.items():
        first = {event_id: (kind, place) for kind, place, event_id in reversed(events)}
        in_order = [kind for kind, _ in dict.fromkeys((first[event_id]) for _, _, event_id in events)]
        assert in_order == ["order.accepted", "order.completed"], (order_id, events)


def open_deliveries(database: Path) -> int:
    """How many events are on their way, or orders to be completed."""
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        ((count,),) = connection.execute(
            "SELECT (SELECT count(*) FROM deliveries WHERE ended_at IS NULL)"
            " + (SELECT count(*) FROM orders WHERE status <> 'Completed')"
        )
    return int(count)
