"""Executors of other packages: each has its own ways with what it is given."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import dask
import distributed
import loky
import pytest

from ordermill.engine import Order, OrderEngine, OrderStatus, Reject
from ordermill.engine.testing import make_order

# Dask looks for the address that others would reach it at, which a machine without a network does not have.
pytestmark = pytest.mark.filterwarnings("ignore:Couldn't detect a suitable IP address:RuntimeWarning")

StartEngine = Callable[..., OrderEngine]
WaitUntil = Callable[[Callable[[], object]], None]


def last_reason(engine: OrderEngine, order_id: str) -> str:
    return engine.history(order_id)[-1].reason


def test_loky_runs_what_pickle_cannot_take_and_keeps_the_time(start_engine: StartEngine) -> None:
    executor = loky.get_reusable_executor(max_workers=1)
    reason = "of a closure"

    def reject(order: Order) -> None:
        if order.order_id == "slow":
            threading.Event().wait(60)
        raise Reject(reason)

    engine = start_engine(reject, executor=executor, processors=1, max_attempts=1, handler_timeout=0.5)
    engine.submit_many([make_order("slow"), make_order("o-1")])
    engine.drain(timeout=60)
    engine.stop()
    executor.shutdown(wait=True, kill_workers=True)

    again = start_engine()
    assert last_reason(again, "slow") == (
        "TimeoutError: the handler did not return within 0.5 s; failed attempt 1 of 1"
    )
    assert last_reason(again, "o-1") == "rejected: of a closure"


RAN: list[str] = []


def fail(order: Order) -> None:
    RAN.append(order.order_id)
    raise ConnectionError(f"no answer {len(RAN)}")


@pytest.fixture(scope="module")
def dask_client() -> Iterator[distributed.Client]:
    """A client of a cluster in this process."""
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        client.submit(abs, -1).result(timeout=60)  # which starts a thread that lasts as long as the cluster
        yield client


@pytest.fixture(scope="module", autouse=True)
def _last_as_long_as_the_program() -> None:
    """Start the thread that Dask never ends."""

    async def offload() -> None:
        await distributed.utils.offload(int)

    asyncio.run(offload())


def test_every_attempt_in_a_dask_cluster_is_a_call_of_its_own(
    start_engine: StartEngine, dask_client: distributed.Client
) -> None:
    RAN.clear()
    engine = start_engine(fail, executor=dask_client.get_executor(), processors=2, max_attempts=3, retry_seconds=0)

    assert engine.submit(make_order()).wait(timeout=60) is OrderStatus.FAILED

    assert len(RAN) == 3
    assert last_reason(engine, "o-1") == "ConnectionError: no answer 3; failed attempt 3 of 3"


@pytest.mark.slow
def test_an_order_whose_dask_worker_dies_has_an_unknown_outcome(
    start_engine: StartEngine, handle: Any, wait_until: WaitUntil
) -> None:
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        engine = start_engine(handle, executor=client.get_executor(), processors=1, on_interrupted="review")
        engine.submit(make_order("killer", item_ids=("die",)))
        wait_until(lambda: engine.status("killer") is OrderStatus.REVIEW)
        assert engine.submit(make_order("o-1")).wait(timeout=60) is OrderStatus.COMPLETED
        engine.stop()

    again = start_engine()
    assert last_reason(again, "killer").startswith("the executor lost it: KilledWorker: ")
