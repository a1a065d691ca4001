"""Finding orders and moving many of them from the command line, as an operator does after an outage."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.engine import Order, OrderStatus
from ordermill.engine.testing import make_order

if TYPE_CHECKING:
    from tests.http.conftest import Client

Run = Callable[..., Any]


class ProviderDown(Exception):
    """The provider does not answer."""


class Provider:
    """A handler that fails while the provider is down."""

    is_down = True

    def __call__(self, order: Order) -> None:
        if self.is_down and order.user_id == "bob":
            raise ProviderDown(f"no answer for {order.order_id}")


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def shop(start_server: Callable[..., Client], provider: Provider) -> Client:
    """A server with 30 failed orders of bob's and 30 others."""
    client = start_server(provider, max_attempts=1)
    users = ("ann", "bob")
    client.engine.submit_many(make_order(f"o-{number}", user_id=users[number % 2]) for number in range(60))
    client.engine.drain(timeout=60)
    return client


def test_an_outage_is_found_and_mended(shop: Client, run: Run, provider: Provider) -> None:
    url = ("--url", shop.server.url)

    shown = run("failures", *url).out
    assert "30" in shown
    assert "ProviderDown: no answer for {order_id}" in shown
    assert run("failures", "--db", shop.engine.address).out == shown
    assert run("pause", "--reason", "the provider is down", *url).code == 0
    tried = run("retry", "--error", "ProviderDown", "--since", "2h", "--dry-run", *url)
    assert tried.out.startswith("30 orders to retry, such as o-59, o-57")
    provider.is_down = False
    done = run("retry", "--error", "ProviderDown", "--since", "2h", "--reason", "it is back", *url)
    assert done == (0, "retry 1 is done: 30 of 30 moved.\n", "")
    assert run("resume", *url).code == 0

    assert shop.engine.drain(timeout=60).orders_by_status[OrderStatus.COMPLETED] == 60
    assert json.loads(run("failures", *url, "--json").out) == {"groups": []}
    assert json.loads(run("action", "1", *url, "--json").out)["moved"] == 30


@pytest.mark.slow
@pytest.mark.usefixtures("short_rehearsals")
def test_a_dry_run_tells_what_becomes_of_the_backlog(shop: Client, run: Run) -> None:
    done = run("retry", "--error", "ProviderDown", "--dry-run", "--rehearse", "--url", shop.server.url)

    first, after, without = done.out.splitlines()
    assert first.startswith("30 orders to retry")
    assert after.startswith("After it: 30 orders are unfinished, empty at 20")
    assert without.startswith("As it is: 0 orders are unfinished, empty at 20")


@pytest.mark.parametrize("is_asked", [True, False], ids=["server", "database"])
@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--status", "Failed"], 30),
        (["--error", "ProviderDown"], 30),
        (["--error", "Other"], 0),
        (["--prefix", "o-1"], 11),
        (["--user", "bob", "--prefix", "o-1"], 6),
        (["--since", "1h"], 60),
        (["--created-to", "2026-01-01T00:00:00Z"], 0),
        (["--updated-from", "2026-01-01T00:00:00Z", "--created-from", "2026-01-01T00:00:00+01:00"], 60),
    ],
    ids=str,
)
def test_orders_are_listed_by_every_filter(
    shop: Client, run: Run, options: list[str], count: int, is_asked: bool
) -> None:
    where = ("--url", shop.server.url) if is_asked else ("--db", shop.engine.address)

    done = run("list", *options, "--limit", "100", "--json", *where)

    assert len(json.loads(done.out)["orders"]) == count


def test_pending_orders_are_cancelled_without_waiting(shop: Client, run: Run) -> None:
    url = ("--url", shop.server.url)
    shop.engine.pause()
    shop.engine.submit_many(make_order(f"late-{number}") for number in range(3))

    started = run("cancel", "--prefix", "late-", "--no-wait", *url)

    assert started == (0, "3 orders: `ordermill action 1` tells how far it is.\n", "")
    while "running" in (told := run("action", "1", *url).out):
        pass
    assert told == "cancel 1 is done: 3 of 3 moved.\n"
    assert run("action", "1", "--stop", *url).out == told


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (["retry"], "Name an order, or say which ones are meant: --error, --status, …, or --all."),
        (["cancel", "--dry-run"], "Name an order, or say which ones are meant"),
        (["retry", "o-1", "--error", "E"], "Give either ORDER_ID, or the options that say which orders are meant."),
        (["retry", "o-1", "--dry-run"], "Give either ORDER_ID, or the options"),
        (["retry", "--all", "--rehearse"], "--rehearse is for --dry-run"),
        (["settle"], "Name an order and Completed or Failed; or give --as, and say which orders."),
        (["settle", "o-1"], "Settle one order as `ordermill settle ORDER_ID STATUS`: Completed or Failed."),
        (
            ["retry", "--since", "2h", "--updated-from", "2026-01-01T00:00:00Z"],
            "Give either --since or --updated-from.",
        ),
        (["retry", "--updated-from", "today"], "--updated-from must be a time such as 2026-11-23T06:39:00Z"),
        (["retry", "--prefix", "a b"], "--prefix is none that an order can have: 'a b'."),
        (["action", "7"], "There is no action 7."),
    ],
    ids=str,
)
def test_what_is_not_said_whole_is_refused(client: Client, run: Run, arguments: list[str], refusal: str) -> None:
    assert run(*arguments, "--url", client.server.url).refusal.startswith(refusal)
