"""Request ids: the client's own where they can be written down, new ones otherwise."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from ordermill.http.wire.request_id import request_id_of

if TYPE_CHECKING:
    from tests.http.conftest import Client


@pytest.mark.parametrize("given", ["a", "8e03978e-40d5-43e8-bc93-6894a57f9324", "~!{}\"'", "x" * 128])
def test_the_id_of_the_client_is_kept(given: str) -> None:
    assert request_id_of({"X-Request-Id": given}) == given


@pytest.mark.parametrize("given", [None, "", " ", "a b", "a\tb", "a\nb", "\x7f", "ü", "x" * 129])
def test_a_new_one_takes_the_place_of_none_and_of_nonsense(given: str | None) -> None:
    fields = {} if given is None else {"X-Request-Id": given}
    made = [request_id_of(fields) for _ in range(100)]

    assert len(set(made)) == 100
    assert all(re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", request_id) for request_id in made)


@pytest.mark.parametrize(("method", "has_body"), [("POST", True), ("HEAD", False)])
def test_what_is_refused_before_it_could_be_routed_has_its_id_too(
    client: Client, caplog: pytest.LogCaptureFixture, method: str, has_body: bool
) -> None:
    caplog.set_level("INFO", "ordermill.http.access")
    with client.raw() as connection:
        lines = [f"{method} /orders HTTP/1.1", "Host: elsewhere", "X-Request-ID: not-ours", "Content-Length: 0"]
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 421 ")
    assert b"\r\nX-Request-ID: not-ours\r\n" in head
    assert bool(body) is has_body
    assert [record.request_id for record in caplog.records if hasattr(record, "request_id")] == ["not-ours"]
