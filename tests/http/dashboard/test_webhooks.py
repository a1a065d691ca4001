"""Webhooks by the pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


def add(page: Any, url: str) -> str:
    page.get_by_label("URL").fill(url)
    page.get_by_label("Description").fill("the warehouse")
    page.get_by_label("order.accepted").uncheck()
    page.get_by_role("button", name="Add webhook").click()
    secret: str = page.locator("code").inner_text()
    page.get_by_role("link", name="Go on").click()
    return secret


def test_a_webhook_is_added_and_its_secret_is_shown_once(client: Any, window: Callable[..., Any]) -> None:
    look = window(client)
    page = look.open("/webhooks/")
    expect(page.get_by_text("Nobody is told of anything yet.")).to_be_visible()
    assert add(page, "https://shop.example/hooks").startswith("whsec_")
    assert "whsec_" not in page.content()
    look.open("/webhooks/")
    row = page.get_by_role("row").filter(has_text="the warehouse")
    expect(row).to_contain_text("completed")
    assert "accepted" not in row.inner_text()
    (webhook,) = client.engine.webhooks()
    assert "order.accepted" not in webhook.events
    assert look.troubles_of_reach() == []


def test_a_test_event_and_its_delivery_are_shown(client: Any, window: Callable[..., Any]) -> None:
    look = window(client)
    page = look.open("/webhooks/")
    add(page, "http://127.0.0.1:9/hooks")
    page.get_by_role("button", name="Send a test event").click()
    expect(page.get_by_role("status")).to_contain_text("on its way")
    expect(page.get_by_role("row").filter(has_text="webhook.test")).to_be_visible()
    assert look.troubles_of_reach() == []


def test_a_webhook_is_disabled_enabled_and_deleted(client: Any, window: Callable[..., Any]) -> None:
    page = window(client).open("/webhooks/")
    add(page, "https://shop.example/hooks")
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_text("Disabled", exact=True)).to_be_visible()
    page.get_by_role("button", name="Enable").click()
    expect(page.get_by_text("Enabled", exact=True)).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Nobody is told of anything yet.")).to_be_visible()
    assert client.engine.webhooks() == []


def test_a_url_that_is_none_is_told(client: Any) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = client.send("POST", "/dashboard/webhooks/create", b"url=ftp://x&order.failed=on", form)
    assert reply.status == 422
    assert b"must be the URL" in reply.body


def test_an_order_shows_where_its_events_were_sent_and_what_came_of_it(
    client: Any, order: Callable[..., dict[str, Any]], window: Callable[..., Any]
) -> None:
    look = window(client)
    add(look.open("/webhooks/"), "http://127.0.0.1:9/hooks")
    client.post("/orders", order())
    client.get("/orders/o-1?wait=30")
    page = look.open("/orders/o-1")
    row = page.get_by_role("row").filter(has_text="order.completed")
    expect(row.get_by_role("link")).to_have_text("http://127.0.0.1:9/hooks")
    expect(row).to_contain_text("not public")
    assert look.troubles_of_reach() == []
    row.get_by_role("link").click()
    expect(page.get_by_role("heading", name="Deliveries")).to_be_visible()


def test_an_order_of_which_nobody_is_told_shows_no_deliveries(
    client: Any, order: Callable[..., dict[str, Any]]
) -> None:
    client.post("/orders", order())
    assert b"<h2>Webhooks" not in client.get("/dashboard/orders/o-1").body
