"""`ordermill serve` with handlers on a Dask cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import distributed
import pytest

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Server

HANDLER = """
import os
from ordermill.engine import Reject

def handle(order):
    raise Reject(f"by process {os.getpid()}")
"""


@pytest.fixture(scope="module", autouse=True)
def _last_as_long_as_the_program() -> None:
    """Start the thread that Dask never ends."""

    async def offload() -> None:
        await distributed.utils.offload(int)

    asyncio.run(offload())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Couldn't detect a suitable IP address:RuntimeWarning")
def test_the_address_of_a_scheduler_has_its_workers_run_the_handler(
    start_server: Callable[..., Server],
    order: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "elsewhere.py").write_text(HANDLER)
    monkeypatch.syspath_prepend(str(tmp_path))  # of the worker as well
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, protocol="tcp://", dashboard_address=":0", silence_logs=50
    ) as cluster:
        address = str(cluster.scheduler_address).replace("tcp://", "dask://")
        server = start_server("--handler", "elsewhere:handle", "--executor", address)
        assert server.request("POST", "/orders", order("o-1"))[0] == 201
        answer = server.get("/orders/o-1?wait=30")
        server.stop()
        (worker,) = cluster.workers.values()

        assert answer["status"] == "Failed"
        assert answer["last_error"] == f"rejected: by process {worker.pid}"


@pytest.mark.slow
def test_a_scheduler_that_cannot_be_reached_is_named(start_server: Callable[..., Server]) -> None:
    server = start_server("--executor", "dask://127.0.0.1:9", is_ready=False)

    assert server.wait() == 1
    assert "the Dask scheduler at dask://127.0.0.1:9 cannot be reached" in server.errors
