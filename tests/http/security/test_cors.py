"""Which origins may call, and what their browsers are told."""

from __future__ import annotations

import pytest

from ordermill.engine import InvalidConfiguration
from ordermill.http.security.cors import Cors

PREFLIGHT = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}


@pytest.mark.parametrize("origins", [None, ""])
def test_without_origins_it_is_off(origins: str | None) -> None:
    assert not Cors(origins).is_on


@pytest.mark.parametrize("origin", ["https://shop.example", "http://localhost:3000"])
def test_an_origin_of_the_list_is_let_in(origin: str) -> None:
    headers = dict(Cors("https://shop.example, http://localhost:3000").headers({"Origin": origin}))

    assert headers["Access-Control-Allow-Origin"] == origin
    assert headers["Vary"] == "Origin"
    assert "X-Request-ID" in headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.parametrize("origin", ["https://evil.example", "http://shop.example", "https://shop.example.evil", "null"])
def test_another_origin_is_not(origin: str) -> None:
    assert Cors("https://shop.example").headers({"Origin": origin}) == (("Vary", "Origin"),)


def test_an_answer_without_origin_varies_by_it_all_the_same() -> None:
    assert Cors("https://shop.example").headers({}) == (("Vary", "Origin"),)


def test_a_star_lets_all_in() -> None:
    assert dict(Cors("*").headers({}))["Access-Control-Allow-Origin"] == "*"


def test_a_preflight_is_told_what_may_be_sent() -> None:
    cors = Cors("https://shop.example")

    headers = dict(cors.preflight_headers(PREFLIGHT, "GET, OPTIONS, POST"))

    assert headers["Access-Control-Allow-Methods"] == "GET, OPTIONS, POST"
    assert "Authorization" in headers["Access-Control-Allow-Headers"]
    assert "Idempotency-Key" in headers["Access-Control-Allow-Headers"]
    assert headers["Access-Control-Max-Age"] == "600"
    assert cors.preflight_headers({"Origin": "https://shop.example"}, "GET") == ()


@pytest.mark.parametrize(
    "origins", ["shop.example", "https://shop.example/", "ftp://a", "https://", "https://a,,", "*.a"]
)
def test_what_is_no_origin_is_refused(origins: str) -> None:
    with pytest.raises(InvalidConfiguration, match=r"An origin is written like https://shop.example"):
        Cors(origins)
