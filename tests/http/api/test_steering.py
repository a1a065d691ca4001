"""Pausing, resuming and resizing over HTTP, and who did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import OrderStatus
from ordermill.http.security.api_keys import Role, create_key

if TYPE_CHECKING:
    from tests.http.conftest import Client

JSON = {"Content-Type": "application/json"}
MakeOrder = Callable[..., dict[str, Any]]


def test_a_pause_takes_orders_and_starts_none_until_it_is_over(client: Client, order: MakeOrder) -> None:
    paused = client.post("/control/pause", {"reason": "the provider is down"})
    client.post("/orders", order("o-1"))

    assert paused.status == 200
    assert paused.json == {
        "paused": True,
        "paused_until": None,
        "reason": "the provider is down",
        "error": None,
        "processors": 8,
    }
    assert client.get("/control").json == paused.json
    assert client.get("/metrics").json["paused"] is True
    assert b"ordermill_paused 1.0" in client.get("/metrics", Accept="text/plain").body
    ready = client.get("/readyz")
    assert client.get("/orders/o-1").json["status"] == "Pending"

    assert client.post("/control/resume", {}).json["paused"] is False
    assert client.get("/orders/o-1?wait=20").json["status"] == "Completed"
    assert (ready.status, client.get("/control").json["reason"]) == (200, None)


def test_a_pause_is_a_warning_where_readiness_is_asked_for(start_server: Callable[..., Client]) -> None:
    client = start_server()
    client.post("/control/pause", {"reason": "night"})

    assert client.engine.warnings() == (
        "paused until somebody resumes, so orders are taken and none is started: night",
    )


def test_a_pause_needs_no_body(client: Client) -> None:
    assert client.send("POST", "/control/pause").json["paused"] is True
    assert client.send("POST", "/control/resume").json["paused"] is False


def test_a_pause_may_have_an_end(client: Client) -> None:
    until = client.post("/control/pause", {"seconds": 600.5}).json["paused_until"]

    assert until.endswith("Z")
    assert client.get("/control").json["paused_until"] == until


def test_processors_are_set_and_set_back(client: Client) -> None:
    assert client.send_json("PUT", "/control/processors", {"processors": 2}, {}).json["processors"] == 2
    assert client.get("/metrics").json["processors"] == 2
    assert client.send_json("PUT", "/control/processors", {"processors": None}, {}).json["processors"] == 8


@pytest.mark.parametrize(
    ("method", "path", "body", "pointer", "detail"),
    [
        ("POST", "/control/pause", {"seconds": 0}, "/seconds", "must be a number of seconds above 0 to 1000000000"),
        ("POST", "/control/pause", {"seconds": "9"}, "/seconds", "must be a number of seconds above 0 to 1000000000"),
        ("POST", "/control/pause", {"seconds": None}, "/seconds", "must be a number of seconds above 0 to 1000000000"),
        ("POST", "/control/pause", {"reason": ""}, "/reason", "must be a string of 1 to 500 characters"),
        ("POST", "/control/pause", {"reason": "a\n"}, "/reason", "must be a string of 1 to 500 characters"),
        ("POST", "/control/pause", {"until": 5}, "/until", "unknown field"),
        ("POST", "/control/resume", {"seconds": 5}, "/seconds", "unknown field"),
        ("PUT", "/control/processors", {}, "/processors", "missing"),
        ("PUT", "/control/processors", {"processors": 0}, "/processors", "must be a whole number from 1 to 1000"),
        ("PUT", "/control/processors", {"processors": 1.5}, "/processors", "must be a whole number from 1 to 1000"),
        ("PUT", "/control/processors", {"processors": True}, "/processors", "must be a whole number from 1 to 1000"),
        ("PUT", "/control/processors", [], "", "must be a JSON object"),
    ],
)
def test_what_makes_no_sense_is_refused(
    client: Client, method: str, path: str, body: object, pointer: str, detail: str
) -> None:
    reply = client.send_json(method, path, body, {})

    assert (reply.status, reply.json["type"]) == (422, "urn:ordermill:problem:invalid-body")
    (error,) = reply.json["errors"]
    assert error["pointer"] == pointer
    assert error["detail"].startswith(detail)
    assert client.get("/audit").json == {"entries": [], "next_cursor": None}


def test_a_whole_number_may_be_written_with_a_point(client: Client) -> None:
    assert client.send("PUT", "/control/processors", b'{"processors": 16.0}', JSON).json["processors"] == 16
    assert client.send("PUT", "/control/processors", b'{"processors": 1e999999999}', JSON).status == 422


def test_a_field_that_is_given_twice_is_refused(client: Client) -> None:
    body = b'{"seconds": 5, "seconds": 6}'

    reply = client.send("POST", "/control/pause", body, {"Content-Type": "application/json"})

    assert reply.json["errors"] == [{"pointer": "/seconds", "detail": "is given more than once"}]


def test_the_audit_log_names_who_did_what_and_why(
    start_server: Callable[..., Client], order: MakeOrder, tmp_path: Path
) -> None:
    key = create_key(tmp_path / "keys", [Role.OPERATE], name="ann")
    client = start_server(keys_file=str(tmp_path / "keys"))
    headers = {"Authorization": f"Bearer {key}", "X-Request-ID": "r-1"}
    client.send_json("POST", "/control/pause", {"seconds": 60, "reason": "an outage"}, headers)
    client.send_json("POST", "/orders", order("o-1"), headers)
    client.send_json("POST", "/orders/o-1/cancel", {"reason": "ordered twice"}, headers)

    page = client.send("GET", "/audit?limit=1", headers=headers).json
    (cancelled,) = page["entries"]
    (paused,) = client.send("GET", f"/audit?cursor={page['next_cursor']}", headers=headers).json["entries"]

    assert cancelled | {"at": None} == {
        "id": 2,
        "at": None,
        "action": "cancel",
        "target": "o-1",
        "reason": "ordered twice",
        "orders": 1,
        "by": "ann",
        "request_id": "r-1",
    }
    assert (paused["action"], paused["by"], paused["orders"]) == ("pause", "ann", None)
    assert paused["target"].startswith("until ")
    assert client.engine.status("o-1") is OrderStatus.CANCELLED
