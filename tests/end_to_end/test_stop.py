"""A server that is told to stop answers what it has accepted, finishes or returns what is in hand, and exits with 0."""

from __future__ import annotations

import http.client
import json
import os
import pty
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, suppress
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


def post_until_it_stops(server: Server, order: MakeOrder, prefix: str, on_accepted: Callable[[str], None]) -> None:
    """Send orders over one connection until the server says that it stops, and tell of those that are accepted."""
    with closing(server.connect()) as connection:
        for number in range(1_000_000):
            order_id = f"{prefix}-{number}"
            status, answer = server.exchange(connection, "POST", "/orders", order(order_id))
            if status != 201:
                assert (status, answer["type"]) == (503, "urn:ordermill:problem:stopping")
                return
            on_accepted(order_id)


@pytest.mark.parametrize("facades", [1, 2])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_busy_server_stops_in_order(
    start_server: Callable[..., Server],
    tables: Callable[[], Tables],
    order: MakeOrder,
    number: signal.Signals,
    facades: int,
) -> None:
    server = start_server("--simulate-seconds", "0.02", "--processors", "4", "--http-processes", str(facades))
    accepted: set[str] = set()
    is_busy = threading.Event()

    def on_accepted(order_id: str) -> None:
        accepted.add(order_id)
        if len(accepted) >= 200:
            is_busy.set()

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(post_until_it_stops, server, order, f"c{it}", on_accepted) for it in range(CLIENTS)]
        assert is_busy.wait(timeout=60)
        server.signal(number)
        assert server.wait() == 0
        for client in clients:
            client.result(timeout=60)

    assert re.fullmatch(r".* WARNING ordermill.http: stopping: \d+ orders in hand are waited for, .*\n", server.errors)
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
        next(as_completed(waiting, timeout=60))

        server.signal(number)

        assert [future.result(timeout=60)["status"] for future in waiting] == ["Processing"] * 3
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


def test_connections_that_come_during_a_stop_are_told_when_to_come_again(
    start_server: Callable[..., Server], order: MakeOrder, tmp_path: Path
) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    server = start_server("--handler", "endless:wait", "--stop-seconds", "600")
    server.request("POST", "/orders", order("o-1"))
    assert server.read_line() == "o-1\n"
    server.signal(signal.SIGTERM)

    while server.request("GET", "/readyz")[0] == 200:
        pass

    assert server.request("GET", "/readyz")[1]["reasons"] == ["the engine is stopping"]
    with closing(server.connect()) as connection:
        connection.request("POST", "/orders", json.dumps(order("o-2")), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize("facades", [1, 2])
def test_whoever_is_refused_during_a_stop_is_told_that_the_connection_ends(
    start_server: Callable[..., Server], order: MakeOrder, tmp_path: Path, facades: int
) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    options = ("--handler", "endless:wait", "--stop-seconds", "600", "--http-processes", str(facades))
    server = start_server(*options)
    server.request("POST", "/orders", order("o-0"))
    assert server.read_line() == "o-0\n"
    server.signal(signal.SIGTERM)

    refused = 0
    for number in range(1, 10_000):
        with closing(server.connect()) as connection:
            connection.request(
                "POST", "/orders", json.dumps(order(f"o-{number}")), {"Content-Type": "application/json"}
            )
            answer = connection.getresponse()
            if answer.status == 503:
                assert answer.headers["Connection"] == "close"
                refused += 1
        if refused == 10:  # by each of the processes, most probably
            break
    assert refused == 10


def test_a_stop_names_what_it_waits_for_and_ends_within_the_ten_seconds_that_docker_gives(
    start_server: Callable[..., Server], order: MakeOrder, tables: Callable[[], Tables], tmp_path: Path
) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    server = start_server("--handler", "endless:wait", "--http-processes", "2")
    server.request("POST", "/orders", order("o-1"))
    assert server.read_line() == "o-1\n"
    with closing(server.connect()) as connection:  # which sends half a request
        connection.putrequest("POST", "/orders")
        connection.putheader("Content-Length", "1000")
        connection.endheaders()
        server.signal(signal.SIGTERM)
        began = time.monotonic()

        assert server.wait() == 0

    assert time.monotonic() - began < 10
    first, last = server.errors.splitlines()
    assert first.endswith("stopping: 1 orders in hand are waited for, 6 s at the most; a second signal stops at once")
    assert last.endswith("handlers did not return in time: o-1 go back to Pending")
    assert tables().statuses == {"o-1": "Pending"}


@pytest.mark.parametrize("number", SIGNALS)
def test_a_server_that_is_told_to_stop_while_it_starts_stops(
    start_server: Callable[..., Server],
    tables: Callable[[], Tables],
    order: MakeOrder,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS + "\nwait.probe = wait\n")
    server = start_server("--handler", "endless:wait")
    server.request("POST", "/orders", order("o-1"))
    assert server.read_line() == "o-1\n"
    server.kill()
    again = start_server("--handler", "endless:wait", is_ready=False)
    assert again.read_line() == "o-1\n"  # the probe has begun

    again.signal(number)

    assert again.wait() == 0
    assert again.errors == ""
    assert tables().statuses == {"o-1": "Processing"}  # as if it had not been started
    assert start_server("--simulate-seconds", "0").recovered == 1


def test_a_server_without_a_terminal_goes_on_where_others_would_be_hung_up(
    start_server: Callable[..., Server], order: MakeOrder
) -> None:
    server = start_server("--simulate-seconds", "0")

    server.signal(signal.SIGHUP)

    assert server.request("POST", "/orders", order("o-1"))[0] == 201
    server.signal(signal.SIGHUP)
    server.stop()


def test_a_server_whose_terminal_is_closed_stops_in_order(
    database: Path, tables: Callable[[], Tables], order: MakeOrder
) -> None:
    child, terminal = pty.fork()
    if child == 0:
        command = ["ordermill", "serve", "--db", str(database), "--port", "0", "--simulate-seconds", "1"]
        os.execv(sys.executable, [sys.executable, "-m", "ordermill.http", *command[1:]])
    shown = b""
    while b"recovered." not in shown:
        shown += os.read(terminal, 4096)
    port = int(shown.split(b"127.0.0.1:")[1].split()[0])
    with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        connection.request("POST", "/orders", json.dumps(order("o-1")), {"Content-Type": "application/json"})
        assert connection.getresponse().status == 201

    os.close(terminal)

    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert tables().statuses["o-1"] in ("Completed", "Pending")
    assert tables().audit.faults == []


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_a_server_whose_output_nobody_reads_works_on_and_stops_in_order(
    start_server: Callable[..., Server],
    tables: Callable[[], Tables],
    order: MakeOrder,
    tmp_path: Path,
    executor: str,
) -> None:
    (tmp_path / "chatty.py").write_text("def tell(order):\n    print(order.order_id * 1000, flush=True)\n")
    options = ("--handler", "chatty:tell", "--executor", executor, "--processors", "1", "--max-attempts", "1")
    server = start_server(*options)
    server.close_output()

    for number in range(3):
        server.request("POST", "/orders", order(f"o-{number}"))
        assert server.get(f"/orders/o-{number}?wait=30")["status"] == "Completed"

    server.stop()
    assert set(tables().statuses.values()) == {"Completed"}


@pytest.mark.parametrize("facades", ["1", "2"])
def test_whoever_comes_while_the_server_stops_is_told_so_until_the_end(
    start_server: Callable[..., Server], order: MakeOrder, tmp_path: Path, facades: str
) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    server = start_server("--handler", "endless:wait", "--stop-seconds", "2", "--http-processes", facades)
    server.request("POST", "/orders", order("o-1"))
    assert server.read_line() == "o-1\n"
    server.signal(signal.SIGTERM)

    status = 201
    number = 1
    while status != 503:  # until the signal has arrived
        number += 1
        status, answer = server.request("POST", "/orders", order(f"o-{number}"))
    assert answer["type"] == "urn:ordermill:problem:stopping"
    told = 0
    with suppress(OSError, http.client.HTTPException):  # the end
        while told < 1_000_000:
            with closing(server.connect()) as connection:
                connection.request("POST", "/orders", json.dumps(order("late")), {"Content-Type": "application/json"})
                response = connection.getresponse()
                assert response.status == 503
                assert response.headers["Retry-After"]
                told += 1
    assert told > 10
    assert server.wait() == 0
