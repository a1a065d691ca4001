"""A handler that computes: in worker processes, against threads, which share one core; and on a Dask cluster."""

from __future__ import annotations

import inspect
import multiprocessing
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from typing import Any

import embedded
from command import run
from measure import Benchmark, Conditions, Figures, MeasurementFailed, Row, Rule
from ordermill.engine import EngineConfig, Order, OrderEngine
from stopwatch import Stopwatch

_WORKERS = 2
_ORDERS = 1_000
_STEPS = 100_000  # of the handler: some ten milliseconds


def compute(_: Order) -> None:
    """A handler that does nothing but keep a core busy."""
    number = 1
    for _step in range(_STEPS):
        number = number * 48_271 % 2_147_483_647


def measure_processes(conditions: Conditions) -> Figures:
    """Two worker processes."""
    with ProcessPoolExecutor(_WORKERS, mp_context=multiprocessing.get_context("spawn")) as executor:
        # Both workers are up before the clock starts.
        list(executor.map(abs, range(100 * _WORKERS)))
        return _complete(conditions, executor)


def measure_threads(conditions: Conditions) -> Figures:
    """Two processor actors, which are threads."""
    return _complete(conditions, None)


def measure_dask(conditions: Conditions, workers: int) -> Figures:
    """So many Dask workers, each a process with one thread."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=50, protocol="tcp://"
    ) as cluster:
        cluster.wait_for_workers(workers)
        return _complete(conditions, str(cluster.scheduler_address).replace("tcp://", "dask://"))


def _complete(conditions: Conditions, executor: Executor | str | None) -> Figures:
    orders = list(embedded.make_orders(conditions.count(_ORDERS)))
    settings: dict[str, Any] = {} if executor is None else {"executor": executor}
    database = conditions.folder / "orders.db"
    with (
        embedded.start_engine(database, handler=compute, processors=_WORKERS, **settings) as engine,
        Stopwatch() as watch,
    ):
        embedded.submit_in_lots(engine, orders)
        completed = engine.drain(embedded.DRAIN_SECONDS).total_orders_processed
    if completed != len(orders):
        raise MeasurementFailed(f"{completed} of {len(orders)} orders were completed")
    # The processor time of worker processes is not in this process's.
    return {"completed_per_second": completed / watch.seconds}


def _missing_executor() -> str:
    names = {*inspect.signature(OrderEngine).parameters, *EngineConfig.__struct_fields__}
    return "" if "executor" in names else "OrderEngine takes no executor"


BENCHMARKS = (
    Benchmark(
        name="executors",
        work="1,000 orders with a handler that computes for some ten milliseconds, in two worker processes",
        against="the same with two processor threads",
        ours=measure_processes,
        theirs=measure_threads,
        rows=(Row("X", "completed_per_second", Rule.AT_LEAST, 1.7),),
        missing=_missing_executor,
    ),
    Benchmark(
        name="dask",
        work="1,000 orders with a handler that computes for some ten milliseconds, on two Dask workers of one thread",
        against="the same on one worker",
        ours=partial(measure_dask, workers=_WORKERS),
        theirs=partial(measure_dask, workers=1),
        rows=(Row("D", "completed_per_second", Rule.AT_LEAST, 1.7),),
        missing=lambda: "" if find_spec("distributed") else "Dask is not installed",
    ),
)

if __name__ == "__main__":
    run(BENCHMARKS)
