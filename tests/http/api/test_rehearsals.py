"""Rehearsing over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine.testing import make_order

if TYPE_CHECKING:
    from tests.http.conftest import Client


@pytest.mark.slow
@pytest.mark.usefixtures("short_rehearsals")
def test_a_rehearsal_tells_what_is_likely_to_become_of_the_backlog(start_server: Callable[..., Client]) -> None:
    client = start_server()
    client.engine.submit_many([make_order(f"done-{number}") for number in range(30)])
    client.engine.drain(timeout=60)
    client.post("/control/pause", {})
    client.engine.submit_many([make_order(f"o-{number}", user_id="eu") for number in range(3)])

    reply = client.post(
        "/rehearsals",
        {"processors": 16, "arrivals": 0, "pause": "eu", "fail": {"error": "ProviderDown", "for_seconds": 600}},
    )

    assert reply.status == 200
    told = reply.json
    assert (told["backlog"], told["processors"], told["arrivals_per_second"]) == (3, 16, 0)
    assert (told["attempts"], told["confidence"], told["why"]) == (30, 0.8, None)
    assert told["left"] == {"expected": 3, "low": 3, "high": 3}
    assert told["empty"] == dict.fromkeys(("expected", "low", "high"), told["rehearsed_at"])


@pytest.mark.usefixtures("short_rehearsals")
def test_all_of_it_may_be_left_out(client: Client) -> None:
    reply = client.send("POST", "/rehearsals")

    assert (reply.status, reply.json["processors"], reply.json["empty"]) == (200, 8, None)
    assert reply.json["why"] == "only 0 attempts were measured, and fewer than 20 tell nothing"


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({"processors": 0}, "/processors", "must be a whole number from 1 to 1000"),
        ({"arrivals": -1}, "/arrivals", "must be a number from 0 to 100"),
        ({"pause": "two words"}, "/pause", "must be the name of a queue or a user"),
        ({"fail": {"error": "no class", "for_seconds": 5}}, "/fail/error", "must be the name of a class of errors"),
        ({"fail": {"error": "E", "for_seconds": 0}}, "/fail/for_seconds", "must be a number of seconds above 0"),
        ({"fail": {"error": "E"}}, "/fail/for_seconds", "missing"),
        ({"fail": 5}, "/fail", "must be a JSON object"),
        ({"forever": True}, "/forever", "unknown field"),
    ],
)
def test_what_cannot_be_rehearsed_is_refused(client: Client, body: dict[str, Any], pointer: str, detail: str) -> None:
    reply = client.post("/rehearsals", body)

    assert reply.status == 422
    (error,) = reply.json["errors"]
    assert error["pointer"] == pointer
    assert error["detail"].startswith(detail)
