"""The very same order from many clients at once is one order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Server, Tables

    MakeOrder = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.slow
CLIENTS = 100
COUNTING = """
def count(order):
    with open("handled.txt", "a") as handled:
        handled.write(f"{order.order_id}\\n")
"""


def test_the_same_order_from_a_hundred_clients_at_once_is_stored_and_handled_once(
    start_server: Callable[..., Server], tables: Callable[[], Tables], order: MakeOrder, tmp_path: Path
) -> None:
    (tmp_path / "counting.py").write_text(COUNTING)
    server = start_server("--handler", "counting:count")

    answers = server.exchange_at_once([("POST", "/orders", order("o-1"))] * CLIENTS)

    assert Counter(status for status, _ in answers) == {201: 1, 200: CLIENTS - 1}
    assert {answer["created_at"] for _, answer in answers} == {answers[0][1]["created_at"]}
    stored = server.get("/orders/o-1?wait=30")
    assert (stored["status"], stored["attempts"]) == ("Completed", 1)

    others = server.exchange_at_once([("POST", "/orders", order("o-1", total_amount="0.01"))] * CLIENTS)

    assert Counter((status, answer["type"]) for status, answer in others) == {
        (409, "urn:ordermill:problem:order-conflict"): CLIENTS
    }
    assert server.get("/orders/o-1") == stored
    server.stop()
    assert (tmp_path / "handled.txt").read_text() == "o-1\n"
    found = tables()
    assert found.statuses == {"o-1": "Completed"}
    assert found.audit.faults == []


def test_different_orders_under_one_id_at_once_are_one_order_and_conflicts(
    start_server: Callable[..., Server], tables: Callable[[], Tables], order: MakeOrder
) -> None:
    server = start_server("--simulate-seconds", "0")

    answers = server.exchange_at_once(
        [("POST", "/orders", order("o-1", total_amount=f"{number}.00")) for number in range(CLIENTS)]
    )

    assert Counter(status for status, _ in answers) == {201: 1, 409: CLIENTS - 1}
    (accepted,) = [answer for status, answer in answers if status == 201]
    assert server.get("/orders/o-1?wait=30")["total_amount"] == accepted["total_amount"]
    server.stop()
    assert tables().audit.faults == []
