"""Each user's rate: what is taken, what is refused, and what clients are told of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from throttled import utils

from ordermill.http.security import rate_limit as fair_use
from ordermill.http.security.rate_limit import UserRateLimiter
from ordermill.http.wire.errors import TooManyOrders

if TYPE_CHECKING:
    from tests.http.conftest import Client

    from ordermill.engine.testing import Held

MakeOrder = Callable[..., dict[str, Any]]


class Seconds:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    """The clock of the buckets."""
    clock = Seconds()
    monkeypatch.setattr(utils, "now_mono_f", clock)
    return clock


def spend(rate: UserRateLimiter, user_id: str = "u", count: int = 1) -> dict[str, str]:
    """Send orders of a user; gives the headers."""
    return dict(rate.consume({user_id: count}))


def refused(rate: UserRateLimiter, user_id: str = "u", count: int = 1) -> TooManyOrders:
    """Send too many orders of a user; gives the refusal."""
    with pytest.raises(TooManyOrders) as error:
        spend(rate, user_id, count)
    return error.value


def test_without_a_limit_nothing_is_counted_or_told() -> None:
    assert spend(UserRateLimiter(None), count=10_000) == {}


def test_a_bucket_gives_its_burst_and_then_what_runs_in(seconds: Seconds) -> None:
    rate = UserRateLimiter(2.0, 5)
    told = [spend(rate) for _ in range(5)]

    assert {headers["RateLimit-Policy"] for headers in told} == {'"user";q=5;w=3'}
    assert [headers["RateLimit"] for headers in told] == [
        f'"user";r={remaining};t={reset}' for remaining, reset in ((4, 1), (3, 1), (2, 2), (1, 2), (0, 3))
    ]
    refusal = refused(rate)
    assert refusal.retry_after_seconds == 1
    assert dict(refusal.headers)["RateLimit"] == '"user";r=0;t=1'
    seconds.now += 0.51
    spend(rate)
    refused(rate)
    seconds.now += 60
    spend(rate, count=5)
    refused(rate)


@pytest.mark.parametrize("now", [15384.01, 15384.08])
def test_an_interval_is_told_exactly_whatever_the_clock_says(seconds: Seconds, now: float) -> None:
    seconds.now = now
    rate = UserRateLimiter(0.001, 3)

    assert spend(rate)["RateLimit"] == '"user";r=2;t=1000'


def test_less_than_one_order_a_second_is_a_rate_too(seconds: Seconds) -> None:
    rate = UserRateLimiter(0.1)
    spend(rate)

    assert refused(rate).retry_after_seconds == 10
    seconds.now += 10.01
    spend(rate)


@pytest.mark.usefixtures("seconds")
def test_the_burst_is_what_a_second_brings_by_default() -> None:
    rate = UserRateLimiter(3.5)
    spend(rate, count=4)

    refused(rate)


@pytest.mark.usefixtures("seconds")
def test_each_user_has_a_bucket_of_its_own() -> None:
    rate = UserRateLimiter(1, 2)
    spend(rate, "u-1", 2)

    refused(rate, "u-1")
    spend(rate, "u-2", 2)


@pytest.mark.usefixtures("seconds")
def test_more_than_a_bucket_holds_is_refused_with_the_reason() -> None:
    refusal = refused(UserRateLimiter(1, 5), count=6)

    assert str(refusal) == "6 orders of user 'u' are more than the 5 that are taken at once."
    assert refusal.retry_after_seconds >= 1


@pytest.mark.usefixtures("seconds")
def test_nobody_pays_for_a_submission_that_is_refused_for_anothers_sake() -> None:
    rate = UserRateLimiter(1, 3)
    spend(rate, "greedy", 2)
    mixed = {"modest": 3, "greedy": 2}

    for _ in range(3):
        with pytest.raises(TooManyOrders, match="User 'greedy' sends orders too fast") as error:
            rate.consume(mixed)
        assert error.value.retry_after_seconds == 1

    assert spend(rate, "modest", 3)["RateLimit"].startswith('"user";r=0;')


@pytest.mark.usefixtures("seconds")
def test_of_several_users_the_one_nearest_to_its_limit_is_told_of() -> None:
    rate = UserRateLimiter(1, 5)

    headers = dict(rate.consume({"u-1": 1, "u-2": 4}))

    assert headers["RateLimit"] == '"user";r=1;t=4'


@pytest.mark.usefixtures("seconds")
def test_very_many_users_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_use, "_MAX_USERS", 10)
    rate = UserRateLimiter(1, 1)
    for number in range(100):
        spend(rate, f"u-{number}")

    assert rate._buckets is not None
    assert len(rate._buckets._store._backend.get_client()) == 10  # type: ignore[attr-defined]  # a MemoryStore
    refused(rate, "u-99")


def test_a_bucket_is_kept_until_so_many_others_have_sent_orders(
    seconds: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fair_use, "_MAX_USERS", 10)
    rate = UserRateLimiter(0.1, 1)
    for round_ in range(3):
        spend(rate)
        for number in range(9):
            spend(rate, f"{round_}-{number}")
        refused(rate)
        seconds.now += 10.01


@pytest.mark.usefixtures("seconds")
def test_who_sends_too_fast_is_told_so_and_nothing_is_stored(
    start_server: Callable[..., Client], order: MakeOrder
) -> None:
    client = start_server(user_rate=0.001, user_burst=3)

    taken = client.post("/orders", order("o-1"))
    bulk = client.post("/orders/bulk", [order("o-2"), order("o-3"), order("x", user_id="u-2")])
    one, many = client.post("/orders", order("o-4")), client.post("/orders/bulk", [order("o-4")])

    assert (taken.status, taken.headers["RateLimit-Policy"]) == (201, '"user";q=3;w=3000')
    assert taken.headers["RateLimit"] == '"user";r=2;t=1000'
    assert (bulk.status, bulk.headers["RateLimit"]) == (200, '"user";r=0;t=3000')
    for refusal in (one, many):
        assert (refusal.status, refusal.json["type"]) == (429, "urn:ordermill:problem:too-many-orders")
        assert (refusal.headers["Retry-After"], refusal.headers["RateLimit"]) == ("1000", '"user";r=0;t=1000')
    assert client.get("/orders/o-4").status == 404
    assert "RateLimit" not in client.get("/orders/o-1").headers


def test_a_user_with_too_many_unfinished_orders_is_told_when_to_come_back(
    start_server: Callable[..., Client], gate: Held, order: MakeOrder
) -> None:
    client = start_server(gate, user_backlog=1)
    client.post("/orders", order("o-1"))

    for reply in (client.post("/orders", order("o-2")), client.post("/orders/bulk", [order("o-2")])):
        assert (reply.status, reply.json["type"]) == (429, "urn:ordermill:problem:user-backlog-full")
        assert 1 <= int(reply.headers["Retry-After"]) <= 60
    assert client.post("/orders", order("o-3", user_id="u-2")).status == 201
