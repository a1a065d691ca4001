"""Handlers that run outside the engine's process: whatever becomes of their process, no order is lost."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ordermill.engine import InvalidConfiguration, Order, OrderEngine, OrderStatus
from ordermill.engine.testing import make_order

StartEngine = Callable[..., OrderEngine]

HANDLERS = """
import os, signal, time
from ordermill.engine import Order, Reject

class Odd(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")
        self.lock = __import__("threading").Lock()

def handle(order: Order) -> None:
    match order.item_ids[0]:
        case "die": os.kill(os.getpid(), signal.SIGKILL)
        case "exit": os._exit(3)
        case "system-exit": raise SystemExit(3)
        case "reject": raise Reject("nothing to pay")
        case "odd": raise Odd(1, 2)
        case "pid": raise Reject(str(os.getpid()))
        case "hang":
            while True:
                time.sleep(60)
"""


@pytest.fixture
def handle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A handler of a module that other processes can import."""
    (tmp_path / "handlers_of_the_test.py").write_text(HANDLERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("handlers_of_the_test", None)
    return __import__("handlers_of_the_test").handle


def order(order_id: str, does: str = "nothing") -> Order:
    return make_order(order_id, item_ids=(does,))


def last_reason(engine: OrderEngine, order_id: str) -> str:
    return engine.history(order_id)[-1].reason


@pytest.mark.slow
def test_a_worker_that_dies_is_a_failed_attempt_of_the_one_order_in_its_hand(
    start_engine: StartEngine, handle: Any, assert_sound: Callable[[], None]
) -> None:
    engine = start_engine(handle, executor="processes", processors=2, max_attempts=2, retry_seconds=0)
    engine.submit_many([order("o-1"), order("killed", "die"), order("exits", "exit"), order("o-2"), order("o-3")])
    metrics = engine.drain(timeout=60)

    assert metrics.orders_by_status[OrderStatus.COMPLETED] == 3
    for order_id in ("killed", "exits"):
        assert engine.status(order_id) is OrderStatus.FAILED
        assert last_reason(engine, order_id) == "the worker process died; failed attempt 2 of 2"
    assert metrics.incidents == 0
    engine.stop()
    assert_sound()


@pytest.mark.slow
def test_errors_come_back_as_they_are_however_odd_their_class(start_engine: StartEngine, handle: Any) -> None:
    engine = start_engine(handle, executor="processes", processors=1, max_attempts=1)
    engine.submit_many([order("rejected", "reject"), order("odd", "odd"), order("exits", "system-exit")])
    engine.drain(timeout=60)

    assert last_reason(engine, "rejected") == "rejected: nothing to pay"
    assert last_reason(engine, "odd") == "Odd: 1 and 2; failed attempt 1 of 1"
    assert last_reason(engine, "exits") == "SystemExit: 3; failed attempt 1 of 1"


@pytest.mark.slow
def test_a_handler_that_overruns_its_time_is_killed_and_its_processor_works_on(
    start_engine: StartEngine, handle: Any
) -> None:
    engine = start_engine(handle, executor="processes", processors=1, max_attempts=1, handler_timeout=0.5)
    engine.submit_many([order("hangs", "hang"), order("o-1")])
    metrics = engine.drain(timeout=60)

    assert last_reason(engine, "hangs") == (
        "TimeoutError: the handler did not return within 0.5 s; failed attempt 1 of 1"
    )
    assert engine.status("o-1") is OrderStatus.COMPLETED
    assert metrics.incidents == 0


@pytest.mark.slow
def test_a_stop_kills_what_does_not_end_and_leaves_no_process(start_engine: StartEngine, handle: Any) -> None:
    engine = start_engine(handle, executor="processes", processors=1, stop_seconds=0.1, max_attempts=1)
    engine.submit(order("pid", "pid")).wait(timeout=60)
    worker = os.pidfd_open(int(last_reason(engine, "pid").removeprefix("rejected: ")))
    engine.submit(order("hangs", "hang"))
    while engine.status("hangs") is not OrderStatus.PROCESSING:
        assert engine.trouble() == ()
    engine.stop()

    assert select.select([worker], [], [], 30)[0], "the worker runs on"
    os.close(worker)
    again = start_engine(lambda _: None)
    assert again.wait("hangs", timeout=10) is OrderStatus.COMPLETED


STARTS_A_WORKER = """
import sys
from handlers_of_the_test import handle
from ordermill.engine import Reject
from ordermill.engine.executor import ProcessBench
from ordermill.engine.testing import make_order

if __name__ == "__main__":
    bench = ProcessBench(handle)
    bench.prepare()
    try:
        bench.run(make_order(item_ids=("pid",)))
    except Reject as rejection:
        print(rejection.reason, flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_a_worker_ends_with_the_process_that_started_it(handle: Any, tmp_path: Path) -> None:  # noqa: ARG001
    (tmp_path / "starts_a_worker.py").write_text(STARTS_A_WORKER)
    command = [sys.executable, str(tmp_path / "starts_a_worker.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()

        assert select.select([worker], [], [], 30)[0], "the worker runs on without its parent"
    os.close(worker)


def test_an_executor_of_the_users_runs_the_handler_and_is_left_running(start_engine: StartEngine) -> None:
    names: list[str] = []
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
        engine = start_engine(lambda _: names.append(threading.current_thread().name), executor=executor, processors=2)
        engine.submit_many(make_order(f"o-{number}") for number in range(20))
        assert engine.drain(timeout=20).total_orders_processed == 20
        engine.stop()

        assert executor.submit(lambda: 1).result() == 1
    assert set(names) == {"mine_0"}


def test_an_executor_of_the_users_that_is_shut_down_fails_the_attempts(start_engine: StartEngine) -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    engine = start_engine(lambda _: None, executor=executor, max_attempts=1)
    engine.submit(make_order()).wait(timeout=10)

    assert last_reason(engine, "o-1").startswith("RuntimeError: cannot schedule new futures after shutdown")


def test_a_handler_that_cannot_travel_is_refused_at_once(database: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="write it as a function of a module"):
        OrderEngine(database, handler=lambda _: None, executor="processes")


def test_an_unknown_executor_is_refused_by_name(database: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="executor"):
        OrderEngine(database, executor="cluster")
