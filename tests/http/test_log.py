"""The log of a server at its most talkative: nothing of an order is in it, no key, and no line of a client's."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import Order
from ordermill.http.cli.logs import LogFormat, formatter
from ordermill.http.security.api_keys import Role, create_key

if TYPE_CHECKING:
    from tests.http.conftest import Client

MakeOrder = Callable[..., dict[str, Any]]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What `ordermill serve --log-level debug` writes."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatter(LogFormat.TEXT))
    root, ours = logging.getLogger(), logging.getLogger("ordermill")
    before = root.level, ours.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)  # of other packages nothing for debugging is written
    ours.setLevel(logging.DEBUG)
    yield written
    root.removeHandler(handler)
    root.setLevel(before[0])
    ours.setLevel(before[1])


def fail(order: Order) -> None:
    """A handler whose errors tell nothing of the order."""
    if order.order_id == "o-1":
        raise ValueError("no")


def test_it_holds_no_key_and_nothing_of_an_order(
    start_server: Callable[..., Client], order: MakeOrder, log: io.StringIO, tmp_path: Path
) -> None:
    key = create_key(tmp_path / "keys", [Role.OPERATE])
    client = start_server(
        fail, keys_file=str(tmp_path / "keys"), max_attempts=1, user_rate=0.001, user_burst=3, user_backlog=2
    )
    secret = {"user_id": "secret-user", "item_ids": ["secret-item"], "total_amount": "4711.42"}
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "secret-name"}
    for order_id in ("o-1", "o-2"):
        client.send_json("POST", "/orders", order(order_id, **secret), headers | {"Idempotency-Key": order_id})
    for sent in (order("o-3", **secret), order("o-3", **secret), order("o-4", **secret), {"user_id": "secret-user"}):
        client.send_json("POST", "/orders", sent, headers)
    client.send_json("POST", "/orders/bulk", [order("o-5", **secret), order("o-1", user_id="secret-user")], headers)
    client.send_json("POST", "/orders", order("o-1", user_id="secret-user"), headers)
    client.send("GET", "/orders?user_id=secret-user&limit=x", headers=headers)
    client.send("GET", "/orders?user_id=secret-user", headers=headers)
    client.send("GET", "/orders/o-1?wait=30", headers=headers)
    client.send("GET", "/orders", headers={"Authorization": f"Bearer {key}0"})
    client.engine.stop()

    text = log.getvalue()

    assert "POST /orders 201" in text
    assert "order o-1 is Failed" in text
    for told in ("secret", "4711", "471142", key, key.rpartition("_")[2]):
        assert told not in text


@pytest.mark.parametrize("ending", ["%0A", "%0D%0A", "%C2%85", "%E2%80%A8", "%1B%5B1E", "%0B"])
@pytest.mark.parametrize("path", ["/orders/{}", "/orders/{}/status", "/orders/{}/cancel", "/{}", "/docs/{}", "/docs{}"])
def test_no_path_writes_a_line_of_its_own(client: Client, log: io.StringIO, path: str, ending: str) -> None:
    forged = f"a{ending}2026-11-27%2000:00:00,000%20ERROR%20forged"

    client.get(path.format(forged))
    client.send("POST", path.format(forged))

    lines = log.getvalue().split("\n")
    assert all(line.isprintable() for line in lines)
    assert not [line for line in lines if line.startswith("2026-11-27 00:00:00,000")]
    assert "forged" in log.getvalue()


@pytest.mark.parametrize("name", ["X-Request-ID", "Idempotency-Key", "Authorization", "User-Agent", "Host"])
def test_no_header_writes_a_line_of_its_own(client: Client, log: io.StringIO, name: str) -> None:
    client.talk(b"POST /orders/o-1/cancel HTTP/1.1\r\n%b: \x85\x9b2K\xe2\x80\xae\r\n\r\n" % name.encode())

    assert all(line.isprintable() for line in log.getvalue().split("\n"))
