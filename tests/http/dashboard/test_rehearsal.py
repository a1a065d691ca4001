"""Rehearsing on its page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from ordermill.engine.testing import make_order

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("short_rehearsals")]


def test_a_rehearsal_is_drawn(client: Any, window: Callable[..., Any]) -> None:
    client.engine.submit_many([make_order(f"done-{number}") for number in range(30)])
    client.engine.drain(timeout=60)
    client.post("/control/pause", {})
    client.engine.submit_many([make_order(f"o-{number}") for number in range(5)])
    look = window(client)
    page = look.open("/rehearsal/")

    page.get_by_label("Processors").fill("16")
    page.get_by_label("Error that all attempts fail with").fill("ProviderDown")
    page.get_by_role("button", name="Rehearse").click()

    expect(page.get_by_text("16 processors")).to_be_visible()
    expect(page.get_by_text("as if that happened now")).to_be_visible()
    expect(page.locator(".chart canvas")).to_be_visible()
    expect(page.get_by_label("Processors")).to_have_value("16")


def test_with_too_little_data_the_page_says_so(client: Any, window: Callable[..., Any]) -> None:
    page = window(client).open("/rehearsal/")

    page.get_by_role("button", name="Rehearse").click()

    expect(page.get_by_text("only 0 attempts were measured")).to_be_visible()


def test_what_is_no_number_is_told(client: Any, window: Callable[..., Any]) -> None:
    look = window(client)
    page = look.open("/rehearsal/")

    page.get_by_label("Processors").fill("many")
    page.get_by_role("button", name="Rehearse").click()

    expect(page.get_by_text("must be a number")).to_be_visible()
    look.faults.clear()  # the browser's console tells of the status
