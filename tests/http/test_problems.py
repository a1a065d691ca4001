"""Every error is a problem (RFC 9457) that says what was wrong, and nothing about the inside."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import OrdermillError, StoreUnavailable
from ordermill.http.api.problems import PROBLEM_KINDS
from ordermill.http.framework.problems import answer_for
from ordermill.http.loop_engine import LoopEngine
from ordermill.http.wire.errors import HttpError
from ordermill.store.ledger import Ledger

if TYPE_CHECKING:
    from tests.http.conftest import Client, Reply

    MakeOrder = Callable[..., dict[str, Any]]

VERSIONS = [platform.python_version(), *map(version, ("uvloop", "CherryPy", "ordermill"))]
INSIDE = re.compile(
    "|".join([r"Traceback|File \"|line \d|\.py\b|/[a-z]+/[a-z]+/|cheroot|cherrypy|python", *map(re.escape, VERSIONS)]),
    re.IGNORECASE,
)


def check(reply: Reply, status: int, kind: str) -> None:
    """The answer is a problem of this kind, whole, and tells nothing about the inside."""
    assert reply.status == status
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert int(reply.headers["Content-Length"]) == len(reply.body)
    problem = reply.json
    assert set(problem) in ({"type", "title", "status", "detail"}, {"type", "title", "status", "detail", "errors"})
    assert problem["status"] == status
    assert problem["type"] == (kind if ":" in kind else f"urn:ordermill:problem:{kind}")
    assert problem["title"]
    assert problem["detail"]
    told = "\n".join([problem["title"], problem["detail"], *map(": ".join, reply.headers.items())])
    assert not INSIDE.search(told.replace(reply.headers.get("Date", "-"), ""))


def head(method: str, path: str, *lines: str) -> bytes:
    """A request without its body."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


JSON = "Content-Type: application/json"


@pytest.mark.parametrize(
    ("request_", "status", "kind"),
    [
        (head("GET", "/nothing"), 404, "no-such-resource"),
        (head("GET", "/orders/o-1"), 404, "order-not-found"),
        (head("DELETE", "/orders"), 405, "method-not-allowed"),
        (head("POST", "/orders", JSON), 411, "length-required"),
        (head("POST", "/orders/bulk", JSON), 411, "length-required"),
        (head("POST", "/orders/o-1/settle", JSON), 411, "length-required"),
        (head("POST", "/orders", "Content-Length: 2") + b"{}", 415, "unsupported-media-type"),
        (head("POST", "/orders", JSON, "Content-Length: 0"), 400, "not-json"),
        (head("POST", "/orders", JSON, "Content-Length: 1") + b"{", 400, "not-json"),
        (head("POST", "/orders", JSON, "Content-Length: 10") + b"{", 400, "truncated-body"),
        (head("POST", "/orders", JSON, "Content-Length: 2") + b"{}", 422, "invalid-order"),
        (head("GET", "/orders?limit=x"), 422, "invalid-parameter"),
    ],
)
def test_a_refused_request_is_answered_with_a_problem(client: Client, request_: bytes, status: int, kind: str) -> None:
    check(client.talk(request_), status, kind)


@pytest.mark.parametrize(
    ("request_", "status", "kind"),
    [
        (b"garbage\r\n\r\n", 400, "malformed-request"),
        (head("GET", "/healthz", "no colon"), 400, "malformed-request"),
        (head("POST", "/orders", JSON, "Content-Length: five"), 400, "malformed-request"),
        (head("POST", "/orders", JSON, "Content-Length: 99999999999"), 413, "content-too-large"),
        (head("POST", "/orders", JSON, "Transfer-Encoding: gzip"), 411, "length-required"),
        pytest.param(b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n", 414, "target-too-long", id="long path"),
        pytest.param(head("GET", "/healthz", "X: " + "a" * 40_000), 431, "header-too-large", id="long header"),
    ],
)
def test_what_is_no_http_is_a_problem_too_and_ends_the_connection(
    client: Client, request_: bytes, status: int, kind: str
) -> None:
    reply = client.talk(request_)

    check(reply, status, kind)
    assert reply.headers["Connection"] == "close"


def test_a_media_type_is_taken_with_parameters_and_in_any_case(client: Client, order: MakeOrder) -> None:
    reply = client.post_text(json.dumps(order()), media_type="Application/JSON; charset=utf-8")

    assert reply.status == 201


@pytest.mark.parametrize(
    ("path", "media_type", "wanted"),
    [
        ("/orders", "text/plain", "application/json"),
        ("/orders", "application/x-ndjson", "application/json"),
        ("/orders", "application/x-www-form-urlencoded", "application/json"),
        ("/orders/bulk", "text/csv", "application/json or application/x-ndjson"),
        ("/orders/o-1/settle", "text/plain", "application/json"),
    ],
)
def test_another_media_type_is_refused_with_those_that_are_taken(
    client: Client, path: str, media_type: str, wanted: str
) -> None:
    reply = client.post_text("{}", path, media_type)

    check(reply, 415, "unsupported-media-type")
    assert reply.json["detail"] == f"Send the body with Content-Type: {wanted}."


def test_a_body_above_the_limit_is_refused_before_it_is_read(start_server: Callable[..., Client]) -> None:
    client = start_server(max_body_bytes=1024)

    check(client.talk(head("POST", "/orders", JSON, "Content-Length: 1025")), 413, "content-too-large")
    check(client.post_text(b" " * 1024), 400, "not-json")


def test_a_truncated_body_stores_nothing(client: Client, order: MakeOrder) -> None:
    body = json.dumps(order()).encode()

    reply = client.talk(head("POST", "/orders", JSON, f"Content-Length: {len(body) + 1}") + body)

    check(reply, 400, "truncated-body")
    assert reply.json["detail"] == f"The body ended after {len(body)} of {len(body) + 1} bytes."
    assert client.get("/orders/o-1").status == 404


@pytest.mark.slow
def test_a_body_that_does_not_come_is_not_waited_for_and_is_no_error_of_ours(
    start_server: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    client = start_server(socket_seconds=1)
    with client.raw() as connection:
        connection.sendall(head("POST", "/orders", JSON, "Content-Length: 10") + b"{")

        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"\r\nContent-Type: application/problem+json\r\n" in answer
    assert not [record for record in caplog.records if record.exc_info]


SECRETS = "cannot open /var/lib/secrets/orders.db with Python 3.11.7"


def test_an_unexpected_error_is_500_without_a_word_about_the_inside(
    client: Client, order: MakeOrder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(SECRETS)

    for name in ("begin_submit", "order", "history", "order_page", "begin_cancel", "begin_metrics", "unready_reasons"):
        monkeypatch.setattr(LoopEngine, name, fail)

    for reply in (
        client.post("/orders", order()),
        client.post("/orders/bulk", [order()]),
        client.get("/orders/o-1"),
        client.get("/orders/o-1/history"),
        client.get("/orders"),
        client.post("/orders/o-1/cancel"),
        client.get("/metrics"),
        client.get("/readyz"),
    ):
        check(reply, 500, "about:blank")
        assert reply.json["detail"] == "An unexpected error; it has been logged."
    assert caplog.text.count(SECRETS) == 8


def test_an_error_of_ours_that_is_in_no_table_is_500_too() -> None:
    answer = answer_for(OrdermillError(SECRETS), PROBLEM_KINDS)

    assert answer.status == 500
    assert SECRETS.encode() not in answer.body


@pytest.mark.engine_at_hand
def test_an_unexpected_error_in_an_actor_is_500_and_the_engine_goes_on(
    client: Client, order: MakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(SECRETS)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record", fail)
        check(client.post("/orders", order()), 500, "about:blank")

    assert client.post("/orders", order()).status == 201
    assert client.get("/orders/o-1?wait=30").json["status"] == "Completed"
    assert client.get("/metrics").json["incidents"] == 1


def test_a_database_that_takes_no_writes_is_503_and_nothing_is_stored(
    client: Client, order: MakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StoreUnavailable(OSError("database or disk is full"))

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record", fail)
        for reply in (client.post("/orders", order()), client.post("/orders/bulk", [order()])):
            check(reply, 503, "store-unavailable")
            assert reply.headers["Retry-After"] == "1"

    assert client.get("/orders/o-1").status == 404
    assert client.post("/orders", order()).status == 201


def test_every_kind_of_problem_has_a_name_and_a_title_of_its_own() -> None:
    kinds = [*HttpError.__subclasses__(), *set(PROBLEM_KINDS.values())]

    assert len({kind.slug for kind in kinds}) == len({kind.title for kind in kinds}) == len(kinds)
    assert all(400 <= kind.status < 600 for kind in kinds)


def test_nonsense_is_always_answered_with_a_problem(client: Client) -> None:
    bytes_ = [bytes([number]) for number in range(256) if number not in b"\r\n"]
    for nonsense in bytes_:
        reply = client.talk(
            b"GET /orders/a%b HTTP/1.1\r\nHost: localhost\r\nX: %b\r\nAccept: %b\r\n\r\n"
            % (nonsense, nonsense, nonsense)
        )

        assert reply.status in {400, 404, 422}, nonsense
        assert reply.headers["Content-Type"] == "application/problem+json"
