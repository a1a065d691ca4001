"""Doing something to many orders by the pages."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from ordermill.engine import Order, Reject
from ordermill.engine.rehearsal import rehearsals

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("short_rehearsals")]


class Provider:
    """A handler whose provider is down until the test mends it."""

    def __init__(self) -> None:
        self.is_up = threading.Event()

    def __call__(self, order: Order) -> None:
        if not self.is_up.is_set():
            raise Reject(f"provider answered 503 for {order.order_id}")


def test_an_operator_retries_a_group_of_failures(
    start_server: Callable[..., Any], order: Callable[..., dict[str, Any]], window: Callable[..., Any]
) -> None:
    provider = Provider()
    client = start_server(provider)
    client.post("/orders/bulk", [order(f"o-{number}") for number in range(30)])
    client.engine.drain(timeout=60)
    page = window(client).open("/failures/")
    page.get_by_role("link", name="Retry 30").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Retry 30 orders")
    assert client.engine.metrics().orders_by_status["Failed"] == 30
    provider.is_up.set()
    page.get_by_label("Why").fill("the provider is back")
    page.get_by_role("button", name="Retry 30 orders").click()
    expect(page.get_by_text("Done")).to_be_visible()
    expect(page.locator("dl")).to_contain_text("Moved30", use_inner_text=False)
    client.engine.drain(timeout=60)
    assert client.engine.metrics().orders_by_status["Completed"] == 30
    assert client.engine.history("o-7")[3].reason == "the provider is back"


def test_all_orders_of_a_filter_are_cancelled(
    client: Any, order: Callable[..., dict[str, Any]], window: Callable[..., Any]
) -> None:
    client.engine.pause()
    client.post("/orders/bulk", [order(f"a-{number}") for number in range(5)] + [order("b-1")])
    page = window(client).open("/orders/?order_id_prefix=a-")
    page.get_by_label("Do to all of these").select_option("Cancel")
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Cancel 5 orders").click()
    expect(page.get_by_text("Done")).to_be_visible()
    counts = client.engine.metrics().orders_by_status
    assert (counts["Cancelled"], counts["Pending"]) == (5, 1)


def test_a_preview_shows_what_becomes_of_the_backlog_with_it_and_without(
    client: Any, order: Callable[..., dict[str, Any]], window: Callable[..., Any]
) -> None:
    client.post("/orders/bulk", [order(f"done-{number}") for number in range(30)])
    client.engine.drain(timeout=60)
    client.engine.pause()
    client.post("/orders/bulk", [order(f"a-{number}") for number in range(5)] + [order("b-1")])

    page = window(client).open("/actions/new?choice=cancel&order_id_prefix=a-")

    unfinished = page.get_by_role("row", name="Unfinished orders")
    expect(unfinished.get_by_role("cell").nth(0)).to_have_text("1", timeout=60_000)
    expect(unfinished.get_by_role("cell").nth(1)).to_have_text("6")
    expect(page.get_by_role("row", name="Empty in")).to_contain_text("to")
    expect(page.locator(".chart canvas")).to_be_visible()
    assert client.engine.metrics().orders_by_status["Pending"] == 6


def test_a_preview_says_why_nothing_is_rehearsed(
    client: Any, order: Callable[..., dict[str, Any]], window: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsals, "MOST_AT_ONCE", 0)
    client.engine.pause()
    client.post("/orders", order("a-1"))

    page = window(client).open("/actions/new?choice=cancel")

    expect(page.get_by_text("0 rehearsals are under way")).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Cancel 1 orders").click()
    expect(page.get_by_text("Done")).to_be_visible()


def test_what_can_be_done_to_nothing_has_no_button(client: Any, window: Callable[..., Any]) -> None:
    page = window(client).open("/actions/new?choice=completed")
    expect(page.get_by_text("This can be done to no order of those.")).to_be_visible()
    assert page.get_by_role("main").get_by_role("button").count() == 0


@pytest.mark.parametrize("path", ["/actions/new?choice=burn", "/actions/new?choice=cancel&status=Failed"])
def test_an_action_that_cannot_be_meant_is_told(client: Any, path: str) -> None:
    assert client.get(f"/dashboard{path}").status == 422


@pytest.mark.parametrize("path", ["/actions/1", "/actions/x", "/actions/1/begin"])
def test_an_action_that_is_not_there_is_told(client: Any, path: str) -> None:
    assert client.get(f"/dashboard{path}").status == 404


def test_what_was_done_to_many_orders_is_listed_newest_first(
    client: Any, order: Callable[..., dict[str, Any]], window: Callable[..., Any]
) -> None:
    look = window(client)
    expect(look.open("/actions/").get_by_text("Nothing was done to many orders yet.")).to_be_visible()
    client.engine.pause()
    client.post("/orders/bulk", [order(f"o-{number}") for number in range(5)])
    client.post("/orders/actions", {"action": "cancel", "where": {"order_id_prefix": "o-1"}, "reason": "ordered twice"})
    client.post("/orders/actions", {"action": "cancel", "where": {}})
    page = look.open()
    page.get_by_role("link", name="Actions").click()
    rows = page.locator("tbody tr")
    expect(rows.first).to_contain_text("all orders")
    expect(rows.last).to_contain_text("order_id_prefix=o-1")
    expect(rows.last).to_contain_text("ordered twice")
    assert look.troubles_of_reach() == []
    rows.last.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Cancel 1 orders")
