"""A server that is told to stop answers what it has accepted, finishes or returns what is in hand, and exits with 0."""

from __future__ import annotations

import http.client
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Server, Tables

    MakeOrder = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.slow
SIGNALS = [signal.SIGTERM, signal.SIGINT]
CLIENTS = 8
ENDLESS = """
import threading

def wait(order):
    print(order.order_id, flush=True)
    threading.Event().wait()
"""


def post_until_it_ends(server: Server, order: MakeOrder, prefix: str, on_accepted: Callable[[str], None]) -> None:
    """Send orders over one connection, and tell of those that are accepted."""
    with closing(server.connect()) as connection:
        for number in range(1_000_000):
            order_id = f"{prefix}-{number}"
            try:
                status, answer = server.exchange(connection, "POST", "/orders", order(order_id))
            except (OSError, http.client.HTTPException):
                return
            if status == 201:
                on_accepted(order_id)
            else:
                assert (status, answer["type"]) == (503, "urn:ordermill:problem:stopping")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_busy_server_stops_in_order(
    start_server: Callable[..., Server], tables: Callable[[], Tables], order: MakeOrder, number: signal.Signals
) -> None:
    server = start_server("--simulate-seconds", "0.02", "--processors", "4")
    accepted: set[str] = set()
    is_busy = threading.Event()

    def on_accepted(order_id: str) -> None:
        accepted.add(order_id)
        if len(accepted) >= 200:
            is_busy.set()

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(post_until_it_ends, server, order, f"c{it}", on_accepted) for it in range(CLIENTS)]
        assert is_busy.wait(timeout=60)
        server.signal(number)
        assert server.wait() == 0
        for client in clients:
            client.result(timeout=60)

    assert server.errors == ""
    found = tables()
    assert found.statuses.keys() == accepted  # whatever is stored was answered, and the other way round
    assert set(found.statuses.values()) == {"Pending", "Completed"}
    assert found.audit.faults == []

    again = start_server("--simulate-seconds", "0")
    assert again.recovered == 0
    with closing(again.connect()) as connection:
        for order_id in accepted:
            _, stored = again.exchange(connection, "GET", f"/orders/{order_id}?wait=30")
            assert stored["status"] == "Completed"
    assert tables().audit.faults == []


@pytest.mark.parametrize("number", SIGNALS)
def test_clients_that_wait_are_answered_and_an_order_that_does_not_end_is_pending_again(
    start_server: Callable[..., Server],
    tables: Callable[[], Tables],
    order: MakeOrder,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    server = start_server("--handler", "endless:wait", "--max-waiting", "2", "--stop-seconds", "0.1")
    server.request("POST", "/orders", order("o-1"))
    assert server.read_line() == "o-1\n"
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(server.get, "/orders/o-1?wait=30") for _ in range(3)]
        # Two may wait: once one of the three is answered, the others do wait.
        next(as_completed(waiting, timeout=20))

        server.signal(number)

        assert [future.result(timeout=20)["status"] for future in waiting] == ["Processing"] * 3
    assert server.wait() == 0
    assert tables().statuses == {"o-1": "Pending"}
    assert tables().audit.faults == []

    again = start_server("--simulate-seconds", "0")
    assert again.get("/orders/o-1?wait=30")["attempts"] == 2
    reasons = [step["reason"] for step in again.get("/orders/o-1/history")["transitions"]]
    assert reasons[2] == "the engine stopped before the handler returned"


def test_a_second_signal_ends_the_server_at_once_and_the_next_start_recovers(
    start_server: Callable[..., Server], tables: Callable[[], Tables], order: MakeOrder, tmp_path: Path
) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    server = start_server("--handler", "endless:wait", "--stop-seconds", "600")
    server.request("POST", "/orders", order("o-1"))
    assert server.read_line() == "o-1\n"

    # Two different ones: the system may deliver the same one that comes twice as one.
    for number in SIGNALS:
        server.signal(number)

    assert server.wait() - 128 in SIGNALS
    assert tables().statuses == {"o-1": "Processing"}
    again = start_server("--simulate-seconds", "0")
    assert again.recovered == 1
    assert again.get("/orders/o-1?wait=30")["status"] == "Completed"
