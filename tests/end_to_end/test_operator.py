"""An outage as an operator meets it: what failed is found and retried, and nothing else, kills or not."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Server, Tables

    MakeOrder = Callable[..., dict[str, Any]]

ORDERS = 4_000
SHOP = """
from pathlib import Path

class ProviderDown(Exception):
    pass

def charge(order):
    if order.user_id == "u-0" and Path("down").exists():
        raise ProviderDown(f"no answer for {order.order_id} within 5 s")
"""


def statuses(server: Server) -> Counter[str]:
    """How many orders are in each status."""
    return Counter(server.get("/metrics")["orders_by_status"])


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what the server says."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["1", "2"])
def test_an_outage_is_mended_although_the_server_is_killed_in_the_middle(
    start_server: Callable[..., Server],
    tables: Callable[[], Tables],
    order: MakeOrder,
    database: Path,
    tmp_path: Path,
    processes: str,
) -> None:
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    (tmp_path / "down").touch()
    options = ("--handler", "shop:charge", "--max-attempts", "1", "--http-processes", processes)
    server = start_server(*options)
    sent = [order(f"o-{number}", user_id=f"u-{number % 4}") for number in range(ORDERS)]
    assert server.request("POST", "/orders/bulk", sent)[1]["accepted"] == ORDERS
    wait_until(lambda: statuses(server)["Completed"] + statuses(server)["Failed"] == ORDERS)

    (group,) = server.get("/failures")["groups"]
    assert (group["error"], group["count"]) == ("ProviderDown: no answer for {order_id} within # s", ORDERS // 4)
    assert server.request("POST", "/control/pause", {"reason": "the provider is down"})[0] == 200
    (tmp_path / "down").unlink()
    wish = {"action": "retry", "where": {"error": group["error"]}, "reason": "it is back"}
    assert server.request("POST", "/orders/actions", wish | {"dry_run": True})[1]["matched"] == ORDERS // 4
    status, started = server.request("POST", "/orders/actions", wish)
    assert (status, started["matched"]) == (202, ORDERS // 4)
    server.kill()

    server = start_server(*options)
    assert server.get("/control")["reason"] == "the provider is down"
    path = f"/orders/actions/{started['action_id']}"
    wait_until(lambda: server.get(path)["state"] == "done")
    action = server.get(path)
    assert (action["moved"], action["refused"]) == (ORDERS // 4, 0)
    assert statuses(server)["Pending"] == ORDERS // 4
    assert server.request("POST", "/control/resume")[0] == 200
    wait_until(lambda: statuses(server)["Completed"] == ORDERS)
    server.stop()

    assert tables().audit.faults == []
    with closing(sqlite3.connect(database)) as connection:
        retried = connection.execute("SELECT count(*) FROM transitions WHERE reason = 'it is back'").fetchone()
    assert retried == (ORDERS // 4,)
