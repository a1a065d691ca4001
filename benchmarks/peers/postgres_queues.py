"""What one would take instead over PostgreSQL: Procrastinate and DBOS, with 8 workers and a job that does nothing."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

_WORKERS = 8
_CLIENTS = 64


def procrastinate_seconds(url: str, jobs: int) -> float:
    """How long Procrastinate takes for so many jobs, each deferred by itself, until all have succeeded.

    Args:
        url: of an empty database.
        jobs: how many.
    """
    return asyncio.run(_procrastinate(url, jobs))


async def _procrastinate(url: str, jobs: int) -> float:
    import procrastinate

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, min_size=4, max_size=32))

    @app.task(name="nothing")
    async def nothing(order_id: str) -> None:
        pass

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        worker = asyncio.create_task(app.run_worker_async(concurrency=_WORKERS, install_signal_handlers=False))
        began = time.perf_counter()

        async def defer(client: int) -> None:
            for number in range(client, jobs, _CLIENTS):
                await nothing.defer_async(order_id=f"o-{number}")

        await asyncio.gather(*map(defer, range(_CLIENTS)))
        while True:
            row = await app.connector.execute_query_one_async(
                "SELECT count(*) AS done FROM procrastinate_jobs WHERE status = 'succeeded'"
            )
            if row["done"] == jobs:
                break
            await asyncio.sleep(0.2)
        seconds = time.perf_counter() - began
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    return seconds


def dbos_seconds(url: str, jobs: int) -> float:
    """How long DBOS takes for so many workflows, each enqueued by itself, until all have returned.

    Args:
        url: of an empty database.
        jobs: how many.
    """
    from dbos import DBOS

    DBOS(config={"name": "peer", "system_database_url": url, "run_admin_server": False, "log_level": "ERROR"})

    @DBOS.workflow()
    def nothing(order_id: str) -> None:
        pass

    DBOS.launch()
    try:
        queue = DBOS.register_queue("orders", worker_concurrency=_WORKERS, polling_interval_sec=0.01)
        began = time.perf_counter()
        with ThreadPoolExecutor(_CLIENTS) as clients:
            handles = list(clients.map(lambda number: queue.enqueue(nothing, f"o-{number}"), range(jobs)))
        for handle in handles:
            handle.get_result()
        return time.perf_counter() - began
    finally:
        DBOS.destroy()
