"""The API in gunicorn: one worker, whose threads wait for their answers."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SHOP_API = """
import atexit

from ordermill.engine import OrderEngine
from ordermill.http.application import wsgi_application

engine = OrderEngine("orders.db", handler=lambda order: None)
engine.start()
atexit.register(engine.stop)
application = wsgi_application(engine, max_waiting=16)
"""


@pytest.fixture
def gunicorn(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """It, and its address."""
    (tmp_path / "shop_api.py").write_text(SHOP_API)
    command = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--threads", "8", "shop_api:application"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = None
        while address is None:
            line = process.stderr.readline()
            assert line, "gunicorn has not started"
            address = re.search(r"Listening at: http://(127\.0\.0\.1):(\d+) ", line)
        yield process, address[1], int(address[2])
        process.terminate()


def ask(host: str, port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Send a request and read the answer."""
    with closing(http.client.HTTPConnection(host, port, timeout=40)) as connection:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {} if body is None else {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_orders_are_taken_and_completed_in_gunicorn_and_it_stops_the_engine(
    gunicorn: tuple[subprocess.Popen[str], str, int], order: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    process, host, port = gunicorn

    def submit(number: int) -> int:
        status, _ = ask(host, port, "POST", "/orders", order(f"o-{number}"))
        return status

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(submit, range(200))) == [201] * 200
    assert ask(host, port, "GET", "/orders/o-199?wait=30")[1]["status"] == "Completed"
    assert ask(host, port, "POST", "/orders", {"order_id": "o-1"})[0] == 422
    process.terminate()

    assert process.wait(timeout=60) == 0
    verify = [sys.executable, "-m", "ordermill.http", "verify", "--db", str(tmp_path / "orders.db")]
    assert "200 orders: everything agrees." in subprocess.run(verify, capture_output=True, text=True, check=True).stdout
