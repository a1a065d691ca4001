"""Pausing and resizing the engine by the pages, and the audit log that tells of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


def test_an_operator_pauses_and_resumes_and_the_audit_log_tells_of_it(
    client: Any, order: Callable[..., dict[str, Any]], window: Callable[..., Any]
) -> None:
    look = window(client)
    page = look.open("/controls/")
    page.get_by_label("Why", exact=True).fill("the provider is down")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status")).to_contain_text("paused")
    client.post("/orders", order())
    look.open()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Paused")
    expect(page.get_by_text("the provider is down")).to_be_visible()
    assert client.get("/orders/o-1/status").json["status"] == "Pending"
    page.get_by_role("link", name="Resume").click()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("status")).to_contain_text("started again")
    assert client.get("/orders/o-1?wait=30").json["status"] == "Completed"
    look.open("/audit/")
    assert page.locator("tbody tr").count() == 2
    expect(page.locator("tbody tr").last).to_contain_text("the provider is down")


def test_a_pause_may_end_by_itself(client: Any, window: Callable[..., Any]) -> None:
    page = window(client).open("/controls/")
    page.get_by_label("For minutes").fill("90")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("dl time")).to_be_visible()
    assert client.get("/control").json["paused_until"] is not None


def test_an_operator_sets_the_number_of_processors(client: Any, window: Callable[..., Any]) -> None:
    page = window(client).open("/controls/")
    page.get_by_label("Processors").fill("3")
    page.get_by_role("button", name="Set").click()
    expect(page.get_by_role("status")).to_contain_text("changed")
    assert client.get("/control").json["processors"] == 3


def test_an_operator_pauses_and_limits_a_queue(client: Any, window: Callable[..., Any]) -> None:
    page = window(client).open("/controls/")
    page.get_by_role("textbox", name="Queue").fill("mail")
    page.get_by_label("Paused").check()
    page.get_by_label("Orders at once").fill("5")
    page.get_by_label("Orders a second").fill("2.5")
    page.get_by_role("button", name="Change queue").click()

    expect(page.get_by_role("status")).to_contain_text("queue is set")
    row = page.get_by_role("row", name="mail")
    expect(row).to_contain_text("Paused")
    expect(row).to_contain_text("2.5")
    _, mail = client.get("/queues").json["queues"]
    assert (mail["paused"], mail["concurrency"], mail["rate"]) == (True, 5, 2.5)


def test_a_number_that_is_none_changes_nothing_and_is_told(client: Any, window: Callable[..., Any]) -> None:
    look = window(client)
    page = look.open("/controls/")
    before = client.get("/control").json
    page.get_by_label("Processors").fill("many")
    page.get_by_role("button", name="Set").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Unprocessable")
    expect(page.get_by_text("must be a number")).to_be_visible()
    assert client.get("/control").json == before
    look.faults.clear()  # the browser's console tells of the status


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999", "many", "1e400"])
@pytest.mark.parametrize(("path", "field"), [("processors", "processors"), ("pause", "minutes")])
def test_what_is_not_a_number_for_a_machine_either_is_refused(client: Any, path: str, field: str, number: str) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    reply = client.send("POST", f"/dashboard/controls/{path}", f"{field}={number}".encode(), form)

    assert reply.status == 422
    assert b"must be a number" in reply.body
