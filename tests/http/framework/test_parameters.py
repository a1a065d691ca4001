"""The parameters of a query: read, checked and refused as they are declared."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from ordermill.engine import OrderStatus
from ordermill.http.api.parameters import OrderQuery, PageQuery
from ordermill.http.framework.parameters import NoParameters, parse_query
from ordermill.http.wire.errors import InvalidParameter


def test_what_is_left_out_has_its_default() -> None:
    assert parse_query("", PageQuery) == PageQuery(status=UNSET, user_id=UNSET, limit=100, cursor=UNSET)
    assert parse_query("", OrderQuery).wait is UNSET


def test_each_is_read_as_its_type() -> None:
    found = parse_query("status=Failed&user_id=u-1&limit=7&cursor=ff", PageQuery)

    assert found == PageQuery(status=OrderStatus.FAILED, user_id="u-1", limit=7, cursor="ff")
    assert found.status is OrderStatus.FAILED


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("0.5", 0.5), ("30", 30), ("1e1", 10), ("-0", 0)])
def test_a_number_is_read_as_json_writes_it(text: str, seconds: float) -> None:
    assert parse_query(f"wait={text}", OrderQuery).wait == seconds


@pytest.mark.parametrize("text", ["", "+5", ".5", "5.", "05", "1_0", " 5", "\uff15", "nan", "inf", "true", "null"])
def test_a_number_that_json_does_not_know_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match=r"^The parameter 'wait' must be a number of seconds from 0 to 30\.$"):
        parse_query(f"wait={text.replace('+', '%2B')}", OrderQuery)


@pytest.mark.parametrize("text", ["null", "PENDING", "Pending%0A", "Pending,Failed"])
def test_a_status_is_written_as_it_is(text: str) -> None:
    with pytest.raises(InvalidParameter, match="'status' must be one of Pending, "):
        parse_query(f"status={text}", PageQuery)


def test_what_is_declared_nowhere_is_refused() -> None:
    with pytest.raises(InvalidParameter, match=r"'wait' is unknown here; known: none\.$"):
        parse_query("wait=1", NoParameters)


def test_what_is_given_twice_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="'wait' is given more than once"):
        parse_query("wait=1&wait=1", OrderQuery)
