"""The pages, as an operator uses them in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from ordermill.engine import Order, Reject

pytestmark = pytest.mark.slow

PAGES = [
    "/",
    "/orders/",
    "/orders/?status=Review",
    "/orders/o-1",
    "/failures/",
    "/controls/",
    "/audit/",
    "/actions/",
    "/actions/new",
    "/rehearsal/",
]


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


def test_pages_of_orders_follow_each_other_there_and_back_while_orders_come(
    client: Any, order: Callable[..., dict[str, Any]], window: Callable[..., Any]
) -> None:
    client.post("/orders/bulk", [order(f"o-{number}") for number in range(120)])
    page = window(client).open("/orders/")
    pages = [page.locator("tbody a").all_inner_texts()]
    client.post("/orders/bulk", [order(f"later-{number}") for number in range(30)])
    while (older := page.get_by_role("link", name="Older")).is_visible():
        older.click()
        pages.append(page.locator("tbody a").all_inner_texts())
    assert [order_id for shown in pages for order_id in shown] == [f"o-{number}" for number in reversed(range(120))]
    page.get_by_role("link", name="Newer").click()
    assert page.locator("tbody a").all_inner_texts() == pages[1]
    page.get_by_role("link", name="Newer").click()
    assert page.locator("tbody a").first.inner_text() == "later-29"


def test_orders_are_found_by_what_they_failed_with(
    start_server: Callable[..., Any], order: Callable[..., dict[str, Any]], window: Callable[..., Any]
) -> None:
    client = start_server(refuse)
    client.post("/orders/bulk", [order(f"o-{number}") for number in range(3)])
    client.engine.drain(timeout=60)
    page = window(client).open("/failures/")
    row = page.get_by_role("row").filter(has_text="the card was declined")
    expect(row).to_contain_text("3")
    row.get_by_role("link").first.click()
    assert page.locator("tbody a").all_inner_texts() == ["o-2", "o-1", "o-0"]
    page.get_by_label("Id begins with").fill("o-1")
    page.get_by_role("button", name="Show").click()
    assert page.locator("tbody a").all_inner_texts() == ["o-1"]
    page.get_by_label("Created before").fill("2020-01-01T00:00")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("No order is like that.")).to_be_visible()


def test_a_new_failure_appears_by_itself(
    start_server: Callable[..., Any], order: Callable[..., dict[str, Any]], window: Callable[..., Any]
) -> None:
    client = start_server(refuse)
    page = window(client).open("/failures/")
    expect(page.get_by_text("No order has failed")).to_be_visible()
    client.post("/orders", order())
    expect(page.get_by_role("row").filter(has_text="the card was declined")).to_be_visible()


@pytest.mark.parametrize(
    "path", ["/orders/?after=x", "/orders/?created_from=soon", "/orders/?status=Lost", "/audit/?after=1--2"]
)
def test_what_a_query_cannot_mean_is_told(client: Any, path: str) -> None:
    assert client.get(f"/dashboard{path}").status == 422


def test_an_order_that_waits_tells_its_outlook_and_is_rescheduled(
    start_server: Callable[..., Any], gate: Any, order: Callable[..., dict[str, Any]], window: Callable[..., Any]
) -> None:
    client = start_server(lambda given: gate(given) if given.order_id == "first" else None, processors=1)
    client.post("/orders/bulk", [order(f"done-{number}") for number in range(25)])
    client.engine.drain(timeout=60)
    client.post("/orders", order("first"))
    assert gate.begun(60) == "first"
    client.post("/orders", order("o-1"))
    look = window(client)
    page = look.open("/orders/o-1")
    facts = page.locator("dl.facts")
    expect(facts).to_contain_text("Place in the queue")
    expect(facts).to_contain_text("processors: 1 orders are in hand of 1 processors, 0 ahead")
    expect(facts).to_contain_text("Likely over")
    expect(facts).to_contain_text("80 %")

    page.locator("summary").click()
    page.get_by_label("Priority").fill("9")
    page.get_by_label("Not before").fill("2099-12-24T18:00:00")
    page.get_by_label("To be completed by").fill("2099-12-25T18:00:30")
    page.get_by_label("Queue").fill("parcels")
    page.get_by_label("Reason").fill("the customer is away")
    assert look.troubles_of_reach() == []
    page.get_by_role("button", name="Reschedule").click()

    expect(page.get_by_role("status")).to_contain_text("rescheduled")
    expect(page.get_by_role("listitem").first).to_contain_text("the customer is away")
    moved = client.get("/orders/o-1").json
    assert (moved["priority"], moved["queue"]) == (9, "parcels")
    assert moved["not_before"] == "2099-12-24T18:00:00.000000Z"
    assert moved["complete_by"] == "2099-12-25T18:00:30.000000Z"
    page.locator("summary").click()
    page.get_by_label("Not before").fill("")
    page.get_by_role("button", name="Reschedule").click()
    expect(page.get_by_role("listitem").first).to_contain_text("at once")
    again = client.get("/orders/o-1").json
    assert ("not_before" in again, again["complete_by"]) == (False, moved["complete_by"])
    gate.release()


def test_a_late_order_is_said_to_be(
    start_server: Callable[..., Any], order: Callable[..., dict[str, Any]], window: Callable[..., Any]
) -> None:
    client = start_server(lambda _: None)
    client.post("/orders", order("late", complete_by="2001-01-01T00:00:00Z"))
    client.post("/orders", order("in-time", complete_by="2099-01-01T00:00:00Z"))
    client.engine.drain(timeout=60)
    look = window(client)

    expect(look.open("/orders/late").locator("dl.facts")).to_contain_text("Late")
    expect(look.open("/orders/in-time").locator("dl.facts")).not_to_contain_text("Late")


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
    for path in PAGES:
        page = look.open(path)
        assert look.troubles_of_reach() == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_what_is_not_there_is_told_on_a_page(client: Any) -> None:
    for path in ("/dashboard/orders/o-404", "/dashboard/nothing", "/dashboard/static/../pages.py"):
        reply = client.get(path)
        assert reply.status == 404
        assert reply.headers.get_content_type() == "text/html"


def test_an_order_that_is_looked_at_tells_its_next_step_by_itself(
    held: Any, gate: Any, order: Callable[..., dict[str, Any]], window: Callable[..., Any]
) -> None:
    held.post("/orders", order())
    gate.begun()
    page = window(held).open("/orders/o-1")
    expect(page.get_by_role("listitem").first).to_contain_text("Processing")
    gate.release()
    expect(page.get_by_role("listitem").first).to_contain_text("Completed")


def test_the_overview_tells_each_processor_with_its_order(
    start_server: Callable[..., Any], gate: Any, order: Callable[..., dict[str, Any]], window: Callable[..., Any]
) -> None:
    client = start_server(gate, processors=2)
    client.post("/orders", order(user_id="ann"))
    gate.begun()
    look = window(client)
    page = look.open()
    panel = page.locator("section").filter(has=page.get_by_role("heading", name="Processors"))
    expect(panel.locator("tbody tr")).to_have_count(2)
    expect(panel.locator("tbody tr").first).to_contain_text("Busy")
    expect(panel.locator("tbody tr").first).to_contain_text("ann")
    expect(panel.locator("tbody tr").last).to_contain_text("Idle")
    assert look.troubles_of_reach() == []
    panel.get_by_role("link", name="o-1").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("o-1")
    gate.release()
