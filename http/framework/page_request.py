"""PageRequest: a request as CherryPy hands it to the pages."""

from __future__ import annotations

from cherrypy._cprequest import Request  # type: ignore[import-untyped]  # CherryPy has no types


class PageRequest(Request):  # type: ignore[misc]  # likewise
    """Leaves cookies unread: Python's own reader takes seconds for some, before 3.11.10 and 3.12.6 (CVE-2024-7592)."""

    header_list: list[tuple[str, str]]

    def process_headers(self) -> None:
        """Make a mapping of the header, which has the cookies as they were sent."""
        header = [(name.title(), value) for name, value in self.header_list]
        self.header_list = [(name, value) for name, value in header if name != "Cookie"]
        super().process_headers()
        cookies = [value for name, value in header if name == "Cookie"]
        if cookies:
            self.headers["Cookie"] = "; ".join(cookies)
