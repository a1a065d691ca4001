"""Request ids: the client's own where they can be written down, new ones otherwise."""

from __future__ import annotations

import re

import pytest

from ordermill.http.request_id import request_id_of


@pytest.mark.parametrize("given", ["a", "8e03978e-40d5-43e8-bc93-6894a57f9324", "~!{}\"'", "x" * 128])
def test_the_id_of_the_client_is_kept(given: str) -> None:
    assert request_id_of({"HTTP_X_REQUEST_ID": given}) == given


@pytest.mark.parametrize("given", [None, "", " ", "a b", "a\tb", "a\nb", "\x7f", "ü", "x" * 129])
def test_a_new_one_takes_the_place_of_none_and_of_nonsense(given: str | None) -> None:
    environ = {} if given is None else {"HTTP_X_REQUEST_ID": given}
    made = [request_id_of(environ) for _ in range(100)]

    assert len(set(made)) == 100
    assert all(re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", request_id) for request_id in made)
