"""`serve --http-processes 2`: several processes serve, one engine takes the orders, and clients notice nothing."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Server, Tables

    MakeOrder = Callable[..., dict[str, Any]]

SLOW = """
import time

def wait(order):
    print(order.order_id, flush=True)
    time.sleep(1)
"""


def facade_processes(server: Server) -> set[int]:
    """The processes that the server has started, but for the one that helps Python to tidy up."""
    children = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    pids = {int(pid) for thread in children for pid in thread.read_text().split()}
    return {pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()}


@pytest.mark.slow
def test_whichever_facade_answers_a_thousand_orders_are_taken_and_completed(
    start_server: Callable[..., Server], order: MakeOrder, tables: Callable[[], Tables]
) -> None:
    server = start_server("--http-processes", "2", "--simulate-seconds", "0")
    assert len(facade_processes(server)) == 2

    answers = server.exchange_at_once([("POST", "/orders", order(f"o-{number}")) for number in range(1000)])

    assert [status for status, _ in answers] == [201] * 1000
    for number in range(0, 1000, 50):
        assert server.get(f"/orders/o-{number}?wait=30")["status"] == "Completed"
    stored = server.get("/orders/o-1")
    assert server.exchange_at_once([("POST", "/orders", order("o-1"))] * 20) == [(200, stored)] * 20
    server.stop()
    assert tables().audit.faults == []


@pytest.mark.slow
def test_a_facade_that_dies_is_replaced_and_the_others_serve_on(
    start_server: Callable[..., Server], order: MakeOrder
) -> None:
    server = start_server("--http-processes", "2", "--simulate-seconds", "0")
    before = facade_processes(server)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    line = "a facade died with exit code -9: another one takes its place"
    while line not in server.errors or len(facade_processes(server) - {victim}) < 2:
        assert server.process.poll() is None

    assert server.get("/readyz")["status"] == "ok"
    assert server.request("POST", "/orders", order("o-1"))[0] == 201
    assert server.get("/orders/o-1?wait=30")["status"] == "Completed"  # a stop would tell of an order in hand
    server.stop()
    assert server.errors.count("\n") == 1


@pytest.mark.slow
def test_facades_end_with_the_process_of_their_engine(start_server: Callable[..., Server]) -> None:
    server = start_server("--http-processes", "2")
    pids = [os.pidfd_open(pid) for pid in facade_processes(server)]
    server.kill()

    for pid in pids:
        assert select.select([pid], [], [], 30)[0], "a facade runs on without its engine"
        os.close(pid)


@pytest.mark.slow
def test_a_facade_that_hangs_is_killed_after_a_grace_and_the_engine_stops_in_order(
    start_server: Callable[..., Server], order: MakeOrder, tables: Callable[[], Tables]
) -> None:
    server = start_server("--http-processes", "2", "--simulate-seconds", "0")
    assert server.request("POST", "/orders", order("o-1"))[0] == 201
    os.kill(min(facade_processes(server)), signal.SIGSTOP)

    server.stop()

    assert server.errors.count("a facade did not stop within") == 1
    assert tables().audit.faults == []


@pytest.mark.slow
def test_a_signal_to_the_whole_group_ends_facades_and_workers_in_order(
    start_server: Callable[..., Server], order: MakeOrder, tables: Callable[[], Tables], tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\n\ndef wait(order):\n    print(order.order_id, flush=True); time.sleep(1)\n"
    )
    options = ("--handler", "slow:wait", "--executor", "processes", "--processors", "2", "--max-attempts", "1")
    server = start_server("--http-processes", "2", *options)
    assert server.request("POST", "/orders", order("o-1"))[0] == 201
    assert server.read_line() == "o-1\n"

    os.killpg(server.process.pid, signal.SIGTERM)

    assert server.wait() == 0
    assert tables().statuses == {"o-1": "Completed"}


@pytest.mark.slow
def test_a_facade_says_at_once_that_the_engines_process_hangs(start_server: Callable[..., Server]) -> None:
    server = start_server("--http-processes", "2")
    assert server.get("/readyz")["status"] == "ok"
    server.signal(signal.SIGSTOP)
    try:
        for path in ("/healthz", "/readyz"):
            status, answer = 200, {}
            while status == 200:
                began = time.monotonic()
                status, answer = server.request("GET", path)
                assert time.monotonic() - began < 2
            assert status == 503
            assert answer["reasons"][0].startswith("the engine's process has said nothing for ")
    finally:
        server.signal(signal.SIGCONT)

    status = 503
    while status == 503:
        status, _ = server.request("GET", "/readyz")
    server.stop()
