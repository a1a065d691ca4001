"""Webhooks over HTTP: made, shown, changed and deleted, and what was sent to them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.http.conftest import Client

Sql = Callable[[str], list[Any]]
URL = "https://shop.example/hooks"


def made(client: Client, **fields: object) -> dict[str, Any]:
    """A new webhook, with its secret."""
    reply = client.post("/webhooks", {"url": URL} | fields)
    assert reply.status == 201
    assert reply.headers["Location"] == f"/webhooks/{reply.json['webhook_id']}"
    webhook: dict[str, Any] = reply.json
    return webhook


def patch(client: Client, webhook: dict[str, Any], **fields: object) -> Any:
    """The webhook, with these fields changed."""
    return client.send_json("PATCH", f"/webhooks/{webhook['webhook_id']}", fields, {})


def test_the_secret_of_a_webhook_is_told_once(client: Client) -> None:
    webhook = made(client, events=["order.failed"], description="the shop")

    secret = webhook.pop("secret")

    assert secret.startswith("whsec_")
    assert webhook["events"] == ["order.failed"]
    assert client.get(f"/webhooks/{webhook['webhook_id']}").json == webhook
    assert client.get("/webhooks").json == {"webhooks": [webhook]}


def test_a_webhook_is_changed_and_what_is_left_out_stays(client: Client) -> None:
    webhook = made(client, description="the shop")

    disabled = patch(client, webhook, enabled=False).json
    changed = patch(client, webhook, url="https://other.example", events=["order.completed"], enabled=True).json

    assert disabled["disabled_reason"] == "disabled by an operator"
    assert disabled["disabled_at"] is not None
    assert (changed["url"], changed["events"]) == ("https://other.example", ["order.completed"])
    assert (changed["description"], changed["disabled_at"], changed["disabled_reason"]) == ("the shop", None, None)


def test_a_rotated_secret_is_another_one(client: Client) -> None:
    webhook = made(client)

    rotated = client.post(f"/webhooks/{webhook['webhook_id']}/rotate").json

    assert rotated.pop("secret") != webhook.pop("secret")
    assert rotated == webhook


def test_what_is_sent_is_listed_a_page_at_a_time_and_sent_again(client: Client, sql: Sql) -> None:
    webhook = made(client)
    patch(client, webhook, enabled=False)  # so that none goes on its way meanwhile
    path = f"/webhooks/{webhook['webhook_id']}"
    assert client.get(f"{path}/deliveries").json == {"deliveries": [], "next_cursor": None}

    for _ in range(3):
        assert client.post(f"{path}/test").json == {"deliveries": 1}
    newest = client.get(f"{path}/deliveries?limit=2").json
    oldest = client.get(f"{path}/deliveries?limit=2&cursor={newest['next_cursor']}").json

    numbers = [delivery["delivery_id"] for page in (newest, oldest) for delivery in page["deliveries"]]
    assert numbers == [3, 2, 1]
    assert oldest["next_cursor"] is None
    assert {(one["type"], one["order_id"], one["state"]) for one in newest["deliveries"]} == {
        ("webhook.test", None, "waiting")
    }
    sql(f"UPDATE deliveries SET ended_at = {time.time_ns() // 1000}, due_at = NULL WHERE id = 2")
    assert client.post(f"{path}/replay", {"delivery_id": 2}).json == {"deliveries": 1}
    assert client.post(f"{path}/replay", {"since": "2099-01-01T00:00:00Z"}).json == {"deliveries": 0}
    assert [one["delivery_id"] for one in client.get(f"{path}/deliveries?state=failed").json["deliveries"]] == [2]


def test_a_deleted_webhook_is_not_there(client: Client) -> None:
    path = f"/webhooks/{made(client)['webhook_id']}"

    assert client.send("DELETE", path).status == 200

    assert client.get("/webhooks").json == {"webhooks": []}
    for method, rest in (("GET", ""), ("DELETE", ""), ("POST", "/rotate"), ("POST", "/test"), ("GET", "/deliveries")):
        reply = client.send(method, f"{path}{rest}")
        assert (reply.status, reply.json["type"]) == (404, "urn:ordermill:problem:webhook-not-found"), method


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/url"),
        ({"url": "ftp://shop.example"}, "/url"),
        ({"url": URL, "events": []}, "/events"),
        ({"url": URL, "events": ["order.lost"]}, "/events"),
        ({"url": URL, "secret": "mine"}, "/secret"),
    ],
    ids=str,
)
def test_what_is_no_webhook_is_refused(client: Client, body: object, pointer: str) -> None:
    reply = client.post("/webhooks", body)

    assert reply.status == 422
    assert [error["pointer"] for error in reply.json["errors"]] == [pointer]
    assert client.get("/webhooks").json == {"webhooks": []}


def test_there_are_a_hundred_webhooks_at_the_most(client: Client) -> None:
    for _ in range(100):
        made(client)

    reply = client.post("/webhooks", {"url": URL})

    assert reply.status == 422
    assert "there are 100 already" in reply.json["errors"][0]["detail"]
