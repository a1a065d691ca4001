"""Handlers on a Dask cluster: every run is an attempt in the history, whatever becomes of the workers."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dask
import distributed
import pytest

from ordermill.engine import Effect, InvalidConfiguration, Order, OrderEngine, OrderStatus
from ordermill.engine.execution import dask_cluster
from ordermill.engine.execution.attempt import Lost
from ordermill.engine.execution.dask_cluster import _attempt_there
from ordermill.engine.testing import make_order

# Dask looks for the address that others would reach it at, which a machine without a network does not have.
pytestmark = pytest.mark.filterwarnings("ignore:Couldn't detect a suitable IP address:RuntimeWarning")

StartEngine = Callable[..., OrderEngine]
WaitUntil = Callable[[Callable[[], object]], None]


@pytest.fixture(scope="module", autouse=True)
def _without_a_profiler() -> Iterator[None]:
    """Dask's profiler asks for the frames of all threads, and Python 3.11 then waits for itself for ever where its
    collector begins meanwhile. Here that would be the process of the tests."""
    with dask.config.set({"distributed.worker.profile.enabled": False}):
        yield


@pytest.fixture(scope="module", autouse=True)
def _last_as_long_as_the_program() -> None:
    """Start the thread that Dask never ends."""

    async def offload() -> None:
        await distributed.utils.offload(int)

    asyncio.run(offload())


StartCluster = Callable[..., distributed.LocalCluster]


@pytest.fixture
def start_cluster() -> Iterator[StartCluster]:
    """Starts clusters in this process, of one worker with one thread by default."""
    with ExitStack() as clusters:

        def start(**settings: Any) -> distributed.LocalCluster:
            settings = {"n_workers": 1, "threads_per_worker": 1, "processes": False, **settings}
            return clusters.enter_context(
                distributed.LocalCluster(protocol="tcp://", dashboard_address=":0", silence_logs=50, **settings)
            )

        yield start


def url(cluster: distributed.LocalCluster) -> str:
    """The address of a cluster's scheduler, as the engine takes it."""
    return str(cluster.scheduler_address).replace("tcp://", "dask://")


def reasons(engine: OrderEngine, order_id: str) -> list[str]:
    return [step.reason for step in engine.history(order_id)]


RAN: list[str] = []


def fail(order: Order) -> None:
    RAN.append(order.order_id)
    raise ConnectionError(f"no answer {len(RAN)}")


def nothing(_: Order) -> None:
    pass


@pytest.mark.parametrize("given", ["address", "executor"])
def test_eight_attempts_in_the_history_are_eight_runs(
    start_engine: StartEngine, start_cluster: StartCluster, given: str
) -> None:
    RAN.clear()
    cluster = start_cluster()
    with distributed.Client(cluster) as client:
        executor = url(cluster) if given == "address" else client.get_executor()
        engine = start_engine(fail, executor=executor, max_attempts=8, retry_seconds=0)
        assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.FAILED
        engine.stop()

    again = start_engine(nothing)
    assert len(RAN) == 8
    assert [step.attempt for step in again.history("o-1") if step.to_status is OrderStatus.PROCESSING] == [*range(1, 9)]
    assert reasons(again, "o-1")[-1] == "ConnectionError: no answer 8; failed attempt 8 of 8"


def test_the_start_names_the_scheduler_that_cannot_be_reached(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_cluster, "_CONNECT_SECONDS", 0.2)

    with pytest.raises(InvalidConfiguration, match=r"the Dask scheduler at dask://127\.0\.0\.1:9 cannot be reached: "):
        start_engine(nothing, executor="dask://127.0.0.1:9")


@pytest.mark.parametrize("address", ["dask://", "dask://host", "ray://host:1", "dask://host:1/path", "dask://host:1\n"])
def test_what_is_no_address_of_a_scheduler_is_refused(database: Path, address: str) -> None:
    with pytest.raises(InvalidConfiguration, match="executor must be threads, processes or dask://HOST:8786, not "):
        OrderEngine(database, executor=address)


def test_a_missing_package_is_named(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)

    with pytest.raises(InvalidConfiguration, match=r"pip install 'ordermill\[dask\]'"):
        OrderEngine(database, executor="dask://127.0.0.1:9")


class Gate:
    """A handler that counts who is in it, and holds them there."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.most = 0
        self.may_go = threading.Event()

    def __call__(self, _: Order) -> None:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        assert self.may_go.wait(60)
        with self.lock:
            self.inside -= 1


GATE = Gate()


def pass_gate(order: Order) -> None:
    GATE(order)


@pytest.fixture
def gate(start_cluster: StartCluster) -> Iterator[Gate]:  # noqa: ARG001  # opened before clusters are stopped
    """The gate of `pass_gate`, which is open in the end."""
    GATE.__init__()  # type: ignore[misc]  # the workers know the function of a module alone
    yield GATE
    GATE.may_go.set()


def in_hand(engine: OrderEngine) -> int:
    return engine.metrics().orders_by_status[OrderStatus.PROCESSING]


def test_as_many_orders_are_in_flight_as_the_cluster_has_slots_while_workers_come_and_go(
    start_engine: StartEngine, start_cluster: StartCluster, gate: Gate, wait_until: WaitUntil
) -> None:
    cluster = start_cluster(threads_per_worker=2)
    engine = start_engine(pass_gate, executor=url(cluster), processors=8)
    engine.submit_many([make_order(f"o-{number}") for number in range(20)])
    wait_until(lambda: gate.inside == 2)
    assert in_hand(engine) == 2
    assert engine.unready_reasons() == ()

    cluster.scale(2)
    wait_until(lambda: gate.inside == 4)
    assert in_hand(engine) == 4

    gate.may_go.set()
    wait_until(lambda: engine.metrics().orders_by_status[OrderStatus.COMPLETED] == 20)
    assert gate.most == 4
    cluster.scale(0)
    reason = f"1 of 1 processors cannot work: the Dask cluster at {url(cluster)} has no worker"
    wait_until(lambda: engine.unready_reasons() == (reason,))
    late = engine.submit(make_order("late"))
    assert engine.status("late") is OrderStatus.PENDING
    cluster.scale(1)
    assert late.wait(timeout=60) is OrderStatus.COMPLETED
    assert [step.attempt for step in engine.history("late")] == [0, 1, 1]
    engine.stop()


def test_a_scheduler_that_goes_is_told_and_the_engine_goes_on_when_it_is_back(
    start_engine: StartEngine, start_cluster: StartCluster, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    monkeypatch.setattr(dask_cluster, "_CONNECT_SECONDS", 1.0)
    cluster = start_cluster()
    address = url(cluster)
    engine = start_engine(nothing, executor=address)
    assert engine.submit(make_order("before")).wait(timeout=60) is OrderStatus.COMPLETED

    cluster.close()
    start = f"1 of 1 processors cannot work: the Dask scheduler at {address} cannot be reached: "
    wait_until(lambda: any(reason.startswith(start) for reason in engine.unready_reasons()))
    meanwhile = engine.submit(make_order("meanwhile"))

    start_cluster(scheduler_port=int(address.rpartition(":")[2]))
    assert meanwhile.wait(timeout=60) is OrderStatus.COMPLETED
    assert engine.unready_reasons() == ()
    engine.stop()


def test_an_order_under_way_when_the_connection_is_lost_has_an_unknown_outcome_so_the_probe_is_asked(
    start_engine: StartEngine, start_cluster: StartCluster, gate: Gate, wait_until: WaitUntil
) -> None:
    cluster = start_cluster(threads_per_worker=2)
    engine = start_engine(pass_gate, executor=url(cluster), probe=lambda _: Effect.DONE)
    receipt = engine.submit(make_order("o-1"))
    wait_until(lambda: gate.inside == 1)
    (ours,) = (comm for name, comm in cluster.scheduler.client_comms.items() if name.startswith("Client-ordermill-"))
    cluster.loop.add_callback(ours.abort)

    assert receipt.wait(timeout=60) is OrderStatus.COMPLETED
    assert reasons(engine, "o-1")[-1].endswith(" was lost; the probe found its effect done")
    gate.may_go.set()
    assert engine.submit(make_order("o-2")).wait(timeout=60) is OrderStatus.COMPLETED
    engine.stop()


def test_a_handler_that_overruns_its_time_has_failed_and_its_slot_is_free(
    start_engine: StartEngine, start_cluster: StartCluster, gate: Gate
) -> None:
    cluster = start_cluster()
    engine = start_engine(pass_gate, executor=url(cluster), handler_timeout=0.2, max_attempts=2, retry_seconds=0)

    assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.FAILED

    assert reasons(engine, "o-1")[-1] == "TimeoutError: the handler did not return within 0.2 s; failed attempt 2 of 2"
    engine.stop()
    gate.may_go.set()


def test_what_a_busy_cluster_has_not_begun_when_the_engine_gives_up_it_never_begins(
    start_engine: StartEngine, start_cluster: StartCluster, gate: Gate, wait_until: WaitUntil
) -> None:
    RAN.clear()
    cluster = start_cluster()
    with distributed.Client(cluster) as client:
        engine = start_engine(fail, executor=url(cluster), stop_seconds=0)
        other = client.submit(pass_gate, make_order())
        wait_until(lambda: gate.inside == 1)
        engine.submit(make_order())
        wait_until(lambda: in_hand(engine) == 1)
        engine.stop()
        (worker,) = cluster.workers.values()
        wait_until(lambda: not any(str(key).startswith("ordermill-") for key in list(worker.state.tasks)))
        gate.may_go.set()
        other.result(timeout=60)
        client.submit(abs, -1).result(timeout=60)  # after whatever was in its queue

    assert RAN == []
    assert start_engine(nothing).submit(make_order()).wait(timeout=60) is OrderStatus.COMPLETED


def refuse_to_load() -> None:
    raise LookupError("not here")


class Unloadable:
    def __call__(self, order: Order) -> None:
        raise AssertionError(order)

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return refuse_to_load, ()


def test_the_start_fails_where_no_worker_can_load_the_handler(
    start_engine: StartEngine, start_cluster: StartCluster
) -> None:
    cluster = start_cluster()

    with pytest.raises(InvalidConfiguration, match=r"cannot run the handler: the handler .* LookupError: not here"):
        start_engine(Unloadable(), executor=url(cluster))


def test_a_worker_that_was_started_again_refuses_what_the_one_before_had(start_cluster: StartCluster) -> None:
    RAN.clear()
    with distributed.Client(start_cluster()) as client:
        outcome = client.submit(_attempt_there, "/of/the/one/before", fail, make_order(), {}).result(timeout=60)

    assert outcome == Lost("its Dask worker has died, and was started again")
    assert RAN == []


def test_an_executor_that_is_kept_to_some_workers_stays_with_them(
    start_engine: StartEngine, start_cluster: StartCluster, gate: Gate, wait_until: WaitUntil
) -> None:
    cluster = start_cluster(n_workers=2)
    with distributed.Client(cluster) as client:
        one = next(iter(client.scheduler_info()["workers"]))
        engine = start_engine(pass_gate, executor=client.get_executor(workers=[one]))
        engine.submit_many([make_order("o-1"), make_order("o-2")])
        wait_until(lambda: gate.inside == 1)
        assert in_hand(engine) == 1
        gate.may_go.set()
        engine.drain(timeout=60)
        engine.stop()

    assert gate.most == 1


HANDLER = """
import os, time

def handle(order):
    with open({runs!r}, "a") as runs:
        runs.write(f"{{order.order_id}} {{os.getpid()}}\\n")
    time.sleep(0.02)
"""


@pytest.mark.slow
def test_killing_workers_under_load_loses_nothing_and_every_run_is_an_attempt(
    start_engine: StartEngine,
    start_cluster: StartCluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: WaitUntil,
    assert_sound: Callable[[], None],
) -> None:
    runs = tmp_path / "runs"
    (tmp_path / "dask_handlers_of_the_test.py").write_text(HANDLER.format(runs=str(runs)))
    monkeypatch.syspath_prepend(str(tmp_path))
    handle = __import__("dask_handlers_of_the_test").handle

    def lines() -> list[list[str]]:
        return [line.split() for line in runs.read_text().splitlines()] if runs.exists() else []

    cluster = start_cluster(n_workers=2, threads_per_worker=2, processes=True)
    engine = start_engine(handle, executor=url(cluster), retry_seconds=0)
    receipts = engine.submit_many([make_order(f"o-{number}") for number in range(300)])
    for count in (30, 120):
        wait_until(lambda count=count: len(lines()) >= count)  # type: ignore[misc]  # a default is bound
        os.kill(int(lines()[-1][1]), signal.SIGKILL)
    metrics = engine.drain(timeout=120)
    histories = {receipt.order_id: engine.history(receipt.order_id) for receipt in receipts}
    engine.stop()

    assert metrics.orders_by_status[OrderStatus.COMPLETED] == 300
    ran = Counter(order_id for order_id, _ in lines())
    for order_id, history in histories.items():
        attempts = sum(step.to_status is OrderStatus.PROCESSING for step in history)
        assert 1 <= ran[order_id] <= attempts
    assert any(" is gone" in step.reason for history in histories.values() for step in history)
    assert_sound()


@pytest.mark.slow
def test_an_order_whose_worker_dies_has_an_unknown_outcome(
    start_engine: StartEngine, start_cluster: StartCluster, handle: Any, wait_until: WaitUntil
) -> None:
    cluster = start_cluster(processes=True)
    with distributed.Client(cluster) as client:
        engine = start_engine(handle, executor=client.get_executor(), on_interrupted="review")
        engine.submit(make_order("killer", item_ids=("die",)))
        wait_until(lambda: engine.status("killer") is OrderStatus.REVIEW)
        assert engine.submit(make_order("o-1")).wait(timeout=60) is OrderStatus.COMPLETED
        assert reasons(engine, "killer")[-1].endswith(" is gone")
        engine.stop()
