"""The pages, as an operator uses them in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from ordermill.engine import Order, Reject

pytestmark = pytest.mark.slow


def refuse(_: Order) -> None:
    raise Reject("the card was declined")


def test_counts_move_without_loading_the_page_anew(
    held: Any, gate: Any, order: Callable[..., dict[str, Any]], window: Callable[..., Any]
) -> None:
    page = window(held).open()
    completed = page.get_by_role("link", name="Completed")
    expect(completed).to_contain_text("0")
    page.evaluate("window.stayed = true")
    held.post("/orders", order())
    expect(page.get_by_role("link", name="Processing")).to_contain_text("1")
    gate.release()
    expect(completed).to_contain_text("1")
    assert page.evaluate("window.stayed")


def test_an_order_shows_its_history_and_takes_the_steps_that_its_status_allows(
    start_server: Callable[..., Any], order: Callable[..., dict[str, Any]], window: Callable[..., Any]
) -> None:
    client = start_server(refuse)
    client.post("/orders", order())
    client.get("/orders/o-1?wait=30")
    page = window(client).open("/orders/o-1")
    expect(page.get_by_role("listitem").first).to_contain_text("the card was declined")
    assert not page.get_by_role("button", name="Cancel order").is_visible()
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("status")).to_contain_text("processed again")
    client.get("/orders/o-1?wait=30")
    assert client.get("/orders/o-1").json["attempts"] == 2


def test_an_order_in_review_is_settled(reviewed: Any, window: Callable[..., Any]) -> None:
    page = window(reviewed).open()
    page.get_by_role("link", name="o-1").click()
    page.get_by_role("button", name="It was done").click()
    expect(page.get_by_role("status")).to_contain_text("settled")
    assert reviewed.get("/orders/o-1").json["status"] == "Completed"


def test_pages_of_orders_follow_each_other_while_orders_come(
    client: Any, order: Callable[..., dict[str, Any]], window: Callable[..., Any]
) -> None:
    client.post("/orders/bulk", [order(f"o-{number}") for number in range(120)])
    page = window(client).open("/orders/")
    seen = page.locator("tbody a").all_inner_texts()
    client.post("/orders/bulk", [order(f"later-{number}") for number in range(30)])
    while (older := page.get_by_role("link", name="Older")).is_visible():
        older.click()
        seen += page.locator("tbody a").all_inner_texts()
    assert seen == [f"o-{number}" for number in reversed(range(120))]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_all_people_can_use_the_pages_on_any_screen(
    start_server: Callable[..., Any],
    order: Callable[..., dict[str, Any]],
    window: Callable[..., Any],
    width: int,
    scheme: str,
) -> None:
    client = start_server(refuse)
    client.post("/orders", order())
    client.get("/orders/o-1?wait=30")
    look = window(client, viewport={"width": width, "height": 900}, color_scheme=scheme)
    for path in ("/", "/orders/", "/orders/?status=Review", "/orders/o-1"):
        page = look.open(path)
        assert look.troubles_of_reach() == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_what_is_not_there_is_told_on_a_page(client: Any) -> None:
    for path in ("/dashboard/orders/o-404", "/dashboard/nothing", "/dashboard/static/../pages.py"):
        reply = client.get(path)
        assert reply.status == 404
        assert reply.headers.get_content_type() == "text/html"
