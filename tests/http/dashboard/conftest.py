"""A real browser that looks at the pages of a real server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

_AXE = Path(__file__).with_name("vendored") / "axe.js"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window. Not for longer than a module: its loop counts as one that runs in this thread."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        if "CI" in os.environ:
            pytest.fail("CI looks at the pages with chromium, which is not there")
        pytest.skip("needs chromium on the path")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        launched.close()


class Window:
    """A page of the browser, which may ask for nothing elsewhere and has no errors in its console.

    Args:
        page: of the browser.
        address: of the server, with its scheme.
    """

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.faults: list[str] = []
        page.set_default_timeout(20_000)
        page.on("console", lambda message: message.type == "error" and self.faults.append(message.text))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", lambda request: self._look(request.url))

    def open(self, path: str = "/") -> Page:
        """Go to a page of the dashboard."""
        self.page.goto(f"{self.address}/dashboard{path}")
        return self.page

    def troubles_of_reach(self) -> list[str]:
        """What keeps some people from using the page: what axe-core calls serious or critical."""
        # Not as a script element: the policy of the pages takes none but their own.
        self.page.evaluate(_AXE.read_text(encoding="utf-8"))
        found: dict[str, Any] = self.page.evaluate("axe.run()")
        return [
            f"{violation['id']}: {node['html']}"
            for violation in found["violations"]
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        ]

    def _look(self, url: str) -> None:
        if not url.startswith((self.address, "data:")):
            self.faults.append(f"asked for {url}")


@pytest.fixture
def window(browser: Browser) -> Iterator[Callable[..., Window]]:
    """Opens windows on a server, given its client; in the end none of them has seen a fault."""
    opened: list[Window] = []
    with ExitStack() as contexts:

        def look(client: Any, **options: Any) -> Window:
            context = browser.new_context(**options)
            contexts.callback(context.close)
            host, port = client.address
            opened.append(Window(context.new_page(), f"http://{host}:{port}"))
            return opened[-1]

        yield look
    assert [fault for looked in opened for fault in looked.faults] == []
