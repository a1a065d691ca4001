"""`ordermill serve` as users start it."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import OrderEngine
from ordermill.engine.testing import make_order

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Server, Tables

    MakeOrder = Callable[..., dict[str, Any]]


def refused(server: Server) -> str:
    """What a server that does not start says: one line, and nothing about the inside."""
    assert server.wait() == 1
    assert server.process.stdout is not None
    assert server.process.stdout.read() == ""
    assert server.errors.startswith("ordermill: ")
    assert server.errors.count("\n") == 1
    return server.errors.removeprefix("ordermill: ").rstrip("\n")


@pytest.mark.slow
def test_the_ready_line_names_address_database_and_recovered_orders(
    start_server: Callable[..., Server], database: Path
) -> None:
    server = start_server()

    url = f"http://127.0.0.1:{server.port}"
    assert server.ready_line.startswith(f"Ordermill serves {url} with database {database}, 0 orders recovered.")
    assert server.get("/readyz")["status"] == "ok"
    server.stop()
    assert server.errors == ""


@pytest.mark.slow
@pytest.mark.parametrize("facades", ["1", "2"])
def test_a_server_without_a_handler_says_everywhere_that_work_is_simulated(
    start_server: Callable[..., Server], facades: str
) -> None:
    server = start_server("--http-processes", facades)

    assert server.ready_line.endswith(" Work is simulated: give a --handler.\n")
    (warning,) = server.get("/readyz")["warnings"]
    assert warning.startswith("work is simulated, since no handler is given: ")
    assert server.get("/metrics")["simulated"] is True
    server.stop()


@pytest.mark.slow
def test_orders_in_hand_of_an_engine_that_died_are_recovered_and_counted(
    start_server: Callable[..., Server], database: Path, tables: Callable[[], Tables]
) -> None:
    with OrderEngine(database, handler=lambda _: None) as engine:
        engine.submit(make_order()).wait(timeout=60)
    with closing(sqlite3.connect(database)) as connection, connection:  # as it was before the handler returned
        connection.executescript(
            """
            UPDATE orders SET status = 'Processing', updated_at = (SELECT at FROM transitions WHERE id = 2);
            DELETE FROM transitions WHERE id = 3;
            UPDATE totals SET value = name = 'Processing';
            """
        )

    server = start_server()

    assert server.recovered == 1
    assert server.get("/orders/o-1?wait=30")["status"] == "Completed"
    server.stop()
    assert tables().audit.faults == []


@pytest.mark.slow
def test_settings_come_from_the_environment(
    start_server: Callable[..., Server], tmp_path: Path, order: MakeOrder
) -> None:
    server = start_server(
        ORDERMILL_DB="sqlite:///elsewhere.db",
        ORDERMILL_PORT="0",
        ORDERMILL_PROCESSORS="3",
        ORDERMILL_MAX_BACKLOG="7",
        ORDERMILL_LOG_LEVEL="info",
    )

    assert f"with database {tmp_path / 'elsewhere.db'}," in server.ready_line
    assert (tmp_path / "elsewhere.db").exists()
    assert server.get("/metrics")["processors"] == 3
    status, problem = server.request("POST", "/orders/bulk", [order(f"o-{number}") for number in range(8)])
    assert (status, problem["type"]) == (413, "urn:ordermill:problem:submission-too-large")
    server.stop()
    assert re.search(
        r"INFO ordermill.http.access: POST /orders/bulk 413 \d+\.\d ms \[request_id=\S+\]\n", server.errors
    )


@pytest.mark.slow
def test_a_handler_comes_from_the_working_directory(
    start_server: Callable[..., Server], tmp_path: Path, order: MakeOrder
) -> None:
    (tmp_path / "shop.py").write_text(
        "from ordermill.engine import Order, Reject\n"
        "def charge(order: Order) -> None:\n"
        "    if not order.total_amount:\n"
        "        raise Reject('nothing to pay')\n"
    )
    server = start_server("--handler", "shop:charge")
    assert "simulated" not in server.ready_line
    assert server.get("/readyz") == {"status": "ok", "reasons": []}
    assert server.get("/metrics")["simulated"] is False

    server.request("POST", "/orders", order("o-1"))
    server.request("POST", "/orders", order("o-2", total_amount=0))

    assert server.get("/orders/o-1?wait=30")["status"] == "Completed"
    assert server.get("/orders/o-2?wait=30")["status"] == "Failed"
    assert server.get("/orders/o-2/history")["transitions"][-1]["reason"] == "rejected: nothing to pay"


@pytest.mark.parametrize(
    ("handler", "line"),
    [
        ("shop", "A handler is named module:function; 'shop' is not."),
        ("shop:charge", "Cannot import the handler's module 'shop': No module named 'shop'."),
        ("os:no_such_function", "The module 'os' has no function 'no_such_function'."),
    ],
)
def test_a_handler_that_is_not_there_is_one_clear_line(
    start_server: Callable[..., Server], database: Path, handler: str, line: str
) -> None:
    assert refused(start_server("--handler", handler, is_ready=False)) == line
    assert not database.exists()


def test_a_port_that_is_in_use_is_one_clear_line(
    start_server: Callable[..., Server], tables: Callable[[], Tables]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        line = refused(start_server("--port", str(port), is_ready=False))

    assert line.startswith(f"Cannot listen on http://127.0.0.1:{port}: ")
    assert line.endswith(" Choose another --host or --port.")
    assert tables().audit.faults == []


@pytest.mark.slow
def test_a_second_server_on_the_same_database_is_one_clear_line(
    start_server: Callable[..., Server], database: Path
) -> None:
    first = start_server()

    line = refused(start_server(is_ready=False))

    assert line.startswith(f"An engine is running over {database} already (process {first.process.pid} ")
    assert first.get("/readyz")["status"] == "ok"


@pytest.mark.slow
def test_the_lock_of_a_server_that_was_killed_is_free(start_server: Callable[..., Server]) -> None:
    start_server().kill()

    assert start_server().get("/readyz")["status"] == "ok"


@pytest.mark.slow
def test_the_installed_command_is_the_module(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("ordermill")
    environment = os.environ | {"COLUMNS": "200"}

    by_script, by_module = (
        subprocess.run(
            [*command, "init-db", "--db", "orders.db"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        for command in ([str(script)], [sys.executable, "-m", "ordermill.http"])
    )

    assert by_script.stdout == by_module.stdout == f"{tmp_path / 'orders.db'} is ready.\n"
