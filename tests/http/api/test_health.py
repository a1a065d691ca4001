"""Whether the process lives, and whether it takes orders."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import OrderEngine, StoreUnavailable
from ordermill.engine.testing import START_US, ManualClock
from ordermill.store.ledger import Ledger

if TYPE_CHECKING:
    from tests.http.conftest import Client

    MakeOrder = Callable[..., dict[str, Any]]

OK = (200, {"status": "ok", "reasons": []})


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_running_engine_is_healthy_and_ready(client: Client, path: str) -> None:
    reply = client.get(path)

    assert (reply.status, reply.json) == OK
    assert reply.headers["Content-Type"] == "application/json"


def test_an_actor_that_has_died_is_neither_healthy_nor_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OrderEngine, "dead_actors", lambda _: ("the pool actor has died",))
    client.hear()

    for path in ("/healthz", "/readyz"):
        reply = client.get(path)
        assert (reply.status, reply.json) == (503, {"status": "unavailable", "reasons": ["the pool actor has died"]})


def test_a_database_that_takes_no_writes_is_not_ready_until_it_does(
    client: Client, order: MakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StoreUnavailable(OSError("database or disk is full"))

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record", fail)
        assert client.post("/orders", order()).status == 503
        client.hear()
        reply = client.get("/readyz")
    reason = "The database failed (database or disk is full): nothing was changed, try again."
    assert (reply.status, reply.json) == (503, {"status": "unavailable", "reasons": [reason]})
    assert client.get("/healthz").status == 200

    assert client.post("/orders", order()).status == 201
    client.hear()
    assert client.get("/readyz").status == 200


def test_an_engine_that_has_stopped_is_not_ready(client: Client) -> None:
    client.engine.stop()
    client.hear()

    reply = client.get("/readyz")

    assert (reply.status, reply.json["reasons"]) == (503, ["the engine is stopped"])


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_the_health_calls_take_no_parameters(client: Client, path: str) -> None:
    assert client.get(f"{path}?verbose=1").status == 422


def test_readiness_warns_where_work_is_only_simulated(start_server: Callable[..., Client]) -> None:
    client = start_server(None)

    reply = client.get("/readyz")

    assert (reply.status, reply.json["status"]) == (200, "ok")
    assert reply.json["warnings"][0].startswith("work is simulated, since no handler is given")
    assert client.get("/healthz").json == OK[1]


def test_readiness_warns_of_a_clock_that_is_behind(start_server: Callable[..., Client]) -> None:
    clock = ManualClock()
    client = start_server(clock=clock)
    assert "warnings" not in client.get("/readyz").json
    clock.set_wall(START_US - 3_600_000_000)
    client.hear()

    reply = client.get("/readyz")

    assert (reply.status, reply.json["status"]) == (200, "ok")
    assert reply.json["warnings"][0].startswith("the machine's clock is 3600 s behind")
