"""What clients send and what they get: money, fields, times, cursors."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from ordermill.engine import InvalidOrder
from ordermill.http.api import requests, responses
from ordermill.http.api.fields import CURSOR
from ordermill.http.wire.errors import NotJson
from ordermill.store.domain.record import rfc3339

if TYPE_CHECKING:
    from tests.http.conftest import Client

    MakeOrder = Callable[..., dict[str, Any]]

MONEY = "must be a decimal amount from 0 to 9999999999.99 with at most two fraction digits"
USER = "must be a string of 1 to 128 visible characters of ASCII, without blanks, double quotes and backslashes"
PRIORITY = "must be a whole number from 0 to 9; 9 is first"
TIME = "must be a time with its offset from UTC, from 1970 to 9998"
METADATA = (
    "must be a JSON object of at most 4096 bytes, nested at most 16 deep, whose names differ and whose whole numbers "
    "have at most 64 bits"
)
IDENTIFIER = "must be a string of 1 to 64 characters of A-Z a-z 0-9 . _ : -, and not of dots alone"


@pytest.fixture
def text(order: MakeOrder) -> Callable[[str], str]:
    """An order as JSON, with an amount as it is written there."""

    def write(amount: str) -> str:
        return json.dumps(order(total_amount="AMOUNT")).replace('"AMOUNT"', amount)

    return write


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("19.9", "19.90"),
        ('"19.9"', "19.90"),
        ('"19.90"', "19.90"),
        ("19.99", "19.99"),
        ("20", "20.00"),
        ('"20"', "20.00"),
        ("0", "0.00"),
        ("-0", "0.00"),
        ('"0.01"', "0.01"),
        ("0.1", "0.10"),
        ("0.29", "0.29"),  # 28.999999999999996 cents as a float
        ("1e2", "100.00"),
        ("9999999999.99", "9999999999.99"),
        ('"9999999999.99"', "9999999999.99"),
    ],
)
def test_money_is_taken_as_a_number_or_a_string_and_shown_as_a_string(
    client: Client, text: Callable[[str], str], written: str, shown: str
) -> None:
    reply = client.post_text(text(written))

    assert (reply.status, reply.json["total_amount"]) == (201, shown)
    assert client.get("/orders/o-1").json["total_amount"] == shown


@pytest.mark.parametrize(
    "written",
    [
        "19.999",
        '"19.999"',
        "0.001",
        "1e-3",
        "-0.01",
        '"-1"',
        "9999999999.995",
        "10000000000",
        '"10000000000.00"',
        "1e400",
        '"1e400"',
        "1e999999999999999999",
        "1e-400",
        '"NaN"',
        '"sNaN"',
        '"Infinity"',
        '"-Infinity"',
        '""',
        '"12,50"',
        '"$5"',
        '"ten"',
        "true",
        "null",
        "[5]",
        '{"amount": 5}',
        "123456789012345678901234567890",
    ],
)
def test_money_that_is_none_is_refused(client: Client, text: Callable[[str], str], written: str) -> None:
    reply = client.post_text(text(written))

    assert reply.status == 422
    assert reply.json["type"] == "urn:ordermill:problem:invalid-order"
    assert reply.json["errors"] == [{"pointer": "/total_amount", "detail": MONEY}]
    assert client.get("/orders/o-1").status == 404


@pytest.mark.parametrize("written", ["NaN", "Infinity", "-Infinity", "19,99", "0x10", "+1", ".5", "1.", "01"])
def test_a_number_that_json_does_not_know_is_not_json(client: Client, text: Callable[[str], str], written: str) -> None:
    reply = client.post_text(text(written))

    assert (reply.status, reply.json["type"]) == (400, "urn:ordermill:problem:not-json")


@pytest.mark.parametrize(
    ("field", "value", "pointer", "detail"),
    [
        ("order_id", "", "/order_id", IDENTIFIER),
        ("order_id", "a" * 65, "/order_id", IDENTIFIER),
        ("order_id", "a b", "/order_id", IDENTIFIER),
        ("order_id", "o-1\n", "/order_id", IDENTIFIER),
        ("order_id", "café", "/order_id", IDENTIFIER),
        ("order_id", ".", "/order_id", IDENTIFIER),  # no path leads to such an order
        ("order_id", "..", "/order_id", IDENTIFIER),
        ("order_id", "...", "/order_id", IDENTIFIER),
        ("order_id", 5, "/order_id", IDENTIFIER),
        ("order_id", None, "/order_id", IDENTIFIER),
        ("user_id", "a b", "/user_id", USER),
        ("user_id", ["u-1"], "/user_id", USER),
        ("item_ids", [], "/item_ids", "must have 1 to 100 items, has 0"),
        ("item_ids", ["sku"] * 101, "/item_ids", "must have 1 to 100 items, has 101"),
        ("item_ids", "sku", "/item_ids", "must be a list of 1 to 100 item ids"),
        ("item_ids", {"sku": 1}, "/item_ids", "must be a list of 1 to 100 item ids"),
        ("item_ids", ["sku", ""], "/item_ids/1", IDENTIFIER),
        ("item_ids", ["sku", "sku", 3], "/item_ids/2", IDENTIFIER),
        ("priority", 10, "/priority", PRIORITY),
        ("priority", True, "/priority", PRIORITY),
        ("priority", None, "/priority", PRIORITY),
        ("priority", 4.5, "/priority", PRIORITY),
        ("not_before", "tomorrow", "/not_before", TIME),
        ("not_before", "2026-12-24T18:00:00", "/not_before", TIME),
        ("not_before", "9999-12-31T23:59:00-23:00", "/not_before", TIME),
        ("not_before", 5, "/not_before", TIME),
        ("not_before", None, "/not_before", TIME),
        ("complete_by", "2026-12-24", "/complete_by", TIME),
        ("complete_by", None, "/complete_by", TIME),
        ("metadata", None, "/metadata", METADATA),
        ("metadata", [1], "/metadata", METADATA),
        ("metadata", {"a": 2**64}, "/metadata", METADATA),
        ("metadata", {"a": "x" * 4096}, "/metadata", METADATA),
        ("status", "Completed", "/status", "unknown field"),
        ("attempts", 0, "/attempts", "unknown field"),
        ("a/b~c", 0, "/a~1b~0c", "unknown field"),
    ],
)
def test_a_field_that_breaks_its_rule_is_named(
    client: Client, order: MakeOrder, field: str, value: object, pointer: str, detail: str
) -> None:
    reply = client.post("/orders", order(**{field: value}))

    assert reply.status == 422
    assert reply.json["errors"] == [{"pointer": pointer, "detail": detail}]


def test_an_order_may_say_how_early_and_from_when_on_and_have_something_with_it(
    client: Client, order: MakeOrder
) -> None:
    more = {
        "priority": 9,
        "not_before": "2026-01-01T01:00:00.5+01:00",
        "complete_by": "2026-01-01T01:00:00.5+01:00",
        "metadata": {"b": ['"', 1.5], "a": {"\\": None}},
    }
    shown = more | dict.fromkeys(("not_before", "complete_by"), "2026-01-01T00:00:00.500000Z")

    reply = client.post("/orders", order(**more))

    assert reply.status == 201
    assert {name: reply.json[name] for name in more} == shown
    client.engine.drain(timeout=30)
    stored = client.get("/orders/o-1").json
    assert {name: stored[name] for name in more} == shown
    assert client.engine.order("o-1").order.metadata == more["metadata"]


def test_what_an_order_does_not_say_is_left_out(client: Client, order: MakeOrder) -> None:
    reply = client.post("/orders", order(priority=4))

    assert not {"priority", "not_before", "complete_by", "metadata"} & set(reply.json)


@pytest.mark.parametrize(
    ("other", "status"),
    [
        ({"priority": 8}, 200),
        ({"not_before": "2026-01-01T00:00:00Z"}, 200),
        ({"complete_by": "2026-01-02T01:00:00+01:00"}, 200),
        ({}, 409),
        ({"priority": 7}, 409),
        ({"not_before": "2026-01-01T00:00:01Z"}, 409),
        ({"complete_by": "2026-01-02T00:00:01Z"}, 409),
        ({"metadata": {"a": True}}, 409),
    ],
)
def test_these_are_a_part_of_what_makes_an_order_the_same(
    client: Client, order: MakeOrder, other: dict[str, Any], status: int
) -> None:
    more = {"priority": 8, "not_before": "2026-01-01T01:00:00+01:00", "metadata": {"a": 1}}
    more["complete_by"] = "2026-01-02T00:00:00Z"
    assert client.post("/orders", order(**more)).status == 201

    assert client.post("/orders", order(**(more | other)) if other else order()).status == status


@pytest.mark.parametrize("number", ["8.0", "80e-1", "0.8E1"])
def test_a_whole_number_may_be_written_with_a_point(client: Client, number: str) -> None:
    body = f'{{"order_id":"o-1","user_id":"u-1","item_ids":["a"],"total_amount":1,"priority":{number}}}'

    assert client.post_text(body).json["priority"] == 8


def test_a_name_that_metadata_has_twice_is_a_fault(client: Client) -> None:
    body = '{"order_id":"o-1","user_id":"u-1","item_ids":["a"],"total_amount":1,"metadata":{"a":{"b":1,"b":1}}}'

    assert client.post_text(body).json["errors"] == [{"pointer": "/metadata", "detail": METADATA}]


@pytest.mark.parametrize("more", ['"priority":1,"priority":1', '"metadata":{"a":"b"},"metadata":{}'])
def test_a_field_that_is_there_twice_is_a_fault(client: Client, more: str) -> None:
    body = f'{{"order_id":"o-1","user_id":"u-1","item_ids":["a"],"total_amount":1,{more}}}'

    assert [error["detail"] for error in client.post_text(body).json["errors"]] == ["is given more than once"]


@pytest.mark.parametrize("field", ["order_id", "user_id", "item_ids", "total_amount"])
def test_a_missing_field_is_named(client: Client, order: MakeOrder, field: str) -> None:
    incomplete = order()
    del incomplete[field]

    reply = client.post("/orders", incomplete)

    assert (reply.status, reply.json["errors"]) == (422, [{"pointer": f"/{field}", "detail": "missing"}])


def test_every_fault_is_named_at_once(client: Client) -> None:
    reply = client.post("/orders", {"order_id": "a b", "item_ids": ["", "sku", " "], "total_amount": -1, "x": 1})

    assert [error["pointer"] for error in reply.json["errors"]] == [
        "/x",
        "/user_id",
        "/order_id",
        "/item_ids/0",
        "/item_ids/2",
        "/total_amount",
    ]


@pytest.mark.parametrize("body", ["[]", '"o-1"', "5", "null", "true"])
def test_what_is_no_object_is_no_order(client: Client, body: str) -> None:
    reply = client.post_text(body)

    assert (reply.status, reply.json["errors"]) == (422, [{"pointer": "", "detail": "must be a JSON object"}])


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        '{"order_id": }',
        "{'order_id': 'o-1'}",
        "order_id=o-1",
        "{} {}",
        pytest.param('{"a":' * 10_000, id="deep"),
        pytest.param('{"a":' * 10_000 + "1" + "}" * 10_000, id="deep and closed"),
    ],
)
def test_what_is_not_json_is_said_to_be_so(client: Client, body: str) -> None:
    reply = client.post_text(body)

    assert (reply.status, reply.json["type"]) == (400, "urn:ordermill:problem:not-json")
    assert "errors" not in reply.json


@pytest.mark.parametrize("body", [b'{"order_id": "\xff"}', b'{"\xc3\x28": 1}', b"\xff\xfe{\x00}\x00"])
def test_bytes_that_are_not_utf_8_are_refused(body: bytes) -> None:
    with pytest.raises((InvalidOrder, NotJson)):
        requests.decode_order(body)


def test_the_longest_order_is_taken(client: Client, order: MakeOrder) -> None:
    longest = order("o" * 64, user_id="._:-" * 16, item_ids=["i" * 64] * 100, total_amount="9999999999.99")

    reply = client.post("/orders", longest)

    assert reply.status == 201
    assert {name: reply.json[name] for name in longest} == longest


def test_an_amount_is_never_a_float() -> None:
    decoded = requests.decode_order(b'{"order_id":"o","user_id":"u","item_ids":["i"],"total_amount":0.29}')

    assert decoded.total_amount == Decimal("0.29")
    assert decoded.total_cents == 29


def test_times_are_rfc_3339_in_utc_with_microseconds() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00.000000Z"
    assert rfc3339(1_767_225_600_000_001) == "2026-01-01T00:00:00.000001Z"


@pytest.mark.parametrize("sequence", [1, 2, 15, 16, 10**6, 16**15 - 1])
def test_a_cursor_leads_back_to_its_sequence(sequence: int) -> None:
    cursor = responses.encode_cursor(sequence)

    assert CURSOR.fullmatch(cursor)
    assert requests.decode_cursor(cursor) == sequence


@pytest.mark.parametrize(
    ("line", "order_id"),
    [(b'{"order_id": "o-1"}', "o-1"), (b'{"order_id": 5}', None), (b"{}", None), (b"[]", None), (b"{", None)],
)
def test_a_faulty_line_is_known_by_its_id_if_it_has_one(line: bytes, order_id: str | None) -> None:
    assert requests.order_id_of(line) == order_id


@pytest.mark.parametrize(
    "amount", ["1_0", " 1", "1 ", "\uff11", "1e2", "+1", ".5", "5.", "NaN", "Infinity", "0x1", "", "-0"]
)
def test_a_string_of_money_is_a_plain_decimal_number(amount: str) -> None:
    body = msgspec.json.encode({"order_id": "o", "user_id": "u", "item_ids": ["i"], "total_amount": amount})

    with pytest.raises(InvalidOrder, match="total_amount"):
        requests.decode_order(body)


@pytest.mark.parametrize("amount", ["true", "null", "[]", "{}", '["1"]'])
def test_money_is_a_number_or_a_string(amount: str) -> None:
    body = f'{{"order_id":"o","user_id":"u","item_ids":["i"],"total_amount":{amount}}}'

    with pytest.raises(InvalidOrder, match=r"^/total_amount: must be a decimal amount[^;]*$"):
        requests.decode_order(body.encode())
