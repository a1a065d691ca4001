"""What a page of another site can have a browser do with a server that asks for no key: nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.http.security.api_keys import Role, create_key
from ordermill.http.security.keyring import Keyring

if TYPE_CHECKING:
    from tests.http.conftest import Client

    from ordermill.engine.testing import Held

MakeOrder = Callable[..., dict[str, Any]]

FOREIGN = [
    "https://evil.example",
    "http://localhost:1",
    "http://127.0.0.1",
    "null",
    "",
    "http://localhost.evil.example",
]
MOVES = ["/orders/o-1/cancel", "/orders/o-1/retry"]
FORMS = [
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
    "text/plain",
    "text/plain;charset=UTF-8",
]


@pytest.fixture
def pending(start_server: Callable[..., Client], order: MakeOrder, gate: Held) -> Client:
    """A client of a server without keys, where o-1 can be cancelled: o-0 is with the only processor."""
    client = start_server(gate, processors=1)
    client.post("/orders", order("o-0"))
    gate.begun()
    client.post("/orders", order())
    return client


def status_of(client: Client) -> str:
    """Where o-1 is, and how it got there."""
    return str(client.get("/orders/o-1/history").json)


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.1", "test"),
        *(
            "localhost..",
            "[::2]",
            "[::1",
            "0x7f000001",
            "127.0.0.1:80:80",
            "notlocalhost",
            "%6cocalhost",
            "0.0.0.0",
            "",
        ),
    ],
)
@pytest.mark.parametrize("path", ["/orders", "/metrics", "/healthz", "/openapi.json", "/docs", "/nothing", "*"])
def test_no_name_but_one_of_this_machine_leads_here(client: Client, host: str, path: str) -> None:
    method = "OPTIONS" if path == "*" else "GET"

    reply = client.talk(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    assert (reply.status, reply.json["type"]) == (421, "urn:ordermill:problem:misdirected")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:99", "localhost.", "a.b.localhost", "127.0.0.1:1", "127.9.9.9", "[::1]:8"]
)
@pytest.mark.parametrize("path", ["/orders", "/docs"])
def test_every_name_of_this_machine_leads_here(client: Client, host: str, path: str) -> None:
    assert client.get(path, Host=host).status == 200


def test_the_name_that_the_server_was_given_leads_here(start_server: Callable[..., Client]) -> None:
    client = start_server(host="localhost")

    assert client.get("/orders", Host="localhost:8080").status == 200


@pytest.mark.parametrize("settings", [{"allow_anonymous": True}, {"keys_file": "keys"}])
def test_other_names_lead_here_where_keys_or_a_gateway_guard_it(
    start_server: Callable[..., Client], tmp_path: Path, settings: dict[str, Any]
) -> None:
    key = create_key(tmp_path / "keys", [Role.READ])
    if "keys_file" in settings:
        settings = {"keys_file": str(tmp_path / "keys")}

    client = start_server(**settings)

    assert client.get("/orders", Host="shop.example", Authorization=f"Bearer {key}").status == 200


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("path", MOVES)
def test_a_foreign_page_moves_no_order(pending: Client, path: str, origin: str) -> None:
    before = status_of(pending)

    for content_type in (None, "application/json", *FORMS):
        headers = {"Origin": origin} | ({} if content_type is None else {"Content-Type": content_type})
        reply = pending.send("POST", path, b"", headers)
        assert (reply.status, reply.json["type"]) == (403, "urn:ordermill:problem:cross-origin")

    assert status_of(pending) == before


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "anything"])
@pytest.mark.parametrize("origin", [None, "http://localhost"])
def test_a_browser_that_says_where_a_request_is_from_is_believed(
    pending: Client, site: str, origin: str | None
) -> None:
    headers = {"Host": "localhost", "Sec-Fetch-Site": site} | ({} if origin is None else {"Origin": origin})

    assert pending.send("POST", "/orders/o-1/cancel", headers=headers).status == 403


@pytest.mark.parametrize("content_type", FORMS)
@pytest.mark.parametrize("body", [None, b"", b"a=1"])
@pytest.mark.parametrize("path", MOVES)
def test_a_form_moves_no_order(pending: Client, path: str, content_type: str, body: bytes | None) -> None:
    before = status_of(pending)

    reply = pending.send("POST", path, body, {"Content-Type": content_type})

    assert reply.status == 415
    assert status_of(pending) == before


def test_a_foreign_page_sends_no_order(client: Client, order: MakeOrder) -> None:
    for path, content in (("/orders", order()), ("/orders/bulk", [order()])):
        reply = client.send_json("POST", path, content, {"Origin": "https://evil.example"})
        assert reply.status == 403

    assert client.get("/orders").json["orders"] == []


def test_the_question_before_a_foreign_request_allows_nothing(client: Client) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}

    reply = client.send("OPTIONS", "/orders/o-1/cancel", headers=headers)

    assert not [name for name in reply.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://localhost:9", "Host": "localhost:9"},
        {"Origin": "http://[::1]:9", "Host": "[::1]:9"},
        {"Origin": "http://localhost", "Host": "localhost", "Sec-Fetch-Site": "same-origin"},
        # As after a gateway that has changed the host.
        {"Origin": "https://shop.example", "Host": "localhost", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {},
        {"Content-Type": "application/json"},
    ],
)
def test_pages_of_its_own_and_programs_move_orders(client: Client, order: MakeOrder, headers: dict[str, str]) -> None:
    client.post("/orders", order())
    client.get("/orders/o-1?wait=30")

    assert client.send("POST", "/orders/o-1/cancel", headers=headers).status == 409


def test_an_origin_that_may_call_moves_orders(start_server: Callable[..., Client], order: MakeOrder) -> None:
    client = start_server(cors_origins="https://shop.example")
    client.post("/orders", order())
    client.get("/orders/o-1?wait=30")
    headers = {"Origin": "https://shop.example", "Sec-Fetch-Site": "cross-site"}

    assert client.send("POST", "/orders/o-1/cancel", headers=headers).status == 409
    assert client.send("POST", "/orders/o-1/cancel", headers=headers | {"Origin": "https://evil.example"}).status == 403


def test_a_key_is_proof_enough(start_server: Callable[..., Client], order: MakeOrder, tmp_path: Path) -> None:
    key = create_key(tmp_path / "keys", [Role.SUBMIT])
    client = start_server(keys_file=str(tmp_path / "keys"), cors_origins="*")
    headers = {"Origin": "https://any.example", "Sec-Fetch-Site": "cross-site", "Authorization": f"Bearer {key}"}

    assert client.send_json("POST", "/orders", order(), headers).status == 201


@pytest.mark.parametrize("origins", [None, "*", "https://evil.example"])
@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_nobody_is_signed_in_by_a_foreign_page(
    start_server: Callable[..., Client], tmp_path: Path, origins: str | None, headers: dict[str, str]
) -> None:
    key = create_key(tmp_path / "keys", [Role.READ])
    client = start_server(keys_file=str(tmp_path / "keys"), cors_origins=origins)
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    reply = client.send("POST", "/dashboard/sign_in", f"key={key}".encode(), form | headers)

    assert reply.status == 403
    assert "Set-Cookie" not in reply.headers
    assert "Set-Cookie" in client.send("POST", "/dashboard/sign_in", f"key={key}".encode(), form).headers


def test_pages_of_a_server_whose_keys_cannot_be_read_ask_for_one(
    start_server: Callable[..., Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = create_key(tmp_path / "keys", [Role.READ])
    client = start_server(keys_file=str(tmp_path / "keys"))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    cookie = client.send("POST", "/dashboard/sign_in", f"key={key}".encode(), form).headers["Set-Cookie"]
    monkeypatch.setattr(Keyring, "_has_been_unreadable_for_long", lambda _: True)

    assert client.get("/dashboard/", Cookie=cookie.partition(";")[0]).status == 303
    assert client.send("POST", "/dashboard/sign_in", f"key={key}".encode(), form).status == 503
    assert client.get("/orders", Cookie=cookie.partition(";")[0]).status == 503
