"""WSGI applications in our server, each request in a thread; and the API in another server, where it is one."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

import pytest

from ordermill.engine import OrderEngine
from ordermill.http.application import wsgi_application
from ordermill.http.config import ServerConfig
from ordermill.http.transport import workers
from ordermill.http.transport.server import HttpServer

if TYPE_CHECKING:
    from tests.http.conftest import Client

    MakeOrder = Callable[..., dict[str, Any]]


def ask(
    address: tuple[str, int], method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Send a request and read the answer."""
    with closing(http.client.HTTPConnection(*address, timeout=60)) as connection:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        with connection.getresponse() as answer:
            return answer.status, answer.headers, answer.read()


@pytest.fixture
def serve() -> Iterator[Callable[..., HttpServer]]:
    """Starts a server of applications, by the paths that they are mounted at."""
    running = []

    def start(apps: dict[str, Any], **settings: Any) -> HttpServer:
        server = HttpServer(apps, ServerConfig.of({"port": 0, "threads": 2} | settings))
        server.prepare()
        thread = threading.Thread(target=server.start)
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.stop()
        thread.join()


def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answers with what it is told."""
    told = {name: value for name, value in environ.items() if isinstance(value, str)}
    told["body"] = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH", 0))).decode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Server", "its own")])
    return [json.dumps(told).encode()]


def test_an_application_is_told_what_wsgi_promises(serve: Callable[..., HttpServer]) -> None:
    address = serve({"": validator(echo), "/inner": validator(echo)}).address

    status, headers, body = ask(address, "POST", "/inner/a%20b?c=%20d", b"content", Content_Type="text/plain", X_Y="z")

    told = json.loads(body)
    assert (status, headers["Server"], headers["Content-Length"]) == (200, "ordermill", str(len(body)))
    assert (told["SCRIPT_NAME"], told["PATH_INFO"], told["QUERY_STRING"]) == ("/inner", "/a b", "c=%20d")
    assert (told["REQUEST_METHOD"], told["CONTENT_TYPE"], told["CONTENT_LENGTH"]) == ("POST", "text/plain", "7")
    assert (told["HTTP_X_Y"], told["SERVER_PORT"], told["body"]) == ("z", str(address[1]), "content")
    assert json.loads(ask(address, "GET", "/innermost")[2])["SCRIPT_NAME"] == ""


def test_the_parts_of_an_answer_are_put_together_and_closed(serve: Callable[..., HttpServer]) -> None:
    closed = threading.Event()

    class Parts(list[bytes]):
        def close(self) -> None:
            closed.set()

    def parts(_: Any, start_response: Any) -> Parts:
        start_response("500 Never Sent", [])
        start_response("201 Created", [("X", "y")], (ValueError, ValueError(), None))(b"a")
        return Parts([b"", b"b", b"c"])

    address = serve({"": parts}).address

    assert ask(address, "GET", "/")[::2] == (201, b"abc")
    assert closed.wait(60)
    assert ask(address, "HEAD", "/")[2] == b""


def test_an_application_that_fails_is_500_and_the_log_says_why(
    serve: Callable[..., HttpServer], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Any, __: Any) -> list[bytes]:
        raise ZeroDivisionError("a secret")

    status, headers, body = ask(serve({"": fail}).address, "GET", "/")

    assert (status, headers["Content-Type"]) == (500, "application/problem+json")
    assert b"secret" not in body
    assert headers["X-Request-ID"]
    assert "unexpected error in the application at /" in caplog.text


def test_applications_that_take_long_hold_up_nobody_but_those_beyond_the_threads_and_the_queue(
    client: Client, serve: Callable[..., HttpServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_MAX_WAITING", 1)
    go_on = threading.Event()

    def slow(_: Any, start_response: Any) -> list[bytes]:
        assert go_on.wait(60)
        start_response("200 OK", [])
        return [b"slow"]

    server = serve({"": client.application, "/slow": slow})
    address = server.address
    assert ask(address, "GET", "/healthz")[0] == 200  # it has begun
    threads = [threading.Thread(target=ask, args=(address, "GET", "/slow")) for _ in range(3)]
    for thread in threads:
        thread.start()
    while server._workers._unfinished < 3:  # two run, and one waits
        assert ask(address, "GET", "/healthz")[0] == 200

    status, _, answer = ask(address, "GET", "/slow")
    assert (status, json.loads(answer)["type"]) == (503, "urn:ordermill:problem:busy")
    assert ask(address, "GET", "/healthz")[0] == 200
    go_on.set()
    for thread in threads:
        thread.join()


@pytest.fixture
def elsewhere(start_engine: Callable[..., OrderEngine], waitress: Callable[..., tuple[str, int]]) -> tuple[str, int]:
    """The address of the API in waitress, over an engine."""
    return waitress(validator(wsgi_application(start_engine(), 10)), threads=4)


@pytest.mark.engine_at_hand
def test_the_api_is_plain_wsgi_and_works_in_another_server(elsewhere: tuple[str, int], order: MakeOrder) -> None:
    body = json.dumps(order()).encode()

    status, headers, answer = ask(
        elsewhere, "POST", "/orders", body, Content_Type="application/json", X_Request_ID="r-1"
    )
    assert (status, headers["Location"], headers["X-Request-ID"]) == (201, "/orders/o-1", "r-1")
    assert json.loads(answer)["order_id"] == "o-1"
    assert json.loads(ask(elsewhere, "GET", "/orders/o-1?wait=20")[2])["status"] == "Completed"
    lines = b"\n".join(json.dumps(order(f"b-{number}")).encode() for number in range(3))
    assert (
        json.loads(ask(elsewhere, "POST", "/orders/bulk", lines, Content_Type="application/x-ndjson")[2])["accepted"]
        == 3
    )
    assert len(json.loads(ask(elsewhere, "GET", "/orders?limit=2")[2])["orders"]) == 2
    assert ask(elsewhere, "POST", "/orders", b"{", Content_Type="application/json")[0] == 400
    assert ask(elsewhere, "DELETE", "/orders")[1]["Allow"] == "GET, HEAD, OPTIONS, POST"
    assert ask(elsewhere, "HEAD", "/healthz")[::2] == (200, b"")
    assert ask(elsewhere, "GET", "/openapi.json")[0] == 200


@pytest.mark.engine_at_hand
def test_in_another_server_too_a_foreign_page_changes_nothing(elsewhere: tuple[str, int], order: MakeOrder) -> None:
    body = json.dumps(order()).encode()
    named = {"Content_Type": "application/json", "Host": "shop.example"}

    assert ask(elsewhere, "POST", "/orders", body, Origin="https://evil.example", **named)[0] == 403
    assert ask(elsewhere, "POST", "/orders", body, Sec_Fetch_Site="cross-site", **named)[0] == 403
    assert ask(elsewhere, "POST", "/orders/o-1/cancel", b"", Content_Type="text/plain")[0] == 415
    assert ask(elsewhere, "POST", "/orders", body, Origin="https://shop.example", **named)[0] == 201
