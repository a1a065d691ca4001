"""The page that shows the API: whole, of this server alone, and closed to whatever is not."""

from __future__ import annotations

import gzip
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.http.conftest import Client

FILES = {
    "/docs": "text/html; charset=utf-8",
    "/docs/docs.js": "text/javascript; charset=utf-8",
    "/docs/docs.css": "text/css; charset=utf-8",
    "/docs/swagger.js": "text/javascript; charset=utf-8",
    "/docs/swagger.css": "text/css; charset=utf-8",
}


class Page(HTMLParser):
    """What a page refers to, and what is written into it that its policy would keep from running."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.references += [value for name, value in attrs if name in {"src", "href"} and value]
        self.inline += [tag] * ((tag == "script" and "src" not in attributes) or tag == "style")
        self.inline += [name for name in attributes if name.startswith("on") or name == "style"]


@pytest.mark.parametrize(("path", "media_type"), FILES.items())
def test_each_file_is_served_as_what_it_is(client: Client, path: str, media_type: str) -> None:
    reply = client.get(path)

    assert (reply.status, reply.headers["Content-Type"].replace(";charset", "; charset")) == (200, media_type)
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    assert reply.headers["X-Frame-Options"] == "DENY"
    assert reply.body


@pytest.mark.parametrize("path", FILES)
def test_nothing_is_allowed_but_what_comes_from_here(client: Client, path: str) -> None:
    policy = dict(part.strip().split(" ", 1) for part in client.get(path).headers["Content-Security-Policy"].split(";"))

    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["img-src"] == "'self' data:"


def test_the_page_refers_to_nothing_but_what_is_here(client: Client) -> None:
    page = Page(client.get("/docs").body.decode())

    assert page.inline == []
    assert {"docs/swagger.js", "docs/swagger.css", "docs/docs.js", "docs/docs.css"} <= set(page.references)
    for reference in page.references:
        if reference != "data:,":  # an icon that is empty, so that none is asked for
            assert client.get(f"/{reference}").status == 200


def test_the_script_shows_the_description_and_sends_it_nowhere(client: Client) -> None:
    script = client.get("/docs/docs.js").body.decode()

    assert 'url: "openapi.json"' in script
    assert "validatorUrl: null" in script
    assert re.search(r"\bSwaggerUIBundle\b", client.get("/docs/swagger.js").body.decode())


@pytest.mark.parametrize(
    "path", ["/docs/", "/docs/nothing", "/docs/docs.html", "/docs/../app.py", "/docs/%2E%2E/app.py"]
)
def test_nothing_else_is_served(client: Client, path: str) -> None:
    assert client.get(path).status == 404


def test_the_page_takes_no_parameters(client: Client) -> None:
    assert client.get("/docs?url=//elsewhere/openapi.json").status == 422


@pytest.mark.parametrize("path", FILES)
def test_a_file_is_sent_again_only_when_it_has_changed(client: Client, path: str) -> None:
    first = client.get(path)

    again = client.get(path, **{"If-None-Match": first.headers["ETag"]})

    assert first.headers["Cache-Control"] == again.headers["Cache-Control"] == "public, no-cache"
    assert (again.status, again.body) == (304, b"")


def test_a_file_that_is_packed_is_the_same(client: Client) -> None:
    plain, packed = client.get("/docs/swagger.js"), client.get("/docs/swagger.js", **{"Accept-Encoding": "gzip"})

    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 2


@pytest.mark.parametrize("path", FILES)
def test_a_file_that_the_client_has_is_not_sent_again(client: Client, path: str) -> None:
    tag = client.get(path).headers["ETag"]

    reply = client.get(path, **{"If-None-Match": f'"other", {tag}'})

    assert (reply.status, reply.body, reply.headers["ETag"]) == (304, b"", tag)


@pytest.mark.parametrize(
    "fields",
    [
        {"Accept-Encoding": "gzip;q=much"},
        {"Accept-Encoding": ',"' * 99},
        {"If-None-Match": '";' * 99},
        {"If-None-Match": "*", "Accept-Encoding": "gzip"},
        {"X-Name": "=?a?q?x?="},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
def test_no_header_disturbs_a_file(client: Client, method: str, fields: dict[str, str]) -> None:
    reply = client.send(method, "/docs", headers=fields)

    assert reply.status == {"OPTIONS": 204, "POST": 405}.get(method, 304 if "*" in fields.values() else 200)
    assert "Content-Encoding" not in reply.headers or method in ("GET", "HEAD")
