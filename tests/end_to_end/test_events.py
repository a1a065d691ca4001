"""A watcher that is cut off again and again, while orders come, sees every transition once, in order."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Server

    MakeOrder = Callable[..., dict[str, Any]]

CUTS = 100
AT_ONCE = 20
SEED = 1


class Watcher:
    """A client that remembers the last event that it has got, as a browser does."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._last_id = "0"
        self.seen: list[int] = []

    def watch(self, at_most: int, query: str = "") -> int:
        """Watch until so many events have come, or until the end, then leave. Returns how many came."""
        before = len(self.seen)
        with closing(self._server.connect()) as connection:
            connection.request("GET", f"/events{query}", headers={"Last-Event-ID": self._last_id})
            with connection.getresponse() as response:
                assert response.status == 200
                for frame in self._frames(response):
                    assert frame.get("event") != "gone"
                    self._last_id = frame.get("id", self._last_id)
                    if frame.get("event", "").startswith("order."):
                        self.seen.append(int(frame["id"]))
                        if len(self.seen) - before == at_most:
                            break
        return len(self.seen) - before

    @staticmethod
    def _frames(response: Any) -> Iterator[dict[str, str]]:
        frame: dict[str, str] = {}
        while line := response.readline().decode():
            if line == "\n":
                yield frame
                frame = {}
            else:
                name, _, value = line.rstrip("\n").partition(": ")
                frame[name] = value


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--http-processes", "2")], ids=["one-process", "http-processes"])
def test_a_watcher_that_is_cut_off_a_hundred_times_sees_every_transition_once(
    start_server: Callable[..., Server], database: Path, order: MakeOrder, options: tuple[str, ...]
) -> None:
    server = start_server("--simulate-seconds", "0", *options)
    chance, is_over, numbers = random.Random(SEED), threading.Event(), count()

    def send() -> None:
        with closing(server.connect()) as connection:
            while not is_over.is_set():
                orders = [order(f"o-{next(numbers)}", user_id=f"u-{chance.randrange(9)}") for _ in range(AT_ONCE)]
                assert server.exchange(connection, "POST", "/orders/bulk", orders)[0] == 200
                is_over.wait(0.01)

    watcher = Watcher(server)
    with ThreadPoolExecutor(2) as threads:
        sending = [threads.submit(send) for _ in range(2)]
        try:
            for _ in range(CUTS):
                assert watcher.watch(chance.randrange(1, 60)) > 0
        finally:
            is_over.set()
        for future in sending:
            future.result(timeout=30)
    while watcher.watch(10**9, "?timeout=1"):
        pass
    server.stop()

    with closing(sqlite3.connect(database)) as connection:
        recorded = [event_id for (event_id,) in connection.execute("SELECT id FROM transitions ORDER BY id")]
    assert watcher.seen == recorded
    assert len(recorded) == 3 * next(numbers)
