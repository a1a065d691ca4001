"""The table of routes: which path takes which method, HEAD and OPTIONS."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.http.framework.request import Request
from ordermill.http.framework.response import Response
from ordermill.http.framework.route import Route
from ordermill.http.framework.router import Router, words_beside
from ordermill.http.security.access import PUBLIC
from ordermill.http.wire.errors import MethodNotAllowed, NoSuchResource
from ordermill.http.wire.message import WireRequest

if TYPE_CHECKING:
    from tests.http.conftest import Client

    MakeOrder = Callable[..., dict[str, Any]]

READ = "GET, HEAD, OPTIONS"
WRITE = "OPTIONS, POST"
BOTH = "GET, HEAD, OPTIONS, POST"
PATHS = [
    ("/orders", BOTH),
    ("/orders/bulk", WRITE),
    ("/orders/o-1", READ),
    ("/orders/o-1/status", READ),
    ("/orders/o-1/history", READ),
    ("/orders/o-1/cancel", WRITE),
    ("/orders/o-1/retry", WRITE),
    ("/orders/o-1/settle", WRITE),
    ("/metrics", READ),
    ("/healthz", READ),
    ("/readyz", READ),
    ("/openapi.json", READ),
    ("/docs", READ),
]


def answer(text: str) -> Callable[[Request], Response]:
    """A handler that is known by its answer."""
    return lambda _: Response(text.encode())


@pytest.fixture
def router() -> Router:
    """A router of some paths, each with the handler that answers with its name."""
    paths = [("GET", "/orders"), ("POST", "/orders/bulk"), ("GET", "/orders/{order_id}")]
    paths += [("GET", "/orders/{order_id}/status"), ("POST", "/orders/{order_id}/status"), ("GET", "/metrics")]
    return Router(Route(method, path, answer(f"{method} {path}"), PUBLIC) for method, path in paths)


@pytest.mark.parametrize(
    ("method", "path", "found", "order_id"),
    [
        ("GET", "/orders", "GET /orders", ""),
        ("HEAD", "/orders", "GET /orders", ""),
        ("GET", "/metrics", "GET /metrics", ""),
        ("POST", "/orders/bulk", "POST /orders/bulk", ""),
        ("GET", "/orders/o-1", "GET /orders/{order_id}", "o-1"),
        ("POST", "/orders/o-1/status", "POST /orders/{order_id}/status", "o-1"),
        ("GET", "/orders/bulk/status", "GET /orders/{order_id}/status", "bulk"),
    ],
)
def test_a_path_leads_to_its_handler(router: Router, method: str, path: str, found: str, order_id: str) -> None:
    route, parameters = router.find(method, path)

    assert route.handler(Request(WireRequest(method, path, "", {}), None, parameters)).body == found.encode()
    assert parameters.get("order_id", "") == order_id


@pytest.mark.parametrize(
    "path",
    [
        *["", "/", "orders", "/order", "/Orders", "/orders/", "/orders//status", "/orders/o-1/"],
        *["/orders/o-1/status/", "/orders/o-1/a/b", "/metrics/", "/metrics/o-1", "/{order_id}"],
    ],
)
def test_a_path_that_is_none_leads_nowhere(router: Router, path: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        with pytest.raises(NoSuchResource):
            router.find(method, path)


def test_another_method_is_told_those_that_there_are(router: Router) -> None:
    with pytest.raises(MethodNotAllowed) as refused:
        router.find("PUT", "/orders/bulk")

    assert refused.value.allow == WRITE


def test_a_path_that_is_written_out_has_no_methods_of_one_with_a_placeholder(router: Router) -> None:
    for method in ("GET", "HEAD"):
        with pytest.raises(MethodNotAllowed) as refused:
            router.find(method, "/orders/bulk")
        assert refused.value.allow == WRITE


def test_the_words_beside_a_placeholder_are_those_of_paths_that_begin_alike() -> None:
    paths = ["/orders", "/orders/{order_id}", "/orders/{order_id}/status", "/orders/bulk", "/orders/export/all", "/a/b"]
    table = [Route("GET", path, answer(path), PUBLIC) for path in paths]

    assert words_beside("order_id", table) == {"bulk", "export"}


@pytest.mark.parametrize(("path", "allow"), PATHS)
@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "TRACE", "BREW"])
def test_a_method_that_no_path_takes_is_405_with_allow(client: Client, method: str, path: str, allow: str) -> None:
    check_refused(client, method, path, allow)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        (method, path, allow)
        for path, allow in PATHS
        for method in ("GET", "HEAD", "POST")
        if method not in allow.split(", ")
    ],
)
def test_a_method_that_other_paths_take_is_405_with_allow(client: Client, method: str, path: str, allow: str) -> None:
    check_refused(client, method, path, allow)


def check_refused(client: Client, method: str, path: str, allow: str) -> None:
    """The method is refused, and the answer names those that are not."""
    reply = client.send(method, path)

    assert (reply.status, reply.headers["Allow"]) == (405, allow)
    if method != "HEAD":
        assert reply.json["type"] == "urn:ordermill:problem:method-not-allowed"
        assert reply.json["detail"] == f"This path allows {allow}."


@pytest.mark.parametrize(("path", "allow"), PATHS)
def test_options_says_which_methods_a_path_takes(client: Client, path: str, allow: str) -> None:
    reply = client.send("OPTIONS", path)

    assert (reply.status, reply.headers["Allow"], reply.body) == (HTTPStatus.NO_CONTENT, allow, b"")
    assert "Content-Type" not in reply.headers


def test_options_for_all_there_is_says_every_method(client: Client) -> None:
    reply = client.send("OPTIONS", "*")

    assert (reply.status, reply.headers["Allow"]) == (
        HTTPStatus.NO_CONTENT,
        "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT",
    )


@pytest.mark.parametrize("path", ["/orders", "/orders/o-1", "/orders/o-1/status", "/orders/o-1/history", "/healthz"])
def test_head_is_get_without_the_body(client: Client, order: MakeOrder, path: str) -> None:
    client.post("/orders", order())
    client.get("/orders/o-1?wait=30")

    got, headed = client.get(path), client.send("HEAD", path)

    assert (headed.status, headed.body) == (200, b"")
    assert int(headed.headers["Content-Length"]) == len(got.body) > 0
    assert headed.headers["Content-Type"] == got.headers["Content-Type"]


@pytest.mark.parametrize(("path", "status"), [("/healthz", b"200"), ("/orders/nobody", b"404"), ("/nothing", b"404")])
def test_nothing_follows_the_headers_of_an_answer_to_head(client: Client, path: str, status: bytes) -> None:
    with client.raw() as connection:
        connection.sendall(b"HEAD %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % path.encode())

        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.index(b"\r\n\r\n") == len(answer) - 4


@pytest.mark.parametrize("path", ["/nothing", "/orders/", "/orders/o-1/nothing", "/orders/o-1/status/", "/favicon.ico"])
def test_a_path_that_is_none_is_404(client: Client, path: str) -> None:
    for method in ("GET", "POST", "OPTIONS", "DELETE"):
        reply = client.send(method, path)
        assert (reply.status, reply.json["type"]) == (404, "urn:ordermill:problem:no-such-resource")
