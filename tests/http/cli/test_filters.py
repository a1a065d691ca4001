"""The options that say which orders a command is about: one filter, for the database and for REST."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from ordermill.engine import InvalidConfiguration, OrderStatus
from ordermill.http.api.parameters import FilterQuery, order_filter
from ordermill.http.cli import filters
from ordermill.http.cli.filters import as_parameters, wanted, with_filters
from ordermill.http.framework.parameters import parse_query
from ordermill.store.domain.order_filter import OrderFilter

if TYPE_CHECKING:
    from tests.http.cli.conftest import Done

    Run = Callable[..., Done]

NAMES = (
    *("status", "user", "queue", "prefix", "error", "since"),
    *("created_from", "created_to", "updated_from", "updated_to"),
)
NOTHING: dict[str, Any] = dict.fromkeys(NAMES)
SECOND = 1_000_000


def test_what_is_left_out_filters_nothing() -> None:
    assert wanted(NOTHING) == OrderFilter()
    assert as_parameters(OrderFilter()) == {}


def test_rest_reads_the_very_filter_that_was_typed() -> None:
    typed = wanted(
        {
            **NOTHING,
            "status": OrderStatus.FAILED,
            "user": "c+d&e@example.com",
            "queue": "mail",
            "prefix": "o-1",
            "error": "ProviderDown",
            "created_from": 1,
            "created_to": 3 * SECOND,
            "updated_from": 2 * SECOND + 7,
            "updated_to": 4 * SECOND,
        }
    )

    assert order_filter(parse_query(urlencode(as_parameters(typed)), FilterQuery)) == typed


def test_since_counts_back_from_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "time", SimpleNamespace(time=lambda: 1_000.25))

    assert wanted({**NOTHING, "since": 90.0}).updated_from_us == 910_250_000


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"since": 1.0, "updated_from": 5}, "Give either --since or --updated-from."),
        ({"prefix": "o 1"}, "--prefix is none that an order can have: 'o 1'."),
        ({"prefix": ""}, "--prefix is none that an order can have: ''."),
        ({"queue": "a b"}, "--queue is none that an order can have: 'a b'."),
        ({"error": ""}, "--error is none that an order can have: ''."),
    ],
)
def test_what_no_order_can_have_is_refused_by_its_option(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        wanted(NOTHING | given)
    assert str(refused.value) == message


@pytest.mark.parametrize("option", ["--created-from", "--created-to", "--updated-from", "--updated-to"])
def test_a_time_that_is_none_is_refused_by_its_option(run: Run, option: str) -> None:
    expected = f"{option} must be a time such as 2026-11-23T06:39:00Z, not 'yesterday'."
    assert run("cancel", option, "yesterday", "--url", "http://127.0.0.1:1").refusal == expected


def test_a_command_keeps_its_own_option_of_a_name() -> None:
    def settle(status: str, **filters: Any) -> None:
        """A command that says what is to become of orders."""

    parameters = with_filters(settle).__signature__.parameters  # type: ignore[attr-defined]  # it has one by now

    assert set(parameters) == set(NAMES)
    assert parameters["status"].default is parameters["status"].empty
