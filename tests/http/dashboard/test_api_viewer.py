"""The page of the API's description in a real browser: its viewer needs nothing that the page's policy forbids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow


def test_the_viewer_shows_every_call_and_tries_one_under_its_strict_policy(
    client: Any, window: Callable[..., Any]
) -> None:
    look = window(client)
    page = look.page
    page.goto(f"{look.address}/docs")
    expect(page.get_by_role("heading", name="Ordermill")).to_be_visible()
    calls = sum(len(item) for item in client.get("/openapi.json").json["paths"].values())
    expect(page.locator(".opblock")).to_have_count(calls)

    page.locator("#operations-Observers-readLiveness button.opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()

    expect(page.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
