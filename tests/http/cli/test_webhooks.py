"""Webhooks of a running server from the command line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.http.conftest import Client

Run = Callable[..., Any]
RECEIVER = "https://shop.example/hooks"


def test_a_webhook_is_made_shown_changed_and_deleted(client: Client, run: Run) -> None:
    url = ("--url", client.server.url)

    webhook_id, secret = run(
        "webhooks", "create", RECEIVER, "--event", "order.failed", "--description", "the shop", *url
    ).out.split()
    listed = run("webhooks", "list", *url).out
    disabled = run("webhooks", "update", webhook_id, "--disable", *url)
    enabled = run("webhooks", "update", webhook_id, "--enable", "--event", "order.completed", *url)
    rotated = run("webhooks", "rotate", webhook_id, *url).out.split()

    assert secret.startswith("whsec_")
    assert all(word in listed for word in (webhook_id, RECEIVER, "failed", "the shop"))
    assert secret not in listed
    assert disabled.out == f"{webhook_id} is sent nothing: disabled by an operator.\n"
    assert enabled.out == f"{webhook_id} is sent events.\n"
    assert client.engine.webhook(webhook_id).events == ("order.completed",)
    assert rotated[0] == webhook_id
    assert rotated[1] != secret
    assert run("webhooks", "delete", webhook_id, *url).out == f"{webhook_id} is deleted.\n"
    assert client.engine.webhooks() == []


def test_what_is_sent_is_shown_and_sent_again(client: Client, run: Run, sql: Callable[[str], list[Any]]) -> None:
    url = ("--url", client.server.url)
    webhook_id = client.engine.create_webhook(RECEIVER).webhook.webhook_id

    assert run("webhooks", "test", webhook_id, *url).out == "1 events are being sent.\n"
    assert "webhook.test" in run("webhooks", "deliveries", webhook_id, *url).out
    # Just now: what was over a week ago goes as soon as anything is sent.
    sql(f"UPDATE deliveries SET ended_at = {time.time_ns() // 1000}, due_at = NULL")
    assert run("webhooks", "replay", webhook_id, "--failed", *url).out == "1 events are being sent.\n"
    found = json.loads(run("webhooks", "deliveries", webhook_id, "--state", "waiting", "--json", *url).out)
    assert [delivery["state"] for delivery in found["deliveries"]] == ["waiting"]
    assert run("webhooks", "replay", webhook_id, "--since", "2099-01-01T00:00:00Z", *url).out.startswith("0 events")


def test_what_is_wrong_is_told(client: Client, run: Run) -> None:
    url = ("--url", client.server.url)

    assert "must be the URL of a receiver" in run("webhooks", "create", "shop.example", *url).refusal
    assert (
        "must be a list of some of order.accepted"
        in run("webhooks", "create", RECEIVER, "--event", "order.lost", *url).refusal
    )
    assert run("webhooks", "delete", "wh_0", *url).refusal == "There is no webhook 'wh_0'."
