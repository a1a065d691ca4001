"""A server that is killed again and again loses nothing that it has acknowledged, and handles nothing into two."""

from __future__ import annotations

import http.client
import random
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Server, Tables

    MakeOrder = Callable[..., dict[str, Any]]

ROUNDS = 10
CLIENTS = 8
OPTIONS = ("--simulate-seconds", "0.002", "--max-attempts", "100")


@dataclass
class Load:
    """Clients that send orders until the server is gone."""

    server: Server
    order: MakeOrder
    prefix: str
    moment: int
    """How many orders are acknowledged before the kill."""
    acknowledged: set[str] = field(default_factory=set)
    unanswered: list[dict[str, Any]] = field(default_factory=list)
    is_time: threading.Event = field(default_factory=threading.Event)

    def run(self, client: int) -> None:
        """Send orders over one connection, every tenth time many at once."""
        with closing(self.server.connect()) as connection:
            for number in range(1_000_000):
                count = 20 if number % 10 == client else 1
                orders = [self.order(f"{self.prefix}-{client}-{number}-{part}") for part in range(count)]
                try:
                    self._send(connection, orders)
                except (OSError, http.client.HTTPException):
                    self.unanswered += orders
                    return
                if len(self.acknowledged) >= self.moment:
                    self.is_time.set()

    def _send(self, connection: http.client.HTTPConnection, orders: list[dict[str, Any]]) -> None:
        if len(orders) == 1:
            status, answer = self.server.exchange(connection, "POST", "/orders", orders[0])
            assert status == 201, answer
        else:
            status, answer = self.server.exchange(connection, "POST", "/orders/bulk", orders)
            assert (status, answer["accepted"]) == (200, len(orders)), answer
        self.acknowledged.update(content["order_id"] for content in orders)


@pytest.mark.slow
def test_ten_kills_under_load_lose_nothing_and_double_nothing(
    start_server: Callable[..., Server], tables: Callable[[], Tables], order: MakeOrder, database: Path
) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    acknowledged: set[str] = set()
    unanswered: list[dict[str, Any]] = []
    recovered = []
    for round_ in range(ROUNDS):
        server = start_server(*OPTIONS)
        recovered.append(server.recovered)
        load = Load(server, order, f"r{round_}", moment=chance.randrange(1, 500))
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(load.run, client) for client in range(CLIENTS)]
            assert load.is_time.wait(timeout=60)
            server.kill()
            for client in clients:
                client.result(timeout=60)
        acknowledged |= load.acknowledged
        unanswered += load.unanswered
        assert acknowledged <= stored_ids(database)

    server = start_server(*OPTIONS)
    for content in unanswered:  # as a client does that got no answer
        status, _ = server.request("POST", "/orders", content)
        assert status in {200, 201}
    all_ids = acknowledged | {content["order_id"] for content in unanswered}
    with closing(server.connect()) as connection:
        for order_id in all_ids:
            _, stored = server.exchange(connection, "GET", f"/orders/{order_id}?wait=30")
            assert stored["status"] == "Completed", stored
    server.stop()

    print(f"seed {seed}: {len(acknowledged)} orders acknowledged, {len(unanswered)} not, in hand at kills: {recovered}")
    found = tables()
    assert found.statuses == dict.fromkeys(all_ids, "Completed")
    assert found.audit.faults == []
    for steps in ("from_status IS NULL", "to_status = 'Completed'"):
        assert steps_by_order(database, steps) == dict.fromkeys(all_ids, 1)


def stored_ids(database: Path) -> set[str]:
    """The ids of all orders."""
    with closing(sqlite3.connect(database)) as connection:
        return {order_id for (order_id,) in connection.execute("SELECT order_id FROM orders")}


def steps_by_order(database: Path, condition: str) -> Counter[str]:
    """How many such steps each order has taken."""
    with closing(sqlite3.connect(database)) as connection:
        return Counter(
            order_id for (order_id,) in connection.execute(f"SELECT order_id FROM transitions WHERE {condition}")
        )
