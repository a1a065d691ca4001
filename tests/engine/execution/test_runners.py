"""Handlers that run outside the engine's process: whatever becomes of their process, no order is lost."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import InvalidConfiguration, Order, OrderEngine, OrderStatus
from ordermill.engine.execution.attempt import NotBegun, Outcome
from ordermill.engine.execution.runner_factory import runner_factory
from ordermill.engine.testing import ManualClock, make_order

if TYPE_CHECKING:
    from ordermill.engine.testing import Held

StartEngine = Callable[..., OrderEngine]
WaitUntil = Callable[[Callable[[], object]], None]


def order(order_id: str, does: str = "nothing") -> Order:
    return make_order(order_id, item_ids=(does,))


UNBEGUN = "the engine stopped before it was begun"


def reasons(engine: OrderEngine, order_id: str) -> list[str]:
    return [step.reason for step in engine.history(order_id)]


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
    for order_id, how in (("killed", "of SIGKILL"), ("exits", "with exit code 3")):
        assert engine.status(order_id) is OrderStatus.FAILED
        assert last_reason(engine, order_id) == f"the worker process died {how}; failed attempt 2 of 2"
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
        assert engine.unready_reasons() == ()
    engine.stop()

    assert select.select([worker], [], [], 30)[0], "the worker runs on"
    os.close(worker)
    again = start_engine(lambda _: None)
    assert again.wait("hangs", timeout=60) is OrderStatus.COMPLETED


STARTS_A_WORKER = """
import sys
from handlers_of_the_test import handle
from ordermill.engine.execution.pickled_handler import PickledHandler
from ordermill.engine.execution.process_runner import ProcessRunner
from ordermill.engine.testing import make_order

if __name__ == "__main__":
    runner = ProcessRunner(PickledHandler(handle))
    print(runner.run(make_order(item_ids=("pid",)), lambda **_: None).reason, flush=True)
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


@pytest.mark.slow
def test_a_worker_that_dies_with_nothing_to_do_costs_no_attempt(start_engine: StartEngine, handle: Any) -> None:
    engine = start_engine(handle, executor="processes", processors=1, max_attempts=1)
    engine.submit(order("pid", "pid")).wait(timeout=60)
    process = int(last_reason(engine, "pid").removeprefix("rejected: "))
    worker = os.pidfd_open(process)
    os.kill(process, signal.SIGKILL)
    assert select.select([worker], [], [], 30)[0]
    os.close(worker)

    assert engine.submit(order("o-1")).wait(timeout=60) is OrderStatus.COMPLETED
    assert (engine.order("o-1").attempts, engine.order("o-1").failures) == (1, 0)
    assert engine.metrics().incidents == 0


HAS_NO_MAIN = """
import sys
from ordermill.engine import OrderEngine
def handle(order): pass
OrderEngine(sys.argv[1], handler=handle, executor="processes", processors=1).start()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("has_file", "text"),
    [
        (True, 'died with exit code 1 while it started. What it printed says why; .* `if __name__ == "__main__":`'),
        (False, "the handler cannot be loaded in another process: AttributeError: Can't get attribute 'handle'"),
    ],
)
def test_a_handler_that_workers_cannot_have_is_refused_at_the_start(tmp_path: Path, has_file: bool, text: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(HAS_NO_MAIN)
    command = [str(program)] if has_file else ["-c", HAS_NO_MAIN]
    done = subprocess.run(
        [sys.executable, *command, str(tmp_path / "orders.db")], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert re.match(f"ordermill.store.domain.errors.InvalidConfiguration: The engine cannot start: .*{text}", last)
    assert not (tmp_path / "orders.db").exists()


HAS_LITTLE_ROOM = """
import resource, sys, time
from handlers_of_the_test import handle
from ordermill.engine import OrderEngine
from ordermill.engine.testing import make_order

def wait_until(condition):
    while not condition():
        time.sleep(0.01)

if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    engine = OrderEngine(sys.argv[1], handler=handle, executor="processes", processors=16)
    resource.setrlimit(resource.RLIMIT_NOFILE, (30, hard))
    engine.start()
    wait_until(engine.unready_reasons)
    print(*engine.unready_reasons())
    print(engine.submit(make_order(item_ids=("nothing",))).wait(60))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(lambda: not engine.unready_reasons())
    print(engine.order("o-1").failures, "orders failed an attempt")
    engine.stop()
"""


@pytest.mark.slow
def test_processors_without_a_worker_are_reported_and_replaced_when_there_is_room(tmp_path: Path, handle: Any) -> None:  # noqa: ARG001
    program = tmp_path / "program.py"
    program.write_text(HAS_LITTLE_ROOM)
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "orders.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert re.fullmatch(
        r"\d+ of 16 processors cannot work: a worker process cannot be started: OSError: .*Too many open files\n"
        "Completed\n"
        "0 orders failed an attempt\n",
        done.stdout,
    )


def test_an_executor_of_the_users_runs_the_handler_and_is_left_running(start_engine: StartEngine) -> None:
    names: list[str] = []
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
        engine = start_engine(lambda _: names.append(threading.current_thread().name), executor=executor, processors=2)
        engine.submit_many(make_order(f"o-{number}") for number in range(20))
        assert engine.drain(timeout=60).total_orders_processed == 20
        engine.stop()

        assert executor.submit(lambda: 1).result() == 1
    assert set(names) == {"mine_0"}


def test_a_handler_that_cannot_travel_is_refused_at_once(database: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="write it as a function of a module"):
        OrderEngine(database, handler=lambda _: None, executor="processes")


def test_an_unknown_executor_is_refused_by_name(database: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="executor"):
        OrderEngine(database, executor="cluster")


class Unreliable(Executor):
    """An executor of the user's with one thread, which takes nothing while it is out of order."""

    def __init__(self) -> None:
        self.is_out_of_order = False
        self._threads = ThreadPoolExecutor(1)

    def submit(self, *call: Any, **options: Any) -> Any:
        if self.is_out_of_order:
            raise RuntimeError("out of order")
        return self._threads.submit(*call, **options)

    def shutdown(self, *arguments: Any, **options: Any) -> None:
        self._threads.shutdown(*arguments, **options)


class Telling(ThreadPoolExecutor):
    """A pool that tells of each call that is over."""

    def __init__(self) -> None:
        super().__init__(1)
        self.over = threading.Semaphore(0)

    def submit(self, *given: Any, **more: Any) -> Future[Any]:
        future = super().submit(*given, **more)
        future.add_done_callback(lambda _: self.over.release())
        return future


def test_time_counts_from_the_start_of_the_handler_and_not_from_the_queue_of_the_executor(
    start_engine: StartEngine, held: Held, clock: ManualClock, wait_until: WaitUntil
) -> None:
    with Telling() as executor:
        engine = start_engine(
            held, executor=executor, processors=2, handler_timeout=5, max_attempts=1, clock=clock, stop_seconds=0
        )
        for _ in range(2):  # both processors have tried the executor, which has room for one of them at a time
            assert executor.over.acquire(timeout=60)
        receipts = {receipt.order_id: receipt for receipt in engine.submit_many([make_order("a"), make_order("b")])}
        begun = receipts.pop(held.begun())
        wait_until(lambda: engine.metrics().orders_by_status[OrderStatus.PROCESSING] == 2)
        clock.advance(5)
        assert begun.wait(timeout=60) is OrderStatus.FAILED
        held.release()

        (queued,) = receipts.values()
        assert queued.wait(timeout=60) is OrderStatus.COMPLETED
        assert engine.order(queued.order_id).attempts == 1
        engine.stop()


def test_what_waits_in_an_executor_goes_back_at_a_stop_and_never_begins(
    start_engine: StartEngine, wait_until: WaitUntil
) -> None:
    handled: list[str] = []
    may_go_on = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        engine = start_engine(lambda order: handled.append(order.order_id), executor=executor, processors=1)
        engine.submit(make_order("first")).wait(timeout=60)
        executor.submit(may_go_on.wait, 20)  # of somebody else
        engine.submit(make_order("second"))
        wait_until(lambda: engine.status("second") is OrderStatus.PROCESSING)
        engine.stop()
        may_go_on.set()
    again = start_engine(lambda _: None)

    assert handled == ["first"]
    assert reasons(again, "second")[:3] == ["accepted", "assigned to a processor", UNBEGUN]
    assert again.wait("second", timeout=60) is OrderStatus.COMPLETED
    assert again.order("second").failures == 0


def test_an_engine_whose_executor_is_busy_stops_at_once(start_engine: StartEngine) -> None:
    may_go_on = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        executor.submit(may_go_on.wait, 20)
        engine = start_engine(lambda _: None, executor=executor)
        engine.submit(make_order())
        engine.stop()

        assert not may_go_on.is_set()
        may_go_on.set()


def test_an_executor_that_takes_nothing_costs_no_attempt_and_is_tried_until_it_works_again(
    start_engine: StartEngine, wait_until: WaitUntil
) -> None:
    with Unreliable() as executor:
        engine = start_engine(lambda _: None, executor=executor, processors=2, max_attempts=1)
        engine.submit(make_order("before")).wait(timeout=60)
        executor.is_out_of_order = True
        receipts = engine.submit_many(make_order(f"o-{number}") for number in range(10))
        out_of_order = "processors cannot work: the executor does not take it: RuntimeError: out of order"
        wait_until(lambda: engine.unready_reasons() == (f"2 of 2 {out_of_order}",))
        counts = engine.metrics().orders_by_status
        executor.is_out_of_order = False

        assert (counts[OrderStatus.FAILED], counts[OrderStatus.COMPLETED]) == (0, 1)
        assert {receipt.wait(timeout=60) for receipt in receipts} == {OrderStatus.COMPLETED}
        wait_until(lambda: engine.unready_reasons() == ())
        assert {engine.order(receipt.order_id).failures for receipt in receipts} == {0}
        engine.stop()


def test_an_executor_that_is_shut_down_is_known_before_an_order_meets_it(
    start_engine: StartEngine, wait_until: WaitUntil
) -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    engine = start_engine(lambda _: None, executor=executor, processors=3)
    engine.submit(make_order())
    wait_until(
        lambda: engine.unready_reasons() and engine.unready_reasons()[0].startswith("3 of 3 processors cannot work: ")
    )

    assert engine.order("o-1").attempts == 0
    assert engine.unready_reasons()[0].endswith("RuntimeError: cannot schedule new futures after shutdown")


def test_what_an_executor_cancels_was_no_attempt(start_engine: StartEngine, wait_until: WaitUntil) -> None:
    may_go_on = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        engine = start_engine(lambda _: None, executor=executor, processors=1, max_attempts=1)
        engine.submit(make_order("first")).wait(timeout=60)
        executor.submit(may_go_on.wait, 20)
        engine.submit(make_order("second"))
        wait_until(lambda: engine.status("second") is OrderStatus.PROCESSING)
        executor.shutdown(wait=False, cancel_futures=True)
        wait_until(lambda: engine.status("second") is OrderStatus.PENDING)
        may_go_on.set()

        assert last_reason(engine, "second").startswith("it was not begun: the executor does not take it: ")
        assert engine.order("second").failures == 0
        engine.stop()


def test_a_call_that_was_taken_back_does_nothing_wherever_it_turns_up(wait_until: WaitUntil) -> None:
    calls: list[Callable[[], Outcome]] = []
    handled: list[str] = []

    class Keeper(Executor):
        def submit(self, call: Any, /) -> Future[Outcome]:  # type: ignore[override]  # all that is asked of it here
            calls.append(call)
            return Future()

    with Keeper() as keeper, ThreadPoolExecutor(1) as threads:
        runner = runner_factory(lambda order: handled.append(order.order_id), keeper, None).make()
        running = threads.submit(runner.run, make_order(), lambda **_: None)
        wait_until(lambda: calls)
        runner.withdraw()

        assert running.result(timeout=60) == NotBegun()
        assert calls[0]() == pickle.loads(pickle.dumps(calls[0]))() == NotBegun()
        assert runner.run(make_order(), lambda **_: None) == NotBegun()
    assert handled == []


@pytest.mark.slow
def test_a_pool_of_processes_outlives_what_cannot_travel(start_engine: StartEngine, handle: Any) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        engine = start_engine(handle, executor=executor, processors=2, max_attempts=1)
        engine.submit_many([order("odd", "odd"), order("lock", "lock"), order("exits", "system-exit"), order("o-1")])
        metrics = engine.drain(timeout=60)

        assert metrics.orders_by_status[OrderStatus.COMPLETED] == 2
        assert last_reason(engine, "odd") == "Odd: 1 and 2; failed attempt 1 of 1"
        assert last_reason(engine, "exits") == "SystemExit: 3; failed attempt 1 of 1"
        engine.stop()


@pytest.mark.slow
def test_a_handler_that_a_pool_of_processes_cannot_load_is_told_and_does_not_break_the_pool(
    start_engine: StartEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        executor.submit(os.getpid).result(timeout=60)  # its process does not know the folder yet
        (tmp_path / "late_handlers.py").write_text("def handle(order): pass")
        monkeypatch.syspath_prepend(str(tmp_path))
        engine = start_engine(__import__("late_handlers").handle, executor=executor, processors=1)
        engine.submit(make_order())
        wait_until(engine.unready_reasons)

        assert engine.unready_reasons() == (
            "1 of 1 processors cannot work: the handler cannot be loaded in another process: "
            "ModuleNotFoundError: No module named 'late_handlers'",
        )
        assert engine.order("o-1").attempts == 0
        assert executor.submit(abs, -1).result(timeout=60) == 1
        engine.stop()


@pytest.mark.slow
def test_who_was_alone_in_a_pool_when_it_broke_pays_and_nobody_else(
    start_engine: StartEngine, handle: Any, wait_until: WaitUntil
) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        engine = start_engine(handle, executor=executor, processors=1, max_attempts=1)
        assert engine.submit(order("killer", "die")).wait(timeout=60) is OrderStatus.FAILED
        engine.submit(order("o-1"))
        wait_until(engine.unready_reasons)

        assert last_reason(engine, "killer").startswith("the executor lost it: BrokenProcessPool: A process in the")
        assert engine.unready_reasons()[0].startswith(
            "1 of 1 processors cannot work: the executor does not take it: Broken"
        )
        assert (engine.status("o-1"), engine.order("o-1").failures) == (OrderStatus.PENDING, 0)
        engine.stop()


@pytest.mark.slow
def test_where_several_were_in_a_pool_when_it_broke_nobody_pays(
    start_engine: StartEngine, handle: Any, wait_until: WaitUntil
) -> None:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        engine = start_engine(handle, executor=executor, processors=2, max_attempts=1)
        engine.submit(order("hangs", "hang"))
        wait_until(lambda: engine.status("hangs") is OrderStatus.PROCESSING)
        engine.submit(order("killer", "die"))
        wait_until(lambda: engine.unready_reasons() and engine.unready_reasons()[0].startswith("2 of 2 "))

        for order_id in ("hangs", "killer"):
            wait_until(lambda order_id=order_id: engine.status(order_id) is OrderStatus.PENDING)
            assert engine.order(order_id).failures == 0
        engine.stop()


class Renewing(Executor):
    """A pool of two processes of the user's, which is replaced when it is broken."""

    def __init__(self) -> None:
        self._pool = self._new()

    def submit(self, *call: Any, **options: Any) -> Any:
        try:
            return self._pool.submit(*call, **options)
        except BrokenExecutor:
            self._pool = self._new()
            raise

    def shutdown(self, *arguments: Any, **options: Any) -> None:
        self._pool.shutdown(*arguments, **options)

    @staticmethod
    def _new() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))


@pytest.mark.slow
def test_of_those_that_were_in_a_broken_pool_each_runs_alone_next_so_that_only_the_killer_pays(
    start_engine: StartEngine, handle: Any, wait_until: WaitUntil
) -> None:
    with Renewing() as executor:
        engine = start_engine(handle, executor=executor, processors=2, max_attempts=1)
        innocent = engine.submit(order("innocent", "nap"))
        wait_until(lambda: engine.status("innocent") is OrderStatus.PROCESSING)
        killer = engine.submit(order("killer", "die"))

        assert innocent.wait(timeout=60) is OrderStatus.COMPLETED
        assert killer.wait(timeout=60) is OrderStatus.FAILED
        assert (engine.order("innocent").attempts, engine.order("innocent").failures) == (2, 0)
        assert (engine.order("killer").attempts, engine.order("killer").failures) == (2, 1)
        engine.stop()


ENDS_WITHOUT_STOP = """
import sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from ordermill.engine import OrderEngine
from ordermill.engine.testing import make_order

begun = threading.Event()

def handle(order):
    begun.set()
    time.sleep(0.2)  # by then the program is ending

executor = ThreadPoolExecutor(2) if sys.argv[2] == "own" else sys.argv[2]
engine = OrderEngine(sys.argv[1], handler=handle, executor=executor, processors=2, max_attempts=1)
engine.start()
engine.submit_many(make_order(f"o-{number}") for number in range(50))
begun.wait()
"""


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["threads", "own"])
def test_a_program_that_ends_without_a_stop_costs_no_attempt(
    start_engine: StartEngine, database: Path, executor: str
) -> None:
    command = [sys.executable, "-c", ENDS_WITHOUT_STOP, str(database), executor]
    done = subprocess.run(command, check=True, timeout=60, stderr=subprocess.PIPE, text=True)
    again = start_engine(lambda _: None)
    again.drain(timeout=30)
    records = again.orders(limit=100)

    assert {record.status for record in records} == {OrderStatus.COMPLETED}
    assert {record.failures for record in records} == {0}
    assert done.stderr == "", "the engine stops before the executors do"
    assert again.order("o-0").attempts == 1
