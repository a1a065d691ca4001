"""Signing in to the pages, and what each role finds there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

from ordermill.engine import Order, Reject
from ordermill.http.security.api_keys import Role, create_key

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def refuse(_: Order) -> None:
    raise Reject("the card was declined")


class Keyed:
    """A server that needs keys, with a Failed order of u-1."""

    def __init__(self, start_server: Callable[..., Any], file: Path, order: dict[str, Any]) -> None:
        self.operator, self.reader, self.submitter = (
            create_key(file, [role], name=f"Olga with {role}") for role in (Role.OPERATE, Role.READ, Role.SUBMIT)
        )
        self.other_user = create_key(file, [Role.OPERATE], user="u-2")
        self.client = start_server(refuse, keys_file=str(file))
        headers = {"Authorization": f"Bearer {self.operator}"}
        self.client.send_json("POST", "/orders", order, headers)
        self.client.send("GET", "/orders/o-1?wait=30", headers=headers)

    def post(self, path: str, cookie: str = "", **fields: str) -> Any:
        """Send a form."""
        return self.client.send("POST", path, urlencode(fields).encode(), FORM | {"Cookie": cookie})

    def session(self, key: str) -> str:
        """The cookie of whoever signs in."""
        cookie: str = self.post("/dashboard/sign_in", key=key).headers["Set-Cookie"]
        return cookie.partition(";")[0]


@pytest.fixture
def keyed(start_server: Callable[..., Any], tmp_path: Path, order: Callable[..., dict[str, Any]]) -> Keyed:
    """A server that needs keys."""
    return Keyed(start_server, tmp_path / "keys", order())


def sign_in(look: Any, key: str) -> Any:
    page = look.open("/")
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    return page


@pytest.mark.parametrize("path", ["/", "/orders/", "/orders/o-1", "/controls/", "/audit/"])
def test_who_is_not_signed_in_is_asked_for_a_key(keyed: Keyed, path: str) -> None:
    for cookie in (
        "",
        "ordermill_session=",
        "ordermill_session=0123.99999999999.abc",
        "ordermill_session=\u00b2.\u00b2.",
    ):
        reply = keyed.client.send(
            "GET", f"/dashboard{path}", headers={"Cookie": cookie.encode("latin-1").decode("latin-1")}
        )
        assert reply.status == 303
        assert reply.headers["Location"].endswith("/dashboard/sign_in")


def test_a_key_that_is_not_one_of_the_server_is_refused(keyed: Keyed) -> None:
    reply = keyed.post("/dashboard/sign_in", key="om_0123_4567")
    assert reply.status == 403
    assert "Set-Cookie" not in reply.headers
    assert b"not a key of this server" in reply.body


def test_the_cookie_of_a_session_is_for_this_server_alone_and_for_no_script(keyed: Keyed) -> None:
    cookie = keyed.post("/dashboard/sign_in", key=keyed.reader).headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert keyed.reader not in cookie


def test_a_session_reads_the_api_but_changes_nothing_there(keyed: Keyed) -> None:
    session = keyed.session(keyed.operator)
    assert keyed.client.get("/orders/o-1", Cookie=session).status == 200
    assert keyed.client.send("POST", "/orders/o-1/retry", headers={"Cookie": session}).status == 401


def test_a_form_of_another_site_or_session_is_refused(keyed: Keyed) -> None:
    session = keyed.session(keyed.operator)
    for token in ("", "0" * 64):
        assert keyed.post("/dashboard/orders/o-1/retry", session, token=token).status == 403
    assert keyed.client.get("/orders/o-1", Cookie=session).json["attempts"] == 1


def test_a_key_that_may_not_read_finds_no_order(keyed: Keyed) -> None:
    reply = keyed.client.get("/dashboard/orders/o-1", Cookie=keyed.session(keyed.submitter))
    assert reply.status == 403
    assert b"card" not in reply.body


def test_a_key_of_one_user_finds_nothing_of_others(keyed: Keyed) -> None:
    session = keyed.session(keyed.other_user)
    assert keyed.client.get("/dashboard/orders/o-1", Cookie=session).status == 404
    assert keyed.client.get("/dashboard/controls/", Cookie=session).status == 403
    listed = keyed.client.get("/dashboard/orders/?user_id=u-1", Cookie=session)
    assert listed.status == 200
    assert b"o-1" not in listed.body


@pytest.mark.slow
def test_an_operator_signs_in_retries_an_order_and_signs_out(keyed: Keyed, window: Callable[..., Any]) -> None:
    look = window(keyed.client)
    page = sign_in(look, keyed.operator)
    expect(page.get_by_role("heading", name="All is well")).to_be_visible()
    look.open("/orders/o-1")
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("list")).to_contain_text("by Olga")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Key")).to_be_visible()
    look.open("/orders/o-1")
    expect(page.get_by_label("Key")).to_be_visible()


@pytest.mark.slow
def test_a_reader_sees_no_buttons_that_change_an_order(keyed: Keyed, window: Callable[..., Any]) -> None:
    look = window(keyed.client)
    page = sign_in(look, keyed.reader)
    expect(page.get_by_role("heading", name="All is well")).to_be_visible()
    look.open("/orders/o-1")
    expect(page.get_by_text("the card was declined").first).to_be_visible()
    assert page.get_by_role("main").get_by_role("button").count() == 0
